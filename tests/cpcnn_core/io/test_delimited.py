"""Tables of text: as pandas reads them, whatever they are separated by and packed in."""

import bz2
import gzip
import io
import lzma

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.errors import TableError
from cpcnn_core.io import delimited
from cpcnn_core.io.delimited import DelimitedTable

NUMBERS = ["Area", "Intensity"]


@pytest.fixture
def frame():
    random = np.random.default_rng(0)
    odd = [
        "DMSO",
        "5 µM taxol",
        'a "quoted" name',
        "x, y; z",
        "NA",
        "007",
        "",
        "two\nlines",
        "1.50",
    ]
    return pd.DataFrame(
        {
            "Metadata_Well": [f"{row}{column:02d}" for row in "ABC" for column in range(1, 13)],
            "Treatment": random.choice(odd, 36),
            "Area": [repr(value) for value in random.normal(size=36).tolist()],
            "Intensity": [f"{value:.3e}" for value in random.lognormal(size=36)],
        }
    )


def written(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return DelimitedTable(path)


def check(table, frame):
    """Compare with what was written, and with pandas' own parser."""
    again = pd.read_csv(io.StringIO(frame.to_csv(index=False)), dtype=str, keep_default_na=False)
    assert table.columns == list(frame.columns)
    expected = again.map(str.strip)
    pd.testing.assert_frame_equal(table.texts(), expected)
    pd.testing.assert_frame_equal(table.texts(["Treatment"]), expected[["Treatment"]])
    pd.testing.assert_frame_equal(table.numbers(NUMBERS), expected[NUMBERS].astype(float))


PACKED = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "gzip in two": lambda data: gzip.compress(data[:100]) + gzip.compress(data[100:]),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_any_delimiter_encoding_and_compression(tmp_path, frame, delimiter, packed, encoding):
    data = frame.to_csv(index=False, sep=delimiter).encode(encoding)
    check(written(tmp_path / "t.any", PACKED[packed](data)), frame)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_end_of_a_line(tmp_path, frame, end):
    frame["Treatment"] = frame["Treatment"].str.replace("\n", " ")
    text = frame.to_csv(index=False, lineterminator=end)
    check(written(tmp_path / "t.csv", text), frame)
    check(written(tmp_path / "t.csv", text.rstrip()), frame)


def with_lines(frame, change):
    frame["Treatment"] = frame["Treatment"].str.replace("\n", " ")
    return "\n".join(change(frame.to_csv(index=False).splitlines())) + "\n"


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: [lines[0], *(f"{line}," for line in lines[1:])],
        lambda lines: [f"{line}," for line in lines],
        lambda lines: [f"{line},,," for line in lines],
        lambda lines: [f"{lines[0]},", *lines[1:]],
        lambda lines: [*lines, ",,,", ",,,"],
        lambda lines: [*lines, ",", ",,,,,,,", "  "],
        lambda lines: ["", "", *lines],
        lambda lines: [lines[0], "", *lines[1:]],
        lambda lines: ["sep=,", *lines],
        lambda lines: [lines[0].replace(",", " , "), *lines[1:]],
        lambda lines: [f",{lines[0]}", *(f"{n},{line}" for n, line in enumerate(lines[1:]))],
    ],
    ids=[
        *("more commas in rows", "commas everywhere", "three commas everywhere", "in the header"),
        *("empty rows", "empty rows of other lengths", "blank lines first", "blank line second"),
        *("Excel's first line", "spaces in the header", "row numbers of pandas"),
    ],
)
def test_what_spreadsheets_leave_changes_nothing(tmp_path, frame, change):
    table = written(tmp_path / "t.csv", with_lines(frame, change))
    frame = frame.map(str.strip)
    found = table.texts()
    found = found[(found != "").any(axis=1)]
    pd.testing.assert_frame_equal(found.reset_index(drop=True), frame)


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_spaces_around_values_are_none_of_theirs(tmp_path, delimiter):
    text = f"Well {delimiter} Dose\n A01 {delimiter}  1.5 \nA02{delimiter} NA\n"
    table = written(tmp_path / "t.csv", text)
    assert table.texts().to_numpy().tolist() == [["A01", "1.5"], ["A02", "NA"]]
    np.testing.assert_array_equal(table.numbers(["Dose"])["Dose"], [1.5, np.nan])


def test_the_rows_tell_what_parts_a_header_that_does_not(tmp_path):
    table = written(tmp_path / "t.csv", "Well;Treatment, dose\nA01;taxol\nA02;DMSO\n")
    assert table.columns == ["Well", "Treatment, dose"]
    table = written(tmp_path / "t.csv", "Well\tName; dose, unit\nA01\ttaxol\n")
    assert table.columns == ["Well", "Name; dose, unit"]
    with pytest.raises(TableError, match="may be separated by"):
        written(tmp_path / "t.csv", "a,b;c\n1,2;3\n")


