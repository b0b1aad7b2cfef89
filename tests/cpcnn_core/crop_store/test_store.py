"""Reading a store: any crops, in any order, and never a damaged one."""

import json
import os
import pickle
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.cli.main import main
from cpcnn_core.crop_store.store import CropPlaces, CropStore, check_store, open_crops
from cpcnn_core.errors import CropStoreError

from .conftest import CHANNELS, CROP_PX, command_for, files_of


def crop_by_hand(folder, row):
    """One crop, by numpy's own reader and the columns that say where it lies."""
    index = pd.read_parquet(folder / "index.parquet").iloc[row]
    crop = np.load(folder / "crops" / index["crop_file"])[index["crop_place"]]
    assert zlib.crc32(crop.tobytes()) == index["crop_crc32"]
    return crop


def test_a_store_says_what_it_holds(store):
    assert store.channels == CHANNELS
    assert store.crop_px == CROP_PX
    assert store.dtype == np.uint8
    assert len(store) == len(store.index) == 28
    assert isinstance(store.index.index, pd.RangeIndex)
    assert list(store.index.columns) == [
        "Metadata_Study",
        "Metadata_Plate",
        "Metadata_Well",
        "Metadata_Site",
        "Metadata_ImageNumber",
        "Metadata_ObjectNumber",
        "Metadata_Location_Center_X",
        "Metadata_Location_Center_Y",
        "Metadata_CropTouchesBorder",
        "Metadata_Treatment",
    ]
    assert set(store.index["Metadata_Study"]) == {"made up"}


def test_any_crops_are_read_in_any_order(stored, store):
    rows = np.random.default_rng(0).integers(0, len(store), 200)
    crops = store.read(rows)
    assert crops.shape == (200, 5, CROP_PX, CROP_PX)
    assert crops.dtype == np.uint8
    for row, crop in zip(rows, crops, strict=True):
        np.testing.assert_array_equal(crop, crop_by_hand(stored, row))


def test_no_crops_are_an_empty_array(store):
    assert store.read([]).shape == (0, 5, CROP_PX, CROP_PX)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([0, 28], "expected crops from 0 to 27, got 0 to 28"),
        ([-1], "expected crops from 0 to 27, got -1 to -1"),
        ([0.5], r"an array \(n,\) of integers, got float64 of shape \(1,\)"),
        ([[0]], r"an array \(n,\) of integers, got int64 of shape \(1, 1\)"),
    ],
)
def test_rows_that_are_not_there_are_refused(store, rows, message):
    with pytest.raises(CropStoreError, match=message):
        store.read(np.array(rows))


def test_a_store_is_read_by_threads_and_by_other_processes_copies(store):
    rows = np.random.default_rng(1).integers(0, len(store), (40, 32))
    expected = store.read(np.arange(len(store)))
    copy = pickle.loads(pickle.dumps(store))
    with ThreadPoolExecutor(8) as pool:
        for mine, crops in zip(rows, pool.map(copy.read, rows), strict=True):
            np.testing.assert_array_equal(crops, expected[mine])


def test_a_column_is_had_as_texts_and_a_misspelt_one_is_named(store):
    assert set(store.column("Metadata_Treatment")) == {"DMSO", "taxol", "nocodazole"}
    assert store.column("Metadata_ObjectNumber")[0] == str(store.index.iloc[0, 5])
    with pytest.raises(CropStoreError, match=r"no column Metadata_Treatmnt \(did you mean Meta"):
        store.column("Metadata_Treatmnt")


# ---- the hash --------------------------------------------------------------------------


def test_the_hash_is_that_of_the_content_wherever_it_lies(stored, store, own_store):
    assert open_crops(own_store).sha256 == store.sha256
    assert len(store.sha256) == 64


def test_the_hash_changes_with_a_treatment_and_with_a_pixel(store, own_store):
    path = own_store / "index.parquet"
    table = pd.read_parquet(path)
    table.loc[3, "Metadata_Treatment"] = "another"
    table.to_parquet(path)
    assert open_crops(own_store).sha256 != store.sha256
    table.loc[3, "Metadata_Treatment"] = store.index.loc[3, "Metadata_Treatment"]
    table.to_parquet(path)
    assert open_crops(own_store).sha256 == store.sha256
    table.loc[3, "crop_crc32"] ^= np.uint32(1)
    table.to_parquet(path)
    assert open_crops(own_store).sha256 != store.sha256


# ---- damage ----------------------------------------------------------------------------


