"""``cpcnn compare`` on a screen that changed: what is done again, by every contestant."""

import dataclasses
import json
import shutil
import time

import numpy as np
import pandas as pd
import pytest
import tifffile

from cpcnn_core.cli.main import main
from cpcnn_core.models.opening import untrained_efficientnet_b0
from cpcnn_core.models.weights import save_model

from .test_compare import CONTROLS, QUERY, of_screen
from .test_compare import screen as whole  # noqa: F401

pytest.importorskip("cp_measure")


@pytest.fixture
def screen(whole, tmp_path):  # noqa: F811
    folder = shutil.copytree(whole, tmp_path / "screen")
    table = folder / "load_data.csv"
    table.write_text(table.read_text().replace(str(whole), str(folder)))
    return folder


@pytest.fixture
def command(screen, tmp_path):
    """A comparison of one network with classical measurements, done once."""
    card, weights = untrained_efficientnet_b0(("Actin", "DNA"))
    save_model(tmp_path / "two.safetensors", dataclasses.replace(card, crop_px=32), weights)
    out = tmp_path / "out"
    command = ["compare", str(tmp_path / "two.safetensors"), "--classical", *of_screen(screen)]
    command += [
        "--platemap",
        str(screen / "platemap.csv"),
        "--controls",
        CONTROLS,
        "--query",
        QUERY,
    ]
    command += ["--out", str(out)]
    assert main(command) == 0
    return command


def tables(out):
    return {
        path.relative_to(out): path.read_bytes() for path in (out / "models").rglob("*.parquet")
    }


def everything(folder):
    return {
        path: (path.stat().st_mtime_ns, path.is_file() and path.read_bytes())
        for path in [folder, *folder.rglob("*")]
    }


def lines_of(capsys, command, *more, code=0):
    capsys.readouterr()
    assert main([*command, *more]) == code
    said = capsys.readouterr()
    # A check is a result, how a comparison gets on is none.
    return (said.out if "--check" in more else said.err).splitlines()


@pytest.mark.long
def test_what_changed_is_done_anew_by_all_and_nothing_else(screen, command, tmp_path, capsys):
    out = tmp_path / "out"
    path = screen / "P1_B02_DNA.tif"
    tifffile.imwrite(path, tifffile.imread(path)[::-1].copy())
    labels = screen / "labels" / "P2_C01_1.tif"
    image = tifffile.imread(labels)
    # A cell that is smaller now, and stays where it is.
    rows, cols = np.nonzero(image == 1)
    image[rows.min(), cols[rows == rows.min()]] = image[rows.max(), cols[rows == rows.max()]] = 0
    tifffile.imwrite(labels, image)
    table = pd.read_csv(screen / "load_data.csv", dtype=str)
    table["Metadata_Batch"] = "7"
    table.to_csv(screen / "load_data.csv", index=False)
    # Nothing is written by a check.
    before = everything(tmp_path)
    said = lines_of(capsys, command, "--check")
    assert everything(tmp_path) == before
    network, classical = said[: said.index("classical:")], said[said.index("classical:") :]
    why = "the pixels of DNA changed"
    assert f"24 sites: 23 already done, 1 to do again ({why})" in network
    outlines = "the outlines of its objects changed"
    assert (
        f"24 sites: 22 already done, 1 to do again ({outlines}), 1 to do again ({why})" in classical
    )
    said = lines_of(capsys, command)
    assert any(
        line.startswith("two: done; ") and line.endswith(f"; 1 site is done again: 1 because {why}")
        for line in said
    )
    assert any(
        line.startswith("classical: done; ")
        and line.endswith(f"; 2 sites are done again: 1 because {outlines}, 1 because {why}")
        for line in said
    )
    assert_as_fresh(command, out, tmp_path)
    cells = pd.read_parquet(out / "models" / "classical" / "plates" / "P1.parquet")
    assert set(cells["Metadata_Batch"]) == {"7"}


def assert_as_fresh(command, out, tmp_path):
    fresh = tmp_path / f"fresh{time.time_ns()}"
    assert main([*command[:-1], str(fresh)]) == 0
    assert tables(out) == tables(fresh)
    assert (out / "compare.csv").read_text().split(",")[:5] == (
        (fresh / "compare.csv").read_text().split(",")[:5]
    )


@pytest.mark.long
def test_force_and_renamed_plates(screen, command, tmp_path, capsys):
    out = tmp_path / "out"
    cells = json.loads((out / "models" / "two" / "cost.json").read_text())["cells"]
    said = lines_of(capsys, command, "--force")
    forced = "24 sites are done again: 24 because --force was given"
    again = [line.partition(":")[0] for line in said if line.endswith(forced)]
    assert again == ["two", "classical"]
    assert json.loads((out / "models" / "two" / "cost.json").read_text())["cells"] == cells
    for name in ("load_data.csv",):
        text = (screen / name).read_text()
        (screen / name).write_text(text.replace("\nP2,", "\nP9,"))
    for path in (screen / "labels").glob("P2_*"):
        path.rename(path.with_name(path.name.replace("P2_", "P9_", 1)))
    assert main(command) == 0
    for name in ("two", "classical"):
        plates = sorted(path.name for path in (out / "models" / name / "plates").iterdir())
        assert plates == ["P1.parquet", "P9.parquet"]


def test_what_cannot_be_asked_is_said_by_a_check_too(command, tmp_path, capsys):
    before = everything(tmp_path)
    assert main([*command, "--check", "--query", "Well == 'X'"]) == 1
    assert "is true for none of the 24 rows" in capsys.readouterr().err
    assert main([*command[:-1], str(tmp_path / "none"), "--check"]) == 0
    said = capsys.readouterr().out
    assert said.count("24 sites: 24 to do (no file yet)") == 2
    assert everything(tmp_path) == before
