"""Threads are shared out between CellProfiler's processes."""

import subprocess
import sys
import time

import pytest

ANALYSIS = "import time; time.sleep(60)"


def threads():
    import _cpcnn.worker_python

    return _cpcnn.worker_python


@pytest.fixture
def sibling():
    """Return a function that starts an idle process with some arguments."""
    made = []

    def start(*arguments):
        made.append(subprocess.Popen([sys.executable, "-c", ANALYSIS, *arguments]))

    yield start
    for process in made:
        process.kill()
        process.wait()


def test_one_process_takes_what_it_gets():
    assert threads().worker_threads("Automatic") is None
    assert threads().analysis_processes() == 1


def test_several_processes_share_the_cores(monkeypatch, sibling):
    import psutil

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(sys, "argv", ["worker", "--work-announce", "tcp://x"])
    # Make this process the parent that is asked for its children.
    monkeypatch.setattr(psutil.Process, "parent", lambda self: psutil.Process())
    monkeypatch.setattr(threads(), "usable_cores", lambda: 16)
    for _ in range(3):
        sibling("--work-announce", "tcp://x")
    sibling("--something-else")
    time.sleep(0.2)
    assert threads().analysis_processes() == 3
    assert threads().worker_threads("Automatic") == 5
    assert threads().worker_threads("2") == 2
    monkeypatch.setattr(threads(), "usable_cores", lambda: 2)
    assert threads().worker_threads("Automatic") == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert threads().worker_threads("Automatic") is None


@pytest.mark.parametrize("text", ["0", "-1", "1025", "9" * 30, "\N{SUPERSCRIPT TWO}", "2.0", ""])
def test_what_is_no_number_of_threads_is_refused(text):
    with pytest.raises(RuntimeError, match="a number of threads from 1 to 1024, got"):
        threads().checked_threads(text)


def test_the_number_reaches_the_worker_and_foreign_libraries_do_not(monkeypatch):
    from _cpcnn.worker_python import FOREIGN_VARIABLES, worker_environ

    for name in FOREIGN_VARIABLES:
        monkeypatch.setenv(name, "/somewhere")
    environ = worker_environ(7)
    assert environ["OMP_NUM_THREADS"] == "7"
    assert environ["PYTHONUTF8"] == "1"
    assert not set(FOREIGN_VARIABLES) & set(environ)


def test_workers_are_closed_when_the_parent_is_gone():
    import psutil
    from _cpcnn.worker_client import _watch

    process = subprocess.Popen([sys.executable, "-c", "pass"])
    called = []
    parent = psutil.Process(process.pid)
    process.wait()
    _watch(parent, lambda: called.append(1))
    assert called == [1]


def test_pythons_of_windows_are_found(tmp_path, monkeypatch):
    import _cpcnn.worker_python as finder

    for folder, inside in (("venv", "Scripts"), ("conda", "")):
        place = tmp_path / "Größe und Leerzeichen" / folder / inside
        place.mkdir(parents=True)
        (place / "python.exe").write_text("")
        (tmp_path / "Größe und Leerzeichen" / folder / "Scripts").mkdir(exist_ok=True)
        monkeypatch.setenv("CPCNN_PYTHON", str(tmp_path / "Größe und Leerzeichen" / folder))
        found, _ = finder.find_python("Automatic")
        assert found == str(place / "python.exe")
        command = tmp_path / "Größe und Leerzeichen" / folder / "Scripts" / "cpcnn.exe"
        assert finder._python_beside(str(command)) == str(place / "python.exe")
