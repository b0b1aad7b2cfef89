"""Embed the screen with every model, each in a process of its own, and measure what it costs.

Seconds, CPU seconds, and memory at the peak. A process of its own, the stopwatch, starts the
command: Linux counts among a program's memory what the process that started it had, and this
one has nearly nothing.
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
from typing import Any

from cpcnn_core.child_processes import WHOEVER_STARTS_IT, child_command, end_with_parent
from cpcnn_core.io.damaged_files import read_checked, set_aside, write_checked
from cpcnn_core.io.json_files import read_json
from cpcnn_core.screen.run_log import read_log

COST_FILE, OUTPUT_FILE = "cost.json", "output.txt"
_ERROR = "cpcnn: error: "
# What the first line of a log says beside the settings.
_NOT_SETTINGS = ("time", "event", "sites", "shard", "cluster", "notices")


@dataclass(frozen=True)
class Cost:
    """The cost of embedding cells.

    Attributes
    ----------
    cells : int
        As many as were embedded at that cost.
    seconds : float
        From the start of the program to its end: loading what it needs and reading images too.
    cpu_seconds, peak_mib : float or None
        See `cpcnn_core.evaluation.embedding_runs.Measured`.
    made_by : dict
        The settings, engine and device that the features were made with.
    """

    cells: int
    seconds: float
    cpu_seconds: float | None
    peak_mib: float | None
    made_by: dict[str, object]

    @property
    def cells_per_second(self) -> float:
        """Cells by the whole time of the program."""
        return self.cells / self.seconds


@dataclass(frozen=True)
class Run:
    """The run of a model, and how it ended.

    Attributes
    ----------
    out : Path
        The folder with its ``plates``.
    finished : bool
        Whether there are features: of all sites, or all but those that `reason` tells of.
    reason : str
        Why it did not finish, or which sites failed; empty where nothing is wrong.
    cost : Cost or None
        Of the run that embedded its cells, this one or an earlier.
    notices : list of str
        What users should know: that images were resampled, which features were left out.
    anew : str
        How many sites were done again, and why; empty where none was.
    damage : str
        That the record of the cost was damaged; empty where it was not.
    """

    out: Path
    finished: bool
    reason: str
    cost: Cost | None
    notices: list[str]
    anew: str = ""
    damage: str = ""


def run_measured(command: Sequence[str], out: Path, log: Path) -> Run:
    """Run a command that embeds a screen, or resumes it, and measure what it costs.

    Parameters
    ----------
    command : sequence of str
        What follows ``python -m``.
    out : Path
        Where it writes; its cost is kept there too.
    log : Path
        The command's own log, see `cpcnn_core.screen.run_log.RunLog`.

    Examples
    --------
    >>> run_measured(["cpcnn_core.cli", "embed", ...], Path("o"), Path("o/embed.jsonl"))
    ... # doctest: +SKIP
    """
    before = log.stat().st_size if log.is_file() else 0
    output = out / OUTPUT_FILE
    # Beside the cost that is kept: this is of every run, also of one that had nothing to do.
    words = child_command(*command, parent=WHOEVER_STARTS_IT)
    measured = measure_command(words, out / "last_run.json", output)
    events = read_log(log, before)
    finished = any(event["event"] == "end" for event in events)
    reason = "" if measured.code == 0 else _reason(measured, events, output)
    notices = [notice for event in events for notice in event.get("notices", ())]
    anew = "; ".join(event["anew"] for event in events if event["event"] == "end" and event["anew"])
    kept, damage = _kept_cost(out / COST_FILE)
    notices += [damage] if damage else []
    cost = _keep_cost(out / COST_FILE, kept, measured, events)
    return Run(out, finished, reason, cost, notices, anew, damage)


def _reason(measured: Measured, events: list[dict[str, Any]], output: Path) -> str:
    sites = [event for event in events if event["event"] == "site"]
    failed = [event for event in sites if event["state"] == "failed"]
    if failed:
        first = failed[0]
        return f"{len(failed)} of {len(sites)} sites failed: {first['site']}, {first['reason']}"
    lines = output.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [line for line in lines if line.startswith(_ERROR)]
    if errors:
        return errors[-1].removeprefix(_ERROR)
    said = next((line for line in reversed(lines) if line.strip()), "nothing")
    return f"it ended with code {measured.code}; its last line is: {said} ({output})"


def _keep_cost(
    path: Path, kept: Cost | None, measured: Measured, events: list[dict[str, Any]]
) -> Cost | None:
    """Return the cost of the run that did the work: this one, unless little was left for it."""
    cells = sum(event["cells"] for event in events if event["event"] == "site")
    if not cells or not measured.seconds:
        return kept
    start = next(event for event in events if event["event"] == "start")
    made_by = {name: value for name, value in start.items() if name not in _NOT_SETTINGS}
    if kept is not None and kept.made_by == made_by and kept.cells > cells:
        return kept
    cost = Cost(cells, measured.seconds, measured.cpu_seconds, measured.peak_mib, made_by)
    write_checked(path, asdict(cost), indent=1)
    return cost


def _kept_cost(path: Path) -> tuple[Cost | None, str]:
    """Return the cost that is on record; one that is damaged is set aside, which is said."""
    if not path.is_file():
        return None, ""
    try:
        values = read_checked(path)
        numbers = [values["cells"], values["seconds"]]
        if all(isinstance(number, int | float) and number > 0 for number in numbers):
            return Cost(**values | {"made_by": dict(values["made_by"])}), ""
    except (OSError, ValueError, KeyError, TypeError):
        pass
    aside = set_aside(path)
    said = (
        f"{path} was damaged: it is kept as {aside.name}; what the cells cost is measured again "
        "with --force"
    )
    return None, said


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
    # This Python, and the words that cpcnn compare made of its own options; no shell.
    start = child_command("cpcnn_core.evaluation.embedding_runs", *words)
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
