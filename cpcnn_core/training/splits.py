"""Which cells are learned from and which are kept for validation: by rule and seed.

What is drawn is drawn by a hash of names: the same cells fall on the same side however the
table is sorted, on every machine, and few change sides when plates are added. Each side is
checked for what training and monitoring need.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cpcnn_core.errors import TrainingError, some_of
from cpcnn_core.schema.columns import OBJECT_NUMBER, PLATE, SITE, STUDY, TREATMENT, WELL

if TYPE_CHECKING:
    import pandas as pd

TRAINING, VALIDATION = "training", "validation"
KINDS = ("cells", "wells", "plates", "studies", "column")


@dataclass(frozen=True)
class Split:
    """A rule that keeps some cells for validation.

    Attributes
    ----------
    kind : str
        ``cells``: a fraction of the cells of every class. ``wells``: a fraction of the wells of
        every class, whole. ``plates``, ``studies``: whole plates or studies. ``column``: all
        cells with some values of a column.
    column : str
        For ``column`` only.
    values : tuple of str
        The plates, studies or values that are kept. Empty: drawn. Not for ``cells`` and
        ``wells``.
    fraction : float, above 0 and below 1
        The fraction that is drawn.
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
        if self.kind in ("cells", "wells") and self.values:
            raise TrainingError(
                f"a split by {self.kind} draws them, it takes no values {self.values}"
            )
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
        known = {"cells": "", "wells": WELL, "plates": PLATE, "studies": STUDY}
        return known.get(self.kind, self.column)

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


def assign_split(index: pd.DataFrame, split: Split, label_column: str = TREATMENT) -> np.ndarray:
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
    By ``cells``, `draw_fraction` of every class, by study, plate, well, site and object number.
    By ``wells``, of the wells of every class (the only well of one is training). By ``plates``,
    of every study (one of a single plate is all training). By ``studies`` and
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
    is_kept = _keep_cells(index, labels, split) if by_cells else _keep_units(index, labels, split)
    check_sides(labels, is_kept, split.kind, split.may_hold_new_classes(label_column))
    return np.where(is_kept, VALIDATION, TRAINING).astype(object)


