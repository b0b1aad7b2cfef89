"""Formats are told apart by their first bytes, and every one is read by the function it names."""

import pkgutil

import numpy as np
import pandas as pd
import pytest
import scipy.io
from PIL import Image

from cpcnn_core.io.formats import FORMATS, START_BYTES, first_bytes, format_of


def test_no_format_is_taken_for_another_and_the_bytes_that_are_read_tell_all():
    begins = [start for known in FORMATS for start in known.begins]
    for start in begins:
        assert len(start) <= START_BYTES
        assert [other for other in begins if start.startswith(other)] == [start]
    endings = [ending for known in FORMATS for ending in known.endings]
    assert len(set(endings)) == len(endings)


def test_every_reader_is_a_function_and_what_has_none_says_what_to_do():
    for known in FORMATS:
        if known.reader:
            assert callable(pkgutil.resolve_name(known.reader)), known.name
        else:
            assert known.no_table, known.name


def write_image(path):
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(path)


@pytest.mark.parametrize(
    ("name", "file", "write"),
    [
        *((kind, f"a.{kind.lower()}", write_image) for kind in ("TIFF", "PNG", "JPEG", "GIF")),
        ("BMP", "a.bmp", write_image),
        ("PPM", "a.pgm", write_image),
        ("JPEG2000", "a.jp2", write_image),
        ("NumPy", "a.npy", lambda path: np.save(path, np.zeros(3))),
        ("MATLAB", "a.mat", lambda path: scipy.io.savemat(path, {"Image": np.ones((2, 2))})),
        ("parquet", "a.parquet", lambda path: pd.DataFrame({"a": [1]}).to_parquet(path)),
        ("feather", "a.feather", lambda path: pd.DataFrame({"a": [1]}).to_feather(path)),
        ("stranger", "a.zip", lambda path: pd.DataFrame({"a": [1]}).to_csv(path)),
    ],
)
def test_what_another_library_writes_is_known_by_its_first_bytes(tmp_path, name, file, write):
    write(tmp_path / file)
    assert format_of(first_bytes(tmp_path / file)).name == name


def test_a_table_of_text_begins_with_nothing_of_its_own(tmp_path):
    (tmp_path / "a.csv").write_text("Well,Site\nA01,1\n")
    assert format_of(first_bytes(tmp_path / "a.csv")) is None
