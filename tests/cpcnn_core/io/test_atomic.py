"""Files appear whole or not at all, and what killed processes left is nobody's file."""

import contextlib
import os
import platform
import signal
import subprocess
import sys
import time

import pytest

from cpcnn_core.errors import ProfileError
from cpcnn_core.io import atomic
from cpcnn_core.io.atomic import (
    SECONDS_KEPT,
    is_temporary,
    remove_leftovers,
    temporary_folder,
    write_atomically,
)
from cpcnn_core.models.opening import untrained_efficientnet_b0
from cpcnn_core.models.registry import list_models
from cpcnn_core.models.weights import save_model
from cpcnn_core.profiles.wells import find_tables

WRITES_SLOWLY = """
import sys, time
from cpcnn_core.io.atomic import write_atomically

def write(path):
    path.write_text("half")
    print("begun", flush=True)
    time.sleep(60)

write_atomically(sys.argv[1], write)
"""


@pytest.fixture
def kill_while_writing():
    """Return a function that has a process write a file, and kills it; or leaves it alive."""
    alive = []

    def start(path, *, killed=True):
        command = [sys.executable, "-c", WRITES_SLOWLY, str(path)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"begun\n"
        if killed:
            process.send_signal(signal.SIGKILL)
            process.communicate()
        else:
            alive.append(process)

    yield start
    for process in alive:
        process.kill()
        process.communicate()


def write_text(path, text="whole"):
    write_atomically(path, lambda place: place.write_text(text))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_process_left_goes_with_the_next_that_writes_there(
    tmp_path, kill_while_writing
):
    kill_while_writing(tmp_path / "a.txt")
    (left,) = names(tmp_path)
    assert is_temporary(left)
    # Another file of the same folder.
    write_text(tmp_path / "b.txt")
    assert names(tmp_path) == ["b.txt"]


def test_what_a_living_process_writes_stays(tmp_path, kill_while_writing):
    kill_while_writing(tmp_path / "a.txt", killed=False)
    write_text(tmp_path / "b.txt")
    assert len(names(tmp_path)) == 2
    # Who knows that nobody else writes it may remove it all the same.
    remove_leftovers(tmp_path / "a.txt")
    assert names(tmp_path) == ["b.txt"]


@pytest.mark.parametrize(
    ("host", "pid", "age", "stays"),
    [
        ("elsewhere", 7, 0, True),
        ("elsewhere", 7, SECONDS_KEPT + 60, False),
        (platform.node(), 2**22 + 1, 0, False),
        # The number of this process, of one that was there before: in containers all are alike.
        (platform.node(), os.getpid(), 3600, False),
        (platform.node(), os.getppid(), 3600, True),
        (platform.node(), os.getppid(), SECONDS_KEPT + 60, False),
    ],
    # Numbers of processes are others in every process that collects tests.
    ids=["elsewhere", "elsewhere, old", "gone", "our number", "running", "running, old"],
)
def test_who_may_still_be_writing(tmp_path, host, pid, age, stays):
    left = tmp_path / f".{host}-{pid}.part.a.txt"
    left.touch()
    os.utime(left, (time.time() - age,) * 2)
    write_text(tmp_path / "b.txt")
    assert left.exists() == stays


def test_a_folder_that_a_killed_process_left_goes_too(tmp_path):
    code = "import os, sys; from cpcnn_core.io.atomic import temporary_folder\n"
    code += "with temporary_folder(sys.argv[1]) as folder:\n"
    code += "    (folder / 'in it').touch(); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    (left,) = tmp_path.iterdir()
    assert is_temporary(left)
    assert names(left) == ["in it"]
    with temporary_folder(tmp_path) as folder:
        assert names(tmp_path) == [folder.name]
    assert names(tmp_path) == []


def test_a_name_as_long_as_a_file_system_allows_is_written(tmp_path):
    for suffix in (".parquet", ""):
        name = "ä" * 100 + "a" * (55 - len(suffix)) + suffix
        seen = []

        def write(place, seen=seen):
            place.write_text("whole")
            seen.append(place.name)

        write_atomically(tmp_path / name, write)
        assert (tmp_path / name).read_text() == "whole"
        assert is_temporary(seen[0])
        assert seen[0].endswith(suffix)
        (tmp_path / seen[0].replace(f"-{os.getpid()}.", "-1.")).touch()
        remove_leftovers(tmp_path / name)
        assert names(tmp_path) == [name]
        (tmp_path / name).unlink()


@pytest.mark.parametrize("call", ["os.fsync", "os.replace"])
def test_a_disk_that_fails_last_leaves_what_was_there(tmp_path, monkeypatch, call):
    write_text(tmp_path / "a.txt", "before")

    def fail(*_, **__):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(call, fail)
    with pytest.raises(OSError, match="Input/output error"):
        write_text(tmp_path / "a.txt", "after")
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "before"


def test_nobody_takes_a_leftover_for_a_model_or_a_plate(tmp_path, monkeypatch):
    monkeypatch.setenv("CPCNN_HOME", str(tmp_path))
    card, weights = untrained_efficientnet_b0()
    before = list_models()
    save_model(tmp_path / "models" / ".elsewhere-7.part.mine.safetensors", card, weights)
    assert list_models() == before
    plates = tmp_path / "embedded" / "plates"
    plates.mkdir(parents=True)
    for name in ("P1.parquet", ".elsewhere-7.part.P1.parquet"):
        (plates / name).touch()
    for asked in (plates.parent, plates, plates / "*.parquet", plates / ".*.parquet"):
        found = []
        with contextlib.suppress(ProfileError):
            found = find_tables([asked])
        assert [path.name for path in found] == ([] if ".*" in asked.name else ["P1.parquet"])


def test_a_link_that_lies_under_the_temporary_name_is_not_written_through(tmp_path):
    own, place = tmp_path / "own.txt", tmp_path / "shared" / "table.csv"
    own.write_text("mine")
    place.parent.mkdir()
    # Made by somebody else after this process began, so that it is not swept away.
    (place.parent / atomic._temporary_name(place.name)).symlink_to(own)
    write_atomically(place, lambda temporary: temporary.write_text("table"))
    assert (own.read_text(), place.read_text()) == ("mine", "table")
    assert not place.is_symlink()
