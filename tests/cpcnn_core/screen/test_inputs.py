"""Done means done with these inputs: whatever changed is done again, and nothing else."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import time

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from cpcnn_core.cli.main import main
from cpcnn_core.errors import ProfileWarning, SiteError
from cpcnn_core.io.deepprofiler_npz import read_site, write_site
from cpcnn_core.profiles.wells import find_tables
from cpcnn_core.screen.collect import OTHER_FORMAT
from cpcnn_core.screen.job import Job, open_job
from cpcnn_core.screen.run import embed_sites
from cpcnn_core.screen.screens import CellProfilerObjects, LoadDataScreen

from ...opened_files import opened_files
from ...small_model import small_model
from .conftest import AS_STORED, CHANNELS, command_for
from .test_embed import CPCNN, cells_in, log_of, number_of_sites, states, tifffile_labels

MODEL = ["--model", small_model(), "--device", "cpu"]


@pytest.fixture
def out(own_screen, tmp_path):
    """Where the own screen is embedded, from files that were too old to be doubted."""
    out = tmp_path / "out"
    assert main([*command_for(own_screen), "--out", str(out)]) == 0
    let_inputs_be_old(out)
    return out


def let_inputs_be_old(out):
    """Let the sites' files say that their inputs were read three seconds from now.

    So long, and a file is no longer so young that its time may be that of two states.
    """
    for path in (out / "features").rglob("*.npz"):
        os.utime(path, (time.time() + 3,) * 2)


def run(folder, out, *more, code=0, capsys=None):
    """Embed again; return the states of the sites, and what was said."""
    if capsys is not None:
        capsys.readouterr()
    assert main([*command_for(folder), "--out", str(out), *more]) == code
    return states(out), None if capsys is None else capsys.readouterr().out


def redone(out):
    """Why sites were done again in the last run, by site."""
    last = max(i for i, line in enumerate(log_of(out)) if line["event"] == "start")
    lines = [line for line in log_of(out)[last:] if line["event"] == "site"]
    return {line["site"]: line["redone"] for line in lines if line["redone"]}


def tables(out):
    return {path.name: path.read_bytes() for path in (out / "plates").iterdir()}


def assert_as_fresh(command, out, tmp_path):
    """Compare every byte of the plates' tables, and the cells, with a run into an empty folder."""
    fresh = tmp_path / f"fresh {time.time_ns()}"
    place = command.index("--out") if "--out" in command else len(command)
    assert main([*command[:place], *command[place + 2 :], "--out", str(fresh)]) == 0
    assert tables(out) == tables(fresh)
    assert cells_in(out) == cells_in(fresh)


def everything(folder):
    """All files and folders with contents and times."""
    return {
        path: (path.stat().st_mtime_ns, path.is_file() and path.read_bytes())
        for path in [folder, *folder.rglob("*")]
    }


def other_pixels(path, seed=1):
    """Write other pixels of the same size over an image."""
    image = np.asarray(Image.open(path))
    random = np.random.default_rng(seed)
    Image.fromarray(random.integers(0, 4000, image.shape).astype(image.dtype)).save(path)


def table_of(folder):
    return pd.read_csv(folder / "load_data.csv", dtype=str, keep_default_na=False)


# ---- images ----------------------------------------------------------------------------------


def test_pixels_changed_in_place_are_embedded_anew(own_screen, out, tmp_path, capsys):
    other_pixels(own_screen / "2_DNA.png")
    other_pixels(own_screen / "5_DNA.png")
    other_pixels(own_screen / "5_ER.png")
    found, said = run(own_screen, out, capsys=capsys)
    assert [i + 1 for i, state in enumerate(found) if state == "embedded"] == [2, 5]
    assert redone(out) == {
        "P1/A01/2": "the pixels of DNA changed",
        "P1/A03/1": "the pixels of DNA and ER changed",
    }
    assert (
        "2 sites are done again: 1 because the pixels of DNA and ER changed, 1 because the pixels "
        "of DNA changed" in said.splitlines()
    )
    assert_as_fresh(command_for(own_screen), out, tmp_path)
    assert run(own_screen, out)[0] == ["already done"] * 8


@pytest.mark.skipif(os.name == "nt", reason="there is no time of the last change of a file there")
def test_an_image_of_the_same_size_and_time_is_another_all_the_same(own_screen, out, tmp_path):
    path = own_screen / "3_AGP.tif"
    image = np.asarray(Image.open(own_screen / "3_AGP.png"))
    tifffile.imwrite(path, image)
    table = table_of(own_screen)
    table.loc[2, "FileName_OrigAGP"] = path.name
    table.to_csv(own_screen / "load_data.csv", index=False)
    assert run(own_screen, out)[0] == ["already done"] * 8
    let_inputs_be_old(out)
    before = path.stat()
    tifffile.imwrite(path, image[::-1])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    run(own_screen, out)
    assert redone(out) == {"P2/A02/1": "the pixels of AGP changed"}
    assert_as_fresh(command_for(own_screen), out, tmp_path)


