"""The number of cells as a profile: the closer two counts, the more alike."""

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.errors import ProfileError
from cpcnn_core.evaluation.baselines import count_profiles, standard_profiles
from cpcnn_core.profiles.similarity import cosine_similarity
from cpcnn_core.schema.profiles import Profiles


def wells(counts):
    rows = pd.DataFrame({"Metadata_CellCount": counts})
    return Profiles(np.ones((len(counts), 1)), rows, ["x"], {"model": "m"})


def test_the_nearest_count_is_the_most_alike():
    counts = np.random.default_rng(0).integers(0, 5000, 60)
    found = count_profiles(wells(counts))
    logarithms = np.log(np.maximum(counts, 1))
    distance = np.abs(logarithms[:, None] - logarithms)
    expected = np.cos(distance / np.ptp(logarithms) * np.pi / 2)
    np.testing.assert_allclose(cosine_similarity(found.features), expected, rtol=0, atol=1e-12)
    assert found.provenance == {}


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([5, 5], "has the same number in every well"),
        ([5, np.nan], "lacks the number of some wells"),
    ],
)
def test_counts_that_say_nothing_are_one_line(counts, message):
    with pytest.raises(ProfileError, match=message):
        count_profiles(wells(counts))


def test_no_counts_are_one_line():
    with pytest.raises(ProfileError, match="there is no column Metadata_CellCount"):
        count_profiles(Profiles(np.ones((1, 1)), pd.DataFrame({"Metadata_Well": ["A01"]}), ["x"]))


def test_measurements_of_any_unit_get_one_scale():
    random = np.random.default_rng(0)
    features = random.normal(size=(9, 4)) * [1, 1e6, 1e-6, 0] + [0, 5, 1, 0.1]
    table = Profiles(features, pd.DataFrame({"Metadata_Well": list("abcdefghi")}), list("wxyz"))
    found = standard_profiles(table)
    assert found.feature_names == list("wxy")
    for column in range(3):
        values = features[:, column]
        mean = sum(values) / 9
        spread = np.sqrt(sum((value - mean) ** 2 for value in values) / 9)
        np.testing.assert_allclose(found.features[:, column], (values - mean) / spread, rtol=1e-9)
    same = Profiles(np.ones((9, 1)), table.metadata, ["x"])
    with pytest.raises(ProfileError, match="none of the 1 features differs between the wells"):
        standard_profiles(same)
