"""States and hashes of files: what proves that nothing changed, and what does not."""

import contextlib
import os
from pathlib import Path

import numpy as np
import pytest

from cpcnn_core.errors import CPCNNError, SiteError
from cpcnn_core.io.sites import ImageFile, Objects, Site
from cpcnn_core.screen.examination import Record, examine, is_record
from cpcnn_core.screen.fingerprint import (
    file_state,
    image_state,
    is_as_recorded,
    labels_hash,
    listed,
    may_be_as_recorded,
    pixels_changed,
    plane_hash,
)

SECOND = 10**9
OLD = {"file": "/1.tif", "size": 9, "mtime_ns": 50 * SECOND, "ctime_ns": 50 * SECOND}


def test_a_state_is_what_the_system_says_of_a_file(tmp_path):
    path = tmp_path / "a" / ".." / "1.tif"
    (tmp_path / "a").mkdir()
    path.write_bytes(b"12345")
    stat = path.stat()
    assert file_state(path) == {
        "file": str(tmp_path / "1.tif"),
        "size": 5,
        "mtime_ns": stat.st_mtime_ns,
        "ctime_ns": stat.st_ctime_ns,
    }
    assert file_state(tmp_path / "none.tif") == {"file": str(tmp_path / "none.tif")}
    assert file_state(None) == {"file": ""}
    assert file_state(Path("a\0b"))["file"].endswith("a\0b")


def test_a_row_that_names_no_file_has_the_state_of_none():
    image = ImageFile(Path("/1.tif"), error="there is no file name in row 1")
    assert image_state(image) == {"file": ""}


@pytest.mark.parametrize(
    ("mtime", "ctime", "settled"),
    [
        (50, 50, True),
        (97, 97, True),
        (50, 98.5, False),
        (98.5, 50, False),
        # Written after it was looked at, by the clock of a server that is ahead.
        (103, 50, False),
        # Or with a camera's mistaken year: no change of the file would give it this time.
        (10**9, 50, True),
    ],
)
def test_a_file_that_is_younger_than_the_step_of_its_times_proves_nothing(mtime, ctime, settled):
    state = {**OLD, "mtime_ns": int(mtime * SECOND), "ctime_ns": int(ctime * SECOND)}
    assert is_as_recorded(state, {**state, "pixels": "ab"}, 100 * SECOND) is settled


@pytest.mark.parametrize("name", ["file", "size", "mtime_ns", "ctime_ns", "page", "illumination"])
def test_every_part_of_a_state_counts(name):
    other = {**OLD, name: {"file": "x"} if name == "illumination" else 1}
    assert is_as_recorded(OLD, OLD, 100 * SECOND)
    assert not is_as_recorded(other, OLD, 100 * SECOND)
    assert not is_as_recorded(OLD, other, 100 * SECOND)


def test_an_illumination_function_that_is_young_or_gone_proves_nothing():
    young = {**OLD, "illumination": {**OLD, "ctime_ns": 99 * SECOND}}
    gone = {**OLD, "illumination": {"file": "/illum.npy"}}
    fine = {**OLD, "illumination": {**OLD, "file": "/illum.npy"}}
    assert [is_as_recorded(s, s, 100 * SECOND) for s in (young, gone, fine)] == [False, False, True]
    assert may_be_as_recorded(gone, fine)
    assert not may_be_as_recorded(OLD, fine)
    assert not may_be_as_recorded({**fine, "illumination": {**OLD, "size": 3}}, fine)


@pytest.mark.parametrize("kind", ["u1", "u2", ">u2", "i4", "i8", "f4", "f8", ">f4"])
def test_the_same_values_have_the_same_hash_in_any_type_and_order(kind):
    values = np.random.default_rng(0).integers(0, 200, (7, 11))
    expected = plane_hash(values.astype("u2"))
    assert plane_hash(values.astype(kind)) == expected
    assert plane_hash(np.asfortranarray(values.astype(kind))) == expected
    assert plane_hash(values.astype(kind)[:, ::-1][:, ::-1]) == expected


