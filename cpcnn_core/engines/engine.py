"""What runs a network: the interface of engines, and the fastest that gives PyTorch's numbers."""

from __future__ import annotations

import copy
import importlib.util
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch

from cpcnn_core.engines.torch_engine import TorchEngine
from cpcnn_core.errors import DependencyError, EngineWarning
from cpcnn_core.models.efficientnet import TappedEfficientNet

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
