"""Crops of a store, batch by batch, read ahead by processes of their own.

Signals wait while processes are forked off: Python runs functions of libraries before and after
a fork, and lets no exception out of them. Ctrl-C in that moment would be lost, and the program
would continue.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from cpcnn_core.errors import CPCNNError

if TYPE_CHECKING:
    from cpcnn_core.crop_store.store import CropStore

# Batches that every process reads ahead.
AHEAD = 4


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