def test_any_other_value_or_place_has_another_hash():
    random = np.random.default_rng(1)
    whole = random.integers(0, 4000, (6, 8))
    planes = [whole, whole.T, whole.reshape(8, 6), whole[::-1], whole + 65536, -whole, whole / 3]
    for place in range(whole.size):
        changed = whole.copy()
        changed.flat[place] += 1
        planes.append(changed)
        # The smallest step of a corrected image counts.
        corrected = (whole / 3).astype("f4")
        corrected.flat[place] = np.nextafter(corrected.flat[place], np.float32(9999))
        planes.append(corrected)
    hashes = [plane_hash(plane) for plane in planes]
    assert len(set(hashes)) == len(hashes)


@pytest.mark.parametrize("values", [[np.nan, 1], [np.inf, 1], [-1.0, 1e30], [65535.5, 0]])
def test_values_that_no_camera_gives_can_be_hashed(values):
    plane = np.array([values])
    assert plane_hash(plane) == plane_hash(plane.copy())
    assert plane_hash(plane) != plane_hash(np.nan_to_num(plane).clip(0, 65535).astype("u2"))


def test_labels_are_hashed_whatever_their_type():
    labels = np.random.default_rng(2).integers(0, 200, (9, 9))
    assert len({labels_hash(labels.astype(kind)) for kind in ("u1", "u2", "i4", "i8")}) == 1
    labels[3, 3] += 1
    assert labels_hash(labels) != labels_hash(labels - np.eye(9, dtype=int))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"DNA": {"pixels": "x"}}, "the pixels of DNA changed"),
        ({"DNA": {"pixels": "x", "size": 1}}, "the pixels of DNA changed"),
        ({"ER": {"pixels": "x", "file": "/b.tif"}}, "ER is another image"),
        ({"ER": {"file": "/b.tif"}}, ""),
        ({"ER": {"pixels": "x", "page": 1}}, "ER is another image"),
        ({"ER": {"pixels": "x", "series": 1}}, "ER is another image"),
        (
            {"ER": {"pixels": "x", "illumination": {"file": "/i.npy"}}},
            "the illumination function of ER changed",
        ),
        (
            {"ER": {"pixels": "x", "illumination": {"file": "/i.npy"}, "size": 1}},
            "the pixels of ER changed",
        ),
        (
            {
                "DNA": {"pixels": "x"},
                "ER": {"pixels": "x", "file": "/b"},
                "RNA": {"pixels": "y", "file": "/c"},
            },
            "the pixels of DNA changed, and ER and RNA are other images",
        ),
    ],
)
def test_what_changed_is_said(changes, said):
    before = {name: {**OLD, "pixels": name} for name in ("DNA", "ER", "RNA")}
    now = {name: {**state, **changes.get(name, {})} for name, state in before.items()}
    assert pixels_changed(now, before) == said


def test_names_become_a_sentence():
    assert listed([]) == ""
    assert listed(["a", "b"]) == "a and b"


# ---- decisions -------------------------------------------------------------------------------


def test_what_is_no_record_is_none():
    good = {"images": {"DNA": {"file": "/1", "pixels": "ab"}}, "objects": [{"file": "/2"}]}
    assert is_record(good)
    for bad in (
        None,
        {},
        [],
        {"images": {}, "objects": {}},
        {"images": {"DNA": {"file": "/1"}}, "objects": []},
        {"images": {"DNA": None}, "objects": []},
        {**good, "objects": ["/2"]},
    ):
        assert not is_record(bad)


def look(site, record, *channels):
    found = examine(site, channels or ["DNA"], record)
    with contextlib.suppress(CPCNNError):
        found.decide()
    return found


def site_of(path, objects, *files):
    key = {"Plate": "P", "Well": "A", "Site": "1"}
    return Site(key, {"DNA": ImageFile(path)}, objects, object_files=lambda: files)


def two_objects():
    return Objects(np.array([[5.0, 5.0], [7.0, 8.0]]), np.array([1, 4]))


def no_objects():
    raise SiteError("nobody knows where the objects are")


