"""A site's file: whole, or refused by name, however it was damaged."""

import random

import numpy as np
import pytest

from cpcnn_core.errors import SiteError
from cpcnn_core.io.deepprofiler_npz import (
    SiteTable,
    read_description,
    read_site,
    write_site,
)

NUMBERS = np.array([3, 4, 9])
TABLE = SiteTable(
    np.random.default_rng(0).random((3, 5), np.float32),
    {"Plate": "P1", "Well": "A01", "Site": "1"},
    np.array([[1.5, 2.0], [3.0, 4.0], [5.0, 6.25]]),
    NUMBERS,
    NUMBERS > 3,
    {"model": "tiny"},
    7,
    {"images": {"DNA": {"file": "/1.tif", "pixels": "ab"}}, "objects": []},
)


def test_a_site_is_read_back_as_it_was_written(tmp_path):
    path = tmp_path / "1.npz"
    write_site(path, TABLE, 10**18 + 7)
    assert path.stat().st_mtime_ns == 10**18 + 7
    found = read_site(path)
    for name in ("features", "locations", "object_numbers", "touches_border"):
        np.testing.assert_array_equal(getattr(found, name), getattr(TABLE, name))
    for name in ("metadata", "provenance", "image_number", "inputs"):
        assert getattr(found, name) == getattr(TABLE, name)
    own, numbers, locations = read_description(path)
    assert own["inputs"] == TABLE.inputs
    np.testing.assert_array_equal(numbers, NUMBERS)
    np.testing.assert_array_equal(locations, TABLE.locations)


def test_equal_tables_give_equal_bytes_whenever_they_are_written(tmp_path):
    for name, moment in (("a", None), ("b", 10**18)):
        write_site(tmp_path / f"{name}.npz", TABLE, moment)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_files_that_say_nothing_of_their_inputs_are_read(tmp_path):
    path = tmp_path / "1.npz"
    write_site(path, TABLE)
    members = dict(np.load(path, allow_pickle=True))
    own = members["cpcnn"].tobytes().replace(b'"inputs"', b'"images"')
    np.savez(path, **{**members, "cpcnn": np.frombuffer(own, np.uint8)})
    assert read_site(path).inputs == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("features", np.zeros((2, 5), np.float32)),
        ("features", np.zeros((3, 5))),
        ("features", np.zeros(3, np.float32)),
        ("object_numbers", np.zeros((3, 1), int)),
        ("object_numbers", np.array(["1", "2", "3"])),
        ("locations", np.zeros(3)),
        ("locations", np.zeros((3, 1))),
        ("locations", np.zeros((4, 2))),
        ("touches_border", np.zeros(2, bool)),
        ("cpcnn", np.frombuffer(b"[1]", np.uint8)),
        ("cpcnn", np.frombuffer(b'{"format": 1}', np.uint8)),
        ("cpcnn", np.frombuffer(b'{"format": 9}', np.uint8)),
    ],
)
def test_members_that_do_not_fit_are_refused(tmp_path, name, value):
    path = tmp_path / "1.npz"
    write_site(path, TABLE)
    members = dict(np.load(path, allow_pickle=True))
    np.savez(path, **{**members, name: value})
    with pytest.raises(SiteError, match=r"1\.npz"):
        read_site(path)


def test_no_damage_ends_in_anything_but_a_sentence_or_the_whole_truth(tmp_path):
    path = tmp_path / "1.npz"
    write_site(path, TABLE)
    whole, draw = path.read_bytes(), random.Random(5)
    refused = []
    for _ in range(400):
        path.write_bytes(damaged(whole, draw))
        for read in (read_site, read_description):
            try:
                found = read(path)
            except SiteError as error:
                refused.append(str(error))
                continue
            if read is read_site:
                np.testing.assert_array_equal(found.features, TABLE.features)
                np.testing.assert_array_equal(found.object_numbers, NUMBERS)
    assert len(refused) > 400
    assert all(str(path) in text for text in refused)


def damaged(whole, draw):
    data, place = bytearray(whole), draw.randrange(len(whole))
    kind = draw.randrange(4)
    if kind == 0:
        return data[:place]
    if kind == 1:
        for _ in range(draw.choice((1, 2, 20))):
            data[draw.randrange(len(data))] = draw.randrange(256)
    elif kind == 2:
        del data[place : place + draw.randrange(1, 200)]
    else:
        data[place:place] = draw.randbytes(draw.randrange(1, 50))
    return data