def test_a_file_that_was_young_when_it_was_recorded_is_read_again(own_screen, out):
    """As where times count in whole seconds, and it was written twice in one of them."""
    other_pixels(own_screen / "4_RNA.png")
    state = (own_screen / "4_RNA.png").stat()
    path = out / "features" / "P2" / "A02" / "2.npz"
    old = read_site(path)
    inputs = json.loads(json.dumps(old.inputs))
    inputs["images"]["RNA"] |= {
        "size": state.st_size,
        "mtime_ns": state.st_mtime_ns,
        "ctime_ns": state.st_ctime_ns,
    }
    for seconds, expected in ((3, {}), (1, {"P2/A02/2": "the pixels of RNA changed"})):
        moment = state.st_ctime_ns + seconds * 10**9
        write_site(path, dataclasses.replace(old, inputs=inputs), moment)
        run(own_screen, out)
        assert redone(out) == expected


def test_images_of_the_same_names_in_another_folder_are_other_images(
    own_screen, out, tmp_path, capsys
):
    other = tmp_path / "other"
    shutil.copytree(own_screen, other)
    for path in other.glob("*.png"):
        # Also of the same size and time.
        before = path.stat()
        other_pixels(path, 7)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    text = (own_screen / "load_data.csv").read_text()
    (other / "load_data.csv").write_text(text.replace(str(own_screen), str(other)))
    found, said = run(other, out, capsys=capsys)
    assert found == ["embedded"] * 8
    assert (
        "8 sites are done again: 8 because DNA, RNA, ER, AGP and Mito are other images"
        in said.splitlines()
    )
    assert_as_fresh(command_for(other), out, tmp_path)


@pytest.mark.parametrize("copy", [shutil.copy2, shutil.copyfile])
def test_a_screen_that_was_copied_is_done(own_screen, out, tmp_path, copy):
    cells, plates = cells_in(out), tables(out)
    other = tmp_path / "moved"
    shutil.copytree(own_screen, other, copy_function=copy)
    shutil.rmtree(own_screen)
    text = (other / "load_data.csv").read_text()
    (other / "load_data.csv").write_text(text.replace(str(own_screen), str(other)))
    with opened_files() as opened:
        assert run(other, out)[0] == ["already done"] * 8
    assert "1_DNA.png" in opened
    assert (cells_in(out), tables(out)) == (cells, plates)
    # What was found is remembered.
    let_inputs_be_old(out)
    with opened_files() as opened:
        assert run(other, out)[0] == ["already done"] * 8
    assert not [name for name in opened if name.endswith(".png")]


def test_a_screen_whose_files_were_touched_is_done(own_screen, out):
    for path in own_screen.glob("*.png"):
        os.utime(path, (1e9, 1e9))
    assert run(own_screen, out)[0] == ["already done"] * 8
    let_inputs_be_old(out)
    with opened_files() as opened:
        assert run(own_screen, out)[0] == ["already done"] * 8
    assert not [name for name in opened if name.endswith(".png")]


def test_what_did_not_change_is_not_opened(own_screen, out, tmp_path):
    with opened_files() as opened:
        assert run(own_screen, out)[0] == ["already done"] * 8
    assert not [name for name in opened if name.endswith(".png")]
    other_pixels(own_screen / "3_ER.png")
    with opened_files() as opened:
        run(own_screen, out)
    with opened_files() as fresh:
        run(own_screen, tmp_path / "fresh")
    # Every image of one site, as often as by a run that only embeds: not the others.
    assert sorted(name for name in opened if name.endswith(".png")) == sorted(
        name for name in fresh if name.startswith("3_")
    )
    assert {name for name in opened if name.endswith(".png")} == {f"3_{c}.png" for c in CHANNELS}


def test_an_image_written_anew_with_the_same_pixels_is_the_same(own_screen, out):
    for path in own_screen.glob("2_*.png"):
        pixels = np.asarray(Image.open(path))
        Image.fromarray(pixels).save(path, compress_level=0)
    assert run(own_screen, out)[0] == ["already done"] * 8


