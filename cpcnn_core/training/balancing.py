"""Every treatment is seen equally often, however many cells it has.

See docs/method.md#balanced-sampling.
"""

from __future__ import annotations

import math

import numpy as np

from cpcnn_core.errors import TrainingError


def cells_per_class(classes: np.ndarray) -> int:
    """Return how many cells each class gives to an epoch: the median of what they have.

    Parameters
    ----------
    classes : ndarray of shape (n,), integer
        The class of every cell.

    Returns
    -------
    int
        Rounded down where the median is between two whole numbers.

    Raises
    ------
    TrainingError
        No cells.

    Examples
    --------
    >>> cells_per_class(np.array([0] * 3 + [1] * 8 + [2] * 100))
    8
    """
    return int(np.median(_counts(classes)))


def draw_epoch(classes: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Draw the cells of one epoch, balanced over the classes and shuffled.

    Parameters
    ----------
    classes : ndarray of shape (n,), integer
        The class of every cell.
    seed, epoch : int, 0 to 2**32 - 1
        Equal ones draw the same cells, on every machine.

    Returns
    -------
    ndarray of shape (cells_per_class * number of classes,), int64
        Positions in `classes`, in the order in which they are to be seen.

    Raises
    ------
    TrainingError
        No cells.

    Notes
    -----
    Each class gives `cells_per_class` cells: without replacement where it has as many, with
    replacement where it has fewer. This is the reference's sampled crop generator, see
    docs/method.md#balanced-sampling.

    Examples
    --------
    >>> classes = np.array([0] * 3 + [1] * 8 + [2] * 100)
    >>> rows = draw_epoch(classes, seed=0, epoch=0)
    >>> np.bincount(classes[rows]).tolist()
    [8, 8, 8]
    """
    counts, each = _counts(classes), cells_per_class(classes)
    # RandomState's stream is frozen by NumPy for all time; Generator's is not.
    random = np.random.RandomState([seed, epoch])
    of_class = np.split(np.argsort(classes, kind="stable"), np.cumsum(counts)[:-1])
    drawn = [
        rows[random.permutation(len(rows))[:each]]
        if len(rows) >= each
        else rows[random.randint(len(rows), size=each)]
        for rows in of_class
    ]
    return random.permutation(np.concatenate(drawn)).astype(np.int64, copy=False)


def steps_per_epoch(classes: np.ndarray, batch_size: int) -> int:
    """Return how many batches an epoch has, a last one that is smaller among them.

    Parameters
    ----------
    classes : ndarray of shape (n,), integer
    batch_size : int

    Returns
    -------
    int

    Raises
    ------
    TrainingError
        No cells.

    Examples
    --------
    >>> steps_per_epoch(np.array([0] * 3 + [1] * 8 + [2] * 100), 10)
    3
    """
    counts = _counts(classes)
    return math.ceil(cells_per_class(classes) * len(counts) / batch_size)


def _counts(classes: np.ndarray) -> np.ndarray:
    if not len(classes):
        raise TrainingError("there are no cells to draw from; look at the split and at the filter")
    return np.unique(classes, return_counts=True)[1]
