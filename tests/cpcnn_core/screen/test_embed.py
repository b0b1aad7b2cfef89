"""``cpcnn embed``: a screen goes in, tables come out, and nothing is lost on the way."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import tifffile
from PIL import Image

from cpcnn_core import embed_cells, load_model
from cpcnn_core.cli.main import main
from cpcnn_core.io.deepprofiler import read_project, read_sites
from cpcnn_core.io.deepprofiler_npz import read_site
from cpcnn_core.screen.job import project_model

from ...small_model import SMALL_CARD, small_model
from .conftest import CHANNELS, PROJECT, command_for, make_screen

CPCNN = [sys.executable, "-m", "cpcnn_core.cli"]


def log_of(out):
    return [json.loads(line) for line in (out / "embed.jsonl").read_text().splitlines()]


def states(out):
    last = max(i for i, line in enumerate(log_of(out)) if line["event"] == "start")
    return [line["state"] for line in log_of(out)[last:] if line["event"] == "site"]


# ---- a DeepProfiler project ------------------------------------------------------------


def test_a_deepprofiler_project_gives_the_references_own_features(project, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["embed", "--deepprofiler", str(project), "--out", str(out)]) == 0
    for site in ("1", "2"):
        inside = Path("features") / "P1" / "A01" / f"{site}.npz"
        theirs = np.load(PROJECT / "outputs" / "cell_painting" / inside, allow_pickle=True)
        ours = np.load(out / inside, allow_pickle=True)
        np.testing.assert_allclose(ours["features"], theirs["features"], rtol=0, atol=1e-4)
        np.testing.assert_array_equal(ours["locations"], theirs["locations"])
        assert ours["locations"].dtype == theirs["locations"].dtype
        assert ours["metadata"].item()["Metadata_Model"] == "efficientnet"
        assert ours["metadata"].item()["Metadata_Site"] == site
    assert states(out) == ["embedded", "embedded", "no objects", "no locations"]
    assert not (out / "features" / "P1" / "B02").exists()
    assert "P1/B03/4: no locations" in capsys.readouterr().out


def test_images_of_another_size_than_the_configuration_says_are_refused(project, tmp_path, capsys):
    path = project / "inputs" / "config" / "profile.json"
    path.write_text(path.read_text().replace('"width": 300', '"width": 301'))
    assert main(["embed", "--deepprofiler", str(project), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().out
    assert "A01_s1_DNA.tif is 280 x 300 pixels, the project's configuration says 280 x 301" in said


def test_options_that_a_project_answers_itself_are_refused(project, tmp_path, capsys):
    command = ["embed", "--deepprofiler", str(project), "--mask", "--objects", "Nuclei.csv"]
    assert main(command) == 1
    assert (
        "--objects, --mask cannot be used with --deepprofiler; leave it out (the project says "
        "it itself)" in capsys.readouterr().err
    )


def test_by_default_features_go_to_the_projects_experiment(project):
    features = project / "outputs" / "cell_painting" / "features"
    reference = (features / "P1" / "A01" / "1.npz").read_bytes()
    assert main(["embed", "--deepprofiler", str(project)]) == 0
    assert (features / "P1" / "A01" / "1.npz").read_bytes() != reference
    assert read_site(features / "P1" / "A01" / "1.npz").features.shape == (14, 672)


def test_channels_in_another_order_are_warned_about(project, tmp_path, capsys):
    path = project / "inputs" / "config" / "profile.json"
    text = path.read_text().replace('"RNA"', '"?"').replace('"ER"', '"RNA"').replace('"?"', '"ER"')
    path.write_text(text)
    with warnings.catch_warnings():
        # As Python itself does: here warnings are errors.
        warnings.simplefilter("default")
        assert main(["embed", "--deepprofiler", str(project), "--out", str(tmp_path / "o")]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "warning: " in line]
    assert len(said) == 1
    assert said[0].startswith("cpcnn: warning: ")
    assert "order DNA, ER, RNA, AGP, Mito; the published" in said[0]


def test_compressed_images_are_made_once_and_then_embedded(project, tmp_path, capsys):
    path = project / "inputs" / "config" / "profile.json"
    path.write_text(path.read_text().replace('"implement": false', '"implement": true'))
    command = ["embed", "--deepprofiler", str(project), "--out", str(tmp_path / "out")]
    assert main(command) == 1
    assert "make them with: cpcnn prepare" in capsys.readouterr().err
    assert main(["prepare", str(project)]) == 0
    assert "20 images were made" in capsys.readouterr().out
    images = project / "outputs" / "compressed" / "images" / "P1"
    expected = np.load(PROJECT.parent / "compression" / "expected.npz")["png_site2"]
    made = [np.asarray(Image.open(images / f"A01_s2_{channel}.png")) for channel in CHANNELS]
    np.testing.assert_array_equal(np.stack(made, axis=2), expected)
    assert main(["prepare", str(project)]) == 0
    assert "0 images were made" in capsys.readouterr().out
    assert main(command) == 0
    model = project_model(read_project(project), project / "outputs" / "cell_painting", "cpu")
    features = read_site(tmp_path / "out" / "features" / "P1" / "A01" / "2.npz").features
    centers = read_sites(read_project(project))[1].read_objects().centers
    np.testing.assert_array_equal(features, embed_cells(model, np.stack(made), centers))


# ---- CellProfiler's tables ---------------------------------------------------------------


def test_every_cell_is_embedded_as_the_library_does(screen, embedded):
    sites = pd.read_csv(screen / "load_data.csv", dtype=str)
    objects = pd.read_csv(screen / "Nuclei.csv", float_precision="round_trip")
    model = load_model(small_model(), device="cpu")
    assert len(sites) == 8
    for number, row in enumerate(sites.itertuples(), start=1):
        found = read_site(
            embedded
            / "features"
            / row.Metadata_Plate
            / row.Metadata_Well
            / f"{row.Metadata_Site}.npz"
        )
        image = np.stack(
            [np.asarray(Image.open(screen / getattr(row, f"FileName_Orig{c}"))) for c in CHANNELS]
        )
        mine = objects[objects["ImageNumber"] == number]
        centers = mine[["Location_Center_Y", "Location_Center_X"]].to_numpy()
        np.testing.assert_array_equal(found.features, embed_cells(model, image, centers))
        np.testing.assert_array_equal(found.object_numbers, mine["ObjectNumber"])
        assert found.provenance["model"] == SMALL_CARD.name


def test_plates_hold_their_sites_in_order_with_metadata_and_provenance(embedded):
    for plate in ("P1", "P2"):
        path = embedded / "plates" / f"{plate}.parquet"
        table = pd.read_parquet(path)
        names = [c for c in table.columns if not c.startswith("Metadata_")]
        assert names == [f"Cells_TestResnet_{i:03d}" for i in range(SMALL_CARD.embed_dim)]
        assert (table.dtypes[names] == np.float32).all()
        assert set(table["Metadata_Plate"]) == {plate}
        wells = table["Metadata_Well"].drop_duplicates().tolist()
        assert wells == (["A01", "A03"] if plate == "P1" else ["A02", "A04"])
        row = table.iloc[-1]
        site = read_site(embedded / "features" / plate / row.Metadata_Well / "2.npz")
        np.testing.assert_array_equal(row[names].to_numpy(np.float32), site.features[-1])
        assert row.Metadata_Location_Center_X == site.locations[-1, 0]
        file = pq.ParquetFile(path)
        own = json.loads(file.schema_arrow.metadata[b"cpcnn"])
        assert own["layer"] == "pooled"
        column = file.metadata.row_group(0).column(table.columns.get_loc("Cells_TestResnet_000"))
        assert (column.compression, "BYTE_STREAM_SPLIT" in column.encodings) == ("ZSTD", True)


def test_cells_can_be_joined_with_cellprofilers_tables(screen, embedded):
    found = pd.concat(pd.read_parquet(embedded / "plates" / f"{p}.parquet") for p in ("P1", "P2"))
    objects = pd.read_csv(screen / "Nuclei.csv", float_precision="round_trip")
    joined = found.merge(
        objects,
        left_on=["Metadata_ImageNumber", "Metadata_ObjectNumber"],
        right_on=["ImageNumber", "ObjectNumber"],
        validate="one_to_one",
    )
    assert len(joined) == len(objects) == len(found)
    np.testing.assert_array_equal(joined["Metadata_Location_Center_X"], joined["Location_Center_X"])


def test_positions_may_come_from_deepprofilers_files(screen, embedded, tmp_path):
    sites = pd.read_csv(screen / "load_data.csv", dtype=str)
    objects = pd.read_csv(screen / "Nuclei.csv", float_precision="round_trip")
    names = {f"Location_Center_{axis}": f"Nuclei_Location_Center_{axis}" for axis in "XY"}
    for number, row in enumerate(sites.itertuples(), start=1):
        mine = objects.loc[objects["ImageNumber"] == number, list(names)].rename(columns=names)
        name = f"{row.Metadata_Well}-{row.Metadata_Site}-Nuclei.csv"
        path = tmp_path / "locations" / row.Metadata_Plate / name
        path.parent.mkdir(parents=True, exist_ok=True)
        mine.to_csv(path, index=False)
    command = command_for(screen)
    place = command.index("--objects")
    command[place : place + 2] = ["--locations", str(tmp_path / "locations")]
    out = tmp_path / "out"
    assert main([*command, "--out", str(out)]) == 0
    pd.testing.assert_frame_equal(
        pd.read_parquet(out / "plates" / "P2.parquet"),
        pd.read_parquet(embedded / "plates" / "P2.parquet"),
    )


def test_mixed_precision_is_written_down_and_is_another_setting(screen, embedded, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(embedded, out)
    assert main([*command_for(screen), "--out", str(out), "--precision", "mixed"]) == 0
    assert states(out) == ["embedded"] * 8
    start = next(line for line in reversed(log_of(out)) if line["event"] == "start")
    assert (start["engine"], start["precision"]) == ("torch", "mixed")
    site = Path("features") / "P1" / "A01" / "1.npz"
    half, full = read_site(out / site), read_site(embedded / site)
    assert half.provenance["precision"] == "mixed"
    assert 0 < np.abs(half.features - full.features).max() < 0.2


def test_shards_do_what_the_whole_does(screen, embedded, tmp_path):
    out = tmp_path / "out"
    command = [*command_for(screen), "--tables", "parquet", "anndata", "--out", str(out)]
    for part in (1, 2, 3):
        assert main([*command, "--shard", f"{part}/3"]) == 0
    assert not (out / "plates").exists()
    assert main(command) == 0
    assert states(out) == ["already done"] * 8
    assert bytes_in(out) == bytes_in(embedded)


def bytes_in(out):
    paths = [p for p in out.rglob("*") if p.is_file() and p.name != "embed.jsonl"]
    return {str(p.relative_to(out)): p.read_bytes() for p in paths}


def cells_in(out):
    """Everything of the sites' cells as bytes, whatever files they were made from."""
    tables = {path: read_site(path) for path in (out / "features").rglob("[!.]*.npz")}
    return {
        "/".join(table.metadata[name] for name in ("Plate", "Well", "Site")): (
            *(getattr(table, name).tobytes() for name in ("features", "locations")),
            *(table.object_numbers.tolist(), table.touches_border.tolist(), table.image_number),
            *(dict(table.metadata), dict(table.provenance)),
        )
        for table in tables.values()
    }


