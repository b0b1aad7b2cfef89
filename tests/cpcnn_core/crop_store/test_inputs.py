"""Crops are cut again where what they were cut from changed, and nowhere else."""

import json
import os
import shutil
import time

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cpcnn_core.cli.main import main
from cpcnn_core.crop_store.store import check_store, open_crops

from ...opened_files import opened_files
from .conftest import command_for, files_of, make_screen
from .test_strip_sites import CHANNELS as STRIP_CHANNELS
from .test_strip_sites import PX, export


@pytest.fixture
def own_screen(tmp_path):
    folder = tmp_path / "screen"
    folder.mkdir()
    make_screen(folder)
    return folder


@pytest.fixture
def out(own_screen, tmp_path):
    out = tmp_path / "out"
    assert main([*command_for(own_screen), "--out", str(out)]) == 0
    let_inputs_be_old(out)
    return out


def let_inputs_be_old(out):
    """Let the sites' facts say that their inputs were read three seconds from now."""
    for path in (out / "crops").rglob("*.json"):
        os.utime(path, (time.time() + 3,) * 2)


def redone(out):
    """What became of the sites in the last run, and why."""
    log = [json.loads(line) for line in (out / "crops.jsonl").read_text().splitlines()]
    last = max(i for i, line in enumerate(log) if line["event"] == "start")
    lines = [line for line in log[last:] if line["event"] == "site"]
    return [line["state"] for line in lines], {
        line["site"]: line["redone"] for line in lines if line["redone"]
    }


def crops_of(out):
    """The index and every crop, as bytes."""
    return {
        name: data
        for name, data in files_of(out).items()
        if name == "index.parquet" or name.endswith(".npy")
    }


def assert_as_fresh(command, out, tmp_path):
    fresh = tmp_path / f"fresh {time.time_ns()}"
    assert main([*command, "--out", str(fresh)]) == 0
    assert crops_of(out) == crops_of(fresh)
    assert check_store(open_crops(out)) == {}


def other_pixels(path):
    image = np.asarray(Image.open(path))
    Image.fromarray(image[::-1, ::-1].copy()).save(path)


def everything(folder):
    return {
        path: (path.stat().st_mtime_ns, path.is_file() and path.read_bytes())
        for path in [folder, *folder.rglob("*")]
    }


def test_pixels_and_segmentations_that_changed_are_cut_anew(own_screen, out, tmp_path, capsys):
    other_pixels(own_screen / "P2_A02_1_AGP.png")
    path = own_screen / "labels" / "P1_A03_2.tif"
    labels = np.asarray(Image.open(path)).copy()
    labels[labels == labels.max()] = 0
    labels[2:9, 60:66] = 250
    Image.fromarray(labels).save(path)
    capsys.readouterr()
    command = [*command_for(own_screen), "--out", str(out)]
    assert main(command) == 0
    states, why = redone(out)
    assert states.count("already done") == 6
    assert why == {
        "P2/A02/1": "the pixels of AGP changed",
        "P1/A03/2": "it has other objects",
    }
    assert (
        "2 sites are done again: 1 because it has other objects, 1 because the pixels of AGP "
        "changed" in capsys.readouterr().out.splitlines()
    )
    assert_as_fresh(command_for(own_screen), out, tmp_path)
    assert main(command) == 0
    assert redone(out) == (["already done"] * 8, {})


def test_what_did_not_change_is_not_opened(own_screen, out):
    with opened_files() as opened:
        assert main([*command_for(own_screen), "--out", str(out)]) == 0
    assert redone(out) == (["already done"] * 8, {})
    assert not [name for name in opened if name.endswith((".png", ".tif"))]


@pytest.mark.parametrize("copy", [shutil.copy2, shutil.copyfile])
def test_images_elsewhere_are_the_same_where_their_pixels_are(own_screen, out, tmp_path, copy):
    before = crops_of(out)
    other = tmp_path / "moved"
    shutil.copytree(own_screen, other, copy_function=copy)
    text = (own_screen / "load_data.csv").read_text()
    (other / "load_data.csv").write_text(text.replace(str(own_screen), str(other)))
    assert main([*command_for(other), "--out", str(out)]) == 0
    assert redone(out) == (["already done"] * 8, {})
    assert crops_of(out) == before
    let_inputs_be_old(out)
    with opened_files() as opened:
        assert main([*command_for(other), "--out", str(out)]) == 0
    assert not [name for name in opened if name.endswith((".png", ".tif"))]
    for path in other.glob("*.png"):
        other_pixels(path)
    assert main([*command_for(other), "--out", str(out)]) == 0
    assert redone(out)[0] == ["stored"] * 8
    assert_as_fresh(command_for(other), out, tmp_path)


