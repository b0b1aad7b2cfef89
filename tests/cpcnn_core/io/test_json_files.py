"""JSON is read as json reads it, but for what is nested too deeply; errors name the file."""

import json
import math

import pytest

from cpcnn_core.errors import CPCNNError, JsonError, TableError
from cpcnn_core.io.json_files import DEEPEST, parse_json, read_json
from cpcnn_core.io.profile_files import read_profiles


@pytest.mark.parametrize(
    "text", ["3", '"a"', "null", "[]", "{}", '{"a": [1.5, {"b": [true]}], "c": "[[["}']
)
def test_what_is_read_is_what_json_reads(text):
    assert parse_json(text) == json.loads(text)
    assert parse_json(text.encode()) == json.loads(text)
    assert parse_json(text.encode("utf-16")) == json.loads(text)


def test_numbers_that_json_does_not_have_are_read_as_json_reads_them():
    whatever, infinite = parse_json("[NaN, -Infinity]")
    assert math.isnan(whatever)
    assert infinite == -math.inf


@pytest.mark.parametrize(("start", "end"), [("[", "]"), ('{"a": ', "}")])
def test_how_deep_does_not_depend_on_who_asks(start, end):
    def nested(depth):
        return start * depth + "1" + end * depth

    def asked_from(frames, text):
        return asked_from(frames - 1, text) if frames else parse_json(text)

    assert asked_from(300, nested(DEEPEST)) == json.loads(nested(DEEPEST))
    for depth in (DEEPEST + 1, 500, 990, 100_000):
        for frames in (0, 300):
            with pytest.raises(ValueError, match="nested too deeply, in more than 100 lists"):
                asked_from(frames, nested(depth))


def test_an_error_names_the_file_and_what_is_wrong(tmp_path):
    path = tmp_path / "a.json"
    for content, said in ((b"{", "Expecting"), (b"\xff", "utf-8"), (b"[" * 200, "Expecting")):
        path.write_bytes(content)
        with pytest.raises(JsonError, match=rf"a\.json cannot be read as JSON \(.*{said}"):
            read_json(path)
    path.write_text("[" * 200 + "]" * 200)
    with pytest.raises(CPCNNError, match="nested too deeply"):
        read_json(path)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "b.json")


def test_a_table_that_is_made_by_something_nested_is_refused(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({"Metadata_Well": ["A1"], "CPCNN_000": [0.0]})
    nested = '{"model": ' + "[" * 200 + "]" * 200 + "}"
    parquet.write_table(table.replace_schema_metadata({"cpcnn": nested}), tmp_path / "a.parquet")
    with pytest.raises(TableError, match=r"a\.parquet does not say in JSON.*nested too deeply"):
        read_profiles(tmp_path / "a.parquet")
