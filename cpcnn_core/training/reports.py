"""Reports of a training: to its caller, to ``log.csv`` for programs and people, to TensorBoard."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from cpcnn_core.errors import DependencyError, DiskFullError, TrainingError
from cpcnn_core.io.atomic import write_atomically
from cpcnn_core.io.disk import told_if_full
from cpcnn_core.io.spreadsheets import harmless_row

if TYPE_CHECKING:
    from accelerate import Accelerator

    from cpcnn_core.training.cells import Cells
    from cpcnn_core.training.config import TrainingConfig


@dataclass(frozen=True)
class StartReport:
    """A description of the training that starts, in a few lines.

    Attributes
    ----------
    lines : tuple of str
    """

    lines: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.lines)


@dataclass(frozen=True)
class StepReport:
    """A step is done.

    Attributes
    ----------
    epoch, step : int
        From 1.
    epochs, steps : int
        How many there are; steps of an epoch.
    loss : float
        The mean since the epoch began.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float


@dataclass(frozen=True)
class EpochReport:
    """An epoch is done, evaluated where that was due, and kept.

    Attributes
    ----------
    row : dict
        A row of ``log.csv``.
    epochs : int
    """

    row: dict[str, float | str | None]
    epochs: int

    def __str__(self) -> str:
        return describe_row(self.row, self.epochs)


Report = StartReport | StepReport | EpochReport


def start_report(
    config: TrainingConfig, cells: Cells, accelerator: Accelerator, epoch: int, step: int
) -> StartReport:
    """Say what is about to be trained, and from where on."""
    training, run, store = config.training, config.run, cells.store
    left = f"; {cells.left_out} are not used" if cells.left_out else ""
    held = "" if cells.held_out is cells.validation else f", {len(cells.held_out)} held out"
    count = accelerator.num_processes
    crops = (
        f"{len(store)} crops of {_counted(len(config.data.studies), 'study', 'studies')}, "
        f"{store.crop_px} px{_scale(store.um_per_px)}, "
        f"{', '.join(store.channels)}{left}"
    )
    classes = (
        f"{len(cells.classes)} classes of {cells.label}; {len(cells.training)} cells to learn "
        f"from, {len(cells.validation)} for validation{held} (split by {config.split.kind})"
    )
    recipe = (
        f"recipe {config.recipe}: {config.network.backbone} from "
        f"{config.network.initialization}, {training.epochs} epochs, batches of {training.batch}, "
        f"learning rate {training.learning_rate:g} {training.schedule}"
    )
    device = f"on {accelerator.device}, {run.precision}"
    lines = [crops, classes, recipe, device + (f", {count} processes" if count > 1 else "")]
    if cells.notice:
        lines.insert(1, cells.notice)
    if epoch or step:
        lines.append(f"resuming after epoch {epoch}" + (f", step {step}" if step else ""))
    return StartReport(tuple(lines))


def describe_row(row: Mapping[str, Any], epochs: int) -> str:
    """Say in a line how an epoch went.

    Examples
    --------
    >>> print(describe_row({"epoch": 2, "loss": 0.71, "accuracy": 0.5, "cells_per_second": 99.6,
    ...                     "waiting": 0.034}, 30))
    epoch 2/30: loss 0.7100, accuracy 50.0 %; 100 cells/s, waiting for data 3.4 % of the time
    """
    parts = ["before training"]
    if row["epoch"]:
        learned = f"loss {row['loss']:.4f}, accuracy {_percent(row['accuracy'])}"
        parts = [f"epoch {row['epoch']}/{epochs}: {learned}"]
    if row.get("validation_accuracy") is not None:
        parts.append(
            f"validation: accuracy {_percent(row['validation_accuracy'])}, "
            f"top 5 {_percent(row['validation_top_5'])}"
        )
    if row.get("validation_rank") is not None:
        parts.append(
            f"validation wells find their treatment, mean 1 / rank {row['validation_rank']:.3f}"
        )
    if row.get("replicates_chance") is not None:
        parts.append(
            f"replicates, mAP {row['replicates']:.3f} (chance {row['replicates_chance']:.3f})"
        )
    if row.get("nearest_treatment") is not None:
        parts.append(
            f"nearest treatment {_percent(row['nearest_treatment'])} "
            f"(chance {_percent(row['nearest_treatment_chance'])}; {row['correction']})"
        )
    if row.get("plate_from_controls") is not None:
        parts.append(
            f"plate read from controls {_percent(row['plate_from_controls'])} "
            f"(chance {_percent(row['plate_from_controls_chance'])})"
        )
    if row.get("note"):
        parts.append(str(row["note"]))
    if row["epoch"]:
        parts.append(
            f"{row['cells_per_second']:.0f} cells/s, waiting for data "
            f"{_percent(row['waiting'])} of the time"
        )
    return "; ".join(parts)


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _scale(um_per_px: float | None) -> str:
    return "" if um_per_px is None else f" of {um_per_px:g} µm"


