"""The interface that every engine offers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np


class Engine(Protocol):
    """Runs a network on crops (n, c, h, w), float32, and gives features (n, d), float32.

    Attributes
    ----------
    name, precision : str
    batch_size : int
        The most crops of one pass.
    threads : ThreadPoolExecutor
        Where passes run, as many at a time as it has threads. On a CPU every pass stays
        on its thread from the cutting of the crops to the features: faster than threads
        that share every layer, and the bits do not depend on the number of threads.
    """

    name: str
    precision: str
    batch_size: int
    threads: ThreadPoolExecutor

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """Return the features of one pass, on the thread that calls."""
