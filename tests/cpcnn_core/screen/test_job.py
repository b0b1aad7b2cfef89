"""A job written for another process is the same there; options become one in one place."""

import argparse
import json
from pathlib import Path

import pytest

from cpcnn_core.cli.screen_options import add_scale, add_screen, screen_of
from cpcnn_core.errors import JsonError, SiteError
from cpcnn_core.io.dataclass_json import read_dataclass, write_dataclass
from cpcnn_core.screen.job import Job
from cpcnn_core.screen.screens import (
    CellProfilerObjects,
    DeepProfilerScreen,
    LabelImages,
    LoadDataScreen,
    LocationFiles,
)

SCREENS = {
    ("--load-data", "l.csv", "--objects", "n.csv"): LoadDataScreen(
        "l.csv", CellProfilerObjects("n.csv", "Nuclei")
    ),
    ("--load-data", "l.csv", "--objects", "n.db", "--object-name", "Cells"): LoadDataScreen(
        "l.csv", CellProfilerObjects("n.db", "Cells")
    ),
    ("--load-data", "l.csv", "--labels", "d", "--mask", "--um-per-px", "0.5"): LoadDataScreen(
        "l.csv", LabelImages("d", mask=True), um_per_px=0.5
    ),
    ("--load-data", "l.csv", "--locations", "d", "--channels", "B=x", "A=y=z"): LoadDataScreen(
        "l.csv", LocationFiles("d"), (("B", "x"), ("A", "y=z"))
    ),
    ("--deepprofiler", "p", "--config", "c.json", "--exp", "e"): DeepProfilerScreen(
        "p", "c.json", "e"
    ),
}


def parsed(words):
    parser = argparse.ArgumentParser()
    add_screen(parser)
    add_scale(parser, "")
    return screen_of(parser.parse_args(words))


@pytest.mark.parametrize("words", SCREENS, ids=" ".join)
def test_options_name_one_screen_which_comes_back_from_json(words, tmp_path):
    screen = parsed(words)
    assert screen == SCREENS[words]
    job = Job(screen, "out", "model.safetensors", device="cpu", readers=3, force=True).absolute()
    write_dataclass(tmp_path / "job.json", job)
    assert read_dataclass(tmp_path / "job.json", Job) == job
    # As a cluster keeps it apart from others.
    assert hash(read_dataclass(tmp_path / "job.json", Job)) == hash(job)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--load-data", "l", "--labels", "d", "--exp", "e"], "--exp cannot be used with --load-"),
        (["--load-data", "l"], "say where the cells are: either --objects FILE, --labels DIR or"),
        (
            ["--load-data", "l", "--labels", "d", "--objects", "n"],
            "say where the cells are: either",
        ),
        (["--load-data", "l", "--objects", "n", "--mask"], "--mask needs the cells' outlines"),
        (["--deepprofiler", "p", "--mask"], r"--mask .* it out \(the project says it itself\)"),
        (["--load-data", "l", "--labels", "d", "--channels", "A"], "expected --channels CHANNEL="),
    ],
)
def test_options_that_do_not_go_together(words, said):
    with pytest.raises(SiteError, match=said):
        parsed(words)


def test_a_job_for_another_folder_names_the_same_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for screen in map(parsed, SCREENS):
        job = Job(screen, "out", model="m.safetensors").absolute()
        content = json.dumps(job, default=vars)
        for name in ("l.csv", "n.csv", "n.db", "p", "d", "out", "m.safetensors"):
            assert f': "{name}"' not in content
        assert job.out == str(Path.cwd() / "out")
    assert Job(screen, "out", model="untrained-efficientnet-b0").absolute().model == (
        "untrained-efficientnet-b0"
    )


def test_a_job_of_another_version_is_refused(tmp_path):
    path = tmp_path / "job.json"
    write_dataclass(path, Job(DeepProfilerScreen("p"), "out"))
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"speed": "high"}))
    with pytest.raises(JsonError, match=r"job\.json: unknown: speed; Job has compartment, device"):
        read_dataclass(path, Job)
    del content["screen"]["config"]
    path.write_text(json.dumps(content))
    with pytest.raises(JsonError, match=r"screen of .*missing: config; DeepProfilerScreen has"):
        read_dataclass(path, Job)
