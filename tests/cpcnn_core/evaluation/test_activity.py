"""Average precision equals what copairs makes of the same wells; p-values are the tests' own."""

import numpy as np
import pandas as pd
import pytest
from copairs.map import average_precision

from cpcnn_core.errors import ProfileError
from cpcnn_core.evaluation.replicates import phenotypic_activity
from cpcnn_core.profiles.corrected_wells import as_they_are
from cpcnn_core.schema.profiles import Profiles

BY = "Metadata_Treatment"
# Of a random order of 3 replicates and 36 controls.
CHANCE = 0.15595651106728


@pytest.fixture(scope="module")
def wells():
    """Eight active treatments, eight that do nothing, 48 controls; four plates."""
    random = np.random.default_rng(3)
    names = [f"active {n}" for n in range(8)] + [f"nothing {n}" for n in range(8)]
    effects = {name: 3 * random.normal(size=12) * (n < 8) for n, name in enumerate(names)}
    rows, features = [], []
    for plate in range(4):
        for name in [*names, *["DMSO"] * 12]:
            rows.append({"Metadata_Plate": f"P{plate}", BY: name})
            features.append(random.normal(size=12) + effects.get(name, 0))
    return Profiles(np.array(features), pd.DataFrame(rows), [f"f{n}" for n in range(12)])


@pytest.fixture(scope="module")
def controls(wells):
    return (wells.metadata[BY] == "DMSO").to_numpy()


@pytest.fixture(scope="module")
def tests(wells, controls):
    return as_they_are(wells).significance(controls, BY)


def test_average_precision_is_copairs(wells, controls, tests):
    found = phenotypic_activity(wells, controls, BY, tests).set_index(BY)
    metadata = wells.metadata.assign(Metadata_Control=controls)
    # The same treatment on another plate, among the controls of other plates.
    theirs = average_precision(
        metadata,
        wells.features,
        pos_sameby=[BY],
        pos_diffby=["Metadata_Plate"],
        neg_sameby=[],
        neg_diffby=["Metadata_Control", "Metadata_Plate"],
        progress_bar=False,
    )
    theirs = theirs[~theirs["Metadata_Control"]]
    theirs = theirs.groupby(BY)["average_precision"].mean()
    assert len(found) == 16
    # copairs compares in float32.
    expected = theirs[found.index]
    np.testing.assert_allclose(found["mean_average_precision"], expected, rtol=0, atol=1e-6)
    assert found["wells"].tolist() == [4] * 16
    # 3 matches among 39: the mean of all orders.
    assert found["chance_average_precision"].to_numpy() == pytest.approx(CHANCE, rel=1e-9)


def test_p_values_are_the_tests_own(wells, controls, tests):
    found = phenotypic_activity(wells, controls, BY, tests).set_index(BY)
    expected = tests.activity()
    for column in ("mean_cosine", "p_value", "q_value"):
        assert found[column].tolist() == expected[column][found.index].tolist()
    assert found["p_value"].is_monotonic_increasing
    without = phenotypic_activity(wells, controls, BY, None).set_index(BY)
    assert without[["mean_cosine", "p_value", "q_value"]].isna().all(axis=None)
    same = found["mean_average_precision"][without.index]
    assert without["mean_average_precision"].tolist() == same.tolist()


def test_what_does_nothing_is_not_active(wells, controls, tests):
    found = phenotypic_activity(wells, controls, BY, tests)
    assert sorted(found[BY][:8]) == [f"active {n}" for n in range(8)]
    assert (found["q_value"][:8] < 0.01).all()
    # p-values of nothing are any; those of 8 are below .03 more often than twice in one of 1000.
    assert (found["q_value"][8:] > 0.05).sum() >= 6


def test_a_treatment_on_one_plate_is_compared_within_it(wells, controls):
    lonely = wells.metadata[BY].to_numpy().copy()
    one = (wells.metadata["Metadata_Plate"] == "P0").to_numpy() & ~controls
    rows = np.flatnonzero(one)[:2]
    lonely[rows] = "lonely"
    metadata = wells.metadata.assign(**{BY: lonely})
    some = Profiles(wells.features, metadata, wells.feature_names)
    found = phenotypic_activity(some, controls, BY, None).set_index(BY).loc["lonely"]
    among = [*rows, *np.flatnonzero(controls & (wells.metadata["Metadata_Plate"] == "P0"))]
    unit = wells.features[among] / np.linalg.norm(wells.features[among], axis=1, keepdims=True)
    cosine = unit @ unit.T
    ranks = [1 + (cosine[mine, 2:] > cosine[0, 1]).sum() for mine in (0, 1)]
    assert found["mean_average_precision"] == pytest.approx(np.mean([1 / rank for rank in ranks]))


def test_what_cannot_be_measured_is_one_line(wells, controls, tests):
    with pytest.raises(ProfileError, match="activity is measured against control wells"):
        phenotypic_activity(wells, np.zeros(len(controls), bool), BY, tests)
    alone = wells.select((wells.metadata["Metadata_Plate"] == "P0").to_numpy())
    with pytest.raises(ProfileError, match="no treatment in the column Metadata_Treatment has rep"):
        phenotypic_activity(alone, (alone.metadata[BY] == "DMSO").to_numpy(), BY, None)
