"""The log of a training: ``log.csv`` for programs and people, TensorBoard for its pictures."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from cpcnn_core.atomic import write_atomically
from cpcnn_core.errors import DependencyError
from cpcnn_core.spreadsheets import harmless_row
from cpcnn_core.training.writing import writing

Row = Mapping[str, float | str | None]

# By what they are about, in the order of log.csv.
COLUMNS = {
    "training": ("epoch", "learning_rate", "loss", "accuracy", "top_5"),
    "validation": tuple(f"validation_{n}" for n in ("loss", "accuracy", "top_5", "precision")),
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
    >>> with TensorBoardLog("training/tensorboard", 0) as log:  # doctest: +SKIP
    ...     log.add({"epoch": 1, "loss": 0.5})
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
