"""What became of a model's run and what it cost, also where the program could not say it."""

import signal
from dataclasses import asdict

import pytest

from cpcnn_core.evaluation.comparison import _outcome
from cpcnn_core.evaluation.embedding_runs import Cost, Run, _kept_cost, run_measured
from cpcnn_core.io.damaged_files import read_checked, write_checked
from cpcnn_core.io.dataclass_json import write_dataclass
from cpcnn_core.screen.job import Job
from cpcnn_core.screen.reports import JobResult
from cpcnn_core.screen.screens import DeepProfilerScreen

COST = Cost(96, 12.5, 20.25, 980.0, {"model": "tiny", "device": "cpu"})


def test_a_changed_byte_anywhere_is_told_by_name_and_set_aside(tmp_path):
    path = tmp_path / "cost.json"
    write_checked(path, asdict(COST), indent=1)
    whole = path.read_bytes()
    assert _kept_cost(path) == (COST, "")
    for place in range(0, len(whole), 3):
        content = bytearray(whole)
        content[place] ^= 1 << place % 8
        path.write_bytes(content)
        cost, damage = _kept_cost(path)
        assert cost is None
        assert damage.startswith(f"{path} was damaged: it is kept as cost.json.damaged")
        assert not path.exists()
        (tmp_path / "cost.json.damaged").unlink()
    assert str(path) in _outcome(Run(tmp_path, True, "", cost, [damage], damage=damage))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that runs a job by a program of these lines."""
    (tmp_path / "programs").mkdir()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "programs"), prepend=":")

    def run(*lines):
        (tmp_path / "programs" / "own_program.py").write_text("\n".join(lines))
        job = Job(DeepProfilerScreen("project"), str(tmp_path / "out"))
        return run_measured(job, ["own_program"])

    return run


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="nothing is killed so")
def test_a_program_that_is_killed_is_told_by_its_code_and_last_line(run, tmp_path):
    # That of an earlier run is not taken for its own.
    write_dataclass(tmp_path / "out" / "result.json", JobResult(finished=True, cells=7))
    found = run(
        "import os, signal",
        "print('half way', flush=True)",
        "os.kill(os.getpid(), signal.SIGKILL)",
    )
    output = tmp_path / "out" / "output.txt"
    assert found.reason == f"it ended with code -9; its last line is: half way ({output})"
    assert (found.finished, found.cost, found.notices, found.redone) == (False, None, [], "")


WRITE = (
    "import sys, pathlib; pathlib.Path(sys.argv[2]).write_text(pathlib.Path('told').read_text())"
)


def test_what_the_program_writes_is_what_became_of_it(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = JobResult(
        finished=True,
        sites=24,
        failed=2,
        first_failed="P1/A01/1, there is no image file",
        cells=96,
        notices=("no illumination functions",),
        redone="1 site is done again: 1 because its objects moved",
        made_by={"model": "tiny", "device": "cpu"},
    )
    write_dataclass(tmp_path / "told", told)
    found = run(WRITE, "print('cpcnn: error: not this')", "sys.exit(1)")
    assert found.reason == "2 of 24 sites failed: P1/A01/1, there is no image file"
    assert (found.finished, found.notices, found.redone) == (True, [*told.notices], told.redone)
    assert found.cost.cells == 96
    assert found.cost.made_by == told.made_by
    cost = read_checked(tmp_path / "out" / "cost.json")
    assert cost["seconds"] == found.cost.seconds > 0
    # A run that had little left to do is no measure, unless other settings made it.
    write_dataclass(tmp_path / "told", JobResult(finished=True, cells=4, made_by=told.made_by))
    assert run(WRITE).cost == found.cost
    write_dataclass(tmp_path / "told", JobResult(finished=True, cells=4, made_by={"model": "b"}))
    again = run(WRITE)
    assert (again.cost.cells, again.reason) == (4, "")


def test_a_program_that_dies_after_its_result_is_told_too(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_dataclass(tmp_path / "told", JobResult(finished=True, cells=4))
    found = run(WRITE, "sys.exit(3)")
    assert found.finished
    assert found.reason.startswith("it ended with code 3; its last line is: nothing (")
