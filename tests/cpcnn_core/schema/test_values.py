"""Columns of all of pandas' types become plain ones, and texts that say what they are."""

import datetime as dt
import decimal

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.schema.values import plain_values, text_of, texts_of

# pandas' type, values, what they become, their texts.
NUMBERS = [
    ("Int64", [1, None, 3], [1.0, np.nan, 3.0], ["1", "", "3"]),
    ("Int8", [1, 2, 3], [1, 2, 3], ["1", "2", "3"]),
    ("UInt64", [2**63, 2**64 - 1], [2**63, 2**64 - 1], [str(2**63), str(2**64 - 1)]),
    ("Float64", [0.1, None, 10.0], [0.1, np.nan, 10.0], ["0.1", "", "10"]),
    ("Float32", [0.5, None, 1e30], [0.5, np.nan, np.float32(1e30)], None),
    ("int64[pyarrow]", [1, None, 3], [1.0, np.nan, 3.0], ["1", "", "3"]),
    ("double[pyarrow]", [0.1, None, 10.0], [0.1, np.nan, 10.0], ["0.1", "", "10"]),
    (pd.SparseDtype(float), [0.0, 2.5, 0.0], [0.0, 2.5, 0.0], ["0", "2.5", "0"]),
]
OBJECTS = [
    ("string", ["a", None, "010 "], ["a", "", "010"]),
    ("string[pyarrow]", ["a", None, "10"], ["a", "", "10"]),
    ("category", ["b", None, "a"], ["b", "", "a"]),
    ("boolean", [True, None, False], ["True", "", "False"]),
    ("bool[pyarrow]", [True, None, False], ["True", "", "False"]),
]


@pytest.mark.parametrize(("kind", "values", "expected", "texts"), NUMBERS)
def test_numbers_become_numpys(kind, values, expected, texts):
    column = pd.Series(values, dtype=kind)
    found = plain_values(column)
    assert isinstance(found, np.ndarray)
    assert found.dtype.kind == np.array(expected).dtype.kind
    np.testing.assert_array_equal(found, expected)
    assert texts is None or texts_of(column).tolist() == texts


@pytest.mark.parametrize(("kind", "values", "texts"), OBJECTS)
def test_texts_and_truths_become_objects_with_none(kind, values, texts):
    column = pd.Series(values, dtype=kind)
    found = plain_values(column)
    assert found.dtype == object
    assert [None if value is None else value for value in found] == values
    assert texts_of(column).tolist() == texts


def test_categories_of_numbers_are_numbers():
    found = plain_values(pd.Series([2, 1, 2], dtype="category"))
    assert found.dtype.kind == "i"
    assert found.tolist() == [2, 1, 2]
    np.testing.assert_array_equal(
        plain_values(pd.Series([2.5, None], dtype="category")), [2.5, np.nan]
    )


@pytest.mark.parametrize("values", [[1, 2], [0.5, np.nan], ["a", None], [True, False]])
def test_plain_columns_stay_as_they_are(values):
    column = pd.Series(values, dtype=np.array(values).dtype if None not in values else object)
    assert plain_values(column) is column


def test_times_stay_times():
    days = pd.Series(pd.date_range("2024-01-01", periods=2, tz="UTC"))
    assert plain_values(days) is days
    assert texts_of(days).tolist() == ["2024-01-01 00:00:00+00:00", "2024-01-02 00:00:00+00:00"]
    assert texts_of(pd.Series([pd.Timestamp("2024-01-01"), pd.NaT])).tolist()[1] == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((10, "10"), (10.0, "10"), (-0.5, "-0.5"), (1e22, str(10**22)), (np.float32(0.1), "0.1")),
        *((float("inf"), "inf"), (float("nan"), ""), (np.nan, ""), (None, ""), (pd.NA, "")),
        *((pd.NaT, ""), ("", ""), (" x ", "x"), (True, "True"), (decimal.Decimal("1.50"), "1.50")),
        (dt.date(2024, 1, 2), "2024-01-02"),
    ],
)
def test_a_value_as_text(value, text):
    assert text_of(value) == text
    column = pd.Series([value, "x"], dtype=object)
    assert texts_of(column).tolist() == [text, "x"]


def test_numbers_and_texts_in_one_column():
    column = pd.Series([7157, "TP53", 7157.0, None, "007", 1, True], dtype=object)
    assert texts_of(column).tolist() == ["7157", "TP53", "7157", "", "007", "1", "True"]
    assert texts_of(pd.Series([], dtype=object)).tolist() == []
