"""Crops of a store, batch by batch, read ahead by processes of their own."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from cpcnn_core.errors import CPCNNError
from cpcnn_core.training.balancing import cells_per_class, draw_epoch, steps_per_epoch
from cpcnn_core.training.forking import let_signals_through, signals_held

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
    The draws of `cpcnn_core.training.balancing.draw_epoch`, one after the other, cut into
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
    >>> for crops in CropReader(store, workers=2).read(batches):  # doctest: +SKIP
    ...     train(crops)
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
