"""Plate, well and site: one key, however it is called and spelt."""

import itertools

import pytest

from cpcnn_core.errors import TableError
from cpcnn_core.io.site_keys import (
    KeyIndex,
    find_key,
    find_keys,
    key_of_column,
    normal_key,
    normal_number,
    normal_well,
)

SPELLINGS = {
    "plate": ("000123", "123", "0123", "123.0", " 123 ", "123."),
    "well": ("A1", "a1", "A01", "a01", "A001", "A-01", "a_1", "A 1"),
    "site": ("1", "01", "1.0", "001"),
}


def test_all_spellings_of_a_key_are_one():
    keys = set(map(normal_key, itertools.product(*SPELLINGS.values())))
    assert keys == {("123", "A1", "1")}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A1", "A10"),
        ("A1", "B1"),
        ("A1", "AA1"),
        ("A10", "A100"),
        ("A01", "A1_old"),
        ("H12", "h21"),
    ],
)
def test_other_wells_stay_apart(one, other):
    assert normal_well(one) != normal_well(other)


@pytest.mark.parametrize("text", ["P01", "1.5", "1e3", "BR00116991", "-1", "1,0", "x 1"])
def test_what_is_no_whole_number_stays(text):
    assert normal_number(text) == text


@pytest.mark.parametrize("text", ["0", "00", "0.0", "000.00"])
def test_zero_is_zero(text):
    assert normal_number(text) == "0"


def test_an_index_finds_every_spelling():
    keys = [
        ("000123", f"{row}{column:02d}", str(site))
        for row in "AB"
        for column in (1, 10)
        for site in (1, 2)
    ]
    index = KeyIndex(keys, "t.csv")
    for place, (_, well, site) in enumerate(keys):
        for plate in SPELLINGS["plate"]:
            assert index.get((plate, well.lower(), f"{site}.0")) == place
            assert index.get((plate, f"{well[0]}{int(well[1:])}", f"0{site}")) == place
    assert index.get(("124", "A01", "1")) is None
    assert (len(index), index.first, list(index)) == (8, "000123/A01/1", keys)
    assert KeyIndex([], "t.csv").first == ""


@pytest.mark.parametrize(
    ("keys", "names", "message"),
    [
        (
            [("A01",), ("B01",), ("A01",)],
            ["Well"],
            "t.csv has the well A01 twice, in its rows 1 and 3",
        ),
        (
            [("1", "a1"), ("01", "A01")],
            ["Plate", "Well"],
            "the well 1/a1 in row 1 and 01/A01 in row 2",
        ),
        (
            [("P", "A1", "1"), ("P", "A1", "1.0")],
            None,
            "site P/A1/1 in row 1 and P/A1/1.0 in row 2",
        ),
    ],
)
def test_a_key_that_is_there_twice_is_refused(keys, names, message):
    with pytest.raises(TableError, match=message):
        KeyIndex(keys, "t.csv", *([names] if names else []))


@pytest.mark.parametrize(
    ("column", "key"),
    [
        ("Metadata_Plate", "Plate"),
        ("Image_Metadata_Plate", "Plate"),
        ("Assay_Plate_Barcode", "Plate"),
        ("plate id", "Plate"),
        ("well_position", "Well"),
        ("Metadata_WellID", "Well"),
        ("Metadata_FieldID", "Site"),
        ("FOV", "Site"),
        ("Metadata_Treatment", None),
        ("plate_map_name", None),
        ("Wells", None),
    ],
)
def test_other_names_of_the_same_thing_are_known(column, key):
    assert key_of_column(column) == key
    if key:
        assert find_key(key, ["Metadata_Dose", column], "t.csv") == column


def test_the_name_it_should_have_comes_first():
    columns = ["well_position", "Well", "Metadata_Well", "Barcode", "Image_Metadata_Plate"]
    assert find_keys(columns, "t.csv") == {"Plate": "Image_Metadata_Plate", "Well": "Metadata_Well"}
    assert find_keys(columns[:2], "t.csv", ("Well",)) == {"Well": "Well"}
    with pytest.raises(
        TableError, match=r"t.csv has Barcode, Plate_ID, which may all be the plate; call"
    ):
        find_key("Plate", ["Barcode", "Plate_ID"], "t.csv")


@pytest.mark.parametrize("column", ["METADATA_WELL", "metadata_well", "image_metadata_Well"])
def test_the_prefix_has_any_letter_case(column):
    assert find_keys(["Dose", column], "t.csv") == {"Well": column}
