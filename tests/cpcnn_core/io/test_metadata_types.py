"""Numbers are numbers, names keep their zeros, and what says that there is nothing is nothing."""

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.errors import TableError
from cpcnn_core.io.metadata_types import (
    canonical_label,
    is_identifier,
    learn_types,
    metadata_named,
)


def typed(name, values, keep=(), kind=object):
    frame = pd.DataFrame({name: pd.Series(values, dtype=kind)})
    return learn_types(frame, keep).apply(frame)[name]


@pytest.mark.parametrize("kind", [object, "string", "category"])
@pytest.mark.parametrize(
    ("texts", "numbers"),
    [
        (["0", "10", "1"], [0, 10, 1]),
        (["0.5", "1e-3", "-2.5E+04", ".5", "3."], [0.5, 0.001, -25000, 0.5, 3]),
        (["10", "NA", "", "nan", "NULL"], [10, np.nan, np.nan, np.nan, np.nan]),
        (["1.50", "1.5", "01.5"], None),
        (["10", "010"], None),
        (["007"], None),
        (["1,5", "2"], None),
        (["10", "DMSO"], None),
        (["1E5", "2E7"], None),
        (["2310009E13"], None),
        (["inf", "1"], None),
        (["+5"], None),
        (["1234567890123456"], None),
        (["1_0"], None),
        (["\u0661"], None),
        (["", "NA"], None),
    ],
)
def test_plain_numbers_are_numbers_and_nothing_else_is(kind, texts, numbers):
    for name in ("Metadata_Dose", "Count_Nuclei", "x"):
        found = typed(name, texts, kind=kind)
        if numbers is None:
            expected = [text if text not in ("NA", "") else "" for text in texts]
            assert found.tolist() == expected
            assert found.dtype == object
        else:
            np.testing.assert_array_equal(found, numbers)
            whole = all(float(number).is_integer() for number in numbers)
            assert found.dtype == (np.int64 if whole else np.float64)


IDENTIFIERS = [
    *(
        "Metadata_Plate",
        "Well",
        "Image_Metadata_Site",
        "Metadata_FieldID",
        "Barcode",
        "well_position",
    ),
    *("broad_sample", "Metadata_JCP2022", "Metadata_InChIKey", "pert_id", "GeneID", "Compound_IDs"),
    *("id", "Metadata_Treatment", "Metadata_Gene", "smiles", "pubchem_cid", "plate_map_name"),
]
NO_IDENTIFIERS = [
    *("Metadata_Dose", "CellCount", "Lipid", "Fluid", "Compound_Concentration", "Treatment_time_h"),
    *("Metadata_mmoles_per_liter", "ImageNumber", "Batch", "Grid", "Width", "Sample_count"),
]


@pytest.mark.parametrize("name", IDENTIFIERS)
def test_identifiers_stay_as_they_are_written(name):
    assert is_identifier(name)
    assert typed(name, ["7157", "10", "007"]).tolist() == ["7157", "10", "007"]
    assert typed(name, ["7157", "10"]).tolist() == ["7157", "10"]


@pytest.mark.parametrize("name", NO_IDENTIFIERS)
def test_numbers_by_other_names_are_numbers(name):
    assert not is_identifier(name)
    assert typed(name, ["7157", "10"]).tolist() == [7157, 10]


def test_plates_of_any_type_are_texts_and_other_types_stay():
    frame = pd.DataFrame(
        {
            "Metadata_Plate": [41744, 41745],
            "Metadata_Well": ["A01 ", "A02"],
            "Metadata_Site": [1.0, np.nan],
            "Metadata_Dose": pd.Series([1, None], dtype="Int64"),
            "Metadata_Control": [True, False],
            "Metadata_Day": pd.date_range("2024-01-01", periods=2),
            "Metadata_id": [3, 4],
        }
    )
    found = learn_types(frame).apply(frame)
    assert found["Metadata_Plate"].tolist() == ["41744", "41745"]
    assert found["Metadata_Well"].tolist() == ["A01", "A02"]
    assert found["Metadata_Site"].tolist() == ["1", ""]
    np.testing.assert_array_equal(found["Metadata_Dose"], [1, np.nan])
    for name in ("Metadata_Control", "Metadata_Day", "Metadata_id"):
        pd.testing.assert_series_equal(found[name], frame[name])


@pytest.mark.parametrize(
    "text", ["NA", "nan", "NULL", "None", "none", "N/A", "<NA>", "#N/A", "NaN"]
)
def test_what_says_that_there_is_no_label_is_none_unless_it_is_a_name(text):
    values = ["taxol", text, f" {text} ", "NA@NA", "Nantes", ""]
    frame = pd.DataFrame({"Metadata_Treatment": values})
    types = learn_types(frame)
    assert types.apply(frame)["Metadata_Treatment"].tolist() == [
        "taxol",
        "",
        "",
        "NA@NA",
        "Nantes",
        "",
    ]
    assert types.missing == {"Metadata_Treatment": {text: 2, "": 1}}
    assert types.said_missing(["Metadata_Treatment"]) == f"Metadata_Treatment: {text} (2)"
    kept = learn_types(frame, [text])
    assert kept.apply(frame)["Metadata_Treatment"].tolist() == [
        "taxol",
        text,
        text,
        "NA@NA",
        "Nantes",
        "",
    ]
    assert kept.missing == {"Metadata_Treatment": {"": 1}}
    assert kept.said_missing(["Metadata_Treatment"]) == ""


def test_a_part_of_a_table_has_the_types_of_the_whole():
    frame = pd.DataFrame({"Metadata_Dose": ["1", "2", "high"], "Metadata_Count": ["1", "2", "0.5"]})
    types = learn_types(frame)
    part = types.apply(frame[:2])
    assert part["Metadata_Dose"].tolist() == ["1", "2"]
    assert part["Metadata_Count"].tolist() == [1, 2]
    assert part.index.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("one", "other"), [("7157", "7157.0"), ("0.5", "0.50"), ("0.001", "1e-03"), ("10", "10.")]
)
def test_labels_that_are_one_number_are_one(one, other):
    assert canonical_label(one) == canonical_label(other)


@pytest.mark.parametrize("text", ["007", "1E5", "taxol", "1,5", "", "NA", "12345678901234567890"])
def test_other_labels_stay(text):
    assert canonical_label(text) == text


def test_two_columns_that_mean_the_same_have_to_be_the_same():
    frame = pd.DataFrame({"Well": ["A01"], "Dose": [1], "Image_Metadata_Well": ["A01"]})
    found = metadata_named(frame, "w.csv")
    assert found.to_dict("list") == {"Metadata_Well": ["A01"], "Metadata_Dose": [1]}
    frame["Metadata_Well"] = "B01"
    with pytest.raises(
        TableError, match=r"w.csv has the columns Well and Metadata_Well, which mean"
    ):
        metadata_named(frame, "w.csv")