def _counted(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"


Row = Mapping[str, float | str | None]

# By what they are about, in the order of log.csv.
COLUMNS = {
    "training": ("epoch", "learning_rate", "loss", "accuracy", "top_5"),
    "validation": tuple(
        f"validation_{n}" for n in ("loss", "accuracy", "top_5", "precision", "rank")
    ),
    "profiles": (
        *("wells", "control_wells", "correction", "replicates", "replicates_chance"),
        *("nearest_treatment", "nearest_treatment_chance", "note"),
    ),
    "confounders": tuple(
        f"{name}{kind}"
        for name in (
            *("controls_by_plate", "controls_by_well", "plate_from_controls"),
            *("treatment_leave_wells_out", "treatment_leave_plates_out"),
        )
        for kind in ("", "_chance")
    ),
    "speed": ("cells", "seconds", "cells_per_second", "waiting"),
}


def write_log(path: str | Path, rows: Sequence[Row]) -> None:
    """Write all rows again, one per epoch; what was not measured is empty.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_log(f"{folder}/log.csv", [{"epoch": 1, "loss": 0.5}])
    ...     Path(folder, "log.csv").read_text().splitlines()[1][:8]
    '1,,0.5,,'
    """
    names = [name for part in COLUMNS.values() for name in part]

    def write(place: Path) -> None:
        with place.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names, lineterminator="\n")
            writer.writeheader()
            writer.writerows(harmless_row(row) for row in rows)

    write_atomically(path, write)


class TensorBoardLog:
    """Scalars for TensorBoard, one for every number of every epoch.

    Parameters
    ----------
    folder : str or Path
    done : int
        Epochs that are written; what an earlier start wrote of later ones is not shown.

    Raises
    ------
    DependencyError
        TensorBoard is not installed.

    Examples
    --------
    >>> with TensorBoardLog("training/tensorboard", 0) as log:
    ...     log.add({"epoch": 1, "loss": 0.5})
    >>> [path.name for path in Path("training/tensorboard").iterdir()]
    ['events.out.tfevents...']
    """

    def __init__(self, folder: str | Path, done: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise DependencyError(
                "training needs Accelerate and TensorBoard; install them with: "
                "pip install 'cpcnn[train]'"
            ) from error
        self._folder = folder
        with writing(folder):
            self._writer = SummaryWriter(str(folder), purge_step=done + 1 if done else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with writing(self._folder):
            self._writer.close()

    def add(self, row: Row) -> None:
        """Write the numbers of an epoch."""
        with writing(self._folder):
            for name, value in scalars(row):
                self._writer.add_scalar(name, value, row["epoch"])
            self._writer.flush()


def scalars(row: Row) -> Iterator[tuple[str, float]]:
    """Name the numbers of a row as TensorBoard groups them.

    Examples
    --------
    >>> list(scalars({"epoch": 1, "loss": 0.5, "validation_loss": None, "correction": "none"}))
    [('training/loss', 0.5)]
    """
    for group, names in COLUMNS.items():
        for name in names:
            value = row.get(name)
            if name != "epoch" and isinstance(value, int | float):
                yield f"{group}/{name.removeprefix(f'{group}_')}", value


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Say in one line why a file could not be written.

    Raises
    ------
    DiskFullError
    TrainingError
        Any other reason.

    Examples
    --------
    >>> with writing("a.safetensors"):
    ...     raise OSError(27, "File too large")
    Traceback (most recent call last):
    cpcnn_core.errors.TrainingError: a.safetensors cannot be written (File too large)...
    """
    try:
        with told_if_full(path):
            yield
    except DiskFullError:
        raise
    except OSError as error:
        raise TrainingError(
            f"{path} cannot be written ({error.strerror or error}); what was written before is "
            "whole: make room and start the same training again, and it resumes"
        ) from error
