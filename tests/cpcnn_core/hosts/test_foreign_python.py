"""Files in the current folder, which may be a stranger's, are never run as modules."""

import contextlib
import subprocess
import sys

import pytest

from cpcnn_core.errors import CPCNNError, HostError
from cpcnn_core.evaluation.stopwatch import measure_command
from cpcnn_core.hosts.doctor import examine
from cpcnn_core.hosts.environments import check_python, module_command
from cpcnn_core.hosts.headless import run_pipeline
from cpcnn_core.hosts.install import install_plugin
from napari_cpcnn.child_process import ChildProcess


@pytest.fixture
def mark(tmp_path, monkeypatch):
    """Enter a folder with modules of a stranger, which leave a mark when they are imported."""
    here = tmp_path / "from a stranger"
    here.mkdir()
    mark = tmp_path / "mark"
    for name in ("json", "runpy", "logging", "venv", "numpy", "torch", "cellprofiler_core"):
        (here / f"{name}.py").write_text(f"open({str(mark)!r}, 'a').write('{name} ')")
    monkeypatch.chdir(here)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("CPCNN_HOME", str(tmp_path / "home"))
    return mark


def test_such_a_module_would_be_run(mark):
    subprocess.run([sys.executable, "-m", "json.tool", "--help"], capture_output=True, check=False)
    assert mark.exists()


def test_not_by_the_doctor(mark, tmp_path):
    plugins = install_plugin(tmp_path / "plugins")
    findings = list(examine(plugins, sys.executable))
    assert any("a worker starts in" in finding.text for finding in findings)
    assert not mark.exists()


def test_not_by_a_look_for_pythons(mark):
    with pytest.raises(HostError, match="no working Python"):
        check_python(sys.executable)
    assert not mark.exists()


def test_not_by_a_pipeline_that_is_run(mark, tmp_path):
    with pytest.raises(HostError, match="No module named cellprofiler"):
        run_pipeline(
            sys.executable, "a.cppipe", tmp_path, images=tmp_path, plugins_directory=tmp_path
        )
    assert not mark.exists()


def test_not_by_the_stopwatch(mark, tmp_path):
    measured = measure_command(["true"], tmp_path / "cost.json", tmp_path / "output.txt")
    assert measured.code == 0
    assert not mark.exists()


def test_not_by_the_windows_processes(mark):
    child = ChildProcess("cpcnn_core.worker", "the worker")
    with contextlib.suppress(CPCNNError):
        child.send({"type": "models"})
        child.receive()
    child.stop()
    assert not mark.exists()


def test_a_module_gets_its_arguments(tmp_path):
    (tmp_path / "a.json").write_text("[1]")
    command = module_command([sys.executable], "json.tool", "--compact", str(tmp_path / "a.json"))
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[1]\n"
