"""Replicates are looked for where they are, treatment by treatment, beside an exact chance."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score

from cpcnn_core.errors import ProfileError
from cpcnn_core.evaluation.replicates import find_replicates
from cpcnn_core.evaluation.scores import measure_retrieval
from cpcnn_core.profiles.retrieval import chance_average_precision
from cpcnn_core.profiles.similarity import cosine_similarity
from cpcnn_core.schema.profiles import Profiles

# Two among 32 in a random order, by the formula's own terms.
CHANCE = (1 / 31 * (32 - sum(1 / k for k in range(1, 33))) + sum(1 / k for k in range(1, 33))) / 32
BY, PLATE = "Metadata_Treatment", "Metadata_Plate"


def noise(treatments, plates, dim=10, seed=0):
    rows = pd.DataFrame({PLATE: plates, BY: treatments})
    features = np.random.default_rng(seed).normal(size=(len(rows), dim))
    return Profiles(features, rows, [f"Cells_{i}" for i in range(dim)])


@pytest.mark.parametrize(("matches", "others"), [(1, 1), (1, 6), (2, 6), (5, 6), (6, 6), (3, 9)])
def test_chance_is_the_mean_over_all_orders(matches, others):
    scores = -np.arange(others)
    every = []
    for places in combinations(range(others), matches):
        annotations = np.zeros(others)
        annotations[list(places)] = 1
        every.append(average_precision_score(annotations, scores))
    found = chance_average_precision(np.array([matches]), np.array([others]))
    assert found[0] == pytest.approx(np.mean(every), rel=1e-12)


def test_more_matches_than_others_are_refused():
    with pytest.raises(ProfileError, match="more matches than others"):
        chance_average_precision(np.array([3]), np.array([2]))


def test_each_treatment_is_looked_for_where_its_replicates_stand():
    # a on two plates, b and c on one each, d once.
    treatments = [*"aabbacc", "d"]
    plates = ["P1"] * 4 + ["P2"] * 4
    wells = noise(treatments, plates)
    found = find_replicates(wells, BY)
    unit = wells.features / np.linalg.norm(wells.features, axis=1, keepdims=True)
    similarity = unit @ unit.T
    for query, name in enumerate(treatments):
        places = {plates[i] for i, one in enumerate(treatments) if one == name}
        own = [i for i in range(8) if i != query and plates[i] == plates[query]]
        other = [i for i in range(8) if plates[i] != plates[query]]
        searched = other if len(places) > 1 else own
        annotations = [treatments[i] == name for i in searched]
        assert found.on_other_plates[query] == (len(places) > 1)
        if not any(annotations):
            assert np.isnan(found.precision[query])
            assert np.isnan(found.chance[query])
            continue
        expected = average_precision_score(annotations, similarity[query][searched])
        assert found.precision[query] == pytest.approx(expected, abs=1e-12)
    assert found.queries().sum() == 7


def test_one_strong_treatment_on_several_plates_is_not_the_whole_score():
    # Thirty treatments that do nothing are on one plate each, the strong one on three.
    inert = [f"T{i:02d}" for i in range(30) for _ in range(3)]
    plates = [f"P{i % 3 + 1}" for i in range(30) for _ in range(3)]
    wells = noise([*inert, *["strong"] * 3], [*plates, "P1", "P2", "P3"])
    wells.features[-3:] += 50
    controls = np.zeros(93, bool)
    scores = measure_retrieval(wells, controls, BY)["replicates"]
    assert (scores["wells"], scores["of_wells"]) == (93, 93)
    assert (scores["treatments"], scores["on_other_plates"]) == (31, 1)
    assert scores["mean_average_precision"] < 0.3
    assert scores["above_chance"] is False
    queries = np.arange(93) >= 90
    alone = measure_retrieval(wells, controls, BY, queries=queries)["replicates"]
    assert alone["mean_average_precision"] == 1
    assert (alone["treatments"], alone["interval"], alone["above_chance"]) == (1, None, None)


def test_noise_reaches_chance():
    found = []
    for seed in range(20):
        treatments = [f"T{i}" for i in range(16) for _ in range(4)]
        wells = noise(treatments, ["P1", "P1", "P2", "P2"] * 16, seed=seed)
        one = find_replicates(wells, BY)
        found.append(one.precision.mean())
        # Two replicates among 32 wells of the other plate; their share is .0625.
        assert one.chance[0] == pytest.approx(CHANCE, rel=1e-12)
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - CHANCE) < 3 * error


def test_where_nothing_else_is_to_be_found_nobody_is_asked():
    wells = noise(["a", "a", "b", "b"], ["P1", "P1", "P2", "P2"])
    with pytest.raises(ProfileError, match="has replicates to rank among other"):
        find_replicates(wells, BY)


@pytest.mark.parametrize("missing", [None, np.nan, ""])
def test_a_missing_plate_is_no_plate(missing):
    wells = noise(list("aabb"), ["P1", "P1", missing, missing])
    with pytest.raises(ProfileError, match="2 of 4 wells have no plate, the first in row 3"):
        find_replicates(wells, BY)


@pytest.mark.parametrize("again", ["P1/A01", "P1/a1", "1/A01"])
def test_a_well_that_is_there_twice_is_refused(again):
    wells = noise(list("aabb"), ["P1"] * 4)
    plate, well = again.split("/")
    wells.metadata["Metadata_Well"] = ["A01", "A02", "A03", well]
    wells.metadata[PLATE] = [plate, plate, plate, plate]
    with pytest.raises(ProfileError, match=r"the well \S+ is there twice, in rows 1 and 4"):
        measure_retrieval(wells, np.zeros(4, bool), BY)
    wells.metadata["Metadata_Site"] = [1, 1, 1, 2]
    assert measure_retrieval(wells, np.zeros(4, bool), BY)["replicates"]["wells"] == 4


def test_a_well_under_two_names_is_refused():
    wells = noise(list("aabb") * 2, ["P1"] * 4 + ["P2"] * 4)
    wells.features[4:] = wells.features[:4]
    with pytest.raises(ProfileError, match="rows 1 and 5 have the same 10 features to the last"):
        measure_retrieval(wells, np.zeros(8, bool), BY)
    counts = Profiles(np.ones((8, 10)), wells.metadata, wells.feature_names)
    assert measure_retrieval(counts, np.zeros(8, bool), BY)["replicates"]["above_chance"] is False


@pytest.mark.parametrize("size", [1e-300, 1e-200, 1e200, 1e300])
def test_very_large_and_very_small_features_have_a_direction(size):
    features = np.array([[3.0, 4.0], [4.0, 3.0]])
    found = cosine_similarity(features * size, features)
    np.testing.assert_allclose(found, cosine_similarity(features), rtol=1e-12)
