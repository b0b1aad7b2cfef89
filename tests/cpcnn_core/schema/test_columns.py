"""Feature names: complete, different, and in order when sorted as text."""

import pytest

from cpcnn_core.schema.columns import feature_names


@pytest.mark.parametrize("dim", [1, 2, 672, 999, 1000, 1001, 1280, 10_001])
def test_names_sort_in_the_order_of_the_features(dim):
    names = feature_names(dim)
    assert names == sorted(names)
    assert [int(name.rsplit("_", 1)[1]) for name in names] == list(range(dim))


def test_the_names_of_the_published_network():
    names = feature_names(672, compartment="Cells")
    assert (names[0], names[1], names[-1]) == (
        "Cells_CPCNN_000",
        "Cells_CPCNN_001",
        "Cells_CPCNN_671",
    )


def test_without_a_compartment_the_tools_name_comes_first():
    assert feature_names(1001)[7] == "CPCNN_0007"
    assert feature_names(1000, prefix="Mine")[7] == "Mine_007"


def test_no_features_have_no_names():
    assert feature_names(0) == []
