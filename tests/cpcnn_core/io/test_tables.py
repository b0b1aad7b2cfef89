"""Any table is opened by what is in it; what is none is named."""

import gzip
import zipfile

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.errors import TableError
from cpcnn_core.io.columnar import ColumnarTable
from cpcnn_core.io.delimited import DelimitedTable
from cpcnn_core.io.tables import open_table, read_text_table, require_columns, without_empty_end

WRITERS = {
    "csv": lambda frame, path: frame.to_csv(path, index=False),
    "csv.gz": lambda frame, path: frame.to_csv(path, index=False),
    "tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    "txt": lambda frame, path: frame.to_csv(path, index=False, sep="\t", encoding="utf-16"),
    "semicolons.csv": lambda frame, path: frame.to_csv(path, index=False, sep=";"),
    "parquet": lambda frame, path: frame.to_parquet(path),
    "feather": lambda frame, path: frame.to_feather(path),
}


@pytest.fixture
def frame():
    random = np.random.default_rng(0)
    wells = [f"{row}{column:02d}" for row in "AB" for column in range(1, 13)]
    return pd.DataFrame(
        {
            "Well": wells,
            "Treatment": random.choice(["DMSO", "NA", "007", ""], 24),
            "Dose": random.choice([10, 0.1, np.nan], 24),
            "Count": random.integers(0, 100, 24),
        }
    )


@pytest.mark.parametrize("ending", WRITERS)
def test_all_formats_say_the_same(tmp_path, frame, ending):
    path = tmp_path / f"t.{ending}"
    WRITERS[ending](frame, path)
    table = open_table(path)
    assert isinstance(
        table, ColumnarTable if "." + ending in (".parquet", ".feather") else DelimitedTable
    )
    assert table.columns == list(frame)
    texts = table.texts(["Well", "Treatment", "Count"])
    pd.testing.assert_frame_equal(
        texts, frame[["Well", "Treatment", "Count"]].astype(str).astype(object)
    )
    np.testing.assert_array_equal(table.numbers(["Dose", "Count"]), frame[["Dose", "Count"]])
    [(texts, numbers)] = table.parts(["Treatment"], ["Dose"])
    assert texts["Treatment"].tolist() == frame["Treatment"].tolist()
    np.testing.assert_array_equal(numbers[:, 0], frame["Dose"])


@pytest.mark.parametrize("ending", WRITERS)
def test_the_name_of_a_file_does_not_matter(tmp_path, frame, ending):
    WRITERS[ending](frame, tmp_path / f"t.{ending}")
    other = (tmp_path / f"t.{ending}").rename(tmp_path / "platemap")
    assert read_text_table(other)["Well"].tolist() == frame["Well"].tolist()


def test_empty_rows_at_the_end_are_left_out_and_others_stay(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("Well,Dose\nA01,1\n,\nA02,2\n,\n,\n")
    assert read_text_table(path).to_numpy().tolist() == [["A01", "1"], ["", ""], ["A02", "2"]]
    empty = pd.DataFrame({"Well": ["", ""]})
    assert len(without_empty_end(empty)) == 0


def test_a_column_that_has_to_be_there_is_named_beside_those_that_are(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("Well,Dose\nA01,1\n")
    assert len(read_text_table(path, ["Dose", "Well"])) == 1
    with pytest.raises(TableError, match=r"t.csv has no column Plate or Site; it has: Well, Dose$"):
        read_text_table(path, ["Plate", "Well", "Site"])
    path.write_text(",".join(f"F{n}" for n in range(40)) + "\n")
    with pytest.raises(TableError, match=r"F29, \.\.\.$"):
        require_columns(open_table(path), ["Well"])


def _zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/workbook.xml", "x")


STRANGERS = {
    "an Excel workbook or another zip file": _zip,
    "an Excel workbook; save it as CSV": lambda path: path.write_bytes(
        bytes.fromhex("d0cf11e0a1b11ae1") * 9
    ),
    "an HDF5 file": lambda path: pytest.importorskip("h5py").File(path, "w").close(),
    "an SQLite database": lambda path: path.write_bytes(b"SQLite format 3\0" + bytes(99)),
    "a PDF": lambda path: path.write_bytes(b"%PDF-1.7\n"),
    "compressed with Zstandard": lambda path: path.write_bytes(
        bytes.fromhex("28b52ffd") + b"x" * 9
    ),
    "zero bytes": lambda path: path.write_bytes(gzip.compress(b"II*\0\0\0\0\0" * 50)),
    "is empty": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("what", STRANGERS)
@pytest.mark.parametrize("name", ["t.csv", "t.txt", "t"])
def test_what_is_no_table_is_named(tmp_path, what, name):
    STRANGERS[what](tmp_path / name)
    with pytest.raises(TableError, match=rf"{name} .*{what}"):
        open_table(tmp_path / name)


@pytest.mark.parametrize("name", ["t.parquet", "t.feather", "T.Parquet"])
def test_text_by_the_name_of_another_format_is_refused(tmp_path, name):
    (tmp_path / name).write_text("Well,Dose\nA01,1\n")
    with pytest.raises(TableError, match=f"{name} cannot be read as a table: by its name it is"):
        open_table(tmp_path / name)


def test_no_file_is_one_line(tmp_path):
    for path in (tmp_path / "nowhere.csv", tmp_path):
        with pytest.raises(TableError, match="there is no table"):
            open_table(path)


def test_a_header_within_the_table_is_told(tmp_path):
    path = tmp_path / "load_data.csv"
    path.write_text(
        "Metadata_Well,FileName_DNA\nA01,a.tif\nMetadata_Well,FileName_DNA\nA02,b.tif\n"
    )
    with pytest.raises(TableError, match=r"load_data.csv has its header again in row 2, as where"):
        read_text_table(path)