def test_cells_and_channels_that_are_others_now_are_embedded_anew(own_screen, embedded, tmp_path):
    out, nuclei = tmp_path / "out", own_screen / "Nuclei.csv"
    shutil.copytree(embedded, out)
    table = pd.read_csv(nuclei)
    table.loc[table["ImageNumber"] == 1, "Location_Center_X"] += 1
    fewer = (table["ImageNumber"] == 2) & (table["ObjectNumber"] > 1)
    table[~fewer].to_csv(nuclei, index=False)
    command = [*command_for(own_screen), "--out", str(out)]
    assert main(command) == 0
    assert states(out) == ["embedded"] * 2 + ["already done"] * 6
    cells = pd.concat(pd.read_parquet(path) for path in (out / "plates").glob("*.parquet"))
    assert sorted(cells["Metadata_ImageNumber"].value_counts()) == [1, *[3] * 7]
    fresh = tmp_path / "fresh"
    assert main([*command[:-1], str(fresh)]) == 0
    for name in ("P1.parquet", "P2.parquet"):
        tables = [pd.read_parquet(folder / "plates" / name) for folder in (out, fresh)]
        pd.testing.assert_frame_equal(*tables, rtol=0, atol=1e-6)
    # Two channels the other way round.
    assert main([*command, "--channels", "RNA=OrigER", "ER=OrigRNA"]) == 0
    assert states(out) == ["embedded"] * 8


