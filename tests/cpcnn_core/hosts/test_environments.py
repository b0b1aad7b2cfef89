"""The environment for CellProfiler: what is looked for and what is said where it is missing.

Making one takes minutes and a network; that is done elsewhere.
"""

import os
import sys
import threading

import pytest
from filelock import FileLock

from cpcnn_core.errors import HostError
from cpcnn_core.hosts.environments import (
    check_python,
    create_environment,
    environment_python,
    find_java_home,
    find_python,
    is_complete,
)

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the programs here are shell scripts")
OURS = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A PATH with nothing on it but what a test puts there."""
    folder = tmp_path / "on-the-path"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return folder


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("CPCNN_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def jdk(tmp_path, monkeypatch):
    (tmp_path / "jdk").mkdir()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def python_of(path, version):
    """A program that answers like a Python of that version, and can do no more."""
    answer = f'case "$1" in -c) echo "{version} {path}";; *) echo no such step; exit 3;; esac'
    return program(path, answer)


def test_a_shim_that_does_not_work_is_passed_over(path):
    program(path / "python3.9", "echo 'pyenv: python3.9: command not found' >&2; exit 127")
    expected = python_of(path / "python3.8", "3.8")
    assert find_python() == expected


def test_a_python_of_another_version_than_its_name_is_passed_over(path, tmp_path):
    (path / "python3.9").symlink_to(sys.executable)
    expected = python_of(tmp_path / "pyenv" / "versions" / "3.9.18" / "bin" / "python", "3.9")
    assert find_python() == expected


def test_a_program_that_cannot_be_run_is_passed_over(path):
    (path / "python3.9").write_text("not a program")
    (path / "python3.9").chmod(0o755)
    expected = python_of(path / "python3.8", "3.8")
    assert find_python() == expected


def test_python_3_9_is_preferred_and_of_pyenvs_the_newest(path, tmp_path):
    python_of(path / "python3.8", "3.8")
    versions = tmp_path / "pyenv" / "versions"
    python_of(versions / "3.9.1" / "bin" / "python", "3.9")
    expected = python_of(versions / "3.9.7" / "bin" / "python", "3.9")
    assert find_python() == expected


def test_the_windows_launcher_is_asked_too(path):
    answer = 'if [ "$1" = -3.8 ]; then echo 3.8 /found/by/py; else exit 1; fi'
    program(path / "py", answer)
    assert str(find_python()) == "/found/by/py"


def test_no_python_says_how_to_install_one(path):
    program(path / "python3.9", "exit 1")
    (path / "python3.8").symlink_to(sys.executable)
    with pytest.raises(HostError, match=r"needs Python 3\.9 or 3\.8 and none was found; install"):
        find_python()


def test_a_named_python_is_taken(path):
    python = python_of(path / "anything", "3.9")
    assert check_python(python) == python
    assert check_python(str(python)) == python


def test_a_named_python_of_another_version_is_named():
    words = rf"is no working Python 3\.9 or 3\.8 but {OURS}; CellProfiler 4\.2\.8 runs on no other"
    with pytest.raises(HostError, match=words):
        check_python(sys.executable)


@pytest.mark.parametrize("text", ["exit 1", "", "echo Usage: python"])
def test_what_is_no_python_is_named(path, text):
    python = program(path / "python", text)
    with pytest.raises(HostError, match=f"{python} is no working Python"):
        check_python(python)


def test_java_home_is_taken_from_the_variable(path, tmp_path, jdk):
    program(path / "javac", "exit 0")
    assert find_java_home() == tmp_path / "jdk"


def test_java_home_is_found_behind_javac(path, tmp_path, monkeypatch):
    if sys.platform == "darwin":
        pytest.skip("macOS has a tool of its own to find Java")
    javac = program(tmp_path / "java-17" / "bin" / "javac", "exit 0")
    (path / "javac").symlink_to(javac)
    assert find_java_home() == tmp_path / "java-17"
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "uninstalled"))
    assert find_java_home() == tmp_path / "java-17"


def test_no_java_says_how_to_install_it(path):
    if sys.platform == "darwin":
        pytest.skip("macOS has a tool of its own to find Java")
    with pytest.raises(HostError, match=r"apt-get install default-jdk-headless\) or set JAVA_HOME"):
        find_java_home()


def test_a_complete_environment_is_left_as_it_is(path, tmp_path):
    folder = tmp_path / "env"
    folder.mkdir()
    assert not is_complete(folder)
    (folder / "cpcnn-environment-complete").write_text("4.2.8.1\n")
    assert is_complete(folder)
    assert create_environment(folder) == environment_python(folder) == folder / "bin" / "python"
    assert len(list(folder.iterdir())) == 1


def test_an_environment_that_another_program_is_making_is_waited_for(path, tmp_path, home):
    folder, told, waits = tmp_path / "env", [], threading.Event()

    def report(line):
        told.append(line)
        waits.set()

    made = []
    waiting = threading.Thread(target=lambda: made.append(create_environment(folder, None, report)))
    home.mkdir()
    with FileLock(home / "installing-cellprofiler.lock"):
        waiting.start()
        assert waits.wait(60)
        assert told == ["waiting for another program that is installing CellProfiler"]
        assert not made
        folder.mkdir()
        (folder / "cpcnn-environment-complete").write_text("4.2.8.1\n")
    waiting.join(60)
    assert made == [folder / "bin" / "python"]
    assert len(told) == 1


def test_a_folder_with_other_files_is_left_as_it_is(path, tmp_path):
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "thesis.tex").write_text("precious")
    with pytest.raises(HostError, match="holds other files; choose a folder that does not exist"):
        create_environment(tmp_path / "env")
    assert [entry.name for entry in (tmp_path / "env").iterdir()] == ["thesis.tex"]


def test_without_a_python_no_folder_is_made(path, tmp_path):
    with pytest.raises(HostError, match="none was found"):
        create_environment(tmp_path / "env")
    with pytest.raises(HostError, match=r"python is no working Python 3\.9 or 3\.8"):
        create_environment(tmp_path / "env", python="/no/such/python")
    assert not (tmp_path / "env").exists()


def test_without_a_compiler_no_folder_is_made(path, tmp_path, jdk):
    python_of(path / "python3.9", "3.9")
    with pytest.raises(HostError, match=r"no C compiler; install gcc \(Debian and Ubuntu: apt-get"):
        create_environment(tmp_path / "env")
    assert not (tmp_path / "env").exists()


def test_a_step_that_fails_says_its_last_lines_and_where_the_log_is(path, tmp_path, jdk):
    python = python_of(path / "python3.9", "3.9")
    program(path / "cc", "exit 0")
    told = []
    with pytest.raises(HostError) as caught:
        create_environment(tmp_path / "env", report=told.append)
    log = tmp_path / "env" / "cpcnn-install.log"
    assert str(caught.value) == (
        f"this step failed (exit 3): {python} -m venv --clear {tmp_path / 'env'} ...; its last "
        f"lines are: no such step; its whole output is in {log}"
    )
    assert log.read_text().splitlines()[1] == "no such step"
    assert told == [
        f"installing CellProfiler 4.2.8.1 into {tmp_path / 'env'} (one to four minutes)"
    ]
    assert not is_complete(tmp_path / "env")


def test_an_environment_that_was_not_finished_may_be_made_again(path, tmp_path, jdk):
    python_of(path / "python3.9", "3.9")
    program(path / "cc", "exit 0")
    for _ in range(2):
        with pytest.raises(HostError, match="this step failed"):
            create_environment(tmp_path / "env")
