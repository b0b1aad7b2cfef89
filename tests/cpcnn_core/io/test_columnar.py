"""Parquet and Feather tables: the same values whatever types they are kept as."""

import datetime as dt
import decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

from cpcnn_core.errors import TableError
from cpcnn_core.io.columnar import ColumnarTable
from cpcnn_core.io.tables import open_table

FORMATS = ("parquet", "feather")


def kept(folder, columns, ending="parquet", **how):
    table = columns if isinstance(columns, pa.Table) else pa.table(columns)
    path = folder / f"t.{ending}"
    if ending == "parquet":
        parquet.write_table(table, path, **how)
    else:
        feather.write_feather(table, path, **how)
    return open_table(path)


# What a column is kept as, its texts, and its numbers.
KINDS = {
    "text": (pa.array(["a", None, " 010 "]), ["a", "", "010"], None),
    "numbers as text": (pa.array(["1.50", None, "NA"]), ["1.50", "", "NA"], [1.5, np.nan, np.nan]),
    "large text": (pa.array(["1", "2", None], pa.large_string()), ["1", "2", ""], [1, 2, np.nan]),
    "categories": (pa.array(["1", None, "1"]).dictionary_encode(), ["1", "", "1"], [1, np.nan, 1]),
    "int64": (pa.array([7157, None, -1]), ["7157", "", "-1"], [7157, np.nan, -1]),
    "uint8": (pa.array([0, 255, None], pa.uint8()), ["0", "255", ""], [0, 255, np.nan]),
    "float64": (pa.array([10.0, 0.1, None]), ["10", "0.1", ""], [10, 0.1, np.nan]),
    "float32": (pa.array([10, 0.1, None], pa.float32()), ["10", "0.1", ""], None),
    "float16": (pa.array(np.array([1, 0.5, 2], "f2")), ["1", "0.5", "2"], [1, 0.5, 2]),
    "endless": (
        pa.array([np.inf, -np.inf, np.nan]),
        ["inf", "-inf", ""],
        [np.inf, -np.inf, np.nan],
    ),
    "decimal": (pa.array([decimal.Decimal("1.50"), None]), ["1.5", ""], [1.5, np.nan]),
    "truth": (pa.array([True, None, False]), ["True", "", "False"], [1, np.nan, 0]),
    "nothing": (pa.nulls(2), ["", ""], [np.nan, np.nan]),
    "numbers as categories": (
        pa.array([2.5, None, 3]).dictionary_encode(),
        ["2.5", "", "3"],
        [2.5, np.nan, 3],
    ),
}


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_type_as_texts_and_as_numbers(tmp_path, ending, kind):
    values, texts, numbers = KINDS[kind]
    if ending == "feather" and pa.types.is_null(values.type):
        pytest.skip("Feather does not keep such a column")
    table = kept(tmp_path, {"Metadata_X": values}, ending)
    assert table.texts()["Metadata_X"].tolist() == texts
    if numbers is not None:
        np.testing.assert_array_equal(table.numbers(["Metadata_X"])["Metadata_X"], numbers)
        parts = list(table.parts(["Metadata_X"], ["Metadata_X"], 1))
        assert [len(found) for found, _ in parts] == [1] * len(texts)
        np.testing.assert_array_equal(np.concatenate([found for _, found in parts])[:, 0], numbers)


@pytest.mark.parametrize("ending", FORMATS)
def test_features_of_single_precision_stay_so(tmp_path, ending):
    values = np.random.default_rng(0).normal(size=(1000, 3)).astype(np.float32)
    names = ["Cells_A", "Cells_B.1", "Cells_C"]
    columns = dict(zip(names, values.T, strict=True)) | {"Well": ["A01"] * 1000}
    table = kept(tmp_path, columns, ending)
    asked = ["Cells_C", "Cells_B.1"]
    for rows in (1, 7, 999, 5000):
        parts = list(table.parts(["Well"], asked, rows))
        assert max(len(texts) for texts, _ in parts) <= rows
        found = np.concatenate([numbers for _, numbers in parts])
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, values[:, [2, 1]])
        texts = pd.concat([texts for texts, _ in parts])
        assert texts["Well"].tolist() == ["A01"] * 1000
        assert texts.index.tolist() == list(range(1000))
    assert table.numbers(asked).dtypes.tolist() == [np.float32] * 2


def test_values_are_those_of_pandas(tmp_path):
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "Plate": random.choice(["P1", "P2"], 50),
            "Dose": random.choice([0.1, 1, np.nan], 50),
            "Count": random.integers(0, 9, 50),
            "Control": random.choice([True, False], 50),
            "Day": pd.date_range("2024-01-01", periods=50),
            "Batch": pd.Categorical(random.choice(["a", "b"], 50)),
        }
    )
    frame.to_parquet(tmp_path / "t.parquet")
    found = pd.concat([v for v, _ in open_table(tmp_path / "t.parquet").parts(list(frame), [])])
    pd.testing.assert_frame_equal(found, frame, check_dtype=False, check_categorical=False)
    for name in frame:
        assert found[name].dtype.kind == pd.read_parquet(tmp_path / "t.parquet")[name].dtype.kind


