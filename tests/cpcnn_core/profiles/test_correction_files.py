"""Files of corrections: what is damaged is named in one sentence, whatever the damage."""

import contextlib
import dataclasses
import hashlib
import io
import json
import struct
import zipfile

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.correction import METHODS, Correction, fit_correction
from cpcnn_core.profiles.correction_files import read_correction, wells_digest
from cpcnn_core.profiles.correction_steps import PlateScaling, PrincipalComponents, Sphering
from cpcnn_core.schema.profiles import Profiles

NAMES = [f"Cells_CPCNN_{n:03d}" for n in range(5)]


@pytest.fixture
def wells():
    metadata = pd.DataFrame({"Metadata_Plate": ["P1"] * 12 + ["P2"] * 12})
    return Profiles(np.random.default_rng(0).normal(size=(24, 5)), metadata, NAMES)


@pytest.fixture
def save(wells, tmp_path):
    def write(method="sphering", **settings):
        correction = fit_correction(wells, np.ones(24, bool), method, **settings)
        path = tmp_path / f"{method}.npz"
        return path, correction.save(path, correction.transform(wells))

    return write


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewrite(path, parts, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


def npy(array):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=True)
    return stream.getvalue()


def npy_with_header(**changes):
    header = {"descr": "<f8", "fortran_order": False, "shape": (5,), **changes}
    text = f"{header!r:<117}\n".encode()
    magic = np.lib.format.magic(1, 0) + struct.pack("<H", len(text))
    return magic + text + np.zeros(5).tobytes()


def refusal(path):
    with pytest.raises(ProfileError) as caught:
        Correction.load(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    return text


@pytest.mark.parametrize("method", METHODS)
def test_it_says_its_own_hash_and_that_of_its_wells(save, wells, method):
    path, sha256 = save(method)
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    read = read_correction(path)
    assert read.sha256 == sha256
    assert read.table == wells_digest(read.correction.transform(wells))


def test_the_same_correction_gives_the_same_bytes(save):
    assert save()[1] == save()[1]


def test_files_of_earlier_versions_say_nothing_of_their_wells(save):
    path, _ = save()
    parts = members(path)
    about = json.loads(np.load(io.BytesIO(parts["about.npy"])).tobytes())
    del about["table"]
    parts["about.npy"] = npy(np.frombuffer(json.dumps(about).encode(), np.uint8))
    rewrite(path, parts)
    assert read_correction(path).table == ""


def test_the_digest_is_of_values_and_names_only(wells):
    whole = wells_digest(wells)
    rows, columns = np.random.default_rng(1).permutation(24), [3, 1, 0, 4, 2]
    mixed = wells.select(rows)
    mixed = dataclasses.replace(
        mixed,
        features=mixed.features[:, columns].astype(np.float32),
        feature_names=[NAMES[n] for n in columns],
        metadata=mixed.metadata.assign(Metadata_Note="x"),
    )
    assert wells_digest(mixed) == whole
    assert wells_digest(wells.select(np.arange(23))) != whole
    other = wells.features.copy()
    other[3, 2] = np.nextafter(np.float32(other[3, 2]), np.float32(9))
    assert wells_digest(dataclasses.replace(wells, features=other)) != whole
    named = dataclasses.replace(wells, feature_names=[*NAMES[:4], "Cells_CPCNN_005"])
    assert wells_digest(named) != whole
    # Columns that change their places with their names' values do not.
    swapped = dataclasses.replace(wells, feature_names=[NAMES[1], NAMES[0], *NAMES[2:]])
    assert wells_digest(swapped) != whole


def about_with(path, **changes):
    parts = members(path)
    about = json.loads(np.load(io.BytesIO(parts["about.npy"])).tobytes())
    about |= changes
    for name in [name for name, value in changes.items() if value is ...]:
        del about[name]
    text = json.dumps({name: value for name, value in about.items() if value is not ...})
    parts["about.npy"] = npy(np.frombuffer(text.encode(), np.uint8))
    rewrite(path, parts)


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "zca"},
        {"method": 3},
        {"method": None},
        {"method": ["sphering"]},
        {"method": "plate-mad"},
        {"method": ...},
        {"steps": ["Sphering", "Sphering"]},
        {"steps": ["Popen"]},
        {"steps": [["Sphering"]]},
        {"steps": "Sphering"},
        {"steps": []},
        {"steps": ...},
        {"feature_names": NAMES[:4]},
        {"feature_names": [*NAMES, "Cells_CPCNN_005"]},
        {"feature_names": [*NAMES[:4], NAMES[0]]},
        {"feature_names": [*NAMES[:4], 4]},
        {"feature_names": []},
        {"feature_names": "abcde"},
        {"feature_names": ...},
        {"settings": {"lambda": "much"}},
        {"settings": {"lambda": float("nan")}},
        {"settings": {"lambda": float("inf")}},
        {"settings": {"lambda": True}},
        {"settings": {"lambda": None}},
        {"settings": {"other": [1, 2]}},
        {"settings": [["lambda", 0.1]]},
        {"settings": ...},
        {"table": 7},
        {"cpcnn_correction": "1"},
        {"cpcnn_correction": 0},
        {"cpcnn_correction": ...},
    ],
)
def test_a_description_that_cannot_be_is_refused(save, changes):
    path, _ = save()
    about_with(path, **changes)
    assert "is not a correction that cpcnn wrote, or it is damaged" in refusal(path)


