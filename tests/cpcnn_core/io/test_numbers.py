"""Texts of numbers: as Python reads them, and no others."""

import math

import numpy as np
import pytest

from cpcnn_core.errors import ProfileError, SiteError, TableError
from cpcnn_core.io.numbers import MISSING, is_missing, number_of, numbers_of


@pytest.mark.parametrize("spell", [str, str.lower, str.upper, str.title, lambda t: f"  {t}\t"])
def test_what_says_that_there_is_no_value_is_nan_in_any_letter_case(spell):
    for text in MISSING:
        assert is_missing(spell(text)), text
        assert math.isnan(number_of(spell(text))), text


@pytest.mark.parametrize(
    "text", ["0", "Nantes", "NA@NA", "none of them", "N", "-", "null hypothesis"]
)
def test_what_only_begins_so_is_a_value(text):
    assert not is_missing(text)


def test_numbers_are_those_of_python():
    random = np.random.default_rng(0)
    powers = 10.0 ** random.integers(-300, 300, 200)
    numbers = [*random.normal(size=200).tolist(), *powers.tolist()]
    for text in [
        *map(repr, numbers),
        *map("{:.17g}".format, numbers),
        *map("{:+.3e}".format, numbers),
    ]:
        assert number_of(text) == float(text)
    for text, number in (("inf", math.inf), ("-Infinity", -math.inf), ("1.#INF", math.inf)):
        assert number_of(text) == number


@pytest.mark.parametrize(
    "text", ["1,5", "1 000", "1_000", "x", "1.2.3", "0x10", "10%", "5 uM", "\u0661", "1e", "--1"]
)
def test_what_is_no_number_is_none(text):
    assert number_of(text) is None


def test_a_value_that_is_no_number_is_named_with_its_row():
    with pytest.raises(
        TableError, match=r"^t.csv has 'high' in row 3 of the column Dose; expected"
    ):
        numbers_of(["1", "NA", "high", "low"], "t.csv", "Dose")
    with pytest.raises(TableError, match="in row 102 of"):
        numbers_of(["1", "NA", "high"], "t.csv", "Dose", 100)
    with pytest.raises(SiteError, match=r"'1,5' in row 1 .*with a decimal point, not a comma"):
        numbers_of(["1,5"], "t.csv", "Dose")
    with pytest.raises(ProfileError, match=", or nothing where it is missing"):
        numbers_of(["?"], "t.csv", "Dose")


def test_a_column_keeps_its_order():
    found = numbers_of(["2", "NA", "2", "-1e-3", ""], "t.csv", "Dose")
    np.testing.assert_array_equal(found, [2, np.nan, 2, -0.001, np.nan])
    assert found.dtype == np.float64
    assert len(numbers_of([], "t.csv", "Dose")) == 0


def test_a_header_that_stands_there_again_is_called_so():
    with pytest.raises(TableError, match=r"in row 2 of the column Dose; .* tables were appended"):
        numbers_of(["1", "Dose"], "t.csv", "Dose")
