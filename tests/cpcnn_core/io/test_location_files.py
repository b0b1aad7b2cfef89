"""DeepProfiler's location files, as it writes them and as others do."""

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.errors import SiteError
from cpcnn_core.io.deepprofiler import read_locations

X, Y = "Nuclei_Location_Center_X", "Nuclei_Location_Center_Y"


def locations(tmp_path, frame, **how):
    path = tmp_path / "A01-1-Nuclei.csv"
    pd.DataFrame(frame).to_csv(path, **{"index": False, **how})
    return read_locations(path)


def test_positions_come_from_their_names_whatever_stands_before_them(tmp_path):
    found = locations(
        tmp_path, {"Nuclei_ObjectNumber": [4, 9], "Area": [7.5, 8.0], Y: [2, 3.25], X: [5.5, 6]}
    )
    assert found.centers.tolist() == [[2.0, 5.5], [3.25, 6.0]]
    assert found.numbers.tolist() == [4, 9]
    # x and y first, as programs take them that know no names.
    assert found.locations.tolist() == [[5.5, 2.0, 4.0, 7.5], [6.0, 3.25, 9.0, 8.0]]


@pytest.mark.parametrize(
    ("number", "x", "y"),
    [
        ("ObjectNumber", "Location_Center_X", "Location_Center_Y"),
        ("Number_Object_Number", "AreaShape_Center_X", "AreaShape_Center_Y"),
        ("Nuclei_Number_Object_Number", "Nuclei_AreaShape_Center_X", "Nuclei_AreaShape_Center_Y"),
    ],
)
def test_columns_as_cellprofiler_calls_them(tmp_path, number, x, y):
    found = locations(tmp_path, {number: [3, 1], y: [1.5, 2], x: [8, 9]})
    assert (found.centers.tolist(), found.numbers.tolist()) == ([[1.5, 8], [2, 9]], [3, 1])


def test_the_reference_s_own_file_is_stored_as_it_stores_it(tmp_path):
    frame = pd.DataFrame({X: [5, 6], Y: [2, 3], "Orientation": [0, 1]})
    found = locations(tmp_path, frame)
    np.testing.assert_array_equal(found.locations, frame.to_numpy())
    assert found.locations.dtype == np.int64
    assert found.numbers.tolist() == [1, 2]
    assert locations(tmp_path, frame + 0.5).locations.dtype == np.float64


@pytest.mark.parametrize("how", [{"sep": "\t"}, {"sep": ";"}, {"encoding": "utf-16"}, {}])
def test_texts_beside_the_positions_and_an_index_of_pandas(tmp_path, how):
    found = locations(tmp_path, {"Plate": ["P", "P"], X: [5, 6], Y: [2, 3]}, index=True, **how)
    assert found.centers.tolist() == [[2, 5], [3, 6]]
    assert found.locations.tolist() == [[5, 2], [6, 3]]


def test_an_object_without_a_centre_is_named_and_costs_no_other(tmp_path):
    found = locations(tmp_path, {"ObjectNumber": [1, 2, 3], X: [5, np.nan, 6], Y: [2, 4, 3]})
    assert (found.numbers.tolist(), found.centers.tolist()) == ([1, 3], [[2, 5], [3, 6]])
    assert found.notes == ("an object has no centre in A01-1-Nuclei.csv, so no features: 2",)


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        ({X: [1]}, f"has no column {X} or {Y}; it has: {X}"),
        ({X: [1, 2], Y: [1, "inf"]}, "has an infinite position in row 2"),
        (
            {"ObjectNumber": [1, 1], X: [1, 2], Y: [1, 2]},
            "has the object 1 twice in its column Obj",
        ),
        (
            {"ObjectNumber": [1, 1.5], X: [1, 2], Y: [1, 2]},
            "no whole number in row 2 of the column",
        ),
        ({"ObjectNumber": [1, "b"], X: [1, 2], Y: [1, 2]}, "has texts in its column ObjectNumber"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, frame, sentence):
    with pytest.raises(SiteError, match=sentence):
        locations(tmp_path, frame)