def test_another_page_of_the_same_file_is_another_image(own_screen, tmp_path):
    planes = np.random.default_rng(3).integers(0, 4000, (3, 80, 80)).astype(np.uint16)
    planes[2] = planes[0]
    tifffile.imwrite(own_screen / "stack.tif", planes, photometric="minisblack")
    table = table_of(own_screen)
    table["Frame_OrigDNA"] = ["0"] * 8
    table.loc[:3, "FileName_OrigDNA"] = "stack.tif"
    table.loc[4:, "Frame_OrigDNA"] = ""
    table.to_csv(own_screen / "load_data.csv", index=False)
    out = tmp_path / "out"
    assert run(own_screen, out)[0] == ["embedded"] * 8
    table.loc[0, "Frame_OrigDNA"] = "1"
    # The same picture, from another page.
    table.loc[1, "Frame_OrigDNA"] = "2"
    table.to_csv(own_screen / "load_data.csv", index=False)
    assert run(own_screen, out)[0] == ["embedded"] + ["already done"] * 7
    assert redone(out) == {"P1/A01/1": "DNA is another image"}
    assert_as_fresh(command_for(own_screen), out, tmp_path)


def with_illumination(folder, rows, value=None):
    table = table_of(folder)
    table["PathName_IllumDNA"] = str(folder)
    table["FileName_IllumDNA"] = ["illum.npy" if row in rows else "" for row in range(8)]
    table.to_csv(folder / "load_data.csv", index=False)
    if value is not None:
        np.save(folder / "illum.npy", np.full((80, 80), 2.0) + value * np.eye(80))


def test_an_illumination_function_is_an_input(own_screen, out, tmp_path, capsys):
    with_illumination(own_screen, [0, 1], 0.5)
    run(own_screen, out)
    assert redone(out) == dict.fromkeys(
        ["P1/A01/1", "P1/A01/2"], "the illumination function of DNA changed"
    )
    assert run(own_screen, out)[0] == ["already done"] * 8
    with_illumination(own_screen, [0, 1], 0.6)
    found, said = run(own_screen, out, capsys=capsys)
    assert found == ["embedded"] * 2 + ["already done"] * 6
    assert (
        "2 sites are done again: 2 because the illumination function of DNA changed"
        in said.splitlines()
    )
    assert_as_fresh(command_for(own_screen), out, tmp_path)
    with_illumination(own_screen, [1])
    assert run(own_screen, out)[0] == ["embedded"] + ["already done"] * 7
    assert redone(out) == {"P1/A01/1": "the illumination function of DNA changed"}
    # Written again, as it was.
    np.save(own_screen / "illum.npy", np.load(own_screen / "illum.npy"))
    assert run(own_screen, out)[0] == ["already done"] * 8


def test_channels_the_other_way_round_are_other_images(own_screen, out, tmp_path):
    swapped = ["--channels", "RNA=OrigER", "ER=OrigRNA"]
    assert run(own_screen, out, *swapped)[0] == ["embedded"] * 8
    assert set(redone(out).values()) == {"RNA and ER are other images"}
    assert_as_fresh([*command_for(own_screen), *swapped], out, tmp_path)


# ---- objects ---------------------------------------------------------------------------------


def test_objects_that_moved_or_are_others_are_embedded_anew(own_screen, out, tmp_path, capsys):
    path = own_screen / "Nuclei.csv"
    table = pd.read_csv(path, float_precision="round_trip")
    table.loc[table["ImageNumber"] == 2, "Location_Center_Y"] += 0.25
    other = (table["ImageNumber"] == 7) & (table["ObjectNumber"] == 3)
    table.loc[other, "ObjectNumber"] = 4
    table.to_csv(path, index=False)
    found, said = run(own_screen, out, capsys=capsys)
    assert found == ["already done", "embedded", *["already done"] * 4, "embedded", "already done"]
    assert (
        "2 sites are done again: 1 because it has other objects, 1 because its objects moved"
        in said.splitlines()
    )
    assert_as_fresh(command_for(own_screen), out, tmp_path)


def test_a_table_that_was_written_again_is_the_same(own_screen, out, tmp_path):
    table = pd.read_csv(own_screen / "Nuclei.csv", float_precision="round_trip")
    table.loc[5, "Location_Center_X"] = np.nextafter(table.loc[5, "Location_Center_X"], 0)
    table.to_csv(own_screen / "Nuclei.csv", index=False)
    assert run(own_screen, out)[0] == ["already done"] * 8
    assert_as_fresh(command_for(own_screen), out, tmp_path)


