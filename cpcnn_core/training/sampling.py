"""Which cells make the batches of an epoch: every class is seen equally often.

`epoch_batches` is the reference's (docs/method.md#balanced-sampling); `paired_batches` also
balances plates, and brings cells of a class from different wells together.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from cpcnn_core.errors import TrainingError


def epoch_batches(classes: np.ndarray, seed: int, epoch: int, batch: int) -> np.ndarray:
    """Return which cells the batches of an epoch are made of.

    Parameters
    ----------
    classes : ndarray of shape (n,), integer
        The class of every cell.
    seed, epoch : int
    batch : int
        Cells of a batch.

    Returns
    -------
    ndarray of shape (steps, batch), int64
        Positions in `classes`.

    Notes
    -----
    The draws of `cpcnn_core.training.sampling.draw_epoch`, one after the other, cut into
    batches. As in the reference a batch may reach from one draw into the next, so that all
    batches are whole, and an epoch has as many as it takes for one draw, see
    docs/method.md#balanced-sampling.

    Examples
    --------
    >>> epoch_batches(np.array([0, 0, 0, 1, 1, 1]), seed=0, epoch=1, batch=4).shape
    (2, 4)
    """
    size = cells_per_class(classes) * len(np.unique(classes))
    steps = steps_per_epoch(classes, batch)
    first, last = epoch * steps * batch, (epoch + 1) * steps * batch
    numbers = range(first // size, (last - 1) // size + 1)
    draws = np.concatenate([draw_epoch(classes, seed, number) for number in numbers])
    start = first - numbers[0] * size
    return draws[start : start + steps * batch].reshape(steps, batch)


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


def paired_batches(
    classes: np.ndarray,
    plates: np.ndarray,
    wells: np.ndarray,
    seed: int,
    epoch: int,
    batch: int,
    together: int,
) -> np.ndarray:
    """Return which cells the batches of an epoch are made of, balanced over plates and wells too.

    Parameters
    ----------
    classes, plates, wells : ndarray of shape (n,), integer
        Of every cell; a well has a number of its own among those of all plates.
    seed, epoch : int, 0 to 2**32 - 1
        Equal ones draw the same cells, on every machine.
    batch : int
        Cells of a batch, a multiple of `together`.
    together : int
        Cells of a class that are side by side in a batch, each from another well where the class
        has as many, and from another plate before a second well of one.

    Returns
    -------
    ndarray of shape (steps, batch), int64
        Positions in `classes`; as many steps as `epoch_batches` has.

    Raises
    ------
    TrainingError
        No cells.

    Notes
    -----
    Each class goes round its plates, each plate of a class round its wells, each well round its
    cells, in orders that are drawn for the epoch. So of a class every plate gives as many cells as
    the others within one, whatever it has; so does every well of such a plate; a cell comes again
    only after all others of its well. Classes come in an order that is drawn anew for each
    round of all.

    Examples
    --------
    >>> classes, wells = np.repeat([0, 1], 6), np.repeat([0, 1, 2, 3], 3)
    >>> batches = paired_batches(classes, wells // 2, wells, seed=0, epoch=0, batch=4, together=2)
    >>> classes[batches[0]].tolist(), wells[batches[0]].tolist()
    ([1, 1, 0, 0], [3, 2, 0, 1])
    """
    steps = steps_per_epoch(classes, batch)
    # RandomState's stream is frozen by NumPy for all time; Generator's is not.
    random = np.random.RandomState([seed, epoch, 1])
    order = np.lexsort((wells, plates, classes))
    turns = [_turns(rows, plates, wells, random) for rows in _parted(order, classes)]
    rounds = -(-steps * batch // (together * len(turns)))
    groups = np.concatenate([random.permutation(len(turns)) for _ in range(rounds)])
    cells = [
        cell
        for group in groups[: steps * batch // together]
        for cell in itertools.islice(turns[group], together)
    ]
    return np.array(cells, np.int64).reshape(steps, batch)


def _turns(
    rows: np.ndarray, plates: np.ndarray, wells: np.ndarray, random: np.random.RandomState
) -> Iterator[int]:
    """Yield the cells of a class for ever: plates in turn, wells of each, cells of each."""
    of_plates = [
        _in_turn(
            [itertools.cycle(random.permutation(cells).tolist()) for cells in _parted(own, wells)],
            random,
        )
        for own in _parted(rows, plates)
    ]
    return _in_turn(of_plates, random)


def _in_turn(sources: list[Iterator[int]], random: np.random.RandomState) -> Iterator[int]:
    shuffled = [sources[place] for place in random.permutation(len(sources))]
    return (next(source) for source in itertools.cycle(shuffled))


def _parted(rows: np.ndarray, values: np.ndarray) -> list[np.ndarray]:
    """Cut rows, sorted by their values, where the value changes."""
    return np.split(rows, np.flatnonzero(np.diff(values[rows])) + 1)
