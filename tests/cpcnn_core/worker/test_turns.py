"""Turns at the GPU: one process at a time, also after another was killed."""

import subprocess
import sys
import time

from cpcnn_core.worker.turns import my_turn, turn_file

HOLD = """
import sys, time
from pathlib import Path
from cpcnn_core.worker.turns import my_turn
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


def test_every_user_has_a_file():
    assert turn_file().name.startswith("cpcnn-gpu-")