@pytest.mark.parametrize("way", ["no file", "empty"])
def test_objects_that_vanished_leave_nothing_behind(own_screen, out, tmp_path, way):
    labels = own_screen / "labels"
    tifffile_labels(own_screen)
    command = ["embed", "--load-data", str(own_screen / "load_data.csv"), "--labels", str(labels)]
    command += [*MODEL, "--out", str(out)]
    assert main(command) == 0
    place = labels / "P1_A01_2.tif"
    if way == "no file":
        place.unlink()
    else:
        tifffile.imwrite(place, np.zeros((80, 80), np.uint16))
    assert main(command) == 0
    state = "no locations" if way == "no file" else "no objects"
    assert states(out) == ["already done", state, *["already done"] * 6]
    assert not (out / "features" / "P1" / "A01" / "2.npz").exists()
    assert_as_fresh(command, out, tmp_path)


def test_label_images_that_did_not_change_are_not_opened(own_screen, tmp_path):
    tifffile_labels(own_screen)
    command = ["embed", "--load-data", str(own_screen / "load_data.csv")]
    command += ["--labels", str(own_screen / "labels"), *MODEL, "--out", str(tmp_path / "out")]
    assert main(command) == 0
    let_inputs_be_old(tmp_path / "out")
    with opened_files() as opened:
        assert main(command) == 0
    assert states(tmp_path / "out") == ["already done"] * 8
    assert not [name for name in opened if name.endswith((".png", ".tif"))]


def test_outlines_matter_where_they_mask(own_screen, tmp_path):
    tifffile_labels(own_screen)
    command = ["embed", "--load-data", str(own_screen / "load_data.csv")]
    command += ["--labels", str(own_screen / "labels"), *MODEL]
    plain, masked = tmp_path / "plain", tmp_path / "masked"
    assert main([*command, "--out", str(plain)]) == 0
    assert main([*command, "--mask", "--out", str(masked)]) == 0
    # A neighbour that has no pixels of the object, and leaves its centre where it was.
    path = own_screen / "labels" / "P1_A03_1.tif"
    labels = tifffile.imread(path)
    labels[22:38, 22:38] = 0
    labels[28:32, 28:32] = 4
    tifffile.imwrite(path, labels)
    assert main([*command, "--out", str(plain)]) == 0
    assert states(plain) == ["already done"] * 8
    assert main([*command, "--mask", "--out", str(masked)]) == 0
    assert states(masked) == [*["already done"] * 4, "embedded", *["already done"] * 3]
    assert redone(masked) == {"P1/A03/1": "the outlines of its objects changed"}
    assert_as_fresh([*command, "--mask"], masked, tmp_path)
    # Copied, touched, written in another type: the same outlines.
    tifffile.imwrite(path, labels.astype(np.uint8))
    assert main([*command, "--mask", "--out", str(masked)]) == 0
    assert states(masked) == ["already done"] * 8


def test_location_files_are_inputs(project, tmp_path):
    out = tmp_path / "out"
    command = ["embed", "--deepprofiler", str(project), *MODEL, "--out", str(out)]
    assert main(command) == 0
    path = project / "inputs" / "locations" / "P1" / "A01-1-Nuclei.csv"
    table = pd.read_csv(path)
    table.iloc[0] += 1
    table.to_csv(path, index=False)
    assert main(command) == 0
    assert states(out)[:2] == ["embedded", "already done"]
    assert redone(out) == {"P1/A01/1": "its objects moved"}
    assert_as_fresh(command, out, tmp_path)


# ---- what the table says ---------------------------------------------------------------------


def test_metadata_are_the_tables_and_nothing_is_embedded_for_them(own_screen, tmp_path):
    table = table_of(own_screen)
    table["Metadata_Treatment"] = [f"compound {row}" for row in range(8)]
    table["Metadata_Operator"] = "somebody"
    table.to_csv(own_screen / "load_data.csv", index=False)
    out = tmp_path / "out"
    both = ["--tables", "parquet", "anndata"]
    run(own_screen, out, *both)
    let_inputs_be_old(out)
    times = {path: path.stat().st_mtime_ns for path in (out / "features").rglob("*.npz")}
    table.loc[3, "Metadata_Treatment"] = "DMSO"
    table = table.drop(columns="Metadata_Operator").assign(Metadata_Dose=list("12345678"))
    table.to_csv(own_screen / "load_data.csv", index=False)
    assert run(own_screen, out, *both)[0] == ["already done"] * 8
    found = pd.concat(pd.read_parquet(out / "plates" / f"{p}.parquet") for p in ("P1", "P2"))
    assert "Metadata_Operator" not in found.columns
    key = ["Metadata_Plate", "Metadata_Well", "Metadata_Site"]
    own = ["Metadata_Treatment", "Metadata_Dose"]
    expected = table.set_index(key)[own]
    pd.testing.assert_frame_equal(
        found.drop_duplicates(key).set_index(key)[own].sort_index(), expected.sort_index()
    )
    # The sites' files, which other programs read, say it too.
    assert read_site(out / "features" / "P2" / "A02" / "2.npz").metadata["Treatment"] == "DMSO"
    assert times == {path: path.stat().st_mtime_ns for path in (out / "features").rglob("*.npz")}
    assert_as_fresh([*command_for(own_screen), *both], out, tmp_path)


