"""Turns at the GPU: one process at a time, also after another was killed."""

import os
import platform
import subprocess
import sys
import tempfile
import time

import pytest

from cpcnn_core.errors import PrivacyError
from cpcnn_core.worker.server import my_turn, turn_file

HOLD = """
import sys, time
from pathlib import Path
from cpcnn_core.worker.server import my_turn
with my_turn(Path(sys.argv[1])):
    print("mine", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def hold(path, seconds):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), str(seconds)], stdout=subprocess.PIPE
    )
    assert process.stdout.readline().strip() == b"mine"
    return process


def test_a_turn_waits_for_the_one_before(tmp_path):
    with hold(tmp_path / "turn", 0.6) as other, my_turn(tmp_path / "turn"):
        # It has left its turn, and at most its own end is to come.
        assert other.wait(5) == 0


def test_a_process_that_is_killed_loses_its_turn(tmp_path):
    with hold(tmp_path / "turn", 600) as other:
        other.kill()
        started = time.monotonic()
        with my_turn(tmp_path / "turn"):
            assert time.monotonic() - started < 5


def test_turns_follow_each_other_in_one_process(tmp_path):
    for _ in range(2):
        with my_turn(tmp_path / "turn"):
            assert (tmp_path / "turn").exists()


def test_nobody_else_can_take_the_turn(tmp_path, monkeypatch):
    monkeypatch.setenv("CPCNN_HOME", str(tmp_path / "home"))
    before = os.umask(0)
    try:
        folder = turn_file().parent
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert tempfile.gettempdir() != str(folder)
    with my_turn(turn_file()):
        assert [file.name for file in folder.iterdir()] == [f"gpu-{platform.node()}.lock"]


@pytest.mark.parametrize("placed", ["link", "file", "open", "foreign"])
def test_what_another_user_placed_there_before_is_refused(tmp_path, monkeypatch, placed):
    monkeypatch.setenv("CPCNN_HOME", str(tmp_path / "home"))
    folder = turn_file().parent
    folder.rmdir()
    if placed == "link":
        folder.symlink_to(tmp_path)
    elif placed == "file":
        folder.write_text("")
    else:
        folder.mkdir()
        folder.chmod(0o777 if placed == "open" else 0o700)
    if placed == "foreign":
        if os.getuid() != 0:
            pytest.skip("only root can make a folder of another user")
        os.chown(folder, 12345, 12345)
    with pytest.raises(PrivacyError, match=f"{folder} .*set CPCNN_HOME"):
        turn_file()
