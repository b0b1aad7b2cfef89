"""Embed the screen with every model, each in a process of its own, and read what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cpcnn_core.child_processes import ANY_PARENT, child_command
from cpcnn_core.evaluation.classical import ClassicalJob
from cpcnn_core.evaluation.stopwatch import Measured, measure_command
from cpcnn_core.io.damaged_files import read_checked, set_aside, write_checked
from cpcnn_core.io.dataclass_json import read_dataclass, write_dataclass
from cpcnn_core.screen.job import Job
from cpcnn_core.screen.reports import JobResult

COST_FILE, OUTPUT_FILE, JOB_FILE, RESULT_FILE = "cost.json", "output.txt", "job.json", "result.json"


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
    made_by: dict[str, str]

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
    redone : str
        How many sites were done again, and why; empty where none was.
    damage : str
        That the record of the cost was damaged; empty where it was not.
    """

    out: Path
    finished: bool
    reason: str
    cost: Cost | None
    notices: list[str]
    redone: str = ""
    damage: str = ""


def run_measured(job: Job | ClassicalJob, program: Sequence[str]) -> Run:
    """Do a job in a process of its own, or resume it, and measure what it costs.

    Parameters
    ----------
    job : Job or ClassicalJob
        Its cost is kept where it writes.
    program : sequence of str
        What follows ``python -m`` before the job's file and the result's.
    """
    out = Path(job.out)
    place, told, output = out / JOB_FILE, out / RESULT_FILE, out / OUTPUT_FILE
    # Of an earlier run.
    told.unlink(missing_ok=True)
    write_dataclass(place, job)
    module, *options = program
    words = child_command(module, str(place), str(told), *options, parent=ANY_PARENT)
    # Beside the cost that is kept: this is of every run, also of one that had nothing to do.
    measured = measure_command(words, out / "last_run.json", output)
    result = read_dataclass(told, JobResult) if told.is_file() else JobResult()
    reason = result.reason if measured.code else ""
    if measured.code and not reason:
        reason = _last_words(measured.code, output)
    kept, damage = _kept_cost(out / COST_FILE)
    notices = [*result.notices, *([damage] if damage else [])]
    cost = _keep_cost(out / COST_FILE, kept, measured, result)
    return Run(out, result.finished, reason, cost, notices, result.redone, damage)


def _last_words(code: int, output: Path) -> str:
    """Say how a program ended that could not say it itself: killed, say, for its memory."""
    lines = output.read_text(encoding="utf-8", errors="replace").splitlines()
    said = next((line for line in reversed(lines) if line.strip()), "nothing")
    return f"it ended with code {code}; its last line is: {said} ({output})"


def _keep_cost(path: Path, kept: Cost | None, measured: Measured, result: JobResult) -> Cost | None:
    """Return the cost of the run that did the work: this one, unless little was left for it."""
    cells, made_by = result.cells, result.made_by
    if not cells or not measured.seconds:
        return kept
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
