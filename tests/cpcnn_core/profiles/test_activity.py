"""Activity equals what copairs makes of the same wells, and knows what does nothing."""

import numpy as np
import pandas as pd
import pytest
from copairs.map import average_precision, mean_average_precision

from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.activity import phenotypic_activity
from cpcnn_core.tables.profiles import Profiles

BY = "Metadata_Treatment"


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


def test_scores_and_p_values_are_copairs(wells, controls, tmp_path):
    found = phenotypic_activity(wells, controls, BY, null_size=1000).set_index(BY)
    metadata = wells.metadata.assign(Metadata_Control=controls)
    # Positive pairs: the same treatment on another plate. Negative ones: well and control.
    theirs = average_precision(
        metadata,
        wells.features,
        pos_sameby=[BY],
        pos_diffby=["Metadata_Plate"],
        neg_sameby=[],
        neg_diffby=["Metadata_Control"],
        progress_bar=False,
    )
    theirs = theirs[~theirs["Metadata_Control"]]
    theirs = mean_average_precision(
        theirs, [BY], 1000, 0.05, seed=0, progress_bar=False, cache_dir=tmp_path
    ).set_index(BY)
    assert len(found) == 16
    for column in ("mean_average_precision", "p_value", "corrected_p_value"):
        # copairs compares in float32.
        np.testing.assert_allclose(found[column], theirs[column][found.index], rtol=0, atol=1e-6)
    assert found["wells"].tolist() == [4] * 16


def test_what_does_nothing_is_not_active(wells, controls):
    found = phenotypic_activity(wells, controls, BY)
    assert sorted(found[BY][:8]) == [f"active {n}" for n in range(8)]
    assert (found["corrected_p_value"][:8] < 0.001).all()
    assert (found["corrected_p_value"][8:] > 0.05).sum() >= 7


def test_nothing_is_left_in_the_users_home(wells, controls, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    phenotypic_activity(wells, controls, BY, null_size=50)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_measured_is_one_line(wells, controls):
    with pytest.raises(ProfileError, match="activity is measured against control wells"):
        phenotypic_activity(wells, np.zeros(len(controls), bool), BY)
    alone = wells.select((wells.metadata["Metadata_Plate"] == "P0").to_numpy())
    with pytest.raises(ProfileError, match="no treatment in the column Metadata_Treatment has rep"):
        phenotypic_activity(alone, (alone.metadata[BY] == "DMSO").to_numpy(), BY)