def test_objects_that_vanished_leave_no_crops(own_screen, out, tmp_path):
    (own_screen / "labels" / "P1_A01_1.tif").unlink()
    Image.fromarray(np.zeros((70, 80), np.uint8)).save(own_screen / "labels" / "P1_A01_2.tif")
    assert main([*command_for(own_screen), "--out", str(out)]) == 0
    assert redone(out)[0][:3] == ["no locations", "no objects", "already done"]
    assert not list((out / "crops" / "P1" / "A01").iterdir())
    assert_as_fresh(command_for(own_screen), out, tmp_path)


def test_a_screen_that_lost_all_its_cells_has_no_index(own_screen, out, capsys):
    before = crops_of(out)
    labels = own_screen / "labels"
    shutil.rmtree(labels)
    labels.mkdir()
    # A disk that is not mounted looks like that, and costs nothing.
    assert main([*command_for(own_screen), "--out", str(out)]) == 1
    assert f"the folder {labels}, where they were, is empty or not" in capsys.readouterr().out
    assert crops_of(out) == before
    (labels / "P7_A01_1.tif").write_bytes(b"of another screen")
    assert main([*command_for(own_screen), "--out", str(out)]) == 1
    assert "there are no crops in" in capsys.readouterr().err
    assert not list(crops_of(out))


def test_sites_that_are_no_more_in_the_screen_are_not_in_the_index(own_screen, out, tmp_path):
    table = pd.read_csv(own_screen / "load_data.csv", dtype=str)
    table["Metadata_Dose"] = "3"
    table.iloc[2:].to_csv(own_screen / "load_data.csv", index=False)
    assert main([*command_for(own_screen), "--out", str(out)]) == 0
    assert redone(out) == (["already done"] * 6, {})
    assert main([*command_for(own_screen), "--out", str(tmp_path / "fresh")]) == 0
    same = [(folder / "index.parquet").read_bytes() for folder in (out, tmp_path / "fresh")]
    assert same[0] == same[1]
    index = open_crops(out).index
    assert "A01" not in set(index["Metadata_Well"])
    assert set(index["Metadata_Dose"]) == {"3"}


def test_masked_crops_are_cut_anew_where_outlines_changed(own_screen, tmp_path):
    out = tmp_path / "out"
    command = [*command_for(own_screen), "--mask"]
    assert main([*command, "--out", str(out)]) == 0
    path = own_screen / "labels" / "P2_A04_1.tif"
    labels = np.asarray(Image.open(path)).copy()
    number = labels[labels > 0].min()
    rows, cols = np.nonzero(labels == number)
    middle = labels == number
    middle[rows.min() + 1 : rows.max(), cols.min() + 1 : cols.max()] = False
    labels[middle] = 0
    Image.fromarray(labels).save(path)
    assert main([*command, "--out", str(out)]) == 0
    assert redone(out)[1] == {"P2/A04/1": "the outlines of its objects changed"}
    assert_as_fresh(command, out, tmp_path)


def test_stores_of_an_earlier_cpcnn_are_cut_anew(own_screen, out, tmp_path, capsys):
    for path in (out / "crops").rglob("*.json"):
        facts = json.loads(path.read_text())
        del facts["inputs"], facts["checksum"]
        path.write_text(json.dumps(facts))
    capsys.readouterr()
    assert main([*command_for(own_screen), "--out", str(out)]) == 0
    assert (
        "8 sites are done again: 8 because an earlier cpcnn made the file, which does not say what "
        "from" in capsys.readouterr().out.splitlines()
    )
    assert_as_fresh(command_for(own_screen), out, tmp_path)


def test_a_disk_that_is_not_there_costs_no_crops(own_screen, out, capsys):
    before = crops_of(out)
    (own_screen / "P1_A03_1_ER.png").unlink()
    assert main([*command_for(own_screen), "--out", str(out)]) == 1
    assert (
        f"P1/A03/1: failed there is no image file {own_screen / 'P1_A03_1_ER.png'}; what an "
        "earlier run made of it is kept" in capsys.readouterr().out
    )
    assert crops_of(out) == before
    # One that changed, and cannot be read, is not counted.
    (own_screen / "P1_A01_1_ER.png").write_bytes(b"short")
    assert main([*command_for(own_screen), "--out", str(out)]) == 1
    index = open_crops(out).index
    sites = set(index["Metadata_Plate"] + index["Metadata_Well"] + index["Metadata_Site"])
    assert "P1A011" not in sites
    assert len(sites) == 7


