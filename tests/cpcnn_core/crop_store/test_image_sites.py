"""Crops in a store are those of `crop_cells`, floored: cell by cell, and the reference's own."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from cpcnn_core import crop_cells
from cpcnn_core.cli.main import main
from cpcnn_core.crop_store.image_sites import quantize
from cpcnn_core.crop_store.store import open_crops

from .conftest import CHANNELS, CROP_PX, command_for

DATA = Path(__file__).parents[2] / "data"
EXPORT = Path(__file__).parents[4] / "shared" / "fixtures" / "crops" / "expected_export.npz"


def table_of(screen):
    return pd.read_csv(screen / "load_data.csv", dtype=str)


def image_of(screen, row):
    return np.stack([np.asarray(Image.open(screen / row[f"FileName_{c}"])) for c in CHANNELS])


def labels_of(screen, row):
    key = "_".join(row[f"Metadata_{name}"] for name in ("Plate", "Well", "Site"))
    return np.asarray(Image.open(screen / "labels" / f"{key}.tif"))


def centers_of(labels):
    """Mean positions, object by object, in the slow and obvious way."""
    numbers = [number for number in range(1, labels.max() + 1) if (labels == number).any()]
    return numbers, np.array([np.argwhere(labels == number).mean(axis=0) for number in numbers])


@pytest.mark.parametrize(("dtype", "top"), [("uint8", 255), ("uint16", 65535)])
def test_every_crop_of_a_screen_is_that_of_crop_cells_floored(screen, tmp_path, dtype, top):
    assert main([*command_for(screen), "--dtype", dtype, "--out", str(tmp_path / "o")]) == 0
    store = open_crops(tmp_path / "o")
    assert store.dtype == dtype
    crops, row_of_crop = store.read(np.arange(len(store))), 0
    for _, row in table_of(screen).iterrows():
        numbers, centers = centers_of(labels_of(screen, row))
        expected = crop_cells(image_of(screen, row), centers, crop_px=CROP_PX)
        for number, center, crop in zip(numbers, centers, expected, strict=True):
            known = store.index.iloc[row_of_crop]
            np.testing.assert_array_equal(crops[row_of_crop], np.floor(crop * np.float32(top)))
            assert known["Metadata_ObjectNumber"] == number
            assert tuple(known[["Metadata_Plate", "Metadata_Well", "Metadata_Site"]]) == tuple(
                row[["Metadata_Plate", "Metadata_Well", "Metadata_Site"]]
            )
            assert known["Metadata_Location_Center_Y"] == pytest.approx(center[0], abs=1e-12)
            assert known["Metadata_Location_Center_X"] == pytest.approx(center[1], abs=1e-12)
            row_of_crop += 1
    assert row_of_crop == len(store)


def test_masked_crops_are_those_that_embed_would_mask(screen, tmp_path):
    command = [*command_for(screen), "--mask", "--out", str(tmp_path / "o")]
    assert main(command) == 0
    store = open_crops(tmp_path / "o")
    expected = []
    for _, row in table_of(screen).iterrows():
        labels = labels_of(screen, row)
        numbers, centers = centers_of(labels)
        how = {"crop_px": CROP_PX, "labels": labels, "label_ids": np.array(numbers)}
        expected.append(crop_cells(image_of(screen, row), centers, **how))
    floored = np.floor(np.concatenate(expected) * np.float32(255))
    np.testing.assert_array_equal(store.read(np.arange(len(store))), floored)


@pytest.mark.filterwarnings("ignore::cpcnn_core.errors.CropWarning")
def test_a_site_of_many_cells_is_cut_in_parts(screen, tmp_path):
    random = np.random.default_rng(4)
    first = table_of(screen).head(1)
    first.to_csv(tmp_path / "load_data.csv", index=False)
    place = tmp_path / "locations" / first["Metadata_Plate"][0]
    place.mkdir(parents=True)
    centers = random.uniform(-5, 85, (150, 2))
    names = ["Nuclei_Location_Center_X", "Nuclei_Location_Center_Y"]
    table = pd.DataFrame(centers[:, ::-1], columns=names)
    table.to_csv(place / f"{first['Metadata_Well'][0]}-1-Nuclei.csv", index=False)
    command = ["crops", "--load-data", str(tmp_path / "load_data.csv"), "--crop-px", "16"]
    command += ["--locations", str(tmp_path / "locations"), "--out", str(tmp_path / "o")]
    assert main(command) == 0
    store = open_crops(tmp_path / "o")
    expected = crop_cells(image_of(screen, first.iloc[0]), centers, crop_px=16)
    np.testing.assert_array_equal(store.read(np.arange(150)), np.floor(expected * np.float32(255)))


def test_channels_are_taken_by_name_in_the_order_given(screen, stored, tmp_path):
    command = [*command_for(screen), "--channels", "Mito", "Nucleus=DNA", "--out", str(tmp_path)]
    assert main(command) == 0
    store, all_five = open_crops(tmp_path), open_crops(stored)
    assert store.channels == ("Mito", "Nucleus")
    rows = np.arange(len(store))
    np.testing.assert_array_equal(store.read(rows), all_five.read(rows)[:, [4, 0]])


@pytest.mark.filterwarnings("ignore::cpcnn_core.errors.CropWarning")
def test_the_sites_of_a_deepprofiler_project_are_the_references_crops_floored(tmp_path):
    project = DATA / "deepprofiler_project"
    assert main(["crops", "--deepprofiler", str(project), "--out", str(tmp_path / "o")]) == 0
    store = open_crops(tmp_path / "o")
    assert (store.channels, store.crop_px, store.dtype) == (CHANNELS, 128, np.uint8)
    expected = []
    for site in ("1", "2"):
        images = project / "inputs" / "images" / "P1"
        planes = [tifffile.imread(images / f"A01_s{site}_{channel}.tif") for channel in CHANNELS]
        with (project / "inputs" / "locations" / "P1" / f"A01-{site}-Nuclei.csv").open() as file:
            rows = [[float(value) for value in row[:2]] for row in list(csv.reader(file))[1:]]
        expected += [crop_cells(np.stack(planes), np.array([[y, x]]))[0] for x, y in rows]
    floored = np.floor(np.stack(expected) * np.float32(255))
    np.testing.assert_array_equal(store.read(np.arange(len(store))), floored)
    theirs = np.load(DATA / "crops" / "expected.npz")["crops"].transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(store.read(np.arange(14)), np.floor(theirs * np.float32(255)))
    assert set(store.column("Metadata_Treatment")) == {"DMSO@0"}
    # What a box outside the image is warned about goes into the log.
    assert "boxes lie completely outside" in (tmp_path / "o" / "crops.jsonl").read_text()


@pytest.mark.filterwarnings("ignore::cpcnn_core.errors.CropWarning")
def test_a_project_with_masks_gives_the_references_masked_crops_floored(tmp_path):
    project = shutil.copytree(DATA / "deepprofiler_project", tmp_path / "project")
    config = project / "inputs" / "config" / "profile.json"
    text = config.read_text().replace('"mask_objects": false', '"mask_objects": true')
    config.write_text(text)
    metadata = project / "inputs" / "metadata"
    index = pd.read_csv(metadata / "index.csv", dtype=str).head(1)
    index.to_csv(metadata / "index.csv", index=False)
    (project / "inputs" / "outlines").mkdir()
    outlines = np.load(DATA / "crops" / "image.npz")["outlines"]
    Image.fromarray(outlines).save(project / "inputs" / "outlines" / "o.png")
    table = index[["Metadata_Plate", "Metadata_Well", "Metadata_Site"]].assign(Outlines="o.png")
    table.to_csv(metadata / "outlines.csv", index=False)
    assert main(["crops", "--deepprofiler", str(project), "--out", str(tmp_path / "o")]) == 0
    masked = np.load(DATA / "crops" / "expected_masked.npz")["crops"].transpose(0, 3, 1, 2)
    stored = open_crops(tmp_path / "o").read(np.arange(14))
    np.testing.assert_array_equal(stored, np.floor(masked * np.float32(255)))


def test_stored_values_are_those_of_the_references_own_crops_and_strips():
    crops = np.load(DATA / "crops" / "expected.npz")["crops"].transpose(0, 3, 1, 2)
    stored = quantize(crops.copy(), "uint8")
    np.testing.assert_array_equal(stored, np.floor(crops * np.float32(255)))
    if not EXPORT.is_file():
        pytest.skip("the reference's exported strips are not on this machine")
    strips = np.load(EXPORT)["strip_no_mask"]
    assert strips.shape == (14, 128, 5 * 128)
    for cell, strip in zip(stored, strips, strict=True):
        np.testing.assert_array_equal(np.concatenate(list(cell), axis=1), strip)
