"""What runs a network: PyTorch, or a faster engine that gives its numbers.

PyTorch runs on any of its devices, is always there, and is the truth for the others. Batch norms
are folded into the convolutions before them: the same numbers, sooner.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cpcnn_core.errors import DependencyError, EngineWarning
from cpcnn_core.models.efficientnet import TappedEfficientNet

if TYPE_CHECKING:
    from cpcnn_core.models.network_builder import Network

ENGINES = ("auto", "torch", "litert")
PRECISIONS = ("auto", "float32", "mixed")
# How far the features of a trial batch may be from those computed in float64: as far as the
# layer may be from the reference (docs/method.md#network), or a few times as far as PyTorch's
# own float32 is, which grows with a network's features.
TOLERANCES = {"block6a_activation": 1e-4, "pool5": 5e-4, "ClassProb": 5e-5}
TIMES_ROUNDING = 10
# What mixed precision may do to the features of a crop: to each, as a fraction of 1 + its
# size, and to the angle by which crops are compared.
MIXED_TOLERANCE = 0.05
MIXED_COSINE = 0.9999
_TRIAL_CROPS = 4
# On a CPU: as many activations as still fit a core's cache. PyTorch's 1x1 convolutions
# round otherwise with fewer crops.
CPU_CROPS, GPU_CROPS = 8, 256
N = TypeVar("N", bound=nn.Module)
# Which convolution each batch norm of timm's blocks follows.
_PAIRS = {
    "ConvBnAct": (("conv", "bn1"),),
    "DepthwiseSeparableConv": (("conv_dw", "bn1"), ("conv_pw", "bn2")),
    "InvertedResidual": (("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3")),
}


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


def choose_engine(
    reference: TorchEngine,
    crop_shape: tuple[int, int, int],
    wanted: str,
    batch_size: int | None = None,
) -> Engine:
    """Return the fastest engine that gives PyTorch's numbers.

    Parameters
    ----------
    reference : TorchEngine
    crop_shape : (channels, height, width)
    wanted : str
        ``auto``: LiteRT for EfficientNet-B0 where it is installed and the device is a CPU,
        else PyTorch. Or the name of an engine.
    batch_size : int, optional
        Crops of one pass. Default: what suits the engine.

    Returns
    -------
    Engine

    Warns
    -----
    EngineWarning
        With ``auto``: LiteRT is installed and fails, or gives other numbers;
        PyTorch is used.

    Raises
    ------
    DependencyError
        LiteRT was asked for by name and cannot be used, or not for this network.

    Examples
    --------
    >>> reference = TorchEngine(torch.nn.Flatten(), torch.device("cpu"))
    >>> choose_engine(reference, (5, 8, 8), "auto").name
    'torch'
    >>> choose_engine(reference, (5, 8, 8), "litert")
    Traceback (most recent call last):
    cpcnn_core.errors.DependencyError: the engine litert runs EfficientNet-B0 only, and this \
model is another network; use the engine torch
    """
    on_cpu = reference.device.type == "cpu"
    installed = importlib.util.find_spec("ai_edge_litert") is not None
    # LiteRT's model is written layer by layer, for one architecture.
    known = isinstance(reference.network, TappedEfficientNet)
    if wanted == "torch" or (wanted == "auto" and not (on_cpu and installed and known)):
        return reference
    if not known:
        raise DependencyError(
            "the engine litert runs EfficientNet-B0 only, and this model is another network; "
            "use the engine torch"
        )
    if not installed or not on_cpu:
        raise DependencyError(
            "the engine litert needs a CPU and the package ai-edge-litert; install it with: "
            "pip install ai-edge-litert"
        )
    try:
        from cpcnn_core.engines.litert_engine import LiteRTEngine

        engine = LiteRTEngine(reference, crop_shape, batch_size)
        _compare(engine, reference, crop_shape)
    except Exception as error:
        # Whatever goes wrong in an engine that is only there for speed.
        reason = " ".join(str(error).split()) or type(error).__name__
        if wanted == "litert":
            raise DependencyError(f"the engine litert cannot be used: {reason}") from error
        warnings.warn(
            f"LiteRT cannot be used ({reason}); PyTorch is, more slowly",
            EngineWarning,
            stacklevel=2,
        )
        return reference
    return engine


def mixed_engine(reference: TorchEngine, crop_shape: tuple[int, int, int]) -> TorchEngine:
    """Return PyTorch with weights and activations in half precision.

    Parameters
    ----------
    reference : TorchEngine
        In float32, on the same device.
    crop_shape : (channels, height, width)

    Returns
    -------
    TorchEngine
        Every feature of the trial crops within ``MIXED_TOLERANCE * (1 + |feature|)`` of
        the truth, every crop's features within the cosine ``MIXED_COSINE``; or `reference`.

    Warns
    -----
    EngineWarning
        This network's features suffer more; `reference` is returned.

    Examples
    --------
    >>> reference = TorchEngine(torch.nn.Flatten(), torch.device("cpu"))
    >>> mixed_engine(reference, (5, 8, 8)).precision
    'mixed'
    """
    network = copy.deepcopy(reference.network)
    engine = TorchEngine(network, reference.device, torch.float16, reference.batch_size)
    crops = _trial(crop_shape)
    expected, found = reference(crops), engine(crops)
    # Half precision ends at 65504; what is beyond fails the comparison below.
    with np.errstate(all="ignore"):
        worst = float(np.max(np.abs(found - expected) / (1 + np.abs(expected))))
        lengths = np.linalg.norm(expected, axis=1) * np.linalg.norm(found, axis=1)
        cosine = float(np.min((expected * found).sum(axis=1) / lengths))
    if worst <= MIXED_TOLERANCE and cosine >= MIXED_COSINE:
        return engine
    warnings.warn(
        f"mixed precision changes this network's features too much (by up to {worst:.1%}, "
        f"cosine {cosine:.6f}); float32 is used",
        EngineWarning,
        stacklevel=2,
    )
    return reference


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


def _compare(engine: Engine, reference: TorchEngine, crop_shape: tuple[int, int, int]) -> None:
    """Run a trial batch, and refuse features that are off by more than rounding."""
    crops, size = _trial(crop_shape), engine.batch_size
    with torch.inference_mode():
        exact = copy.deepcopy(reference.network).double()(torch.from_numpy(crops).double()).numpy()
    found = np.concatenate([engine(crops[i : i + size]) for i in range(0, len(crops), size)])
    rounding = float(np.abs(reference(crops) - exact).max())
    worst = float(np.abs(found - exact).max())
    # Written so that NaN fails too.
    if not worst <= max(TOLERANCES[reference.network.tap], TIMES_ROUNDING * rounding):
        raise ArithmeticError(f"its features are off by {worst:.1e}, PyTorch's by {rounding:.1e}")


def _trial(crop_shape: tuple[int, int, int]) -> np.ndarray:
    """Make crops with structure of two sizes, as cells have."""
    random = np.random.default_rng(0)
    channels, height, width = crop_shape
    crops = np.zeros((_TRIAL_CROPS, *crop_shape), np.float32)
    for grain in (3, 17):
        rows, cols = np.arange(height) // grain, np.arange(width) // grain
        patches = (_TRIAL_CROPS, channels, rows[-1] + 1, cols[-1] + 1)
        crops += random.random(patches, dtype=np.float32)[:, :, rows][..., cols] / 2
    return crops
