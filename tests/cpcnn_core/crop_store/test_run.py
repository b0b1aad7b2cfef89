"""A store is made in parts, after kills and on full disks, and is always the same bytes."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cpcnn_core.cli.main import main
from cpcnn_core.crop_store.store import open_crops

from .conftest import command_for, files_of, make_screen

CPCNN = [sys.executable, "-m", "cpcnn_core.cli"]


@pytest.fixture
def own_screen(tmp_path):
    folder = tmp_path / "screen"
    folder.mkdir()
    make_screen(folder)
    return folder


def test_shards_make_the_bytes_of_one_run(screen, stored, tmp_path, capsys):
    out = tmp_path / "sharded"
    command = [*command_for(screen), "--out", str(out)]
    for shard in ("2/3", "3/3", "1/3"):
        assert main([*command, "--shard", shard]) == 0
    assert "run this once without --shard: it collects the index" in capsys.readouterr().out
    assert not (out / "index.parquet").exists()
    assert main(command) == 0
    assert "8 sites; 8 already done" in capsys.readouterr().out
    assert files_of(out) == files_of(stored)


def test_any_number_of_readers_makes_the_same_bytes(screen, stored, tmp_path):
    assert main([*command_for(screen), "--readers", "5", "--out", str(tmp_path)]) == 0
    assert files_of(tmp_path) == files_of(stored)


def test_a_run_killed_three_times_ends_with_the_same_bytes(tmp_path):
    folder = tmp_path / "screen"
    folder.mkdir()
    command = make_screen(folder, wells=60, sites=2)
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert main([*command, "--out", str(undisturbed)]) == 0
    moments = random.Random(3)

    def number_of_sites():
        # A folder may be gone before it has been looked into: `os.walk` goes on.
        return sum(name.endswith(".json") for _, _, names in os.walk(killed) for name in names)

    for _ in range(3):
        before = number_of_sites()
        with subprocess.Popen(
            [*CPCNN, *command, "--out", str(killed)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            while process.poll() is None and number_of_sites() < before + 5:
                time.sleep(0.002)
            time.sleep(moments.uniform(0, 0.02))
            process.send_signal(signal.SIGKILL)
    assert number_of_sites() < 121
    # Crops without their facts, and a temporary file, as a kill leaves them.
    (killed / "crops" / "P1" / "A01" / "1.json").unlink()
    (killed / "crops" / "P1" / "A01" / ".1.part.1.npy").write_bytes(b"left by a killed run")
    assert main([*command, "--out", str(killed)]) == 0
    assert files_of(killed) == files_of(undisturbed)


def test_a_folder_of_other_settings_is_left_alone(screen, own_store, stored, capsys):
    command = [*command_for(screen), "--out", str(own_store)]
    assert main([*command, "--crop-px", "32", "--dtype", "uint16"]) == 1
    *_, error = capsys.readouterr().err.splitlines()
    assert error == (
        f"cpcnn: error: {own_store} holds crops with crop_px 24, dtype uint8; crop_px 32, dtype "
        "uint16 was asked for; choose another folder, or the same settings"
    )
    assert main([*command, "--channels", "RNA", "DNA"]) == 1
    error = capsys.readouterr().err
    assert "holds crops with channels DNA,RNA,ER,AGP,Mito; channels RNA,DNA was asked" in error
    assert main([*command, "--mask"]) == 1
    assert "mask none; mask before stretching was asked for" in capsys.readouterr().err
    assert files_of(own_store) == files_of(stored)


def test_a_site_that_fails_is_named_and_the_others_are_stored(own_screen, tmp_path, capsys):
    out = tmp_path / "out"
    command = [*command_for(own_screen), "--out", str(out)]
    image = own_screen / "P1_A01_2_ER.png"
    content = image.read_bytes()
    image.write_bytes(content[:300])
    assert main(command) == 1
    said = capsys.readouterr().out
    assert "8 sites; 7 stored; 1 failed" in said
    assert f"P1/A01/2: failed {image} cannot be read to its end" in said
    assert len(open_crops(out)) == 24
    assert main([*command, "--strict"]) == 1
    assert f"cpcnn: error: {image} cannot be read to its end" in capsys.readouterr().err
    image.write_bytes(content)
    assert main(command) == 0
    assert len(open_crops(out)) == 28


def test_sites_without_cells_have_no_crops(own_screen, tmp_path, capsys):
    labels = own_screen / "labels"
    (labels / "P1_A01_1.tif").unlink()
    Image.fromarray(np.zeros((70, 80), np.uint8)).save(labels / "P1_A01_2.tif")
    out = tmp_path / "out"
    assert main([*command_for(own_screen), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "8 sites; 1 no locations; 1 no objects; 6 stored" in said
    assert "P1/A01/1: no locations" in said
    assert "A01" not in set(open_crops(out).index["Metadata_Well"])


def test_a_screen_without_any_cell_is_an_error(own_screen, tmp_path, capsys):
    for path in (own_screen / "labels").iterdir():
        path.unlink()
    assert main([*command_for(own_screen), "--out", str(tmp_path / "o")]) == 1
    assert "there are no crops in" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="limits of file size are set in another way there")
def test_a_full_disk_names_the_file_and_leaves_nothing_half_written(screen, tmp_path):
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))\n"
        # It would refuse the folder before the work.
        "import os, cpcnn_core.io.disk; cpcnn_core.io.disk.require_room = os.makedirs\n"
        "from cpcnn_core.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    out = tmp_path / "out"
    command = [sys.executable, "-c", code, *command_for(screen), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    # Sites of three cells fit, those of four do not.
    assert "8 sites; 4 stored; 4 failed" in done.stdout
    path = out / "crops" / "P1" / "A01" / "2.npy"
    assert f"P1/A01/2: failed OSError: [Errno 27] File too large: '{path}'" in done.stdout
    assert [p.name for p in path.parent.iterdir() if "2" in p.name] == []
    assert not list(out.rglob("*.part.*"))


# ---- what the tables say ---------------------------------------------------------------


def test_every_crop_has_what_the_plate_map_says_of_its_well(screen, store):
    platemap = pd.read_csv(screen / "platemap.csv", dtype=str)
    treatments = {
        (row.Metadata_Plate, row.Metadata_Well): row.Treatment for row in platemap.itertuples()
    }
    for _, row in store.index.iterrows():
        key = row["Metadata_Plate"], row["Metadata_Well"]
        assert row["Metadata_Treatment"] == treatments[key]


def test_a_plate_map_that_changed_is_read_anew_and_no_crop_is_cut_again(
    own_screen, tmp_path, capsys
):
    command = [*command_for(own_screen), "--out", str(tmp_path / "o")]
    assert main(command) == 0
    table = pd.read_csv(own_screen / "platemap.csv", dtype=str)
    table["Treatment"] = "water"
    table["Dose"] = "3"
    table.to_csv(own_screen / "platemap.csv", index=False)
    capsys.readouterr()
    assert main(command) == 0
    assert "8 sites; 8 already done" in capsys.readouterr().out
    index = open_crops(tmp_path / "o").index
    assert set(index["Metadata_Treatment"]) == {"water"}
    assert set(index["Metadata_Dose"]) == {"3"}


def test_wells_of_which_the_plate_map_says_nothing_are_counted_beside_the_output(
    own_screen, tmp_path, capsys
):
    table = pd.read_csv(own_screen / "platemap.csv", dtype=str)
    table.loc[0, "Treatment"] = "NA"
    table.to_csv(own_screen / "platemap.csv", index=False)
    assert main([*command_for(own_screen), "--out", str(tmp_path / "o")]) == 0
    assert "says nothing of some wells: Treatment for 1 of 4 (NA)" in capsys.readouterr().err


def test_a_well_that_the_plate_map_lacks_is_named(own_screen, tmp_path, capsys):
    table = pd.read_csv(own_screen / "platemap.csv", dtype=str)
    table.iloc[1:].to_csv(own_screen / "platemap.csv", index=False)
    assert main([*command_for(own_screen), "--out", str(tmp_path / "o")]) == 1
    assert "1 of 4 wells are not in" in capsys.readouterr().err
    assert main([*command_for(own_screen)[:-4], "--platemap", "none.csv", "--out", "o"]) == 1
    assert "there is no table none.csv" in capsys.readouterr().err


def test_the_study_is_the_folders_name_where_nobody_says_another(screen, tmp_path):
    out = tmp_path / "study 7"
    assert main([*command_for(screen)[:-2], "--out", str(out)]) == 0
    assert set(open_crops(out).index["Metadata_Study"]) == {"study 7"}


# ---- the scale -------------------------------------------------------------------------------


def test_the_scale_is_recorded_and_no_pixel_changed(screen, stored, tmp_path, capsys):
    command = [*command_for(screen), "--um-per-px", "0.65", "--out", str(tmp_path)]
    assert main(command) == 0
    assert "crops of 24 x 24 pixels of 0.65 µm uint8, channels DNA" in capsys.readouterr().out
    found, expected = files_of(tmp_path), files_of(stored)
    crops = [name for name in expected if name.endswith(".npy")]
    assert len(crops) == 8
    assert all(found[name] == expected[name] for name in [*crops, "index.parquet"])
    assert json.loads(found["store.json"])["um_per_px"] == 0.65
    assert json.loads(found["crops/P1/A01/1.json"])["settings"]["um_per_px"] == 0.65
    assert open_crops(tmp_path).um_per_px == 0.65
    start = json.loads((tmp_path / "crops.jsonl").read_text().splitlines()[0])
    assert (start["event"], start["um_per_px"]) == ("start", 0.65)


def test_without_a_scale_stores_are_as_they_were(stored, store):
    assert store.um_per_px is None
    names = {"format", "channels", "crop_px", "dtype", "mask", "source", "cpcnn", "checksum"}
    assert set(json.loads((stored / "store.json").read_text())) == names
    own = json.loads((stored / "crops" / "P1" / "A01" / "1.json").read_text())["settings"]
    assert set(own) == names - {"format", "cpcnn", "checksum"}


def test_a_store_of_another_scale_is_left_alone(screen, own_store, stored, tmp_path, capsys):
    command = [*command_for(screen), "--out", str(own_store)]
    assert main([*command, "--um-per-px", "0.65"]) == 1
    assert (
        "holds crops with um_per_px not recorded; um_per_px 0.65 was asked for"
        in capsys.readouterr().err
    )
    assert files_of(own_store) == files_of(stored)
    scaled = [*command_for(screen), "--out", str(tmp_path / "scaled")]
    assert main([*scaled, "--um-per-px", "0.65"]) == 0
    assert main(scaled) == 1
    assert (
        "holds crops with um_per_px 0.65; um_per_px not recorded was asked for"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("values", [["1.3"] * 8, ["1.3", "", "", "", "", "", "", ""]])
def test_the_screens_table_may_say_the_scale_of_all_sites(own_screen, tmp_path, capsys, values):
    table = pd.read_csv(own_screen / "load_data.csv", dtype=str)
    table.assign(Metadata_UmPerPx=values).to_csv(own_screen / "load_data.csv", index=False)
    command = [*command_for(own_screen), "--out", str(tmp_path / "out")]
    if "" not in values:
        assert main(command) == 0
        assert open_crops(tmp_path / "out").um_per_px == 1.3
        return
    assert main(command) == 1
    assert (
        "Metadata_UmPerPx says 1.3 for P1/A01/1, nothing for P1/A01/2; make a store for each"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()
    assert main([*command, "--um-per-px", "1.3"]) == 0
    assert open_crops(tmp_path / "out").um_per_px == 1.3