def spoil(path, damage):
    content, before = bytearray(path.read_bytes()), path.stat().st_mtime_ns
    if damage in ("flipped bit", "flipped by the disk"):
        content[-1] ^= 1
    elif damage == "too short":
        content = content[:-7]
    elif damage == "no beginning":
        content[:6] = b"abcdef"
    path.unlink()
    if damage != "missing":
        path.write_bytes(content)
    if damage == "flipped by the disk":
        os.utime(path, ns=(before, before))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("flipped bit", r"1\.npy is damaged: its crop 2 is not what was written .*; run the"),
        ("flipped by the disk", r"1\.npy is damaged: its crop 2 is not what was written"),
        ("too short", r"1\.npy ends before its crop 2; run the same cpcnn crops"),
        ("no beginning", r"1\.npy is damaged: it does not begin as a \.npy file; run the same"),
        ("missing", r"there is no file .*1\.npy; run the same cpcnn crops again"),
    ],
)
def test_a_damaged_file_is_named_and_can_be_made_again(
    own_store, stored, screen, capsys, damage, message
):
    spoil(own_store / "crops" / "P1" / "A01" / "1.npy", damage)
    store = open_crops(own_store)
    first = store.index.query("Metadata_Well == 'A01' and Metadata_Site == '1'").index
    assert len(first) == 3
    with pytest.raises(CropStoreError, match=message):
        store.read(np.array([first[-1], 20]))
    # Nothing else is touched by it.
    others = np.delete(np.arange(len(store)), first)
    np.testing.assert_array_equal(store.read(others), open_crops(stored).read(others))

    assert main(["crops", "--check", str(own_store)]) == 1
    said = capsys.readouterr().out
    assert "28 crops in 8 files; 1 files are damaged" in said
    assert "1.npy" in said
    assert main([*command_for(screen), "--out", str(own_store)]) == 0
    said = capsys.readouterr().out
    assert "8 sites; 1 stored; 7 already done" in said
    for aside in own_store.rglob("*.damaged"):
        assert f"{aside.with_suffix('')} was damaged: it is kept as 1.npy.damaged" in said
        aside.unlink()
    assert ("kept as" in said) == (damage != "missing")
    assert files_of(own_store) == files_of(stored)
    assert main(["crops", "--check", str(own_store)]) == 0
    assert "28 crops in 8 files; all as written" in capsys.readouterr().out


def test_a_file_that_is_too_short_is_made_again_without_being_deleted(own_store, stored, screen):
    spoil(own_store / "crops" / "P2" / "A02" / "2.npy", "too short")
    assert main([*command_for(screen), "--out", str(own_store)]) == 0
    (own_store / "crops" / "P2" / "A02" / "2.npy.damaged").unlink()
    assert files_of(own_store) == files_of(stored)


def test_every_damaged_file_is_found(own_store):
    paths = [own_store / "crops" / "P1" / "A03" / "2.npy", own_store / "crops/P2/A04/1.npy"]
    for path in paths:
        spoil(path, "flipped bit")
    calls = []
    assert list(check_store(open_crops(own_store), lambda: calls.append(1))) == paths
    assert len(calls) == 8


# ---- what is no store ------------------------------------------------------------------


def test_sites_that_were_not_collected_are_no_store_yet(own_store):
    (own_store / "index.parquet").unlink()
    with pytest.raises(CropStoreError, match=r"not collected yet: .* once without --shard"):
        open_crops(own_store)


def test_a_damaged_index_is_named(own_store):
    path = own_store / "index.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CropStoreError, match=r"index\.parquet is damaged .*; delete it and run"):
        open_crops(own_store)
    pd.DataFrame({"Metadata_Plate": ["P1"]}).to_parquet(path)
    with pytest.raises(CropStoreError, match=r"index\.parquet is damaged .*crop_file"):
        open_crops(own_store)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, r"store\.json has format 2, this cpcnn reads 1; upgrade"),
        ({"dtype": "int8"}, r"expected crops of uint8 or uint16, got 'int8'"),
        ({"channels": 5}, r"store\.json cannot be read"),
        ({"um_per_px": 0}, r"store\.json cannot be read: .*micrometres per pixel"),
    ],
)
def test_a_store_of_another_kind_is_refused(own_store, change, message):
    path = own_store / "store.json"
    content = json.loads(path.read_text()) | change
    # As earlier versions wrote it.
    del content["checksum"]
    path.write_text(json.dumps(content))
    with pytest.raises(CropStoreError, match=message):
        open_crops(own_store)


def test_the_hash_tells_the_scale_and_without_one_is_what_it_was():
    # The hash as trainings that began before there were scales keep it in their checkpoints.
    index = pd.DataFrame({"Metadata_Well": ["A01"], "Metadata_ObjectNumber": [7]})
    zero = np.zeros(1, np.int64)
    places = CropPlaces([Path("1.npy")], zero.astype("i4"), zero, zero.astype("u4"), [(0,)], [1])
    plain = CropStore(index, ("DNA",), 4, np.dtype("u1"), places)
    assert plain.sha256 == "175ddbf56e5cbe443e31cc94ec96a869e61906f4fe9660ddfe924de2d69f1d1c"
    scaled = [CropStore(index, ("DNA",), 4, np.dtype("u1"), places, um) for um in (0.65, 0.325)]
    assert len({plain.sha256, *(store.sha256 for store in scaled)}) == 3
