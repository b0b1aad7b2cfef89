"""PyTorch as an engine: on any of its devices, always there, the truth for the others."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from cpcnn_core.models.building import Network

# On a CPU: as many activations as still fit a core's cache. PyTorch's 1x1 convolutions
# round otherwise with fewer crops.
CPU_CROPS, GPU_CROPS = 8, 256


class TorchEngine:
    """PyTorch, channels last.

    Parameters
    ----------
    network : Network
        Any that `cpcnn_core.models.building` builds; in evaluation mode, its batch norms folded
        by `fold_batch_norms`.
    device : torch.device
    dtype : torch.dtype
        Of weights and activations; sums are float32 in any case.
    batch_size : int, optional
        Default: what suits the device.

    Examples
    --------
    >>> TorchEngine(network, torch.device("cpu"))(crops)  # doctest: +SKIP
    """

    name = "torch"

    def __init__(
        self,
        network: Network,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        batch_size: int | None = None,
    ) -> None:
        self.device = device
        self.dtype = dtype
        self.precision = "float32" if dtype == torch.float32 else "mixed"
        self.network = network.to(device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch takes it
        on_cpu = device.type == "cpu"
        self.batch_size = batch_size or (CPU_CROPS if on_cpu else GPU_CROPS)
        self.threads = _threads_of_one() if on_cpu else ThreadPoolExecutor(1)

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """Return the features of one pass."""
        batch = torch.from_numpy(np.ascontiguousarray(crops)).to(self.device)
        return self.on_device(batch).cpu().numpy()

    def on_device(self, batch: torch.Tensor) -> torch.Tensor:
        """Return the float32 features of a batch on the device, and leave them there."""
        with torch.inference_mode(), _exact_float32(self.device):
            batch = batch.to(self.dtype, memory_format=torch.channels_last)
            result: torch.Tensor = self.network(batch).float()
            return result


def _threads_of_one() -> ThreadPoolExecutor:
    """Start threads in which PyTorch runs every operation on that thread alone."""
    # PyTorch's number heeds OMP_NUM_THREADS, which clusters set.
    count = torch.get_num_threads()
    started = threading.Barrier(count)

    def start(_: int) -> None:
        torch.set_num_threads(1)
        # A thread keeps its number from the first time it is asked for it.
        torch.get_num_threads()
        started.wait()

    threads = ThreadPoolExecutor(count)
    list(threads.map(start, range(count)))
    torch.set_num_threads(count)
    return threads


def _exact_float32(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Keep TensorFloat-32, PyTorch's default for CUDA convolutions, out of the way."""
    if device.type != "cuda":
        return contextlib.nullcontext()
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