def test_damaged_crops_and_force(own_screen, out, tmp_path, capsys):
    path = out / "crops" / "P1" / "A01" / "1.npy"
    path.write_bytes(path.read_bytes()[:-7])
    assert main([*command_for(own_screen), "--out", str(out)]) == 0
    assert redone(out)[1] == {"P1/A01/1": "its crops are damaged or missing"}
    assert main([*command_for(own_screen), "--force", "--out", str(out)]) == 0
    states, why = redone(out)
    assert states == ["stored"] * 8
    assert set(why.values()) == {"--force was given"}
    assert_as_fresh(command_for(own_screen), out, tmp_path)


def test_a_check_says_what_would_be_done_and_touches_nothing(own_screen, out, tmp_path, capsys):
    other_pixels(own_screen / "P1_A01_1_DNA.png")
    (out / "crops" / "P2" / "A02" / "1.json").unlink()
    for path in own_screen.glob("P1_A03_2_*.png"):
        os.utime(path)
    before = everything(tmp_path)
    command = command_for(own_screen)
    capsys.readouterr()
    assert main([*command, "--out", str(out), "--check"]) == 0
    why = "the pixels of DNA changed"
    assert capsys.readouterr().out.splitlines() == [
        f"8 sites: 6 already done, 1 to do (no file yet), 1 to do again ({why})",
        f"would write {out / 'index.parquet'}",
    ]
    assert main([*command, "--out", str(tmp_path / "none"), "--check", "--shard", "1/4"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "2 sites: 2 to do (no file yet)",
        "With --shard, the index is not written.",
    ]
    assert main([*command, "--out", str(out), "--check", "--force"]) == 0
    assert "7 to do again (--force was given)" in capsys.readouterr().out
    assert main([*command, "--out", str(out), "--check", "--mask"]) == 1
    assert "mask none; mask before stretching was asked for" in capsys.readouterr().err
    assert everything(tmp_path) == before


# ---- exported strips -------------------------------------------------------------------------


def test_strips_are_inputs(tmp_path, capsys):
    folder, out = tmp_path / "sc", tmp_path / "out"
    table, _, _ = export(folder, masks=False)
    command = ["crops", "--strips", str(folder), "--channels", *STRIP_CHANNELS, "--study", "s"]
    assert main([*command, "--out", str(out)]) == 0
    let_inputs_be_old(out)
    with opened_files() as opened:
        assert main([*command, "--out", str(out)]) == 0
    assert redone(out) == (["already done"] * 3, {})
    # The first strip alone, which says how high all of them are.
    assert {name for name in opened if name.endswith(".png")} == {
        table["Image_Name"][0].rpartition("/")[2]
    }
    other_pixels(folder / table["Image_Name"][5])
    for name in table["Image_Name"][:4]:
        os.utime(folder / name)
    assert main([*command, "--out", str(out)]) == 0
    assert list(redone(out)[1].values()) == ["its strips are others"]
    assert_as_fresh(command, out, tmp_path)
    (folder / table["Image_Name"][8]).unlink()
    table.loc[0, "Nuclei_Location_Center_X"] += 1
    table.to_csv(folder / "sc-metadata.csv", index=True, index_label="index")
    assert main([*command, "--out", str(out)]) == 0
    assert sorted(redone(out)[1].values()) == ["it has other cells", "its cells moved"]
    assert_as_fresh(command, out, tmp_path)


def test_strips_elsewhere_are_the_same_and_strips_out_of_reach_are_kept(tmp_path, capsys):
    folder, out = tmp_path / "sc", tmp_path / "out"
    table, _, _ = export(folder, masks=False)
    how = ["--channels", *STRIP_CHANNELS, "--crop-px", str(PX), "--out", str(out)]
    assert main(["crops", "--strips", str(folder), *how]) == 0
    before = crops_of(out)
    shutil.copytree(folder, tmp_path / "moved")
    assert main(["crops", "--strips", str(tmp_path / "moved"), *how]) == 0
    assert redone(out) == (["already done"] * 3, {})
    first = table["Key"] == table["Key"][0]
    for name in table.loc[first, "Image_Name"]:
        (tmp_path / "moved" / name).unlink()
    assert main(["crops", "--strips", str(tmp_path / "moved"), *how]) == 1
    assert "is there: " in capsys.readouterr().out
    assert redone(out)[0] == ["failed", "already done", "already done"]
    assert crops_of(out) == before
