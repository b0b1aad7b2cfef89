"""A pipeline that a stranger sends names a program: it is not started until its user allows it."""

import io
import json
import os
import pathlib
import shutil
import stat
import sys
import types

import numpy as np
import pytest
from cellprofiler_core.pipeline import Pipeline
from cellprofiler_core.setting import ValidationError
from conftest import Bench


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A user who has allowed nothing, and whose cpcnn was only installed."""
    monkeypatch.setenv("CPCNN_HOME", str(tmp_path / "home"))
    import _cpcnn.worker_client

    _cpcnn.worker_client.forget()
    yield tmp_path / "home"
    _cpcnn.worker_client.forget()


class Program:
    """A program that leaves a mark when it is started."""

    def __init__(self, path, mark):
        self.path, self._mark = path, mark
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\necho ran >> '%s'\n" % mark)
        path.chmod(0o755)

    @property
    def ran(self):
        return self._mark.exists()


@pytest.fixture
def program(tmp_path):
    return Program(tmp_path / "from a stranger" / "bin" / "python", tmp_path / "mark")


def opened(setting):
    """Send a pipeline that names that program, and open it as CellProfiler does."""
    bench = Bench()
    bench.module.python.value = setting
    text = io.StringIO()
    bench.pipeline.dump(text)
    bench.pipeline = Pipeline()
    bench.pipeline.load(io.StringIO(text.getvalue()))
    bench.module = bench.pipeline.modules()[0]
    assert bench.module.python.value == setting
    return bench


def use(bench):
    """Do all that CellProfiler does with a pipeline that is opened, edited, run; return why not."""
    module = bench.module
    module.on_activated(bench.workspace())
    module.visible_settings()
    module.get_measurement_columns(bench.pipeline)
    module.on_setting_changed(module.model, bench.pipeline)
    module.model.test_valid(bench.pipeline)
    with pytest.raises(RuntimeError):
        module.prepare_run(bench.workspace())
    bench.add_images().add_objects(np.ones((200, 220), int))
    with pytest.raises(RuntimeError):
        module.run(bench.workspace())
    with pytest.raises(ValidationError) as error:
        module.validate_module(bench.pipeline)
    assert error.value.setting is module.python
    return str(error.value)


def test_a_program_that_only_the_pipeline_names_is_not_started(program):
    bench = opened(str(program.path))
    said = use(bench)
    assert not program.ran
    assert "wants to run the program %s, which you have not allowed" % program.path in said
    assert '"Allow this program"' in said
    assert "cpcnn cellprofiler allow '%s'" % program.path in said
    assert bench.module.allow_button in bench.module.visible_settings()


def test_nor_one_in_a_folder_that_it_names(program):
    assert "not allowed" in use(opened(str(program.path.parent.parent)))
    assert not program.ran


@pytest.mark.parametrize(
    "setting",
    ["bin/python", "./bin/python", "python", "bin", "..", ".", "C:bin", "~nobody-known/python"],
)
def test_relative_paths_are_refused(program, monkeypatch, setting):
    monkeypatch.chdir(program.path.parent.parent)
    bench = opened(setting)
    said = use(bench)
    assert "expected the full path of a Python, got %r" % setting in said
    assert bench.module.allow_button not in bench.module.visible_settings()
    assert not program.ran


def test_so_are_paths_that_go_up_and_texts_that_are_no_paths(program):
    up = str(program.path.parent / ".." / "bin" / "python")
    assert "without '..'" in use(opened(up))
    for setting in (str(program.path) + "\x1b[2J", "/" * 5000):
        assert "expected the full path" in use(opened(setting))
    assert not program.ran


def test_what_the_command_line_would_take_for_more_than_a_path_is_quoted(program):
    setting = str(program.path) + "; touch '%s'" % program._mark
    command = use(opened(setting)).split("cpcnn cellprofiler allow ")[1].split(". Else")[0]
    os.system("true " + command)
    assert not program.ran


def test_what_the_user_named_too_needs_no_permission(monkeypatch):
    python = os.environ["CPCNN_PYTHON"]
    import _cpcnn.worker_python as finder

    assert finder.find_python(python)[0] == python
    assert finder.find_python(os.path.dirname(os.path.dirname(python)))[0] == python
    monkeypatch.delenv("CPCNN_PYTHON")
    with open(finder.RECORD) as file:
        recorded = json.load(file)["python"]
    assert finder.find_python(recorded)[0] == recorded


def test_a_link_to_the_users_own_python_is_another_program(tmp_path, monkeypatch):
    # An environment of the stranger's: it starts the same file, with other libraries.
    link = tmp_path / "stranger" / "bin" / "python"
    link.parent.mkdir(parents=True)
    link.symlink_to(os.environ["CPCNN_PYTHON"])
    assert "not allowed" in use(opened(str(link)))


def allow(path):
    import _cpcnn.worker_python

    _cpcnn.worker_python.allow_program(str(path))


def starts(setting):
    """Tell whether the module starts something there; these programs are no workers."""
    import _cpcnn.worker_client

    _cpcnn.worker_client.forget()
    bench = opened(str(setting))
    with pytest.raises(ValidationError) as error:
        bench.module.validate_module(bench.pipeline)
    return "ended with exit status 0" in str(error.value), str(error.value)


def test_an_allowed_program_is_started_from_any_pipeline(program, home):
    allow(program.path)
    assert starts(program.path)[0]
    assert starts(program.path.parent.parent)[0]
    assert program.ran
    bench = opened(str(program.path))
    assert bench.module.allow_button not in bench.module.visible_settings()
    file = home / "allowed-pythons.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_folder_can_be_allowed(program):
    allow(program.path.parent.parent)
    assert starts(program.path)[0]


def test_a_home_is_written_as_a_tilde(program, monkeypatch):
    monkeypatch.setenv("HOME", str(program.path.parent))
    assert "not allowed" in use(opened("~/python"))
    allow(program.path)
    assert starts("~/python")[0]


def test_a_program_that_was_replaced_is_not_started(program):
    allow(program.path)
    program.path.write_text(program.path.read_text() + "# and more\n")
    said = starts(program.path)[1]
    assert "another program than the one that was allowed" in said
    assert not program.ran
    bench = opened(str(program.path))
    assert bench.module.allow_button in bench.module.visible_settings()


def test_nor_one_behind_a_link_that_was_turned(program, tmp_path):
    """The same file is started from both environments, with the libraries of either."""
    for name in ("mine", "theirs"):
        (tmp_path / name / "bin").mkdir(parents=True)
        (tmp_path / name / "bin" / "python").symlink_to(program.path)
    link = tmp_path / "environment"
    link.symlink_to(tmp_path / "mine")
    allow(link / "bin" / "python")
    assert starts(link)[0]
    link.unlink()
    link.symlink_to(tmp_path / "theirs")
    assert "another program" in starts(link)[1]


@pytest.mark.parametrize("place", ["program", "folder"])
def test_what_everybody_can_change_is_not_started(program, place):
    allow(program.path)
    opened_to_all = program.path if place == "program" else program.path.parent
    opened_to_all.chmod(0o777)
    said = starts(program.path)[1]
    assert "every user of this machine can write %s" % opened_to_all in said
    with pytest.raises(RuntimeError, match="every user of this machine can write"):
        allow(program.path)
    assert not program.ran


def test_a_program_that_is_gone(program):
    allow(program.path)
    shutil.rmtree(str(program.path.parent))
    assert "there is no Python at %s any more" % program.path in starts(program.path)[1]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"%s": 1}', '{"%s": {"sha256": "0"}}'])
def test_a_list_that_is_damaged_allows_nothing(program, home, text):
    allow(program.path)
    file = home / "allowed-pythons.json"
    file.write_text(text.replace("%s", str(program.path)))
    assert "is damaged; remove it" in starts(program.path)[1]
    assert not program.ran


def test_a_list_that_others_can_write_allows_nothing(program, home):
    allow(program.path)
    (home / "allowed-pythons.json").chmod(0o666)
    assert "others can write" in starts(program.path)[1]
    assert not program.ran


def test_the_current_folder_on_the_path_is_passed_over(program, monkeypatch, tmp_path):
    import _cpcnn.worker_python as finder

    command = Program(program.path.parent / "cpcnn", program._mark)
    monkeypatch.delenv("CPCNN_PYTHON")
    monkeypatch.chdir(command.path.parent)
    for entries in (".", "", "bin", os.pathsep, "." + os.pathsep + "/nowhere"):
        monkeypatch.setenv("PATH", entries)
        with pytest.raises(RuntimeError, match="No Python with cpcnn was found"):
            finder.find_python("Automatic", record=str(tmp_path / "none"))
    monkeypatch.setenv("PATH", str(command.path.parent))
    found = finder.find_python("Automatic", record=str(tmp_path / "none"))
    assert found == (str(program.path), "the command cpcnn on the PATH")


def test_a_relative_path_in_the_variable_is_refused(program, monkeypatch):
    monkeypatch.chdir(program.path.parent)
    monkeypatch.setenv("CPCNN_PYTHON", "python")
    assert "python is no full path; the environment variable CPCNN_PYTHON names it" in use(
        opened("Automatic")
    )
    assert not program.ran


@pytest.mark.parametrize("text", ["", "[]", "{}", "no JSON"])
def test_a_damaged_record_of_the_installer_is_named(tmp_path, monkeypatch, text):
    import _cpcnn.worker_python as finder

    monkeypatch.delenv("CPCNN_PYTHON")
    record = tmp_path / "python.json"
    record.write_text(text)
    with pytest.raises(RuntimeError, match=r"is damaged. Run it again where cpcnn is installed"):
        finder.find_python("Automatic", record=str(record))


def test_without_a_window_the_button_allows_nothing(program):
    bench = opened(str(program.path))
    bench.module.allow_button.on_event_fired()
    assert "not allowed" in use(bench)


class Window(types.ModuleType):
    """The part of wxPython that the button uses; CellProfiler without a window lacks it."""

    YES, YES_NO, NO_DEFAULT, OK, ICON_WARNING, ICON_ERROR = 1, 2, 4, 8, 16, 32

    def __init__(self, answer):
        super().__init__("wx")
        self.answer, self.shown = answer, []

    def MessageBox(self, text, caption, style):  # noqa: N802
        self.shown.append((text, style))
        return self.answer


def press(bench, monkeypatch, answer):
    import _cpcnn.settings

    window = Window(answer)
    monkeypatch.setitem(sys.modules, "wx", window)
    monkeypatch.setattr(_cpcnn.settings, "get_headless", lambda: False)
    bench.module.allow_button.on_event_fired()
    return window.shown


def test_the_button_asks_and_allows_after_a_yes(program, monkeypatch):
    bench = opened(str(program.path))
    asked = press(bench, monkeypatch, answer=0)
    assert [str(program.path) in text for text, _ in asked] == [True]
    assert asked[0][1] & Window.NO_DEFAULT
    assert "not allowed" in use(bench)
    press(bench, monkeypatch, answer=Window.YES)
    assert starts(program.path)[0]
    assert press(bench, monkeypatch, answer=Window.YES) == []


def test_the_button_says_why_it_cannot_allow(tmp_path, monkeypatch):
    bench = opened(str(tmp_path / "gone"))
    shown = press(bench, monkeypatch, answer=Window.YES)
    assert "there is no Python at" in shown[1][0]


def test_the_command_and_the_module_read_one_list(program, home):
    """Programs allowed by ``cpcnn cellprofiler allow`` are allowed here, and vice versa."""
    import subprocess

    def cpcnn(*arguments):
        command = [os.environ["CPCNN_PYTHON"], "-m", "cpcnn_core.cli", "cellprofiler", *arguments]
        return subprocess.check_output(command, universal_newlines=True)

    cpcnn("allow", str(program.path))
    assert starts(program.path)[0]
    assert cpcnn("allowed").splitlines() == [str(program.path)]
    cpcnn("forbid", str(program.path))
    assert not starts(program.path)[0]
    allow(program.path)
    assert cpcnn("allowed").splitlines() == [str(program.path)]


def files_of(folder):
    return sorted(
        (str(path), path.stat().st_mtime_ns, path.stat().st_size)
        for path in pathlib.Path(str(folder)).rglob("*")
    )


def test_a_pipeline_that_is_opened_and_checked_writes_nothing(bench, home, monkeypatch, tmp_path):
    """Neither the model file nor the library nor its correction that it names."""
    import _cpcnn.worker_client

    _cpcnn.worker_client.close_all()
    monkeypatch.chdir(tmp_path)
    module = bench.module
    folder, name = os.path.split(os.environ["CPCNN_TEST_BAG_MODEL"])
    module.model.value = "Model file"
    module.model_directory.join_parts("Elsewhere...", folder)
    module.model_file_name.value = name
    module.wants_library.value = True
    module.library_directory.join_parts("Elsewhere...", os.environ["CPCNN_TEST_LIBRARY"])
    module.library_file_name.value = "profiles.parquet"
    places = [tmp_path, folder, os.environ["CPCNN_TEST_LIBRARY"]]
    before = [files_of(place) for place in places]
    # Its licence has to be accepted by hand.
    with pytest.raises(ValidationError, match="forbids commercial use"):
        module.validate_module(bench.pipeline)
    module.model.value = "untrained-efficientnet-b0"
    module.validate_module(bench.pipeline)
    module.visible_settings()
    module.get_measurement_columns(bench.pipeline)
    assert [files_of(place) for place in places] == before
    _cpcnn.worker_client.close_all()


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_file_is_not_waited_for(bench, tmp_path, kind):
    path = tmp_path / "model.safetensors"
    if kind == "pipe":
        os.mkfifo(str(path))
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    module = bench.module
    module.model.value = "Model file"
    module.model_directory.join_parts("Elsewhere...", str(tmp_path))
    module.model_file_name.value = path.name
    with pytest.raises(ValidationError, match="there is no model file"):
        module.validate_module(bench.pipeline)
    module.model.value = "untrained-efficientnet-b0"
    module.wants_library.value = True
    module.library_directory.join_parts("Elsewhere...", str(tmp_path))
    module.library_file_name.value = path.name
    with pytest.raises(ValidationError, match="there is no table"):
        module.validate_module(bench.pipeline)