def test_metadata_are_the_tables_after_shards_too(own_screen, out, tmp_path):
    table = table_of(own_screen)
    table["Metadata_Treatment"] = "DMSO"
    table.to_csv(own_screen / "load_data.csv", index=False)
    before = tables(out)
    for part in ("1/2", "2/2"):
        assert set(run(own_screen, out, "--shard", part)[0]) == {"already done"}
    assert tables(out) == before
    run(own_screen, out)
    assert_as_fresh(command_for(own_screen), out, tmp_path)


def test_the_index_of_a_project_says_the_metadata(project, tmp_path):
    command = ["embed", "--deepprofiler", str(project), *MODEL, "--out", str(tmp_path / "out")]
    assert main(command) == 0
    path = project / "inputs" / "metadata" / "index.csv"
    index = pd.read_csv(path, dtype=str, keep_default_na=False)
    index["Treatment"] = "taxol"
    index.to_csv(path, index=False)
    assert main(command) == 0
    assert states(tmp_path / "out")[:2] == ["already done"] * 2
    assert_as_fresh(command, tmp_path / "out", tmp_path)
    found = pd.read_parquet(tmp_path / "out" / "plates" / "P1.parquet")
    assert set(found["Metadata_Treatment"]) == {"taxol"}


def test_rows_in_another_order_are_the_same_sites(own_screen, out, tmp_path):
    table = table_of(own_screen).iloc[::-1]
    table.to_csv(own_screen / "load_data.csv", index=False)
    assert run(own_screen, out)[0] == ["already done"] * 8
    assert_as_fresh(command_for(own_screen), out, tmp_path)


# ---- tables of other plates ------------------------------------------------------------------


def test_a_plate_that_was_renamed_is_counted_once(own_screen, out, tmp_path, capsys):
    rename(own_screen, "P2", "P9")
    found, said = run(own_screen, out, capsys=capsys)
    assert found.count("embedded") == 4
    assert f"removed {out / 'plates' / 'P2.parquet'}: no plate of this screen" in said.splitlines()
    assert_as_fresh_tables(command_for(own_screen), out, tmp_path)
    assert main(["profile", str(out), "--out", str(tmp_path / "wells.parquet")]) == 0
    assert len(pd.read_parquet(tmp_path / "wells.parquet")) == 4


def rename(folder, old, new):
    for name in ("load_data.csv", "Image.csv"):
        table = pd.read_csv(folder / name, dtype=str)
        table["Metadata_Plate"] = table["Metadata_Plate"].replace(old, new)
        table.to_csv(folder / name, index=False)


def assert_as_fresh_tables(command, out, tmp_path):
    fresh = tmp_path / f"fresh {time.time_ns()}"
    assert main([*command, "--out", str(fresh)]) == 0
    assert tables(out) == tables(fresh)


def test_a_plate_without_cells_and_other_formats_leave_no_table(own_screen, tmp_path, capsys):
    out = tmp_path / "out"
    run(own_screen, out, "--tables", "parquet", "anndata")
    table = pd.read_csv(own_screen / "Nuclei.csv")
    numbers = np.flatnonzero(table_of(own_screen)["Metadata_Plate"] == "P1") + 1
    table[~table["ImageNumber"].isin(numbers)].to_csv(own_screen / "Nuclei.csv", index=False)
    _, said = run(own_screen, out, "--tables", "anndata", capsys=capsys)
    assert sorted(tables(out)) == ["P2.h5ad"]
    plates = out / "plates"
    assert (
        f"removed {plates / 'P1.parquet'}, P1.h5ad: none of its sites is done now"
        in said.splitlines()
    )
    assert (
        f"removed {plates / 'P2.parquet'}: not among the tables asked for, see --tables"
        in said.splitlines()
    )
    fresh = tmp_path / "fresh"
    assert main([*command_for(own_screen), "--tables", "anndata", "--out", str(fresh)]) == 0
    assert tables(out) == tables(fresh)


def merged_by_pandas(plates):
    pd.read_parquet(plates / "P1.parquet").to_parquet(plates / "all.parquet")
    return "all.parquet"


def a_copy(plates):
    shutil.copy(plates / "P1.parquet", plates / "P1 copy.parquet")
    return "P1 copy.parquet"


