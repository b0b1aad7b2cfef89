"""Run a command and write down what it cost: seconds, CPU seconds, memory at the peak.

A process of its own, the stopwatch, starts the command: Linux counts among a program's memory
what the process that started it had, and this one has nearly nothing.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cpcnn_core.child_processes import child_command, end_with_parent
from cpcnn_core.io.json_files import read_json

# Until a command that was asked to end is killed.
PATIENCE_SECONDS = 30


@dataclass(frozen=True)
class Measured:
    """The cost of a command.

    Attributes
    ----------
    code : int
        Its exit status; minus the number of the signal that ended it.
    seconds : float
        From start to end.
    cpu_seconds, peak_mib : float or None
        Of all its processors; memory in RAM at the peak, in MiB. None on Windows, which
        does not tell a parent.
    """

    code: int
    seconds: float
    cpu_seconds: float | None = None
    peak_mib: float | None = None


def measure_command(command: Sequence[str], report: Path, output: Path) -> Measured:
    r"""Run a command in a process of its own and return what it cost.

    Parameters
    ----------
    command : sequence of str
    report : Path
        JSON file to write the cost to.
    output : Path
        File to write what the command prints to, errors too.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     place = Path(folder)
    ...     command = [sys.executable, "-c", "print('done')"]
    ...     measured = measure_command(command, place / "cost.json", place / "output.txt")
    ...     measured.code, measured.seconds > 0, (place / "output.txt").read_text()
    (0, True, 'done\n')
    """
    for place in (report, output):
        place.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    words = (str(report), str(output), *command)
    # This Python, and the files that cpcnn compare named; no shell.
    start = child_command("cpcnn_core.evaluation.stopwatch", *words)
    stopwatch = subprocess.Popen(start)  # noqa: S603
    try:
        code = stopwatch.wait()
    except BaseException:
        # After Ctrl-C, say: leave no command running that is no longer waited for.
        _end(stopwatch)
        raise
    if not report.is_file():
        # The stopwatch itself was stopped.
        return Measured(code or 1, 0.0)
    return Measured(**read_json(report))


def _end(stopwatch: subprocess.Popen[bytes]) -> None:
    stopwatch.terminate()
    try:
        stopwatch.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        # Its command ends when it finds itself without a parent.
        stopwatch.kill()
        stopwatch.wait()


def main(report: str, output: str, *command: str) -> None:
    """Run the command, and write its cost; what this process is started for."""
    started = time.perf_counter()
    with Path(output).open("wb") as file:
        # What `measure_command` was given: this process is started by it alone.
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)  # noqa: S603
        end_with_parent(before=process.kill)
        # A terminal sends Ctrl-C to all; the command's end is the end of this one.
        signal.signal(signal.SIGINT, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        used = None
        if hasattr(os, "wait4"):
            _, status, used = os.wait4(process.pid, 0)
            code = os.waitstatus_to_exitcode(status)
        else:
            code = process.wait()
    seconds = time.perf_counter() - started
    measured = Measured(code, seconds)
    if used is not None:
        # Kilobytes, but bytes on macOS.
        unit = 2**20 if sys.platform == "darwin" else 2**10
        measured = Measured(code, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / unit)
    Path(report).write_text(json.dumps(asdict(measured)), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
