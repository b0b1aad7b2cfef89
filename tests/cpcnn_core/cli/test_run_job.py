"""A job from a file: what is done is what ``cpcnn embed`` does, and the result tells it."""

import dataclasses
import json

import pytest

from cpcnn_core.cli.main import main
from cpcnn_core.cli.run_job import main as run_job
from cpcnn_core.io.dataclass_json import read_dataclass, write_dataclass
from cpcnn_core.screen.job import Job
from cpcnn_core.screen.reports import JobResult
from cpcnn_core.screen.screens import LabelImages, LoadDataScreen

from .test_compare import models, of_screen, screen  # noqa: F401


@pytest.fixture
def job(screen, models, tmp_path):  # noqa: F811
    return Job(
        LoadDataScreen(
            str(screen / "load_data.csv"),
            LabelImages(str(screen / "labels")),
            (("Actin", "Actin"), ("DNA", "DNA")),
        ),
        str(tmp_path / "out"),
        model=str(models / "two.safetensors"),
        device="cpu",
    )


def do(job, folder):
    """Return the exit status, and what the job's result says."""
    write_dataclass(folder / "job.json", job)
    code = run_job([str(folder / "job.json"), str(folder / "result.json"), "--quiet"])
    return code, read_dataclass(folder / "result.json", JobResult)


def tables(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "plates").iterdir())}


def test_the_tables_are_those_of_embed_and_the_result_what_the_log_says(
    job,
    screen,  # noqa: F811
    tmp_path,
):
    code, result = do(job, tmp_path)
    assert (code, result.finished, result.reason, result.redone) == (0, True, "", "")
    log = [json.loads(line) for line in (tmp_path / "out" / "embed.jsonl").read_text().splitlines()]
    sites = [line for line in log if line["event"] == "site"]
    assert result.sites == len(sites) == 24
    assert result.cells == sum(line["cells"] for line in sites) > 24
    assert list(result.notices) == log[0]["notices"] != []
    assert result.made_by.items() <= log[0].items()
    assert result.made_by["device"] == "cpu"
    command = ["embed", *of_screen(screen), "--model", job.model, "--device", "cpu"]
    assert main([*command, "--out", str(tmp_path / "typed")]) == 0
    assert tables(tmp_path / "out") == tables(tmp_path / "typed")
    # Nothing is left to do, and that is told too.
    code, again = do(job, tmp_path)
    assert (code, again.finished, again.sites, again.cells) == (0, True, 24, 0)
    code, forced = do(dataclasses.replace(job, force=True), tmp_path)
    assert (code, forced.cells) == (0, result.cells)
    assert forced.redone == "24 sites are done again: 24 because --force was given"


def test_an_error_is_in_the_result_as_it_is_printed(job, tmp_path, capsys):
    code, result = do(dataclasses.replace(job, model="nothing"), tmp_path)
    assert (code, result.finished, result.cells) == (1, False, 0)
    assert result.reason.startswith("there is no model 'nothing'")
    assert capsys.readouterr().err == f"cpcnn: error: {result.reason}\n"


def test_a_screen_without_cells_is_told(job, tmp_path):
    (tmp_path / "labels").mkdir()
    empty = dataclasses.replace(job.screen, cells=LabelImages(str(tmp_path / "labels")))
    code, result = do(dataclasses.replace(job, screen=empty), tmp_path)
    assert code == 1
    assert result.reason


def test_a_file_that_is_no_job_is_refused(tmp_path, capsys):
    (tmp_path / "job.json").write_text('{"class": "Cake"}')
    assert run_job([str(tmp_path / "job.json"), str(tmp_path / "result.json")]) == 1
    assert 'expected class ClassicalJob, Job, got "Cake"' in capsys.readouterr().err