@pytest.mark.parametrize("text", [b"", b"[1, 2]", b"{", b"\xff\xfe", b"[" * 100_000, b"null"])
def test_a_description_that_is_none_is_refused(save, text):
    path, _ = save()
    rewrite(path, members(path) | {"about.npy": npy(np.frombuffer(text, np.uint8))})
    refusal(path)


def test_a_file_of_a_newer_version_says_so(save):
    path, _ = save()
    about_with(path, cpcnn_correction=2)
    assert "has format 2, this cpcnn reads 1; upgrade with: pip install --upgrade" in refusal(path)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("mean", np.zeros(4)),
        ("mean", np.zeros((5, 1))),
        ("mean", np.float64(0)),
        ("mean", np.array([0, 0, 0, 0, np.nan])),
        ("mean", np.array([0, 0, 0, 0, np.inf])),
        ("mean", np.zeros(5, int)),
        ("mean", np.zeros(5, complex)),
        ("mean", np.array(["1"] * 5)),
        ("mean", np.array([None] * 5)),
        ("mean", np.zeros(0)),
        ("mean", np.zeros(5, [("x", "f8")])),
        ("eigenvalues", np.array([-1.0, 0, 0, 0, 1])),
        ("eigenvectors", np.zeros((5, 4))),
        ("eigenvectors", np.zeros(25)),
        ("eigenvectors", np.eye(5) * [1, 1, 1, 1, 1.001]),
        ("eigenvectors", np.eye(5) * [1, 1, 1, 1, 1e300]),
        ("regularization", np.float64(0)),
        ("regularization", np.float64(-1)),
        ("regularization", np.float64(np.nan)),
        ("regularization", np.float64(np.inf)),
        ("regularization", np.array([0.1, 0.2])),
        ("regularization", np.array("much")),
    ],
)
def test_arrays_that_cannot_be_are_refused(save, name, array):
    path, _ = save()
    rewrite(path, members(path) | {f"0.{name}.npy": npy(array)})
    refusal(path)


@pytest.mark.parametrize(
    ("method", "name", "array"),
    [
        ("plate-mad", "0.plates", np.array(["P1", "P1"])),
        ("plate-mad", "0.plates", np.array(["P1"])),
        ("plate-mad", "0.plates", np.array([1, 2])),
        ("plate-mad", "0.plates", np.array(["?1", "P1"])),
        ("plate-mad", "0.used", np.zeros(5, bool)),
        ("plate-mad", "0.used", np.ones(4, bool)),
        ("plate-mad", "0.used", np.ones(5)),
        ("plate-mad", "0.scales", np.zeros((2, 5))),
        ("plate-mad", "0.scales", np.full((2, 5), np.nan)),
        ("plate-mad", "0.centers", np.full((2, 5), np.nan)),
        ("centred-sphering", "1.mean", np.zeros(4)),
        ("pca-mad", "0.components", np.eye(5)[:3]),
        ("pca-mad", "0.components", np.eye(5) * 2),
        ("pca-mad", "0.components", np.zeros((0, 5))),
        ("pca-mad", "0.scale", np.zeros(5)),
        ("pca-mad", "1.used", np.ones(4, bool)),
    ],
)
def test_steps_that_do_not_follow_each_other_are_refused(save, method, name, array):
    path, _ = save(method)
    assert f"{name}.npy" in members(path)
    # A letter that there is none of.
    data = npy(array).replace("?".encode("utf-32-le"), b"\xff\xff\xff\x7f")
    rewrite(path, members(path) | {f"{name}.npy": data})
    refusal(path)


