"""LiteRT (once TensorFlow Lite) as an engine: on CPUs, in float32, by Google's XNNPACK."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter

from cpcnn_core.engines.litert_model import litert_model
from cpcnn_core.engines.torch_engine import TorchEngine

# Enough that a pass is worth its overhead, few enough to stay in a core's cache.
CROPS = 4


class LiteRTEngine:
    """A network made from PyTorch's, one interpreter for every thread.

    Parameters
    ----------
    truth : TorchEngine
        On the CPU, in float32.
    crop_shape : (channels, height, width)
    batch_size : int, optional
        Default: what fits a core's cache.

    Examples
    --------
    >>> LiteRTEngine(torch_engine, (5, 128, 128))(crops)  # doctest: +SKIP
    """

    name = "litert"
    precision = "float32"

    def __init__(
        self, truth: TorchEngine, crop_shape: tuple[int, int, int], batch_size: int | None = None
    ) -> None:
        self.batch_size = batch_size or CROPS
        count = torch.get_num_threads()
        self.threads = ThreadPoolExecutor(count)
        model = litert_model(truth.network, self.batch_size, crop_shape)
        self._free: SimpleQueue[Interpreter] = SimpleQueue()
        with _without_greeting():
            for _ in range(count):
                interpreter = Interpreter(model_content=model, num_threads=1)
                interpreter.allocate_tensors()
                self._free.put(interpreter)
        self._input = interpreter.get_input_details()[0]["index"]
        self._output = interpreter.get_output_details()[0]["index"]

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """Return the features of one pass."""
        count = len(crops)
        if count < self.batch_size:
            # What is filled up changes nothing in the features of the others.
            crops = np.concatenate([crops, np.zeros_like(crops, shape=self._missing(crops))])
        interpreter = self._free.get()
        try:
            interpreter.set_tensor(self._input, crops)
            interpreter.invoke()
            result: np.ndarray = interpreter.get_tensor(self._output)[:count]
            return result
        finally:
            self._free.put(interpreter)

    def _missing(self, crops: np.ndarray) -> tuple[int, ...]:
        return (self.batch_size - len(crops), *crops.shape[1:])


@contextlib.contextmanager
def _without_greeting() -> Iterator[None]:
    """Keep LiteRT from telling stderr that it has started; errors come as exceptions."""
    sys.stderr.flush()
    stderr = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
