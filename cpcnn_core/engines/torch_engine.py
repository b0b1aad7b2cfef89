"""PyTorch as an engine: on any of its devices, always there, the truth for the others.

Batch norms are folded into the convolutions before them: the same numbers, sooner.
"""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cpcnn_core.models.efficientnet import TappedEfficientNet

if TYPE_CHECKING:
    from cpcnn_core.models.network_builder import Network

# On a CPU: as many activations as still fit a core's cache. PyTorch's 1x1 convolutions
# round otherwise with fewer crops.
CPU_CROPS, GPU_CROPS = 8, 256


class TorchEngine:
    """PyTorch, channels last.

    Parameters
    ----------
    network : Network
        Any that `cpcnn_core.models.network_builder` builds; in evaluation mode, its batch norms
        folded by `fold_batch_norms`.
    device : torch.device
    dtype : torch.dtype
        Of weights and activations; sums are float32 in any case.
    batch_size : int, optional
        Default: what suits the device.

    Examples
    --------
    >>> engine = TorchEngine(nn.Flatten(), torch.device("cpu"))
    >>> engine(np.zeros((2, 5, 8, 8), np.float32)).shape
    (2, 320)
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


N = TypeVar("N", bound=nn.Module)

# Which convolution each batch norm of timm's blocks follows.
_PAIRS = {
    "ConvBnAct": (("conv", "bn1"),),
    "DepthwiseSeparableConv": (("conv_dw", "bn1"), ("conv_pw", "bn2")),
    "InvertedResidual": (("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3")),
}


def fold_batch_norms(network: N) -> N:
    """Fold every batch norm of a `TappedEfficientNet`, in place; for inference only.

    Parameters
    ----------
    network : Module in evaluation mode, weights loaded
        Other networks than `TappedEfficientNet` stay as they are.

    Returns
    -------
    Module
        The same object. Features differ by rounding only (below 5e-5 for features
        of 25, the test says).

    Examples
    --------
    >>> network = TappedEfficientNet(5, "block6a_activation").to_empty(device="cpu").eval()
    >>> fold_batch_norms(network) is network
    True
    >>> any(isinstance(part, nn.BatchNorm2d) for part in network.modules())
    False
    """
    if not isinstance(network, TappedEfficientNet):
        return network
    net = network.net
    _fold(net, "conv_stem", "bn1")
    for stage in net.blocks:
        for block in stage:
            for conv, norm in _PAIRS[type(block).__name__]:
                _fold(block, conv, norm)
    _fold(net, "conv_head", "bn2")
    return network


def _fold(owner: nn.Module, conv_name: str, norm_name: str) -> None:
    conv, norm = getattr(owner, conv_name), getattr(owner, norm_name)
    # Beyond the tap there is nothing to fold.
    if isinstance(conv, nn.Identity) or isinstance(norm, nn.Identity):
        return
    plain = nn.BatchNorm2d(norm.num_features, eps=norm.eps)
    plain.load_state_dict(norm.state_dict())
    setattr(owner, conv_name, fuse_conv_bn_eval(conv, plain.eval()))
    # timm's batch norm holds the activation that follows it.
    setattr(owner, norm_name, norm.act)