@pytest.mark.parametrize(
    "header",
    [
        {"shape": (10**15,)},
        {"shape": (10**9, 10**9)},
        {"shape": (2**63,)},
        {"shape": (-5,)},
        {"shape": (4,)},
        {"shape": (0,)},
        {"shape": 5},
        {"shape": (5.0,)},
        {"descr": "|O"},
        {"descr": "<f99"},
        {"descr": "|V8"},
        {"descr": "|S0"},
        {"descr": [("x", "<f8")]},
        {"fortran_order": 1},
        {"extra": 1},
    ],
)
def test_headers_that_claim_what_is_not_there_are_refused(save, header):
    path, _ = save()
    rewrite(path, members(path) | {"0.mean.npy": npy_with_header(**header)})
    refusal(path)


def test_nothing_is_unpacked_that_is_larger_than_the_file(save):
    path, _ = save()
    parts = members(path)
    rewrite(path, parts | {"0.mean.npy": npy(np.zeros(10**7))}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10**6
    assert "its parts are compressed or encrypted" in refusal(path)
    # Sizes in the directory that the file does not have.
    rewrite(path, parts)
    data = bytearray(path.read_bytes())
    place = data.rindex(b"PK\x01\x02")
    data[place + 20 : place + 28] = struct.pack("<LL", 2**32 - 2, 2**32 - 2)
    path.write_bytes(data)
    refusal(path)


@pytest.mark.parametrize("name", ["about", "0.mean", "0.regularization"])
def test_missing_parts_are_refused(save, name):
    path, _ = save()
    parts = members(path)
    del parts[f"{name}.npy"]
    rewrite(path, parts)
    refusal(path)


@pytest.mark.parametrize("method", METHODS)
def test_damage_of_any_kind_is_one_sentence(save, method):
    path, _ = save(method)
    whole, random = path.read_bytes(), np.random.default_rng(5)
    for kind in range(60):
        data = bytearray(whole)
        if kind % 3 == 0:
            del data[random.integers(len(data)) :]
        elif kind % 3 == 1:
            for place in random.integers(0, len(data), random.integers(1, 9)):
                data[place] = random.integers(256)
        else:
            start = random.integers(len(data))
            data[start : start + random.integers(1, 400)] = random.bytes(random.integers(0, 400))
        path.write_bytes(data)
        # Entries that are not read, e.g. a date, may be anything.
        with contextlib.suppress(ProfileError):
            assert Correction.load(path).method == method


def test_steps_are_checked_wherever_they_come_from():
    eye = np.eye(2)
    with pytest.raises(ProfileError, match=r"expected eigenvectors of shape \(2, 2\)"):
        Sphering(np.zeros(2), np.ones(2), np.eye(3), 0.1)
    with pytest.raises(ProfileError, match="expected eigenvalues from 0, got -1"):
        Sphering(np.zeros(2), np.array([-1.0, 1]), eye, 0.1)
    with pytest.raises(ProfileError, match="expected scales above 0"):
        PrincipalComponents(np.zeros(2), np.zeros(2), eye)
    with pytest.raises(ProfileError, match="expected the names of different plates"):
        PlateScaling(np.array(["a", "a"]), eye, eye, np.ones(2, bool))
    sphering = Sphering(np.zeros(2), np.ones(2), eye, 0.1)
    with pytest.raises(ProfileError, match="expected 3 features, Sphering has 2"):
        Correction("sphering", ["a", "b", "c"], [sphering])
    with pytest.raises(ProfileError, match="expected every feature once"):
        Correction("none", ["a", "a"], [])
