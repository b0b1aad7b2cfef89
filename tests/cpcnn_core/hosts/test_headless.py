"""Running a pipeline: a CellProfiler that fails says why. One that works: tests elsewhere."""

import os
import sys

import pytest

from cpcnn_core.errors import HostError
from cpcnn_core.hosts.headless import headless_environ, run_pipeline


def run(python, out):
    run_pipeline(python, out / "a.cppipe", out, images=out, plugins_directory=out)


@pytest.fixture(autouse=True)
def java(monkeypatch, tmp_path):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))


def test_a_python_that_is_not_there_is_named(tmp_path):
    with pytest.raises(HostError, match=r"gone cannot be run .*cpcnn cellprofiler create FOLDER"):
        run(tmp_path / "gone", tmp_path)


def test_a_run_that_fails_says_its_last_lines_and_keeps_the_log(tmp_path):
    with pytest.raises(HostError) as caught:
        run(sys.executable, tmp_path)
    log = tmp_path / "cellprofiler.log"
    assert str(caught.value).startswith("CellProfiler ended with exit status 1; ")
    assert str(caught.value).endswith(f"No module named cellprofiler; its whole output is in {log}")
    assert "No module named cellprofiler" in log.read_text()


def test_this_python_is_the_one_with_cpcnn_unless_another_was_named(monkeypatch):
    monkeypatch.delenv("CPCNN_PYTHON", raising=False)
    assert headless_environ()["CPCNN_PYTHON"] == sys.executable
    assert "CPCNN_PYTHON" not in os.environ
    monkeypatch.setenv("CPCNN_PYTHON", "/opt/cpcnn/bin/python")
    assert headless_environ()["CPCNN_PYTHON"] == "/opt/cpcnn/bin/python"


def test_javas_home_is_handed_on(tmp_path):
    assert headless_environ()["JAVA_HOME"] == str(tmp_path)
