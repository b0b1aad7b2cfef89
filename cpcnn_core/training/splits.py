"""Which cells are learned from and which are kept for validation: by rule and seed.

What is drawn is drawn by a hash of names: the same cells fall on the same side however the
table is sorted, on every machine, and few change sides when plates are added.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cpcnn_core.errors import TrainingError, some_of
from cpcnn_core.tables.columns import PLATE, SITE, WELL
from cpcnn_core.training.drawing import draw_part
from cpcnn_core.training.index_texts import joined_texts, numbered, texts_of
from cpcnn_core.training.split_checks import check_sides

if TYPE_CHECKING:
    import pandas as pd

TRAINING, VALIDATION = "training", "validation"
KINDS = ("cells", "plates", "studies", "column")
STUDY, OBJECT_NUMBER = "Metadata_Study", "Metadata_ObjectNumber"


@dataclass(frozen=True)
class Split:
    """A rule that keeps some cells for validation.

    Attributes
    ----------
    kind : str
        ``cells``: a fraction of the cells of every class. ``plates``, ``studies``: whole plates
        or studies. ``column``: all cells with some values of a column.
    column : str
        For ``column`` only.
    values : tuple of str
        The plates, studies or values that are kept. Empty: drawn. Not for ``cells``.
    fraction : float, above 0 and below 1
        What part is drawn.
    seed : int
        Of the draw.

    Raises
    ------
    TrainingError
        A rule that makes no sense.

    Examples
    --------
    >>> Split("plates", values=("41756", "41757")).unit_column
    'Metadata_Plate'
    """

    kind: str = "cells"
    column: str = ""
    values: tuple[str, ...] = ()
    fraction: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise TrainingError(f"expected a split by {', '.join(KINDS)}, got {self.kind!r}")
        if self.kind == "column" and not self.column:
            raise TrainingError("a split by column needs a column, e.g. Metadata_Replicate")
        if self.kind != "column" and self.column:
            raise TrainingError(f"a split by {self.kind} takes no column, got {self.column!r}")
        if self.kind == "cells" and self.values:
            raise TrainingError(f"a split by cells draws them, it takes no values {self.values}")
        # Written so that NaN fails too.
        if self.is_drawn and not 0 < self.fraction < 1:
            raise TrainingError(f"expected a fraction between 0 and 1, got {self.fraction}")

    @property
    def is_drawn(self) -> bool:
        """Whether chance decides, not the user."""
        return not self.values

    @property
    def unit_column(self) -> str:
        """The column whose values go to one side as a whole; the empty one for cells."""
        return {"cells": "", "plates": PLATE, "studies": STUDY}.get(self.kind, self.column)

    def may_hold_new_classes(self, label_column: str) -> bool:
        """Tell whether validation may have classes that training lacks.

        Another study has other treatments, and a split by the label itself leaves no choice.
        In a split by plates, or by another column, it is a mistake.

        Examples
        --------
        >>> Split("studies").may_hold_new_classes("Metadata_Treatment")
        True
        """
        return self.kind == "studies" or self.column == label_column


def assign_split(
    index: pd.DataFrame, split: Split, label_column: str = "Metadata_Treatment"
) -> np.ndarray:
    """Say which side each cell is on.

    Parameters
    ----------
    index : pandas.DataFrame with n rows
        One for each cell, with ``Metadata_Plate``, ``Metadata_Well``, ``Metadata_Site``,
        ``Metadata_ObjectNumber``, and ``Metadata_Study`` where there are several.
    split : Split
    label_column : str
        The class of each cell.

    Returns
    -------
    ndarray of shape (n,), object
        ``"training"`` or ``"validation"``.

    Raises
    ------
    TrainingError
        A column that is missing or has empty values; a cell that is there twice; values that
        no cell has; a side without cells; fewer than two classes in training; a class without
        cells in training, unless `Split.may_hold_new_classes`; a class of one cell in a split
        by cells.

    Notes
    -----
    By ``cells``, `draw_part` of every class, by study, plate, well, site and object number.
    By ``plates``, of every study (one of a single plate is all training). By ``studies`` and
    ``column``, of the values there are.

    Where validation holds classes that training lacks, the network has no output for them.
    Take the classes from the training side alone, and use such cells for retrieval, not for
    accuracy.

    Examples
    --------
    >>> import pandas as pd
    >>> cells = pd.DataFrame({"Metadata_Plate": list("1122"), "Metadata_Treatment": list("abab")})
    >>> assign_split(cells, Split("plates", values=("2",))).tolist()
    ['training', 'training', 'validation', 'validation']
    """
    labels = texts_of(index, label_column)
    by_cells = split.kind == "cells"
    is_kept = _keep_cells(index, labels, split) if by_cells else _keep_units(index, split)
    check_sides(labels, is_kept, split.kind, split.may_hold_new_classes(label_column))
    return np.where(is_kept, VALIDATION, TRAINING).astype(object)


def describe(
    index: pd.DataFrame, split: Split, sides: np.ndarray, label_column: str = "Metadata_Treatment"
) -> dict[str, object]:
    """Describe a split as its model should remember it.

    Parameters
    ----------
    index, split, label_column
        As in `assign_split`.
    sides : ndarray of shape (n,), object
        What it returned.

    Returns
    -------
    dict of JSON's types
        The rule: ``kind``, ``column``, ``fraction`` and ``seed`` (None where nothing was drawn).
        ``validation_values``: what was kept as a whole. ``only_in_validation``: classes that
        training lacks. ``training``, ``validation``: the number of ``cells``, ``plates`` and
        ``classes``.

    Examples
    --------
    >>> import pandas as pd
    >>> cells = pd.DataFrame({"Metadata_Plate": list("1122"), "Metadata_Treatment": list("abab")})
    >>> split = Split("plates", values=("2",))
    >>> told = describe(cells, split, assign_split(cells, split))
    >>> told["validation_values"], told["training"]
    (['2'], {'cells': 2, 'plates': 1, 'classes': 2})
    """
    labels, is_kept = texts_of(index, label_column), sides == VALIDATION
    plates = joined_texts(index, _with_study(index, [PLATE]))
    units = [] if split.kind == "cells" else sorted(set(_units(index, split)[is_kept]))
    told: dict[str, object] = {
        "kind": split.kind,
        "column": split.column,
        "fraction": split.fraction if split.is_drawn else None,
        "seed": split.seed if split.is_drawn else None,
        "validation_values": units,
        "only_in_validation": sorted(set(labels[is_kept]) - set(labels[~is_kept])),
    }
    for side, rows in ((TRAINING, ~is_kept), (VALIDATION, is_kept)):
        told[side] = {
            "cells": int(rows.sum()),
            "plates": len(set(plates[rows])),
            "classes": len(set(labels[rows])),
        }
    return told


def _keep_cells(index: pd.DataFrame, labels: np.ndarray, split: Split) -> np.ndarray:
    columns = _with_study(index, [PLATE, WELL, SITE, OBJECT_NUMBER])
    names = joined_texts(index, columns)
    twice = index.duplicated(columns).to_numpy()
    if twice.any():
        raise TrainingError(
            f"{twice.sum()} of {len(names)} cells are there twice, such as {names[twice][0]}: one "
            "could be learned from while the other is kept; leave one out"
        )
    classes, of_cell, counts = numbered(labels)
    if (counts < 2).any():
        raise TrainingError(
            f"a split by cells needs 2 cells of every class; {(counts < 2).sum()} of "
            f"{len(classes)} classes have 1: {some_of(classes[counts < 2])}; leave them out"
        )
    return draw_part(names, of_cell, split.fraction, split.seed)


def _keep_units(index: pd.DataFrame, split: Split) -> np.ndarray:
    if not split.is_drawn:
        return _keep_named(texts_of(index, split.unit_column), split)
    names, of_cell, _ = numbered(_units(index, split))
    of_group = np.zeros(len(names), np.intp)
    if split.kind == "plates" and STUDY in index.columns:
        first = np.unique(of_cell, return_index=True)[1]
        of_group = numbered(texts_of(index, STUDY)[first])[1]
    result: np.ndarray = draw_part(names, of_group, split.fraction, split.seed)[of_cell]
    return result


def _keep_named(found: np.ndarray, split: Split) -> np.ndarray:
    kept, known = set(map(str, split.values)), set(found)
    if unknown := sorted(kept - known):
        raise TrainingError(
            f"no cell has the {split.unit_column} {some_of(unknown)}, to be kept for validation; "
            f"there are {some_of(sorted(known), 20)}"
        )
    return np.array([value in kept for value in found])


def _units(index: pd.DataFrame, split: Split) -> np.ndarray:
    # Two studies may have plates of the same name.
    plates = split.kind == "plates"
    return joined_texts(index, _with_study(index, [PLATE]) if plates else [split.unit_column])


def _with_study(index: pd.DataFrame, columns: list[str]) -> list[str]:
    return [STUDY, *columns] if STUDY in index.columns else columns
