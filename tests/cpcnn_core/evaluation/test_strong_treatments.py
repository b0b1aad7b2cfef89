"""The choice of strong treatments equals the notebooks' steps done slowly and by other means."""

import json
import math
import statistics
import sys
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.cli.main import main
from cpcnn_core.errors import DependencyError, ProfileError
from cpcnn_core.evaluation.strong_treatments import (
    choose_strong_treatments,
    far_along_components,
    far_in_map,
    map_wells,
)
from cpcnn_core.expressions import choose_rows
from cpcnn_core.io.profile_files import write_profiles
from cpcnn_core.schema.profiles import Profiles

TREATMENT = "Metadata_Treatment"


@pytest.fixture(scope="module")
def plate():
    """Wells of 40 controls, and of 12 treatments in 4 replicates, of which the last are strong."""
    random = np.random.default_rng(4)
    names = np.array(["DMSO@0"] * 40 + [f"T{n:02d}@1" for n in range(12) for _ in range(4)])
    strength = np.where(
        names == "DMSO@0", 0, [max(0, int(n[1:3]) - 7) if n[0] == "T" else 0 for n in names]
    )
    mixing = random.normal(size=(30, 30)) * np.linspace(2, 0.05, 30)[:, None]
    features = (random.normal(size=(88, 30)) * (1 + strength[:, None])) @ mixing + 3
    return features, pd.DataFrame({TREATMENT: names}), names == "DMSO@0"


def slow_components(features, controls):
    """The eigenvectors of the covariance, by numpy, and loops for all else."""
    n = len(features)
    centred = features - [math.fsum(column) / n for column in features.T]
    values, vectors = np.linalg.eigh(centred.T @ centred / (n - 1))
    ratios = [value / math.fsum(values) for value in values[::-1]]
    far, explained = set(), 0.0
    for ratio, vector in zip(ratios, vectors.T[::-1], strict=True):
        if explained > 0.95:
            break
        explained += ratio
        if ratio <= 0.005:
            continue
        scores = [math.fsum(row * vector) for row in centred]
        own = [score for score, is_one in zip(scores, controls, strict=True) if is_one]
        middle = statistics.median(own)
        ranked = sorted(range(n), key=lambda i: -abs(scores[i] - middle))
        far |= set(ranked[: round(n * ratio)])
    return [i in far for i in range(n)]


def test_components_equal_a_slow_loop(plate):
    features, _, controls = plate
    found = far_along_components(features, controls)
    assert found.tolist() == slow_components(features, controls)
    assert 0 < found.sum() < len(found)


def test_weak_components_are_left_out():
    """One direction with nearly all variance, and fifty that share the rest."""
    random = np.random.default_rng(0)
    features = np.hstack([100 * random.normal(size=(300, 1)), 4 * random.normal(size=(300, 50))])
    controls = np.arange(300) < 150
    assert far_along_components(features, controls).tolist() == slow_components(features, controls)


def test_the_map_s_threshold_equals_a_slow_loop():
    random = np.random.default_rng(1)
    coordinates = random.normal(size=(200, 2)) * [3, 1]
    controls = np.arange(200) % 3 == 0
    own = coordinates[controls]
    x, y = (math.fsum(column) / len(own) for column in own.T)
    distances = [math.hypot(a - x, b - y) for a, b in coordinates]
    ranked = sorted(d for d, is_one in zip(distances, controls, strict=True) if is_one)
    # Linear interpolation between the two around 95 % of the way.
    place = 0.95 * (len(ranked) - 1)
    low = int(place)
    threshold = ranked[low] + (place - low) * (ranked[low + 1] - ranked[low])
    assert far_in_map(coordinates, controls).tolist() == [d > threshold for d in distances]


def test_without_a_map_it_is_these_steps(plate):
    features, metadata, controls = plate
    # ZCA of the controls' covariance, by singular values instead of eigenvectors.
    centred = features[controls] - features[controls].mean(axis=0)
    _, singular, rows = np.linalg.svd(centred / np.sqrt(controls.sum()))
    sphered = (
        (features - features[controls].mean(axis=0)) @ (rows.T / np.sqrt(singular**2 + 0.01)) @ rows
    )
    far = np.array(slow_components(sphered, controls)) & ~controls
    for fewest in (1, 3, 4):
        expected = []
        for name in sorted(set(metadata[TREATMENT])):
            wells = [i for i in range(len(far)) if metadata[TREATMENT][i] == name]
            if sum(far[i] for i in wells) >= fewest and name != "DMSO@0":
                expected.append(name)
        found = choose_strong_treatments(
            features, metadata, controls, fewest_wells=fewest, use_map=False
        )
        assert list(found.treatments) == expected
        assert np.array_equal(found.wells, far)
        assert found.by_map is None
    given = choose_strong_treatments(
        sphered, metadata, controls, regularization=None, use_map=False
    )
    assert np.array_equal(given.wells, far)