def added_to(plates):
    anndata = pytest.importorskip("anndata")
    cells = anndata.read_h5ad(plates / "P1.h5ad")
    cells.obsm["X_umap"] = np.zeros((len(cells), 2))
    cells.write_h5ad(plates / "old.h5ad")
    return "old.h5ad"


def put_away(plates):
    (plates / "old").mkdir()
    shutil.copy(plates / "P1.parquet", plates / "old" / "P1.parquet")
    return "old/P1.parquet"


def exported(plates):
    pd.read_parquet(plates / "P1.parquet").iloc[:3].to_csv(plates / "first.csv.gz", index=False)
    return "first.csv.gz"


def damaged(plates):
    (plates / "P9.parquet").write_bytes((plates / "P1.parquet").read_bytes()[:-9])
    return "P9.parquet"


STRANGERS = [merged_by_pandas, a_copy, added_to, put_away, exported, damaged]


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("stranger", STRANGERS)
def test_a_table_that_is_not_of_embed_is_refused_by_name(own_screen, tmp_path, capsys, stranger):
    out = tmp_path / "out"
    run(own_screen, out, "--tables", "parquet", "anndata")
    name = stranger(out / "plates")
    before = everything(out)
    command = [*command_for(own_screen), "--out", str(out), "--tables", "parquet", "anndata"]
    assert main(command) == 1
    assert (
        f"cpcnn: error: {out / 'plates'} holds {name}, which cpcnn embed did not write as it is "
        "there" in capsys.readouterr().err
    )
    assert everything(out) == before
    # A shard neither collects nor removes.
    assert main([*command, "--shard", "1/2"]) == 0
    assert (out / "plates" / name).exists()


def test_what_nobody_counts_may_lie_among_the_tables(own_screen, out, tmp_path):
    """Notes, and of a plate what ``cpcnn profile`` passes over for the parquet."""
    plates = out / "plates"
    (plates / "README.txt").write_text("notes")
    shutil.copy(plates / "P1.parquet", plates / "wells.consensus.parquet")
    pd.read_parquet(plates / "P1.parquet").to_csv(plates / "P1.csv", index=False)
    run(own_screen, out)
    assert len(tables(out)) == 5
    with pytest.warns(ProfileWarning, match=r"not read.*P1\.csv"):
        found = find_tables([out])
    assert [path.name for path in found] == ["P1.parquet", "P2.parquet"]
    # Without the parquet it would be counted.
    command = [*command_for(own_screen), "--out", str(out), "--shard", "1/1"]
    (plates / "P1.csv").rename(plates / "P7.csv")
    assert main(command) == 1


def test_what_a_killed_run_left_among_the_tables_is_removed(own_screen, out):
    (out / "plates" / ".node-7.part.P1.parquet").write_bytes(b"left by a killed run")
    run(own_screen, out)
    assert sorted(tables(out)) == ["P1.parquet", "P2.parquet"]


def test_sites_that_are_no_more_in_the_screen_are_not_counted(own_screen, out, tmp_path):
    table_of(own_screen).iloc[:5].to_csv(own_screen / "load_data.csv", index=False)
    assert run(own_screen, out)[0] == ["already done"] * 5
    assert_as_fresh_tables(command_for(own_screen), out, tmp_path)


# ---- what cannot be read now -----------------------------------------------------------------


def test_a_disk_that_is_not_there_costs_no_features(own_screen, out, capsys):
    cells, plates = cells_in(out), tables(out)
    away = own_screen.parent / "away"
    away.mkdir()
    images = sorted(own_screen.glob("[3-8]_*.png"))
    for path in images:
        path.rename(away / path.name)
    found, said = run(own_screen, out, code=1, capsys=capsys)
    assert found == ["already done"] * 2 + ["failed"] * 6
    assert (
        f"  6 sites like P2/A02/1: failed there is no image file {own_screen / '3_DNA.png'}; what "
        f"an earlier run made of it is kept (all are in {out / 'embed.jsonl'})"
    ) in said.splitlines()
    assert (cells_in(out), tables(out)) == (cells, plates)
    for path in images:
        (away / path.name).rename(path)
    assert run(own_screen, out)[0] == ["already done"] * 8
    assert (cells_in(out), tables(out)) == (cells, plates)


