"""Reports of a training to those who watch it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
    """Say what is about to be trained, and from where on.

    Examples
    --------
    >>> print(start_report(config, cells, accelerator, 0, 0))  # doctest: +SKIP
    """
    training, run, store = config.training, config.run, cells.store
    left = f"; {cells.left_out} are not used" if cells.left_out else ""
    held = "" if cells.judged is cells.validation else f", {len(cells.judged)} held out"
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
        f"{config.network.backbone} from {config.network.initialization}, {training.epochs} "
        f"epochs, batches of {training.batch}, learning rate {training.learning_rate:g} "
        f"{training.schedule}"
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
    text = f"epoch {row['epoch']}/{epochs}: loss {row['loss']:.4f}, accuracy {row['accuracy']:.1%}"
    parts = [text.replace("%", " %")]
    if row.get("validation_accuracy") is not None:
        parts.append(
            f"validation: accuracy {_percent(row['validation_accuracy'])}, "
            f"top 5 {_percent(row['validation_top_5'])}"
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
    parts.append(
        f"{row['cells_per_second']:.0f} cells/s, waiting for data {_percent(row['waiting'])} of "
        "the time"
    )
    return "; ".join(parts)


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _scale(um_per_px: float | None) -> str:
    return "" if um_per_px is None else f" of {um_per_px:g} µm"


def _counted(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"
