"""Tables below each other: as pandas concatenates them, but for columns of two kinds."""

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.profiles.site_tables import join_rows
from cpcnn_core.schema.profiles import Profiles


def joined(*columns):
    """Join tables that have one column, or none where it is None."""
    parts = []
    for values in columns:
        rows = pd.DataFrame({"Metadata_Well": [f"A{n}" for n in range(len(values or ["x"]))]})
        if values is not None:
            rows["Metadata_X"] = values
        parts.append(Profiles(np.zeros((len(rows), 1)), rows, ["a"]))
    return join_rows(parts).metadata["Metadata_X"]


NAN = float("nan")


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (([1, 2], [3]), [1, 2, 3]),
        (([1, 2], [0.5]), [1, 2, 0.5]),
        (([1, 2], None), [1, 2, NAN]),
        (([1, 2], ["", ""]), [1, 2, NAN, NAN]),
        (([0.5, NAN], ["", ""], None), [0.5, NAN, NAN, NAN, NAN]),
        ((["a"], ["b"]), ["a", "b"]),
        ((["a"], None), ["a", ""]),
        ((["7157", "TP53"], [10, 20]), ["7157", "TP53", "10", "20"]),
        (([10.0, NAN], ["high"]), ["10", "", "high"]),
        (([True], [False]), [True, False]),
        (([True], None), ["True", ""]),
        (([True], [1.5]), ["True", "1.5"]),
        (([""], [""]), ["", ""]),
    ],
)
def test_a_column_holds_numbers_or_texts(columns, expected):
    found = joined(*columns)
    if all(isinstance(value, int | float) and value is not True for value in expected):
        np.testing.assert_array_equal(found.to_numpy(), expected)
        assert found.dtype.kind in "ifb"
    else:
        assert found.tolist() == expected
    backwards = joined(*columns[::-1])
    assert sorted(map(str, backwards)) == sorted(map(str, found))


def test_times_stay_times():
    days = list(pd.date_range("2024-01-01", periods=2))
    assert joined(days, days).tolist() == days * 2
    assert joined(days, ["x"]).tolist() == ["2024-01-01 00:00:00", "2024-01-02 00:00:00", "x"]


def test_tables_of_one_kind_are_those_of_pandas():
    random = np.random.default_rng(0)
    parts = []
    for size in (3, 1, 10):
        rows = pd.DataFrame({"Metadata_Well": random.choice(["A1", "A2"], size)})
        rows["Metadata_Dose"] = random.random(size)
        rows["Metadata_Count"] = random.integers(0, 9, size)
        parts.append(Profiles(random.normal(size=(size, 2)), rows, ["a", "b"], {"model": "m"}))
    found = join_rows(parts)
    expected = pd.concat([part.metadata for part in parts], ignore_index=True)
    pd.testing.assert_frame_equal(found.metadata, expected)
    np.testing.assert_array_equal(found.features, np.concatenate([p.features for p in parts]))
    assert found.provenance == {"model": "m"}