def describe(
    index: pd.DataFrame, split: Split, sides: np.ndarray, label_column: str = TREATMENT
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
    plates = joined_texts(index, with_study(index, [PLATE]))
    drawn = split.kind in ("cells", "wells")
    units = [] if drawn else sorted(set(_units(index, split)[is_kept]))
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
    columns = with_study(index, [PLATE, WELL, SITE, OBJECT_NUMBER])
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
    return draw_fraction(names, of_cell, split.fraction, split.seed)


def _keep_units(index: pd.DataFrame, labels: np.ndarray, split: Split) -> np.ndarray:
    if not split.is_drawn:
        return _keep_named(texts_of(index, split.unit_column), split)
    names, of_cell, _ = numbered(_units(index, split))
    first = np.unique(of_cell, return_index=True)[1]
    of_group = np.zeros(len(names), np.intp)
    if split.kind == "wells":
        of_group = numbered(labels[first])[1]
    if split.kind == "plates" and STUDY in index.columns:
        of_group = numbered(texts_of(index, STUDY)[first])[1]
    result: np.ndarray = draw_fraction(names, of_group, split.fraction, split.seed)[of_cell]
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
    places = {"wells": [PLATE, WELL], "plates": [PLATE]}.get(split.kind)
    return joined_texts(index, with_study(index, places) if places else [split.unit_column])


def with_study(index: pd.DataFrame, columns: list[str]) -> list[str]:
    """Put the study before columns that name a place, where there are several studies.

    Examples
    --------
    >>> import pandas as pd
    >>> with_study(pd.DataFrame({"Metadata_Study": ["S1"]}), ["Metadata_Plate"])
    ['Metadata_Study', 'Metadata_Plate']
    """
    return [STUDY, *columns] if STUDY in index.columns else columns


def check_sides(labels: np.ndarray, is_kept: np.ndarray, kind: str, may_hold_new: bool) -> None:
    """Refuse a split that nothing can be learned from, or that cannot be watched.

    Parameters
    ----------
    labels : ndarray of shape (n,), object
        The class of every cell.
    is_kept : ndarray of shape (n,), bool
        For validation.
    kind : str
        Of the split, for the error's text.
    may_hold_new : bool
        Validation may have classes that training lacks.

    Raises
    ------
    TrainingError
        A side without cells, a class without cells in training, fewer than two classes.

    Examples
    --------
    >>> check_sides(np.array(["a", "b"], object), np.array([False, True]), "plates", False)
    Traceback (most recent call last):
    cpcnn_core.errors.TrainingError: the split by plates leaves 1 of 2 classes without cells in ...
    """
    for side, rows in (("training", ~is_kept), ("validation", is_kept)):
        if not rows.any():
            raise TrainingError(
                f"the split by {kind} leaves none of {len(labels)} cells for {side}; keep other "
                "values, or split by another rule"
            )
    learned = set(labels[~is_kept])
    kept, _, counts = numbered(labels[is_kept])
    new = [f"{name} ({n})" for name, n in zip(kept, counts, strict=True) if name not in learned]
    if new and not may_hold_new:
        raise TrainingError(
            f"the split by {kind} leaves {len(new)} of {len(learned) + len(new)} classes without "
            f"cells in training: {some_of(new)} cells in validation; keep other values, draw with "
            "another seed, or leave these classes out"
        )
    if len(learned) < 2:
        raise TrainingError(f"training needs at least 2 classes, got {some_of(learned)} only")


def draw_fraction(
    names: Iterable[str], groups: np.ndarray, fraction: float, seed: int
) -> np.ndarray:
    """Draw a fraction of every group.

    Parameters
    ----------
    names : iterable of n str, each different
        What is drawn from.
    groups : ndarray of shape (n,), int
        From 0 on.
    fraction : float, above 0 and below 1
    seed : int

    Returns
    -------
    ndarray of shape (n,), bool
        True for round(fraction * size) of each group, for one at least and never for all: a
        group of one gives none.

    Notes
    -----
    Those whose BLAKE2b of ``seed/name`` (8 bytes, a little-endian number) is the smallest of
    their group. A threshold on the hash would draw the fraction on average only, and nothing
    of some small groups; a permutation would be another one with every name that is added.

    Examples
    --------
    >>> draw_fraction(["a", "b", "c", "d"], np.array([0, 0, 0, 1]), 0.4, seed=0)
    array([ True, False, False, False])
    """
    counts = np.bincount(groups)
    sizes = np.minimum(np.maximum(np.round(fraction * counts), 1), counts - 1)
    hashes = np.fromiter((_hash(f"{seed}/{name}") for name in names), np.uint64)
    order = np.lexsort((hashes, groups))
    in_order = groups[order]
    rank = np.arange(len(order)) - (np.cumsum(counts) - counts)[in_order]
    drawn = np.empty(len(order), bool)
    drawn[order] = rank < sizes[in_order]
    return drawn


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def texts_of(index: pd.DataFrame, column: str) -> np.ndarray:
    """Return a column as texts without space around them, of which none is empty.

    Parameters
    ----------
    index : pandas.DataFrame with n rows
    column : str

    Returns
    -------
    ndarray of shape (n,), object

    Raises
    ------
    TrainingError
        No rows, no such column, or empty values in it.

    Examples
    --------
    >>> import pandas as pd
    >>> texts_of(pd.DataFrame({"Metadata_Site": [1, 2]}), "Metadata_Site").tolist()
    ['1', '2']
    """
    if column not in index.columns:
        raise TrainingError(
            f"the crops have no column {column}; they have {', '.join(map(str, index.columns))}"
        )
    texts = index[column].astype(str).where(index[column].notna(), "").str.strip()
    empty = (texts == "").sum()
    if empty or not len(texts):
        raise TrainingError(f"{empty} of {len(texts)} cells have no {column}; leave them out")
    result: np.ndarray = texts.to_numpy(object)
    return result


def joined_texts(index: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """Name each cell by what several columns say: ``plate/well``, (n,) object.

    Raises
    ------
    TrainingError
        As `texts_of`.

    Examples
    --------
    >>> import pandas as pd
    >>> joined_texts(pd.DataFrame({"Plate": ["P"], "Site": [2]}), ["Plate", "Site"]).tolist()
    ['P/2']
    """
    parts = zip(*(texts_of(index, column) for column in columns), strict=True)
    return np.array(list(map("/".join, parts)), object)


def numbered(texts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give every text (n,) its number in the order of the alphabet.

    Returns
    -------
    names : ndarray of shape (k,), object
        The different ones, sorted.
    numbers : ndarray of shape (n,), int
        The place of each text in `names`.
    counts : ndarray of shape (k,), int
        How often each is there.

    Examples
    --------
    >>> names, numbers, counts = numbered(np.array(["b", "a", "b"], object))
    >>> names.tolist(), numbers.tolist(), counts.tolist()
    (['a', 'b'], [1, 0, 1], [1, 2])
    """
    import pandas as pd

    # Hashing millions of texts is much faster than sorting them.
    numbers, names = pd.factorize(texts, sort=True)
    return names, numbers, np.bincount(numbers, minlength=len(names))