def record_of(site, numbers=(1, 4), places=((5.0, 5.0), (8.0, 7.0))):
    """What a site's file says that was made three seconds after the youngest of its inputs."""
    states = [image_state(site.images["DNA"]), *map(file_state, site.object_files())]
    inputs = {"images": {"DNA": {**states[0], "pixels": "ab"}}, "objects": states[1:]}
    moment = max(state["ctime_ns"] for state in states) + 3 * SECOND
    return Record(inputs, np.array(numbers), np.array(places), 0, moment)


def test_nothing_is_read_where_states_prove_it(tmp_path):
    """The image is none, so reading it would fail."""
    path = tmp_path / "1.tif"
    path.write_bytes(b"no image")
    site = site_of(path, two_objects)
    record = record_of(site)
    found = look(site, record)
    assert (found.state, found.doubted, found.outdated) == ("already done", False, False)
    assert found.inputs == record.inputs
    os.utime(path, (5, 5))
    found = look(site, record)
    assert (found.state, found.doubted, found.may_stand) == ("to do", True, False)


def test_what_cannot_be_reached_may_be_what_it_was(tmp_path):
    path = tmp_path / "images" / "1.tif"
    path.parent.mkdir()
    path.write_bytes(b"no image")
    site = site_of(path, two_objects)
    record = record_of(site)
    path.unlink()
    assert look(site, record).may_stand
    path.parent.rmdir()
    assert look(site, record).may_stand
    assert not look(site, record, "DNA", "ER").may_stand
    assert not look(site, "an earlier cpcnn made it").may_stand
    assert not look(site_of(tmp_path / "other.tif", two_objects), record).may_stand
    # Objects that are known to be others now, or that nobody knows of.
    assert not look(site, record_of(site_of(tmp_path, two_objects), numbers=(1, 5))).may_stand
    assert not look(site_of(path, no_objects), record).may_stand


def test_objects_that_cannot_be_read_may_be_what_they_were_where_their_file_is_not_there(tmp_path):
    image, labels = tmp_path / "1.tif", tmp_path / "labels" / "1.tif"
    labels.parent.mkdir()
    image.write_bytes(b"no image")
    labels.write_bytes(b"no labels")
    site = site_of(image, no_objects, labels)
    record = record_of(site)
    assert look(site, record).state == "already done"
    labels.write_bytes(b"other labels")
    assert not look(site, record).may_stand
    labels.unlink()
    assert look(site, record).may_stand
    assert look(site_of(image, no_objects), record).may_stand
    # A file that is missing among others was removed; an empty folder is a disk that is not there.
    gone = site_of(image, lambda: None)
    found = look(gone, record)
    assert (found.state, found.may_stand) == ("to do", True)
    (labels.parent / "2.tif").write_bytes(b"labels")
    found = look(gone, record)
    assert (found.state, found.may_stand, found.spoilt) == ("no locations", False, True)


@pytest.mark.parametrize(
    ("numbers", "places", "redone"),
    [
        ((1, 4), ((5, 5), (8, 7)), ""),
        ((1, 4), ((5, 5 + 9e-7), (8, 7)), ""),
        ((1, 4), ((5, 5 + 2e-6), (8, 7)), "its objects moved"),
        ((1, 4), ((8, 7), (5, 5)), "its objects moved"),
        ((4, 1), ((5, 5), (8, 7)), "its objects are in another order"),
        ((1, 5), ((5, 5), (8, 7)), "it has other objects"),
        ((1,), ((5, 5),), "it has other objects"),
    ],
)
def test_objects_are_compared_one_by_one(tmp_path, numbers, places, redone):
    path = tmp_path / "1.tif"
    path.write_bytes(b"no image")
    site = site_of(path, two_objects)
    found = look(site, record_of(site, numbers, places))
    assert found.redone == redone
    assert found.state == ("to do" if redone else "already done")
    if not redone:
        assert found.outdated is (places[0] != (5, 5))
    # The same where only two columns were kept of more.
    more = Objects(*two_objects()[:2], locations=np.array([[5.0, 5, 1], [8, 7, 2]]))
    assert look(site_of(path, lambda: more), record_of(site, numbers, places)).redone == redone
