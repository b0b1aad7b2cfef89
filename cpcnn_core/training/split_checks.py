"""Requirements on both sides of a split, for a network to be trained and watched."""

from __future__ import annotations

import numpy as np

from cpcnn_core.errors import TrainingError, some_of
from cpcnn_core.training.index_texts import numbered


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
