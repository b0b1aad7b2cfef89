"""The installer: all of the module or none of it, and nothing else is touched."""

import json
import os
import sys
from pathlib import Path

import pytest

import cpcnn_core
from cpcnn_core.cli.main import main
from cpcnn_core.errors import HostError
from cpcnn_core.hosts.install import (
    default_plugins_directory,
    install_plugin,
    outdated_files,
    plugin_files,
    plugin_source,
    read_record,
)

MODULE = "measurecellpaintingcnn.py"
SOURCE = Path(__file__).parents[3] / "cellprofiler_plugins"


def files_in(folder):
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix() for path in found}


def test_the_module_is_copied_whole(tmp_path):
    helpers = {f"_cpcnn/{path.name}" for path in (SOURCE / "_cpcnn").glob("*.py")}
    assert "_cpcnn/worker_client.py" in helpers
    assert install_plugin(tmp_path) == tmp_path
    assert files_in(tmp_path) == {MODULE, "_cpcnn/python.json", *helpers}
    for name in {MODULE, *helpers}:
        assert (tmp_path / name).read_bytes() == (SOURCE / name).read_bytes(), name


def test_this_python_is_recorded_beside_it(tmp_path):
    install_plugin(tmp_path)
    record = json.loads((tmp_path / "_cpcnn" / "python.json").read_text())
    assert record == {"python": sys.executable, "cpcnn": cpcnn_core.__version__}
    assert read_record(tmp_path) == record


def test_another_python_can_be_recorded(tmp_path):
    install_plugin(tmp_path, Path("/opt/cpcnn/bin/python"))
    assert read_record(tmp_path)["python"] == str(Path("/opt/cpcnn/bin/python"))


def test_nothing_is_recorded_where_nothing_is_installed(tmp_path):
    assert read_record(tmp_path) == {}


def test_the_folder_is_made(tmp_path):
    install_plugin(tmp_path / "CellProfiler" / "plugins")
    assert (tmp_path / "CellProfiler" / "plugins" / MODULE).is_file()


def test_the_default_folder_is_in_our_home(home):
    assert install_plugin() == home / "cellprofiler_plugins" == default_plugins_directory()
    assert (home / "cellprofiler_plugins" / MODULE).is_file()


def test_a_tilde_is_the_users_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert install_plugin("~/plugins") == tmp_path / "plugins"


def test_other_plugins_are_left_alone(tmp_path):
    others = {"runcellpose.py": b"import cellpose\n", "_helpers/data.py": b"x = 1\n"}
    for name, content in others.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    install_plugin(tmp_path)
    install_plugin(tmp_path)
    for name, content in others.items():
        assert (tmp_path / name).read_bytes() == content


def test_installing_again_replaces_everything_of_ours(tmp_path):
    install_plugin(tmp_path)
    fresh = files_in(tmp_path)
    (tmp_path / "_cpcnn" / "of_an_older_version.py").write_text("import torch\n")
    (tmp_path / "_cpcnn" / "__pycache__").mkdir()
    (tmp_path / "_cpcnn" / "worker_client.py").unlink()
    (tmp_path / MODULE).write_text("old\n")
    install_plugin(tmp_path, "/new/python")
    assert files_in(tmp_path) == fresh
    assert not (tmp_path / "_cpcnn" / "__pycache__").exists()
    assert outdated_files(tmp_path) == []
    assert read_record(tmp_path)["python"] == "/new/python"


def test_nothing_is_outdated_after_installing(tmp_path):
    install_plugin(tmp_path)
    assert outdated_files(tmp_path) == []


@pytest.mark.parametrize("name", [MODULE, "_cpcnn/worker_client.py"])
def test_an_edited_file_is_outdated(tmp_path, name):
    install_plugin(tmp_path)
    with (tmp_path / name).open("a") as file:
        file.write("\n")
    assert outdated_files(tmp_path) == [str(Path(name))]


def test_a_missing_file_is_outdated(tmp_path):
    assert outdated_files(tmp_path) == [str(path) for path in plugin_files()]
    install_plugin(tmp_path)
    (tmp_path / "_cpcnn" / "display.py").unlink()
    assert outdated_files(tmp_path) == [str(Path("_cpcnn/display.py"))]


def test_the_source_is_the_packages_own():
    assert plugin_source().resolve() == SOURCE.resolve()


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path):
    (tmp_path / "plugins").write_text("a file")
    for folder in (tmp_path / "plugins", tmp_path / "plugins" / "below"):
        with pytest.raises(HostError, match=r"cannot be written to .*plugins.*choose a folder"):
            install_plugin(folder)
    assert files_in(tmp_path) == {"plugins"}


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere"
)
def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(HostError, match=r"cannot be written to .*choose a folder of your own"):
            install_plugin(tmp_path)
        assert files_in(tmp_path) == set()
    finally:
        tmp_path.chmod(0o700)


def test_the_command_says_where_the_module_is_and_what_to_do_next(tmp_path, capsys):
    assert main(["cellprofiler", "install", "--plugins-directory", str(tmp_path)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"The module MeasureCellPaintingCNN is in {tmp_path}"
    assert f"cellprofiler -c -r --plugins-directory {tmp_path}" in said[2]
    check = f"Check it with: cpcnn cellprofiler doctor --plugins-directory {tmp_path}"
    assert said[-1] == check
    assert outdated_files(tmp_path) == []