def test_a_screen_whose_cells_are_nowhere_is_told(own_screen, tmp_path, capsys):
    labels = own_screen / "empty"
    labels.mkdir()
    command = [
        *("embed", "--load-data", str(own_screen / "load_data.csv"), "--labels", str(labels)),
        *("--model", small_model(), "--out", str(tmp_path / "out")),
    ]
    assert main([*command, "--shard", "1/4"]) == 0
    assert main(command) == 1
    assert "No site has cells: look whether plates, wells and sites" in capsys.readouterr().out


def test_another_setting_makes_every_site_again(own_screen, tmp_path):
    tifffile_labels(own_screen)
    command = [
        *("embed", "--load-data", str(own_screen / "load_data.csv")),
        *("--labels", str(own_screen / "labels"), "--model", small_model()),
        *("--out", str(tmp_path / "out")),
    ]
    assert main(command) == 0
    assert main([*command, "--mask"]) == 0
    assert states(tmp_path / "out") == ["embedded"] * 8
    assert main([*command, "--mask"]) == 0
    assert states(tmp_path / "out") == ["already done"] * 8


def tifffile_labels(folder):
    (folder / "labels").mkdir()
    labels = np.zeros((80, 80), np.uint16)
    labels[20:40, 20:40] = 4
    for row in pd.read_csv(folder / "load_data.csv", dtype=str).itertuples():
        name = f"{row.Metadata_Plate}_{row.Metadata_Well}_{row.Metadata_Site}.tif"
        tifffile.imwrite(folder / "labels" / name, labels)