def test_wells_without_a_treatment_are_never_chosen(plate):
    features, metadata, controls = plate
    metadata = metadata.copy()
    metadata.loc[metadata[TREATMENT] == "T11@1", TREATMENT] = None
    found = choose_strong_treatments(features, metadata, controls, fewest_wells=1, use_map=False)
    assert not {"", "None", "nan", "T11@1"} & set(found.treatments)


# umap-learn says so when TensorFlow is missing.
@pytest.mark.filterwarnings("ignore:Tensorflow not installed:ImportWarning")
@pytest.mark.skipif(find_spec("umap") is None, reason="umap-learn is not installed")
def test_a_treatment_far_on_the_map_is_taken_too():
    """Ten wells that are together far from all others, in a direction of little variance."""
    random = np.random.default_rng(2)
    names = np.array(["DMSO@0"] * 60 + ["weak@1"] * 10 + ["apart@1"] * 10)
    features = random.normal(size=(80, 12))
    features[names == "apart@1"] = 12 + 0.1 * random.normal(size=(10, 12))
    metadata, controls = pd.DataFrame({TREATMENT: names}), names == "DMSO@0"
    found = choose_strong_treatments(features, metadata, controls, regularization=None)
    again = choose_strong_treatments(features, metadata, controls, regularization=None)
    assert found.by_map[names == "apart@1"].all()
    assert found.by_map[controls].sum() == 3
    assert np.array_equal(found.wells, (found.by_components | found.by_map) & ~controls)
    assert "apart@1" in found.treatments
    assert np.array_equal(found.by_map, again.by_map)


def test_a_missing_umap_says_what_to_do(plate, monkeypatch):
    # Python's own mark for what cannot be imported.
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(DependencyError, match=r"install 'cpcnn\[napari\]', or leave the map out"):
        map_wells(plate[0])


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda f, m, c: (f, m, c & False), {}, "say which wells they are"),
        (lambda f, m, c: (f, m, np.arange(88) < 1), {}, "at least 2 control wells, got 1"),
        (lambda f, m, c: (f, m, c.astype(int)), {}, "of the same wells, got 88, 88 and 88 (int64)"),
        (lambda f, m, c: (f[1:], m, c), {}, "of the same wells, got 87, 88 and 88"),
        (lambda f, m, c: (f * np.nan, m, c), {}, "88 of 88 profiles have features that are NaN"),
        (lambda f, m, c: (f, m, c), {"by": "Metadata_Moa"}, "there is no column Metadata_Moa"),
        (lambda f, m, c: (f, m, c), {"fewest_wells": 5}, "no treatment has 5 wells that are far"),
    ],
)
def test_what_nothing_can_be_chosen_from_is_one_line(plate, change, options, message):
    with pytest.raises(ProfileError) as error:
        choose_strong_treatments(*change(*plate), use_map=False, **options)
    assert message in str(error.value)


@pytest.mark.filterwarnings("ignore:.*ensorflow:ImportWarning")
@pytest.mark.parametrize("correction", ["", "sphering"])
@pytest.mark.skipif(find_spec("umap") is None, reason="umap-learn is not installed")
def test_the_command_lists_them_and_says_how_to_choose_their_wells(plate, tmp_path, correction):
    features, metadata, controls = plate
    rows = [f"{'ABCDEFGH'[n // 12]}{n % 12 + 1:02d}" for n in range(len(features))]
    metadata = metadata.assign(Metadata_Plate="P1", Metadata_Well=rows)
    how = {"correction": correction} if correction else {}
    wells = Profiles(features, metadata, [f"Cells_{n}" for n in range(30)], how)
    write_profiles(wells, tmp_path / "wells.parquet")
    command = ["evaluate", str(tmp_path / "wells.parquet"), "--strong", "3"]
    command += ["--controls", "Treatment == 'DMSO@0'", "--out", str(tmp_path)]
    assert main(command) == 0
    found = json.loads((tmp_path / "evaluation.json").read_text())["strong_treatments"]
    regularization = None if correction else 1e-2
    expected = choose_strong_treatments(
        features.astype(np.float32), metadata, controls, regularization=regularization
    )
    assert found["treatments"] == list(expected.treatments)
    assert (found["fewest_wells"], found["far_wells"]) == (3, expected.wells.sum())
    chosen = choose_rows(wells, found["where"])
    assert chosen.tolist() == metadata[TREATMENT].isin(expected.treatments).tolist()
