"""Embed the screen with every model, each in a process of its own, and read what became of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cpcnn_core.atomic import write_atomically
from cpcnn_core.comparison.stopwatch import Measured, measure_command

COST_FILE, OUTPUT_FILE = "cost.json", "output.txt"
_ERROR = "cpcnn: error: "
# What the first line of a log says beside the settings.
_NOT_SETTINGS = ("time", "event", "sites", "shard", "cluster", "notices")


@dataclass(frozen=True)
class Cost:
    """What it cost to embed cells.

    Attributes
    ----------
    cells : int
        As many as were embedded at that cost.
    seconds : float
        From the start of the program to its end: loading what it needs and reading images too.
    cpu_seconds, peak_mib : float or None
        See `cpcnn_core.comparison.stopwatch.Measured`.
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
    """What became of a model.

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
        What shall be known: that images were resampled, which features were left out.
    anew : str
        How many sites were done again, and why; empty where none was.
    """

    out: Path
    finished: bool
    reason: str
    cost: Cost | None
    notices: list[str]
    anew: str = ""


def run_measured(command: Sequence[str], out: Path, log: Path) -> Run:
    """Run a command that embeds a screen, or goes on with it, and measure what it costs.

    Parameters
    ----------
    command : sequence of str
        What follows ``python -m``.
    out : Path
        Where it writes; its cost is kept there too.
    log : Path
        The command's own log, see `cpcnn_core.screen.log.RunLog`.

    Examples
    --------
    >>> run_measured(["cpcnn_core.cli", "embed", ...], Path("o"), Path("o/embed.jsonl"))
    ... # doctest: +SKIP
    """
    before = log.stat().st_size if log.is_file() else 0
    output = out / OUTPUT_FILE
    # Beside the cost that is kept: this is of every run, also of one that had nothing to do.
    python = [sys.executable, "-P", "-m"]
    measured = measure_command([*python, *command], out / "last_run.json", output)
    events = _events(log, before)
    finished = any(event["event"] == "end" for event in events)
    reason = "" if measured.code == 0 else _reason(measured, events, output)
    notices = [notice for event in events for notice in event.get("notices", ())]
    anew = "; ".join(event["anew"] for event in events if event["event"] == "end" and event["anew"])
    return Run(out, finished, reason, _keep_cost(out / COST_FILE, measured, events), notices, anew)


def _events(log: Path, start: int) -> list[dict]:
    if not log.is_file():
        return []
    with log.open("rb") as file:
        file.seek(start)
        return [json.loads(line) for line in file]


def _reason(measured: Measured, events: list[dict], output: Path) -> str:
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
    return f"it ended with code {measured.code}; the last that it said is: {said} ({output})"


def _keep_cost(path: Path, measured: Measured, events: list[dict]) -> Cost | None:
    """Return the cost of the run that did the work: this one, unless little was left for it."""
    kept = Cost(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None
    cells = sum(event["cells"] for event in events if event["event"] == "site")
    if not cells or not measured.seconds:
        return kept
    start = next(event for event in events if event["event"] == "start")
    made_by = {name: value for name, value in start.items() if name not in _NOT_SETTINGS}
    if kept is not None and kept.made_by == made_by and kept.cells > cells:
        return kept
    cost = Cost(cells, measured.seconds, measured.cpu_seconds, measured.peak_mib, made_by)
    write_atomically(path, lambda place: place.write_text(json.dumps(asdict(cost), indent=1)))
    return cost