# ---- bad input -----------------------------------------------------------------------------


def spoil_missing(folder):
    (folder / "3_ER.png").unlink()
    return "there is no image file"


def spoil_truncated(folder):
    data = (folder / "3_ER.png").read_bytes()
    (folder / "3_ER.png").write_bytes(data[:2000])
    return "3_ER.png cannot be read to its end"


def spoil_size(folder):
    Image.fromarray(np.zeros((80, 70), np.uint16)).save(folder / "3_ER.png")
    return "3_ER.png is 80 x 70 pixels, the DNA image of this site 80 x 80"


def spoil_colour(folder):
    Image.fromarray(np.zeros((80, 80, 3), np.uint8)).save(folder / "3_ER.png")
    return "expected one grey value per pixel"


SPOIL = [spoil_missing, spoil_truncated, spoil_size, spoil_colour]


@pytest.mark.parametrize("spoil", SPOIL, ids=lambda f: f.__name__)
def test_a_site_that_fails_is_named_and_the_others_are_done(
    own_screen, embedded, tmp_path, capsys, spoil
):
    message = spoil(own_screen)
    out = tmp_path / "out"
    assert main([*command_for(own_screen), "--out", str(out)]) == 1
    assert states(out).count("embedded") == 7
    said = capsys.readouterr().out
    assert "8 sites; 7 embedded; 1 failed" in said
    assert "P2/A02/1: failed" in said
    assert message in said
    left = cells_in(out)
    assert "P2/A02/1" not in left
    same = cells_in(embedded)
    del same["P2/A02/1"]
    assert left == same
    assert main([*command_for(own_screen), "--out", str(out), "--strict"]) == 1
    assert message in capsys.readouterr().err


def test_a_cell_outside_the_image_is_embedded_and_noted(own_screen, tmp_path):
    path = own_screen / "Nuclei.csv"
    table = pd.read_csv(path)
    table.loc[0, "Location_Center_X"] = 900.0
    table.to_csv(path, index=False)
    out = tmp_path / "out"
    assert main([*command_for(own_screen), "--out", str(out)]) == 0
    first = next(line for line in log_of(out) if line["event"] == "site")
    assert "1 of 3 boxes lie completely outside the image" in first["reason"]


def test_a_name_that_is_no_utf8_is_read_all_the_same(own_screen, tmp_path):
    folder = os.fsdecode(os.fsencode(own_screen) + b"-\xe9")
    try:
        own_screen.rename(folder)
    except OSError:
        pytest.skip("this file system takes no such name")
    table = Path(folder) / "load_data.csv"
    text = "\n".join(
        ",".join("" if cell == str(own_screen) else cell for cell in line.split(","))
        for line in table.read_text().splitlines()
    )
    table.write_text(text)
    assert main([*command_for(Path(folder)), "--out", str(tmp_path / "out")]) == 0
    assert states(tmp_path / "out") == ["embedded"] * 8


# Files of at most 4000 bytes.
SMALL_FILES = (
    "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))\n"
    "from cpcnn_core.io import disk; from cpcnn_core.cli.main import main\n"
)
LIMITED = pytest.mark.skipif(
    os.name == "nt", reason="limits of file size are set in another way there"
)


