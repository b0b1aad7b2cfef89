"""Crops of a store, batch by batch, read ahead by processes of their own.

Every treatment is seen equally often, however many cells it has
(docs/method.md#balanced-sampling).

Signals wait while processes are forked off: Python runs functions of libraries before and after
a fork, and lets no exception out of them. Ctrl-C in that moment would be lost, and the program
would continue.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from cpcnn_core.errors import CPCNNError, TrainingError

if TYPE_CHECKING:
    from cpcnn_core.crop_store.store import CropStore

# Batches that every process reads ahead.
AHEAD = 4


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
    The draws of `cpcnn_core.training.batches.draw_epoch`, one after the other, cut into
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


class CropReader:
    """Reads batches of a store ahead of the training.

    Parameters
    ----------
    store : CropStore
    workers : int
        Processes that read and check; 0: they are read when they are asked for.
    pin : bool
        Keep batches where a GPU can fetch them by itself.

    Attributes
    ----------
    waited : float
        Seconds in which the training had to wait for batches.

    Examples
    --------
    >>> batches = [np.array([0, 3, 7]), np.array([16, 2])]
    >>> for crops in CropReader(store).read(batches):
    ...     print(tuple(crops.shape), crops.dtype)
    (3, 5, 128, 128) torch.uint8
    (2, 5, 128, 128) torch.uint8
    """

    def __init__(self, store: CropStore, workers: int = 0, *, pin: bool = False) -> None:
        self.waited = 0.0
        self._store, self._workers, self._pin = store, workers, pin

    def read(self, batches: Sequence[np.ndarray]) -> Iterator[torch.Tensor]:
        """Read batches, one after the other.

        Parameters
        ----------
        batches : sequence of ndarray of shape (b,), integer
            Rows of the store.

        Yields
        ------
        Tensor of shape (b, c, crop_px, crop_px), uint8 or uint16, on the CPU

        Raises
        ------
        CropStoreError
            A crop that cannot be read.
        """
        loader = torch.utils.data.DataLoader(
            _Batches(self._store, batches),
            batch_size=None,
            num_workers=self._workers,
            pin_memory=self._pin,
            prefetch_factor=AHEAD if self._workers else None,
            # The loader draws a seed, which is not used; not from the caller's generator.
            generator=torch.Generator(),
            worker_init_fn=let_signals_through,
        )
        started = time.perf_counter()
        with signals_held():
            reading = iter(loader)
        for crops in reading:
            if isinstance(crops, CPCNNError):
                raise crops
            self.waited += time.perf_counter() - started
            yield crops
            started = time.perf_counter()


class _Batches(torch.utils.data.Dataset[torch.Tensor | CPCNNError]):
    def __init__(self, store: CropStore, batches: Sequence[np.ndarray]) -> None:
        self._store, self._batches = store, batches

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, number: int) -> torch.Tensor | CPCNNError:
        # An error that a loader's process raises arrives with a traceback in its text.
        try:
            return torch.from_numpy(self._store.read(self._batches[number]))
        except CPCNNError as error:
            return error


def to_unit_range(crops: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Bring stored crops to a device, float32 from 0 to 1.

    Parameters
    ----------
    crops : Tensor of shape (n, c, crop_px, crop_px), uint8 or uint16
    device : torch.device

    Returns
    -------
    Tensor of the same shape, float32
        Not stretched again (docs/method.md#single-cell-export).

    Examples
    --------
    >>> to_unit_range(torch.tensor([0, 51, 255], dtype=torch.uint8), torch.device("cpu")).tolist()
    [0.0, 0.20000000298023224, 1.0]
    """
    largest = torch.iinfo(crops.dtype).max
    return crops.to(device, non_blocking=True).to(torch.float32) / largest


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


_NUMBERS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
# A process that is forked off has a copy of both.
_handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}
_arrived: list[tuple[int, int]] = []


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Have signals that end the program arrive after this.

    Processes that are started meanwhile hold them too: see `let_signals_through`.

    Examples
    --------
    >>> with signals_held():
    ...     pass  # start processes
    """
    # Python answers signals in its main thread, whichever thread the system gave them to: so
    # blocking them in one thread would hold nothing, and other threads have nothing to hold.
    if threading.current_thread() is threading.main_thread():
        for number in _NUMBERS:
            handler = signal.getsignal(number)
            # What is ignored, or ends the process at once, is not lost.
            if callable(handler):
                _handlers[number] = handler
                signal.signal(number, _hold)
    try:
        yield
    finally:
        let_signals_through()


def let_signals_through(_: int = 0) -> None:
    """Have signals arrive in a process that was started while they were held.

    Examples
    --------
    >>> let_signals_through()
    """
    while _handlers:
        number, handler = _handlers.popitem()
        signal.signal(number, handler)
    arrived = {number for process, number in _arrived if process == os.getpid()}
    _arrived.clear()
    for number in arrived:
        signal.raise_signal(number)


def _hold(number: int, _: FrameType | None) -> None:
    _arrived.append((os.getpid(), number))
