"""Embed the screen with every model, each in a process of its own, and read what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cpcnn_core.child_processes import WHOEVER_STARTS_IT, child_command
from cpcnn_core.evaluation.stopwatch import Measured, measure_command
from cpcnn_core.io.damaged_files import read_checked, set_aside, write_checked
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
        See `cpcnn_core.evaluation.stopwatch.Measured`.
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