@LIMITED
def test_a_full_disk_is_named_before_any_work(screen, tmp_path):
    code = SMALL_FILES + "sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *command_for(screen), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"cpcnn: error: cannot write to {tmp_path / 'out'}: File too large" in done.stderr
    assert not list((tmp_path / "out").iterdir())


@LIMITED
def test_a_disk_that_fills_is_named_and_leaves_nothing_half_written(screen, tmp_path):
    # There was room when the run began.
    code = SMALL_FILES + "disk._TRIED_BYTES = 100; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *command_for(screen), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "P1/A01/1: failed OSError: [Errno 27] File too large" in done.stdout
    assert [p for p in (tmp_path / "out").rglob("*") if p.is_file()] == [
        tmp_path / "out" / "embed.jsonl"
    ]


def without_roots_rights():
    """Return the words before a command that make root as powerless as others."""
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("root may write anywhere, and there is no setpriv to prevent it")
    return [setpriv, "--bounding-set=-dac_override", "--inh-caps=-dac_override", "--"]


@pytest.mark.skipif(os.name == "nt", reason="rights are set in another way there")
def test_an_output_folder_that_is_read_only_is_named(screen, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    out.chmod(0o500)
    command = [*without_roots_rights(), *CPCNN, *command_for(screen), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    notice, error = done.stderr.splitlines()
    assert notice == "no illumination functions: pixels are taken as stored"
    assert error == (
        f"cpcnn: error: cannot write to {out}: Permission denied; choose another folder with "
        "--out, or have this one made writable"
    )


@pytest.mark.skipif(os.name == "nt", reason="rights are set in another way there")
def test_a_features_folder_that_is_read_only_fails_its_sites_and_says_so(screen, tmp_path):
    well = tmp_path / "out" / "features" / "P1" / "A01"
    well.mkdir(parents=True)
    well.chmod(0o500)
    command = [*without_roots_rights(), *CPCNN, *command_for(screen), "--out", str(well.parents[2])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "8 sites; 2 failed; 6 embedded" in done.stdout
    assert "P1/A01/1: failed PermissionError: [Errno 13] Permission denied" in done.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "say where the cells are: either --objects FILE, --labels DIR or --locations DIR"),
        (["--objects", "none.csv"], "none.csv"),
        (["--objects", "n.csv", "--labels", "d"], "say where the cells are: either"),
        (["--objects", "n.csv", "--mask"], "--mask needs the cells' outlines: give --labels DIR"),
        (["--labels", "d", "--exp", "e"], "--exp cannot be used with --load-data; leave it out"),
        (["--locations", "d", "--cluster", "dask"], "expected --cluster local, local:N, dask://"),
        (["--labels", "d", "--shard", "3/2"], "expected a shard I/N with I from 1 to N, got '3/2'"),
        (["--labels", "d", "--channels", "DNA"], "expected --channels CHANNEL=IMAGE, got 'DNA'"),
    ],
)
def test_options_that_do_not_fit_are_one_line(screen, tmp_path, capsys, options, message):
    command = ["embed", "--load-data", str(screen / "load_data.csv"), "--out", str(tmp_path)]
    assert main([*command, "--model", small_model(), *options]) == 1
    *_, error = capsys.readouterr().err.splitlines()
    assert error.startswith("cpcnn: error: ")
    assert message in error


# ---- killed and started again ----------------------------------------------------------------


@pytest.mark.long
def test_a_run_killed_five_times_ends_with_the_same_bytes(tmp_path):
    folder = tmp_path / "screen"
    folder.mkdir()
    command = make_screen(folder, wells=100, sites=2, cells=2, side=40)
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert main([*command, "--out", str(undisturbed)]) == 0
    moments = random.Random(3)
    for _ in range(5):
        process = subprocess.Popen(
            [*CPCNN, *command, "--out", str(killed)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        before = number_of_sites(killed)
        while process.poll() is None and number_of_sites(killed) < before + 5:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert number_of_sites(killed) < 200
    (killed / "features" / "P1" / "A01" / ".1.part.1.npz").write_bytes(b"left by a killed run")
    (killed / "features" / "P1" / "A01" / "1.npz").unlink()
    assert main([*command, "--out", str(killed)]) == 0
    assert bytes_in(killed) == bytes_in(undisturbed)


def number_of_sites(out):
    return len(list((out / "features").rglob("[!.]*.npz")))