@pytest.mark.parametrize("index", [None, "Metadata_Well", ["Metadata_Plate", "Metadata_Well"]])
def test_an_index_of_pandas_is_columns_but_for_numbers_of_rows(tmp_path, index):
    wells = ["A01", "A02", "A03"]
    frame = pd.DataFrame({"Metadata_Plate": "P1", "Metadata_Well": wells, "Cells_A": 1.0})
    frame = frame[::-1] if index is None else frame.set_index(index)
    frame.to_parquet(tmp_path / "t.parquet")
    table = open_table(tmp_path / "t.parquet")
    assert sorted(table.columns) == ["Cells_A", "Metadata_Plate", "Metadata_Well"]
    assert sorted(table.texts(["Metadata_Well"])["Metadata_Well"]) == wells


def test_a_folder_called_like_a_column_is_none(tmp_path):
    (tmp_path / "Plate=P9").mkdir()
    table = kept(tmp_path / "Plate=P9", {"Well": ["A01"]})
    assert table.columns == ["Well"]
    assert table.texts().to_numpy().tolist() == [["A01"]]


def test_names_without_space_and_which_are_numbers(tmp_path):
    table = kept(tmp_path, {" Well ": ["A01"], "Dose": [1], "Name": pa.array(["1"])})
    assert table.columns == ["Well", "Dose", "Name"]
    assert table.numeric_columns() == ["Dose"]
    assert table.texts(["Well", "Dose"]).to_numpy().tolist() == [["A01", "1"]]


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize(
    ("values", "message"),
    [
        (pa.array([[1, 2], [3]]), "has values of type list.* in the column X"),
        (pa.array([b"a", b"b"]), "has values of type binary in the column X"),
        (pa.array([{"a": 1}, {"a": 2}]), "has values of type struct.* in the column X"),
    ],
)
def test_values_that_are_no_texts_are_refused(tmp_path, ending, values, message):
    table = kept(tmp_path, {"X": values}, ending)
    with pytest.raises(TableError, match=message):
        table.texts()
    with pytest.raises(TableError, match=message):
        list(table.parts(["X"], []))
    with pytest.raises(TableError, match=message):
        table.numbers(["X"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["1", "2", "1,5"], "has '1,5' in row 3 of the column X; .*not a comma"),
        (["1", "high", "2"], "has 'high' in row 2 of the column X"),
        ([dt.date(2024, 1, 1)] * 3, "has date32.* in the column X; expected numbers"),
    ],
)
def test_what_is_no_number_is_named(tmp_path, values, message):
    table = kept(tmp_path, {"X": values})
    with pytest.raises(TableError, match=message):
        table.numbers(["X"])
    with pytest.raises(TableError, match=message):
        list(table.parts([], ["X"], 1))


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("how", ["cut", "turned"])
def test_damage_is_one_line(tmp_path, ending, how):
    path = kept(tmp_path, {"X": np.arange(5000.0)}, ending).path
    data = bytearray(path.read_bytes())
    if how == "cut":
        data = data[: len(data) // 2]
    else:
        data[-10:-6] = bytes(255 - byte for byte in data[-10:-6])
    path.write_bytes(data)
    with pytest.raises(TableError, match=rf"{path.name} cannot be read as a table"):
        open_table(path).numbers(["X"])


def test_columns_that_are_not_there_or_twice_are_named(tmp_path):
    table = kept(tmp_path, {"X": [1]})
    for ask in (table.texts, table.numbers, lambda names: list(table.parts(names, []))):
        with pytest.raises(TableError, match=r"t.parquet has no column Y"):
            ask(["Y"])
    with pytest.raises(TableError, match=r"has a column twice: X"):
        kept(tmp_path, pa.table([[1], [2]], names=["X", "X "]))


def test_no_rows_are_no_parts(tmp_path):
    table = kept(tmp_path, {"X": pa.array([], pa.float64())})
    assert isinstance(table, ColumnarTable)
    assert list(table.parts([], ["X"])) == []
    assert table.texts().shape == table.numbers(["X"]).shape == (0, 1)


def test_a_parquet_table_that_claims_more_than_its_file_can_hold_is_refused(tmp_path):
    path, rows = tmp_path / "t.parquet", 2**17
    zeros = pa.array(np.zeros(rows, np.float32))
    parquet.write_table(pa.table({f"f{place}": zeros for place in range(520)}), path)
    assert path.stat().st_size < 2**21
    with pytest.raises(TableError, match=r"t\.parquet .* its table would take 545259520 bytes"):
        open_table(path)
