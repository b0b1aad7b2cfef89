"""The cost of a command, measured of that command and nothing else."""

import json
import sys
import time

import numpy as np
import pytest

from cpcnn_core.evaluation.stopwatch import measure_command

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows tells no parent")
MIB = 2**20


def measured(folder, code):
    command = [sys.executable, "-S", "-c", code]
    return measure_command(command, folder / "cost.json", folder / "output.txt")


def test_memory_is_that_of_the_command_at_its_peak(tmp_path):
    # Both are far above what the stopwatch itself has, which Linux counts where it is more.
    small, large = (
        measured(tmp_path, f"x = b'x' * ({size} * {MIB}); del x").peak_mib for size in (100, 300)
    )
    assert large - small == pytest.approx(200, abs=5)


def test_memory_of_who_asks_is_not_counted(tmp_path):
    held = np.ones(400 * MIB // 8)
    assert measured(tmp_path, "pass").peak_mib < 100
    assert held.sum() == held.size


def test_waiting_takes_seconds_and_computing_processor_time(tmp_path):
    waiting = measured(tmp_path, "import time; time.sleep(0.5)")
    assert waiting.seconds > 0.5
    assert waiting.cpu_seconds < 0.4
    code = "import time\nwhile time.process_time() < 0.5: pass"
    started = time.perf_counter()
    computing = measured(tmp_path, code)
    assert 0.5 <= computing.cpu_seconds < 0.9
    assert computing.cpu_seconds <= computing.seconds + 0.05
    assert computing.seconds < time.perf_counter() - started


def test_how_it_ended_and_what_it_said(tmp_path):
    code = (
        "import sys; print('out'); sys.stdout.flush(); print('err', file=sys.stderr); sys.exit(3)"
    )
    assert measured(tmp_path, code).code == 3
    assert (tmp_path / "output.txt").read_text() == "out\nerr\n"
    assert json.loads((tmp_path / "cost.json").read_text())["code"] == 3
    assert measured(tmp_path, "import os; os.kill(os.getpid(), 9)").code == -9
