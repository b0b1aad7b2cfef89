"""Single cells as DeepProfiler exports them become the same store."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cpcnn_core.cli.main import main
from cpcnn_core.crop_store.store import open_crops

CHANNELS = ("Hoechst", "Actin", "Mito")
PX = 20
EXPORT = Path(__file__).parents[4] / "shared" / "fixtures" / "crops" / "expected_export.npz"
SITES = {("P1", "A01", "1"): 4, ("P1", "B02", "3"): 2, ("P-2", "A01", "1"): 3}


def export(folder, *, masks, seed=0):
    """Write what `export-sc` writes, pixel by pixel; return crops and masks.

    Every channel is stretched to 0..1 by itself, channels are laid side by side, the mask
    after them, and the strip goes to 0..255, floored: docs/method.md#single-cell-export.
    """
    random = np.random.default_rng(seed)
    rows, crops, marks = [], [], []
    for (plate, well, site), count in SITES.items():
        treatment = {"A01": "DMSO@0", "B02": "drug@5"}[well]
        target = ["DMSO@0", "drug@5"].index(treatment)
        key = f"{plate}/{well}-{site}".replace("-", "/")
        for _ in range(count):
            x, y = int(random.integers(0, 90)), float(random.uniform(0, 90))
            image = random.integers(100, 5000, (len(CHANNELS), PX, PX))
            mask = random.random((PX, PX)) < 0.6
            blocks = len(CHANNELS) + masks
            strip = np.zeros((PX, blocks * PX), np.uint8)
            for c, plane in enumerate(image):
                for i in range(PX):
                    for j in range(PX):
                        stretched = (plane[i, j] - plane.min()) / (plane.max() - plane.min())
                        strip[i, c * PX + j] = int(stretched * 255)
            if masks:
                for i in range(PX):
                    for j in range(PX):
                        strip[i, len(CHANNELS) * PX + j] = 255 * int(mask[i, j])
            name = f"{key}/{target}@{x}x{y}.png"
            (folder / key).mkdir(parents=True, exist_ok=True)
            Image.fromarray(strip).save(folder / name)
            rows.append((x, y, key, target, treatment, 0, name))
            planes = [strip[:, c * PX : (c + 1) * PX] for c in range(len(CHANNELS))]
            crops.append(np.stack(planes))
            marks.append(mask)
    names = ["Nuclei_Location_Center_X", "Nuclei_Location_Center_Y", "Key", "Target"]
    table = pd.DataFrame(rows, columns=[*names, "Treatment", "Split", "Image_Name"])
    table.to_csv(folder / "sc-metadata.csv", index=True, index_label="index")
    return table, np.stack(crops), np.stack(marks)


def command_for(folder, out, *more):
    return ["crops", "--strips", str(folder), "--channels", *CHANNELS, *more, "--out", str(out)]


@pytest.mark.parametrize("masks", [False, True])
def test_exported_strips_read_back_equal(tmp_path, masks):
    table, crops, _ = export(tmp_path / "sc", masks=masks)
    assert main(command_for(tmp_path / "sc", tmp_path / "out")) == 0
    store = open_crops(tmp_path / "out")
    assert (store.channels, store.crop_px, store.dtype) == (CHANNELS, PX, np.uint8)
    np.testing.assert_array_equal(store.read(np.arange(9)), crops)
    keys = [key for key, count in SITES.items() for _ in range(count)]
    found = store.index[["Metadata_Plate", "Metadata_Well", "Metadata_Site"]]
    assert list(found.itertuples(index=False, name=None)) == keys
    assert store.index["Metadata_ObjectNumber"].tolist() == [1, 2, 3, 4, 1, 2, 1, 2, 3]
    for axis in "XY":
        own = table[f"Nuclei_Location_Center_{axis}"].to_numpy(float)
        np.testing.assert_array_equal(store.index[f"Metadata_Location_Center_{axis}"], own)
    assert store.column("Metadata_Treatment").tolist() == table["Treatment"].tolist()
    assert store.column("Metadata_Target").tolist() == table["Target"].astype(str).tolist()
    assert store.column("Metadata_Image_Name").tolist() == table["Image_Name"].tolist()
    assert not {"Metadata_Key", "Metadata_index"} & set(store.index.columns)


def test_masks_are_multiplied_in_when_asked_for(tmp_path):
    _, crops, marks = export(tmp_path / "sc", masks=True)
    assert main(command_for(tmp_path / "sc", tmp_path / "out", "--multiply-mask")) == 0
    masked = open_crops(tmp_path / "out").read(np.arange(9))
    np.testing.assert_array_equal(masked, np.where(marks[:, None], crops, 0))


@pytest.mark.skipif(not EXPORT.is_file(), reason="the reference's strips are not on this machine")
@pytest.mark.parametrize("multiply", [False, True])
def test_the_references_own_strips_are_read_as_the_reference_reads_them(tmp_path, multiply):
    expected = np.load(EXPORT)
    folder = tmp_path / "sc" / "P1" / "A01" / "1"
    folder.mkdir(parents=True)
    rows = []
    for number, strip in enumerate(expected["strip_with_mask"]):
        Image.fromarray(strip).save(folder / f"{number}.png")
        rows.append((number, 0, "P1/A01/1", f"P1/A01/1/{number}.png"))
    names = ["Nuclei_Location_Center_X", "Nuclei_Location_Center_Y", "Key", "Image_Name"]
    pd.DataFrame(rows, columns=names).to_csv(tmp_path / "sc" / "sc-metadata.csv", index=False)
    command = ["crops", "--strips", str(tmp_path / "sc"), "--out", str(tmp_path / "out")]
    assert main([*command, *(["--multiply-mask"] if multiply else [])]) == 0
    read = open_crops(tmp_path / "out").read(np.arange(4)) / np.float32(255)
    folded = expected["fold_masked" if multiply else "fold_last5"].transpose(0, 3, 1, 2)
    np.testing.assert_allclose(read, folded, rtol=0, atol=1e-7)


def test_a_cell_whose_crop_was_empty_has_a_row_but_no_strip(tmp_path):
    table, crops, _ = export(tmp_path / "sc", masks=False)
    (tmp_path / "sc" / table["Image_Name"][1]).unlink()
    out = tmp_path / "out"
    assert main(command_for(tmp_path / "sc", out)) == 0
    store = open_crops(out)
    np.testing.assert_array_equal(store.read(np.arange(8)), np.delete(crops, 1, axis=0))
    assert store.index["Metadata_ObjectNumber"].tolist() == [1, 3, 4, 1, 2, 1, 2, 3]
    names = table["Image_Name"].drop(1).tolist()
    assert store.column("Metadata_Image_Name").tolist() == names
    assert "1 of 4 cells have no strip, the first" in (out / "crops.jsonl").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--crop-px", "24"], "is 20 x 60 uint8; expected 24 x 72 uint8 for 3 channels"),
        (["--channels", "A", "B"], "has 3 blocks for 2 channels, and the last is no mask"),
        (["--channels", "A"], "is 20 x 60 uint8; expected 20 x 20 uint8 for 1 channels (A)"),
        (["--multiply-mask"], "has no mask to multiply with: it is 60 wide, not 80; leave out"),
    ],
)
def test_strips_of_another_shape_are_refused(tmp_path, capsys, options, message):
    export(tmp_path / "sc", masks=False)
    assert main([*command_for(tmp_path / "sc", tmp_path / "out"), *options]) == 1
    said = capsys.readouterr()
    assert message in said.out
    assert "3 sites; 3 failed" in said.out
    assert "there are no crops in" in said.err


def test_a_damaged_strip_fails_its_site_by_name(tmp_path, capsys):
    table, _, _ = export(tmp_path / "sc", masks=False)
    path = tmp_path / "sc" / table["Image_Name"][5]
    path.write_bytes(path.read_bytes()[:200])
    assert main(command_for(tmp_path / "sc", tmp_path / "out")) == 1
    said = capsys.readouterr().out
    assert "3 sites; 2 stored; 1 failed" in said
    assert f"P1/B02/3: failed {path} cannot be read to its end" in said


def test_a_site_without_strips_and_a_folder_without_any_are_named(tmp_path, capsys):
    table, _, _ = export(tmp_path / "sc", masks=False)
    for name in table["Image_Name"][4:6]:
        (tmp_path / "sc" / name).unlink()
    assert main(command_for(tmp_path / "sc", tmp_path / "out")) == 1
    assert "P1/B02/3: failed none of the 2 strips of site P1/B02/3 is there" in (
        capsys.readouterr().out
    )
    for path in (tmp_path / "sc").rglob("*.png"):
        path.unlink()
    assert main(command_for(tmp_path / "sc", tmp_path / "o")) == 1
    assert "none of the 9 strips that" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="Key"), "sc-metadata.csv has no column Key; it has"),
        (lambda t: t.assign(Key="P1/A01"), "has the Key 'P1/A01'; expected plate/well/site"),
    ],
)
def test_a_table_that_does_not_say_what_is_needed_is_refused(tmp_path, capsys, change, message):
    table, _, _ = export(tmp_path / "sc", masks=False)
    change(table).to_csv(tmp_path / "sc" / "sc-metadata.csv", index=False)
    assert main(command_for(tmp_path / "sc", tmp_path / "out")) == 1
    assert message in capsys.readouterr().err


def test_strips_and_images_are_not_mixed_in_one_folder(tmp_path, capsys, screen):
    export(tmp_path / "sc", masks=False)
    assert main(command_for(tmp_path / "sc", tmp_path / "out")) == 0
    command = ["crops", "--load-data", str(screen / "load_data.csv"), "--crop-px", str(PX)]
    command += ["--labels", str(screen / "labels"), "--channels", "Hoechst=DNA", "Actin=AGP"]
    assert main([*command, "Mito", "--out", str(tmp_path / "out")]) == 1
    assert "holds crops with source strips; source images was asked" in capsys.readouterr().err


def test_strips_have_the_scale_that_is_said(tmp_path):
    export(tmp_path / "strips", masks=False)
    command = command_for(tmp_path / "strips", tmp_path / "out", "--um-per-px", "0.65")
    assert main(command) == 0
    assert open_crops(tmp_path / "out").um_per_px == 0.65
