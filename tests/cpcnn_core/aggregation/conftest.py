"""A screen of few cells, where treatments change how cells differ, but not their mean."""

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.aggregation.cell_sets import read_cell_sets
from cpcnn_core.aggregation.fit import AggregationSettings
from cpcnn_core.io.profile_files import write_profiles
from cpcnn_core.profiles.wells import join_platemap, well_profiles
from cpcnn_core.schema.profiles import Profiles

DIM, CELLS, CONTROLS = 6, 40, 6
NAMES = [f"Cells_CPCNN_{number:03d}" for number in range(DIM)]
KEYS = ["Metadata_Plate", "Metadata_Well", "Metadata_Site", "Metadata_ObjectNumber"]
TREATMENTS = 12
MADE_BY = {"model": "m", "model_sha256": "1", "channels": ["DNA", "ER"], "crop_px": 64}


def make_screen(folder, *, plates=3, seed=0):
    """Write tables of cells and a plate map: half of a well's cells go one way, half the other."""
    random = np.random.default_rng(seed)
    axes = [np.eye(DIM)[n % DIM] + np.eye(DIM)[n // DIM * 3 - n % 3] for n in range(TREATMENTS)]
    names = ["DMSO"] * CONTROLS + [f"T{n:02d}" for n in range(TREATMENTS)]
    wells = [f"A{n + 1:02d}" for n in range(len(names))]
    for plate in [f"P{n + 1}" for n in range(plates)]:
        rows, parts = [], []
        shift = random.normal(0, 1, DIM)
        for well, name in zip(wells, names, strict=True):
            cells = random.normal(0, 1, (CELLS, DIM)) + random.normal(0, 0.1, DIM) + shift
            if name != "DMSO":
                sign = np.where(np.arange(CELLS) % 2, 1, -1)[:, None]
                cells += 2.5 * sign * axes[int(name[1:])]
            parts.append(cells)
            rows += [(plate, well, str(1 + n % 2), n) for n in range(CELLS)]
        metadata = pd.DataFrame(rows, columns=KEYS)
        # The cells of a site are in adjacent rows.
        order = np.lexsort([metadata["Metadata_Site"], metadata["Metadata_Well"]])
        features = np.concatenate(parts).astype(np.float32)[order]
        table = Profiles(features, metadata.iloc[order].reset_index(drop=True), NAMES, MADE_BY)
        write_profiles(table, folder / "plates" / f"{plate}.parquet")
    rows = [f"{well},{name}" for well, name in zip(wells, names, strict=True)]
    (folder / "platemap.csv").write_text("\n".join(["Well,Treatment", *rows]))
    return folder


def read_screen(folder, most=99):
    wells = join_platemap(well_profiles([folder], cells="mean"), folder / "platemap.csv")
    sets = read_cell_sets(wells, sorted((folder / "plates").iterdir()), most)
    names = wells.texts("Metadata_Treatment")
    return sets, names, names == "DMSO"


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return make_screen(tmp_path_factory.mktemp("aggregation"))


@pytest.fixture(scope="session")
def screen(folder):
    """Sets of cells, the names of their treatments, and which are controls."""
    return read_screen(folder)


@pytest.fixture(scope="session")
def settings():
    return AggregationSettings(steps=80, view=40, components=6, hidden=24, rate=1e-2)


@pytest.fixture(scope="session")
def screen_of(tmp_path_factory):
    """Make another screen, of so many plates."""

    def make(plates):
        return read_screen(make_screen(tmp_path_factory.mktemp("screen"), plates=plates))

    return make