def test_label_images_on_a_disk_that_is_not_there_cost_no_features(own_screen, tmp_path, capsys):
    tifffile_labels(own_screen)
    labels, out = own_screen / "labels", tmp_path / "out"
    command = ["embed", "--load-data", str(own_screen / "load_data.csv"), "--labels", str(labels)]
    command += [*MODEL, "--out", str(out)]
    assert main(command) == 0
    cells, plates = cells_in(out), tables(out)
    labels.rename(own_screen / "away")
    for _ in range(2):
        assert main(command) == 1
        assert states(out) == ["failed"] * 8
        assert (
            f"the folder {labels}, where they were, is empty or not there"
            in log_of(out)[-2]["reason"]
        )
        assert (cells_in(out), tables(out)) == (cells, plates)
        labels.mkdir(exist_ok=True)
    labels.rmdir()
    (own_screen / "away").rename(labels)
    assert main(command) == 0
    # One that is there, other than it was, and no image.
    (labels / "P1_A01_1.tif").write_bytes(b"damaged")
    assert main(command) == 1
    assert states(out)[0] == "failed"
    table = pd.read_parquet(out / "plates" / "P1.parquet")
    assert len(table) == 3
    assert not ((table["Metadata_Well"] == "A01") & (table["Metadata_Site"] == "1")).any()


def test_a_site_that_changed_and_cannot_be_read_is_not_counted(own_screen, out):
    path = own_screen / "3_ER.png"
    whole = path.read_bytes()
    path.write_bytes(whole[:2000])
    assert run(own_screen, out, code=1)[0].count("failed") == 1
    cells = pd.read_parquet(out / "plates" / "P2.parquet")
    assert 3 not in set(cells["Metadata_ImageNumber"])
    # Nor one whose table names a file that is not there.
    path.write_bytes(whole)
    text = (own_screen / "load_data.csv").read_text()
    (own_screen / "load_data.csv").write_text(text.replace("4_AGP.png", "gone.png"))
    assert run(own_screen, out, code=1)[0].count("failed") == 1
    cells = pd.read_parquet(out / "plates" / "P2.parquet")
    assert set(cells["Metadata_ImageNumber"]) == {3, 7, 8}
    (own_screen / "load_data.csv").write_text(text)
    assert run(own_screen, out)[0] == ["already done"] * 8


# ---- files of earlier versions ---------------------------------------------------------------


@pytest.mark.parametrize("inputs", [{}, {"images": {"DNA": "1_DNA.png"}}, {"images": 3}])
def test_files_that_do_not_say_what_they_were_made_from_are_made_anew(
    own_screen, out, tmp_path, capsys, inputs
):
    for path in (out / "features").rglob("*.npz"):
        write_site(path, dataclasses.replace(read_site(path), inputs=inputs))
    found, said = run(own_screen, out, capsys=capsys)
    assert found == ["embedded"] * 8
    assert (
        "8 sites are done again: 8 because an earlier cpcnn made the file, which does not say what "
        "from" in said.splitlines()
    )
    assert_as_fresh(command_for(own_screen), out, tmp_path)


def test_damaged_files_and_other_settings_are_said(own_screen, out):
    path = out / "features" / "P1" / "A01" / "1.npz"
    path.write_bytes(path.read_bytes()[:-500])
    run(own_screen, out)
    assert redone(out) == {"P1/A01/1": "the file is damaged, or not cpcnn's"}
    run(own_screen, out, "--precision", "mixed")
    assert set(redone(out).values()) == {"the settings are others (precision)"}


# ---- everything, or nothing ------------------------------------------------------------------


def test_force_does_everything_anew(own_screen, out, tmp_path, capsys):
    cells, plates = cells_in(out), tables(out)
    found, said = run(own_screen, out, "--force", capsys=capsys)
    assert found == ["embedded"] * 8
    assert "8 sites are done again: 8 because --force was given" in said.splitlines()
    assert (cells_in(out), tables(out)) == (cells, plates)
    assert run(own_screen, out, "--force", "--shard", "2/4")[0] == ["embedded"] * 2


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
def test_a_cluster_takes_the_same_decisions(own_screen, out, tmp_path):
    pytest.importorskip("distributed")
    other_pixels(own_screen / "6_Mito.png")
    assert run(own_screen, out, "--cluster", "local:1")[0].count("embedded") == 1
    assert redone(out) == {"P1/A03/2": "the pixels of Mito changed"}
    assert_as_fresh(command_for(own_screen), out, tmp_path)
    assert run(own_screen, out, "--cluster", "local:1", "--force")[0] == ["embedded"] * 8


