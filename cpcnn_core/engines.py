"""What runs a network: PyTorch, which always works, or OpenVINO, faster on CPUs."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from cpcnn_core.errors import DependencyError, EngineWarning

if TYPE_CHECKING:
    from cpcnn_core.models.efficientnet import TappedEfficientNet

ENGINES = ("auto", "torch", "openvino")
PRECISIONS = ("auto", "float32", "mixed")
# How much the features of a trial batch may differ: as much as the layer may differ from
# the reference (REFERENCE a), and a part of the largest feature of the crop.
TOLERANCES = {"block6a_activation": 1e-4, "pool5": 5e-4, "ClassProb": 5e-5}
RELATIVE_TOLERANCE = 1e-5
# What mixed precision may do to the features of a crop: to each, as a part of 1 + its
# size, and to the angle by which crops are compared.
MIXED_TOLERANCE = 0.05
MIXED_COSINE = 0.9999
_TRIAL_CROPS = 4
# On a CPU, how many crops a thread takes at a time: its activations still fit its cache.
# PyTorch's 1x1 convolutions round otherwise with fewer, or with another number of threads.
TORCH_CROPS, OPENVINO_CROPS = 8, 4
MOST_CPU_CROPS, GPU_BATCH_SIZE = 256, 256


class Engine(Protocol):
    """Runs a network on a batch: crops (n, c, h, w) float32 in, features (n, d) out."""

    name: str
    precision: str
    batch_size: int

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """Return the features of a batch of crops."""


class TorchEngine:
    """PyTorch, on any of its devices, channels last.

    On a CPU every thread has crops of its own: faster than threads that share every
    layer, and the features are the same bits whatever the number of threads.

    Parameters
    ----------
    network : TappedEfficientNet
        In evaluation mode, its batch norms folded by `fold_batch_norms`.
    device : torch.device
    dtype : torch.dtype
        Of weights and activations; sums are float32 in any case.

    Examples
    --------
    >>> TorchEngine(network, torch.device("cpu"))(crops)  # doctest: +SKIP
    """

    name = "torch"

    def __init__(
        self, network: TappedEfficientNet, device: torch.device, dtype: torch.dtype = torch.float32
    ) -> None:
        self.device = device
        self.dtype = dtype
        self.precision = "float32" if dtype == torch.float32 else "mixed"
        self.network = network.to(device, dtype, memory_format=torch.channels_last)
        self._threads = None
        self.batch_size = GPU_BATCH_SIZE
        if device.type == "cpu":
            count = torch.get_num_threads()
            self._threads = _threads_of_one(count)
            self.batch_size = min(TORCH_CROPS * count, MOST_CPU_CROPS)

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """Return the features of a batch of crops."""
        batch = torch.from_numpy(np.ascontiguousarray(crops)).to(self.device)
        if self._threads is None:
            return self.on_device(batch).cpu().numpy()
        parts = self._threads.map(self.on_device, batch.split(TORCH_CROPS))
        return torch.cat(list(parts)).numpy()

    def on_device(self, batch: torch.Tensor) -> torch.Tensor:
        """Return the features of a batch that lies on the device, left there, float32."""
        with torch.inference_mode(), _exact_float32(self.device):
            batch = batch.to(self.dtype, memory_format=torch.channels_last)
            return self.network(batch).float()


class OpenVINOEngine:
    """OpenVINO on the CPU, in float32, made from the PyTorch network.

    Notes
    -----
    Importing ``openvino`` reports its use to its maker where the package
    ``openvino_telemetry`` is found. Nothing shall leave a user's machine that the
    user has not sent, so that package is kept from being found.

    Examples
    --------
    >>> OpenVINOEngine(torch_engine, (5, 128, 128))(crops)  # doctest: +SKIP
    """

    name = "openvino"
    precision = "float32"

    def __init__(self, truth: TorchEngine, crop_shape: tuple[int, int, int]) -> None:
        # So many that every thread has work, so few that they stay in its cache.
        self.batch_size = min(max(8, OPENVINO_CROPS * torch.get_num_threads()), 32)
        # None stands for a package that cannot be imported.
        sys.modules.setdefault("openvino_telemetry", None)
        import openvino
        from openvino.frontend import FrontEndManager
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

        frontend = FrontEndManager().load_by_framework("pytorch")
        example = torch.zeros((1, *crop_shape))
        with warnings.catch_warnings(), torch.inference_mode():
            # PyTorch announces an end to the tracing that OpenVINO uses.
            warnings.simplefilter("ignore")
            decoder = TorchScriptPythonDecoder(truth.network, example_input=(example,))
            model = frontend.convert(frontend.load(decoder))
        model.reshape([-1, *crop_shape])
        options = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            # PyTorch's number heeds OMP_NUM_THREADS, which clusters set.
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        self._compiled = openvino.Core().compile_model(model, "CPU", options)

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """Return the features of a batch of crops."""
        return self._compiled(np.ascontiguousarray(crops))[0]


def mixed_engine(truth: TorchEngine, crop_shape: tuple[int, int, int]) -> TorchEngine:
    """Return PyTorch with weights and activations in half precision.

    Parameters
    ----------
    truth : TorchEngine
        In float32, on the same device.
    crop_shape : (channels, height, width)

    Returns
    -------
    TorchEngine
        Every feature of the trial crops within ``MIXED_TOLERANCE * (1 + |feature|)`` of
        the truth, every crop's features within the cosine ``MIXED_COSINE``; or `truth`.

    Warns
    -----
    EngineWarning
        This network's features suffer more; `truth` is returned.

    Examples
    --------
    >>> mixed_engine(torch_engine, (5, 128, 128)).dtype  # doctest: +SKIP
    torch.float16
    """
    engine = TorchEngine(copy.deepcopy(truth.network), truth.device, torch.float16)
    crops = _trial(crop_shape)
    expected, found = truth(crops), engine(crops)
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
    return truth


def choose_engine(truth: TorchEngine, crop_shape: tuple[int, int, int], wanted: str) -> Engine:
    """Return the fastest engine that gives PyTorch's numbers.

    Parameters
    ----------
    truth : TorchEngine
    crop_shape : (channels, height, width)
    wanted : str
        ``auto``: OpenVINO where it is installed and the device is a CPU, else
        PyTorch. Or the name of an engine.

    Returns
    -------
    Engine

    Warns
    -----
    EngineWarning
        With ``auto``: OpenVINO is installed and fails, or gives other numbers;
        PyTorch is used.

    Raises
    ------
    DependencyError
        OpenVINO was asked for by name and cannot be used.

    Examples
    --------
    >>> choose_engine(torch_engine, (5, 128, 128), "auto").name  # doctest: +SKIP
    'openvino'
    """
    on_cpu = truth.device.type == "cpu"
    installed = importlib.util.find_spec("openvino") is not None
    if wanted == "torch" or (wanted == "auto" and not (on_cpu and installed)):
        return truth
    if not installed or not on_cpu:
        raise DependencyError(
            "the engine openvino needs a CPU and the package openvino; install it with: "
            "pip install openvino"
        )
    try:
        engine = OpenVINOEngine(truth, crop_shape)
        _compare(engine, truth, crop_shape)
    except Exception as error:
        # Whatever goes wrong in an engine that is only there for speed.
        reason = " ".join(str(error).split()) or type(error).__name__
        if wanted == "openvino":
            raise DependencyError(f"the engine openvino cannot be used: {reason}") from error
        warnings.warn(
            f"OpenVINO cannot be used ({reason}); PyTorch is, more slowly",
            EngineWarning,
            stacklevel=2,
        )
        return truth
    return engine


def _compare(engine: Engine, truth: TorchEngine, crop_shape: tuple[int, int, int]) -> None:
    """Run a trial batch through both, and refuse numbers that differ by more than rounding."""
    crops = _trial(crop_shape)
    expected, found = truth(crops), engine(crops)
    # Rounding grows with the largest features of a crop, also in its small ones.
    largest = np.abs(expected).max(axis=1, keepdims=True)
    allowed = TOLERANCES[truth.network.tap] + RELATIVE_TOLERANCE * largest
    worst = float(np.max(np.abs(found - expected) - allowed))
    if not worst <= 0:
        raise ArithmeticError(f"its features differ from PyTorch's by {worst:.1e} too much")


def _trial(crop_shape: tuple[int, int, int]) -> np.ndarray:
    random = np.random.default_rng(0)
    return random.random((_TRIAL_CROPS, *crop_shape), dtype=np.float32)


def _threads_of_one(count: int) -> ThreadPoolExecutor:
    """Start threads in which PyTorch runs every operation on that thread alone."""
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


def _exact_float32(device: torch.device) -> contextlib.AbstractContextManager:
    """Keep TensorFloat-32, PyTorch's default for CUDA convolutions, out of the way."""
    if device.type != "cuda":
        return contextlib.nullcontext()
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