def test_two_header_rows_of_cellprofiler_become_one(tmp_path):
    text = "Image,Image,Nuclei,Cells\nImageNumber,Metadata_Well,Area,Area\n1,A01,5,6\n"
    table = written(tmp_path / "t.csv", text)
    assert table.columns == ["ImageNumber", "Metadata_Well", "Nuclei_Area", "Cells_Area"]
    assert table.texts().to_numpy().tolist() == [["1", "A01", "5", "6"]]


@pytest.mark.parametrize(
    "text", ["NA", "", "nan", "-nan(ind)", "NAN", "#N/A", "null", "None", " nan ", "nAn"]
)
def test_what_is_missing_is_nan_among_numbers_and_itself_among_texts(tmp_path, text):
    table = written(tmp_path / "t.csv", f"Well,Area\nA01,1.25\nA02,{text}\nA03,-inf\nA04,+2\n")
    np.testing.assert_array_equal(table.numbers(["Area"])["Area"], [1.25, np.nan, -np.inf, 2])
    assert table.texts(["Area"])["Area"][1] == text.strip()


@pytest.mark.parametrize("bytes_at_a_time", [1 << 12, 1 << 14, 1 << 24])
def test_parts_are_the_whole(tmp_path, frame, monkeypatch, bytes_at_a_time):
    monkeypatch.setattr(delimited, "BLOCK_BYTES", bytes_at_a_time)
    frame = pd.concat([frame] * 50, ignore_index=True)
    table = written(tmp_path / "t.csv", frame.to_csv(index=False))
    parts = list(table.parts(["Treatment"], NUMBERS))
    assert (len(parts) > 1) == (bytes_at_a_time < 1 << 20)
    texts = pd.concat([texts for texts, _ in parts])
    pd.testing.assert_frame_equal(texts, frame[["Treatment"]])
    values = np.concatenate([numbers for _, numbers in parts])
    np.testing.assert_array_equal(values, frame[NUMBERS].astype(float))
    frame.loc[1500, "Area"] = "many"
    table = written(tmp_path / "t.csv", frame.to_csv(index=False))
    with pytest.raises(TableError, match=r"t.csv has 'many' in row 1501 of the column Area"):
        table.numbers(NUMBERS)


def test_a_table_without_rows_has_its_columns(tmp_path):
    for text in ("Well,Area", "Well,Area\n", "Well,Area,\n\n\n"):
        table = written(tmp_path / "t.csv", text)
        assert table.columns == ["Well", "Area"]
        assert table.texts().shape == table.numbers(["Well", "Area"]).shape == (0, 2)
        assert list(table.parts(["Well"], ["Area"])) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty; expected a table with a header"),
        (" \n\n", "is empty"),
        (",,,\n,,\n", "is empty"),
        (
            "Well,Area\nA01,1\nA02\n",
            "fewer values in line 3 .*: 1, expected 2; the file may be cut",
        ),
        ("Well,Area\nA01,1\nA02,1,2\n", "more values in line 3 than in its header: 3, expected 2"),
        ("Well,Area\nA01,1,9\nA02,1,9\n", "has '9' in row 1 of its column 3, which has no name"),
        ("Well,Area\n1,A01,5\n2,A02,6\n", "has '5' in row 1 of its column 3, which has no name"),
        (",Area\nA01,1\n", "has 'A01' in row 1 of its column 1, which has no name"),
        ("Well,Area,Area\nA01,1,2\n", "has twice the column Area"),
        ('Well,Area\nA01,1\nA02,"2\nA03,3\n', "has a quotation mark that no other closes"),
        (
            "Well,Area\nA01,µ\n".encode("latin-1"),
            "not in UTF-8 .line 2 has the byte 0xb5.; save it",
        ),
        ("Well,Area\nA01,1\n".encode("utf-16-le"), "there are zero bytes in it"),
        (gzip.compress(b"Well,Area\nA01,1\n" * 50, mtime=0)[:40], "cannot be read as a CSV table"),
        (lzma.compress(b"Well,Area\nA01,1\n" * 50)[:50], "cannot be read as a CSV table"),
        (bz2.compress(b"Well,Area\nA01,1\n" * 50)[:50], "cannot be read as a CSV table"),
        ("x" * 200_000 + "\n1\n", "t.csv cannot be read as a CSV table: field larger than"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, content, message):
    with pytest.raises(TableError, match=message):
        written(tmp_path / "t.csv", content).texts()


def test_a_column_that_is_not_there_is_named(tmp_path):
    table = written(tmp_path / "t.csv", "Well,Area\nA01,1\n")
    with pytest.raises(TableError, match=r"t.csv has no column Dose"):
        table.texts(["Dose"])
    with pytest.raises(TableError, match=r"t.csv has no column Dose"):
        table.numbers(["Dose"])