def test_a_check_says_what_would_be_done_and_touches_nothing(own_screen, out, tmp_path, capsys):
    other_pixels(own_screen / "2_DNA.png")
    for path in own_screen.glob("7_*.png"):
        os.utime(path)
    (out / "features" / "P1" / "A03" / "1.npz").unlink()
    (out / "features" / "P2" / "A02" / "1.npz").unlink()
    rename(own_screen, "nothing", "at all")
    table = pd.read_csv(own_screen / "Nuclei.csv")
    table[table["ImageNumber"] != 8].to_csv(own_screen / "Nuclei.csv", index=False)
    shutil.copy(out / "plates" / "P1.parquet", tmp_path / "P1.parquet")
    (own_screen / "6_ER.png").unlink()
    before = everything(tmp_path)
    capsys.readouterr()
    command = [*command_for(own_screen), "--out", str(out)]
    assert main([*command, "--check", "--tables", "anndata"]) == 0
    found = capsys.readouterr()
    said = found.out.splitlines()
    assert found.err.splitlines() == [AS_STORED]
    why = "the pixels of DNA changed"
    states_now = f"3 already done, 2 to do (no file yet), 1 to do again ({why})"
    gone, plates = own_screen / "6_ER.png", out / "plates"
    kept = f"there is no image file {gone}; what an earlier run made of it is kept"
    assert said == [
        f"8 sites: {states_now}, 1 cannot be read, 1 no objects",
        f"  P1/A03/2: {kept}",
        f"would write P1.h5ad, P2.h5ad in {plates}",
        f"would remove {plates / 'P1.parquet'}, P2.parquet: {OTHER_FORMAT}",
    ]
    assert everything(tmp_path) == before
    # As it is done then.
    assert main(command) == 1
    assert sorted(states(out)) == sorted(
        ["already done"] * 3 + ["embedded"] * 3 + ["failed", "no objects"]
    )


def test_a_check_of_a_shard_and_of_a_folder_that_is_not_there(own_screen, tmp_path, capsys):
    before = everything(tmp_path)
    command = [*command_for(own_screen), "--out", str(tmp_path / "none" / "out"), "--check"]
    assert main([*command, "--shard", "2/3"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "3 sites: 3 to do (no file yet)",
        "With --shard, no tables of plates are written or removed.",
    ]
    assert main([*command, "--force"]) == 0
    assert "8 sites: 8 to do (no file yet)" in capsys.readouterr().out.splitlines()
    assert everything(tmp_path) == before


def test_shards_collect_and_remove_nothing(own_screen, out, tmp_path):
    rename(own_screen, "P2", "P9")
    other_pixels(own_screen / "1_DNA.png")
    before = tables(out)
    for part in ("1/3", "2/3", "3/3"):
        run(own_screen, out, "--shard", part)
        assert tables(out) == before
    assert run(own_screen, out)[0] == ["already done"] * 8
    assert_as_fresh_tables(command_for(own_screen), out, tmp_path)


# ---- killed ----------------------------------------------------------------------------------


@pytest.mark.long
def test_a_run_that_is_killed_leaves_no_old_features_with_a_new_record(own_screen, tmp_path):
    out, fresh = tmp_path / "out", tmp_path / "fresh"
    command = [*command_for(own_screen), "--out", str(out)]
    assert main(command) == 0
    old = {path: read_site(path) for path in (out / "features").rglob("[!.]*.npz")}
    for path in own_screen.glob("*_DNA.png"):
        other_pixels(path)
    assert main([*command[:-1], str(fresh)]) == 0
    new = {
        out / path.relative_to(fresh): read_site(path)
        for path in (fresh / "features").rglob("[!.]*.npz")
    }
    for _ in range(4):
        sites = changed(old)
        with subprocess.Popen(
            [*CPCNN, *command, "--readers", "1"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            while process.poll() is None and changed(old) == sites:
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
        for path, table in old.items():
            if path.exists():
                found = read_site(path)
                same = old if found.inputs == table.inputs else new
                np.testing.assert_array_equal(found.features, same[path].features)
                assert found.inputs == same[path].inputs
    assert main(command) == 0
    assert cells_in(out) == cells_in(fresh)
    assert tables(out) == tables(fresh)


def changed(old):
    """How many sites' files are no longer those there were."""

    def is_old(path, table):
        try:
            return read_site(path).inputs == table.inputs
        except SiteError as error:
            # A run that goes on takes an old file away, maybe in this very moment.
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            return False

    return sum(not is_old(path, table) for path, table in old.items())


# ---- the library -----------------------------------------------------------------------------


def test_what_fails_with_strict_keeps_what_was(own_screen, out):
    cells = CellProfilerObjects(str(own_screen / "Nuclei.csv"))
    screen = LoadDataScreen(str(own_screen / "load_data.csv"), cells)
    opened = open_job(Job(screen, str(out), model=small_model(), device="cpu"))
    (own_screen / "1_DNA.png").unlink()
    before = cells_in(out)
    reports = embed_sites(opened.model, opened.sites, out, opened.settings)
    assert [report.kept for report in reports] == [True] + [False] * 7
    assert all(report.counted for report in reports)
    assert cells_in(out) == before
    assert number_of_sites(out) == 8
