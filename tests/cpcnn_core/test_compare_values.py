"""Numbers and texts compared as what they say, against a loop that asks every value."""

import operator

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.errors import ProfileError
from cpcnn_core.expressions import OPERATORS, compare_values

ORDER = ("<", "<=", ">", ">=")
PLAIN = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def column(values, **how):
    return pd.Series(values, name="Dose", **how)


@pytest.mark.parametrize("sign", OPERATORS)
@pytest.mark.parametrize("value", [10, 10.0, "10", "10.0", " 1e1 ", np.nan])
@pytest.mark.parametrize(
    "values",
    [
        column([0.0, 10.0, 1.0, np.nan, 20.0]),
        column([0, 10, 1, 5, 20]),
        column(["0", "10", "1.0", "", "20"], dtype=object),
        column(["00", "010", "1", None, "20.0"], dtype=object),
    ],
    ids=["float", "int", "text", "padded text"],
)
def test_numbers_compare_as_numbers_however_they_are_kept(sign, value, values):
    if isinstance(value, str) and values.dtype == object:
        value = float(value)
    number = float(value)
    numbers = [float(v) if v not in ("", None) else np.nan for v in values]
    expected = [PLAIN[sign](one, number) for one in numbers]
    assert compare_values(values, sign, value).tolist() == expected


@pytest.mark.parametrize("sign", OPERATORS)
def test_texts_compare_as_texts(sign):
    values = column(["DMSO", "taxol", "", None, "010"], dtype=object)
    for value in ("DMSO", "010", "z", " taxol "):
        texts = ["DMSO", "taxol", "", "", "010"]
        expected = [
            PLAIN[sign](text, value.strip()) and (text != "" or sign not in ORDER) for text in texts
        ]
        assert compare_values(values, sign, value).tolist() == expected


def test_a_text_column_with_some_numbers_finds_them():
    values = column(["DMSO", "10", "1", "10.0", ""], dtype=object)
    assert compare_values(values, "==", 10).tolist() == [False, True, False, True, False]
    assert compare_values(values, "!=", 10).tolist() == [True, False, True, False, True]
    for sign in ORDER:
        with pytest.raises(
            ProfileError, match="Dose holds texts such as 'DMSO', which is no number"
        ):
            compare_values(values, sign, 10)


@pytest.mark.parametrize("nothing", ["", None, "NA", "nan"])
def test_no_value_is_asked_for_among_numbers(nothing):
    values = column([1.0, np.nan])
    assert compare_values(values, "==", nothing).tolist() == [False, True]
    assert compare_values(values, "!=", nothing).tolist() == [True, False]
    with pytest.raises(ProfileError, match="cannot be asked of no value"):
        compare_values(values, "<", nothing)


def test_no_value_is_asked_for_among_texts_by_an_empty_one():
    values = column(["a", "", None], dtype=object)
    for nothing in ("", None, " "):
        assert compare_values(values, "==", nothing).tolist() == [False, True, True]
        assert compare_values(values, "!=", nothing).tolist() == [True, False, False]
    for sign in ("==", "!="):
        with pytest.raises(ProfileError, match=f"NA says that there is no value.* Dose {sign} ''"):
            compare_values(values, sign, "NA")
    kept = column(["a", "NA", ""], dtype=object)
    assert compare_values(kept, "==", "NA").tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("values", "value", "message"),
    [
        (column([1.0, 2.0]), "high", "Dose holds numbers, and 'high' is none"),
        (column([1.0, 2.0]), "1,5", "Dose holds numbers, and '1,5' is none"),
        (column(["1,5", "2"], dtype=object), 1.5, "holds texts such as '1,5', which is no number"),
        (column(["a", "b"], dtype=object), 1, "holds texts such as 'a', which is no number"),
        (column(["a", ""], dtype=object), 0, "holds texts such as 'a', which is no number"),
        (column([True, False]), "perhaps", "Dose says yes or no, got 'perhaps'"),
    ],
)
def test_what_cannot_be_compared_is_refused_and_not_false(values, value, message):
    for sign in ("==", "!="):
        with pytest.raises(ProfileError, match=message):
            compare_values(values, sign, value)
    with pytest.raises(ProfileError, match=message):
        compare_values(values, "==", [value])


def test_several_values_are_any_of_them():
    numbers = column([1.0, 2.0, 3.0, np.nan])
    assert compare_values(numbers, "==", [1, "3"]).tolist() == [True, False, True, False]
    assert compare_values(numbers, "!=", (1, "3")).tolist() == [False, True, False, True]
    assert compare_values(numbers, "==", [""]).tolist() == [False, False, False, True]
    assert compare_values(numbers, "==", []).tolist() == [False] * 4
    texts = column(["a", "7", ""], dtype=object)
    assert compare_values(texts, "==", {"a", 7}).tolist() == [True, True, False]
    with pytest.raises(ProfileError, match="cannot be asked of several values"):
        compare_values(numbers, "<", [1])


def test_yes_and_no():
    for values in (column([True, False]), column(["True", "false"], dtype=object)):
        assert compare_values(values, "==", True).tolist() == [True, False]
        assert compare_values(values, "!=", True).tolist() == [False, True]
    assert compare_values(column([True, False]), "==", "true").tolist() == [True, False]
    assert compare_values(column([1, 0]), "==", True).tolist() == [True, False]


def test_durations_are_compared_with_texts():
    days = column(pd.to_timedelta(["1 day", "2 days", None]))
    assert compare_values(days, ">", "1 day").tolist() == [False, True, False]
    assert compare_values(days, "==", ["24 hours"]).tolist() == [True, False, False]
    assert compare_values(days, "==", "").tolist() == [False, False, True]
    with pytest.raises(ProfileError, match="Dose holds durations, and 'long' is none"):
        compare_values(days, "==", "long")


@pytest.mark.parametrize("sign", OPERATORS)
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Vienna"])
@pytest.mark.parametrize("value", ["2020-01-02", "2020-01-02 00:00", "2 January 2020"])
def test_times_are_compared_with_texts(sign, zone, value, recwarn):
    days = ["2020-01-01", "2020-01-02", "2020-01-03", None]
    values = column(pd.to_datetime(days).tz_localize(zone))
    found = compare_values(values, sign, value)
    expected = [PLAIN[sign](day, "2020-01-02") for day in days[:3]] + [sign == "!="]
    assert found.tolist() == expected
    assert compare_values(values, "==", [value, "2020-01-03"]).tolist() == [0, 1, 1, 0]
    assert compare_values(values, "==", "").tolist() == [False, False, False, True]
    assert not recwarn.list


@pytest.mark.parametrize("value", ["soon", "32 January 2020", 2020, 1.5, True])
def test_times_are_compared_with_times_only(value):
    with pytest.raises(ProfileError, match=r"Dose holds times, and .* is none; write one like"):
        compare_values(column(pd.to_datetime(["2020-01-01", None])), ">", value)
