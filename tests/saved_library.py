"""Wells of a small screen, written as a library of treatments; and cells to compare with it."""

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.expressions import choose_rows
from cpcnn_core.io.profile_files import write_profiles
from cpcnn_core.profiles.correction import fit_correction
from cpcnn_core.profiles.library_files import write_corrected
from cpcnn_core.schema.columns import feature_names
from cpcnn_core.schema.profiles import Profiles

CONTROLS = "Treatment == 'DMSO'"
NAMES = feature_names(6, compartment="Cells")


@pytest.fixture(name="wells")
def fixture_wells():
    """Two plates of 12 controls and 3 wells of each of 5 treatments."""
    random = np.random.default_rng(0)
    treatments = ["DMSO"] * 12 + [name for name in "abcde" for _ in range(3)]
    centers = {name: random.normal(size=6) * 3 for name in dict.fromkeys(treatments)}
    rows, features = [], []
    for plate in ("P1", "P2"):
        shift = random.normal(size=6)
        for number, name in enumerate(treatments):
            rows.append((plate, f"A{number + 1:02d}", name, f"moa {ord(name[0]) % 2}"))
            features.append(centers[name] + shift + random.normal(size=6))
    columns = ["Metadata_Plate", "Metadata_Well", "Metadata_Treatment", "Metadata_moa"]
    metadata = pd.DataFrame(rows, columns=columns)
    provenance = {"model": "one", "controls": CONTROLS}
    return Profiles(np.array(features, np.float32), metadata, NAMES, provenance)


@pytest.fixture(name="cells")
def fixture_cells():
    random = np.random.default_rng(1)
    metadata = pd.DataFrame(
        {
            "Metadata_Plate": ["P1"] * 20 + ["P2"] * 20,
            "Metadata_Treatment": ["a", "b"] * 20,
        }
    )
    features = random.normal(size=(40, 6)).astype(np.float32) + 1
    return Profiles(features, metadata, NAMES, {"model": "one"})


@pytest.fixture(name="save")
def fixture_save(tmp_path, wells):
    """Write wells as ``cpcnn profile`` does; returns the path and the correction."""

    def write(method, name="screen.parquet", *, earlier=False, **settings):
        chosen = choose_rows(wells, CONTROLS)
        correction = fit_correction(wells, chosen, method, **settings)
        corrected = correction.transform(wells)
        if not earlier:
            write_corrected(corrected, correction, tmp_path / name, wells)
            return tmp_path / name, correction
        write_profiles(corrected, tmp_path / name)
        # As earlier versions called it, which kept nothing of the wells before.
        correction.save(tmp_path / f"{name.split('.')[0]}.correction.npz")
        return tmp_path / name, correction

    return write
