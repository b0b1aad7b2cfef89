"""Which programs pipelines may start: the command's side; the module's is tested inside it."""

import os
import subprocess
import sys
from pathlib import Path

import platformdirs.macos
import pytest

import cellprofiler_plugins
from cellprofiler_plugins._cpcnn import worker_python
from cpcnn_core.cli.main import main
from cpcnn_core.errors import HostError
from cpcnn_core.hosts import allowed_programs
from cpcnn_core.hosts.permissions import allow_python, allowed_pythons
from cpcnn_core.models.folders import cpcnn_home

PLUGIN = Path(next(iter(cellprofiler_plugins.__path__)), "_cpcnn")
LIST = "allowed-pythons.json"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("CPCNN_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def python(tmp_path):
    path = tmp_path / "env" / "bin" / "python"
    path.parent.mkdir(parents=True)
    path.write_text("a program")
    return path


def test_both_sides_have_the_same_file():
    ours = Path(allowed_programs.__file__)
    assert ours.read_bytes() == (PLUGIN / "allowed_programs.py").read_bytes()


def homes():
    """Return the core's and the module's home."""
    return cpcnn_home(), worker_python.cpcnn_home()


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"CPCNN_HOME": ""},
        {"CPCNN_HOME": "~/mine"},
        {"CPCNN_HOME": "in/the/current/folder"},
        {"XDG_DATA_HOME": "/data/of/mine"},
        {"XDG_DATA_HOME": " "},
        {"HOME": "/home/of another"},
    ],
)
def test_both_sides_have_the_same_home(monkeypatch, variables):
    for name in ("CPCNN_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    ours, theirs = homes()
    assert ours == theirs


def test_on_a_mac_too(monkeypatch):
    for name in ("CPCNN_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "darwin")
    expected = platformdirs.macos.MacOS("cpcnn", appauthor=False).user_data_dir
    assert str(homes()[1]) == expected


def test_what_is_allowed_is_listed_and_can_be_taken_back(python, home, capsys):
    assert main(["cellprofiler", "allow", str(python.parent.parent)]) in (0, None)
    assert capsys.readouterr().out == f"Pipelines may start {python} on this machine.\n"
    main(["cellprofiler", "allowed"])
    assert capsys.readouterr().out == f"{python}\n"
    python.unlink()
    main(["cellprofiler", "forbid", str(python)])
    assert capsys.readouterr().out == f"Pipelines may not start {python} any more.\n"
    assert allowed_pythons() == []


def test_a_path_that_the_user_types_may_be_relative(python, monkeypatch):
    monkeypatch.chdir(python.parent)
    assert allow_python(Path("python")) == str(python)


def test_only_the_user_can_read_and_write_the_list(python, home, monkeypatch):
    before = os.umask(0)
    try:
        allow_python(python)
    finally:
        os.umask(before)
    assert (home / LIST).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in home.iterdir()] == [LIST]


def test_a_list_that_is_a_link_is_replaced_and_not_written_through(python, home, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("{}")
    home.mkdir()
    (home / LIST).symlink_to(precious)
    allow_python(python)
    assert precious.read_text() == "{}"
    assert not (home / LIST).is_symlink()


def test_what_was_not_allowed_cannot_be_taken_back(python, capsys):
    assert main(["cellprofiler", "forbid", str(python)]) == 1
    assert f"{python} is not allowed; allowed are: none" in capsys.readouterr().err


def test_a_program_that_everybody_can_change_is_refused(python):
    python.parent.parent.chmod(0o777)
    with pytest.raises(HostError, match=f"write {python.parent.parent}, and so change what"):
        allow_python(python)
    python.parent.parent.chmod(0o1777)
    assert allow_python(python) == str(python)


def test_a_list_of_another_user_is_refused(python, home):
    if os.getuid() != 0:
        pytest.skip("only root can make a file of another user")
    allow_python(python)
    os.chown(home / LIST, 12345, 12345)
    with pytest.raises(HostError, match="belongs to another user; set CPCNN_HOME"):
        allowed_pythons()


def test_a_home_that_cannot_be_written_is_named(python, home):
    home.write_text("a file")
    with pytest.raises(HostError, match=rf"{home / LIST} cannot be"):
        allow_python(python)


@pytest.mark.parametrize(
    ("path", "full"),
    [
        (r"C:\env\python.exe", True),
        ("c:/env/python.exe", True),
        (r"\\server\share\python.exe", True),
        (r"C:env\python.exe", False),
        (r"\env\python.exe", False),
        ("/env/python.exe", False),
        (r"env\python.exe", False),
        ("", False),
        ("C:", False),
    ],
)
def test_full_paths_of_windows(path, full):
    assert allowed_programs.is_full(path, windows=True) is full


def test_nothing_is_looked_up_of_a_program_that_is_not_allowed(home, tmp_path):
    """A path may lead to another computer, which would learn of it."""
    code = (
        "import sys; from cpcnn_core.hosts.allowed_programs import check_allowed\n"
        "from pathlib import Path\n"
        "seen = []\n"
        "sys.addaudithook(lambda event, args: seen.append((event, str(args))))\n"
        "check_allowed(Path(sys.argv[1]), '/net/of-a-stranger/python')\n"
        "assert any('open' in event for event, _ in seen)\n"
        "print([event for event, args in seen if 'stranger' in args])"
    )
    command = [sys.executable, "-c", code, str(home)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"
