"""A network with its card, and the passes of crops through it, on any device."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from cpcnn_core.engines.engine import ENGINES, PRECISIONS, choose_engine, mixed_engine
from cpcnn_core.engines.torch_engine import TorchEngine, fold_batch_norms
from cpcnn_core.errors import CancelledError, CropError, DeviceError
from cpcnn_core.models.card import ModelCard
from cpcnn_core.models.licences import check_licence
from cpcnn_core.models.network_builder import build_network
from cpcnn_core.models.opening import open_model
from cpcnn_core.models.registry import find_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cpcnn_core.engines.engine import Engine

Progress = Callable[[int, int], None]
Cancel = Callable[[], bool]
Cut = Callable[[slice, np.ndarray], object]


class Embedder:
    """A network with its card: crops in, features out.

    Parameters
    ----------
    card : ModelCard
    weights : mapping of str to ndarray, float32
        At least the weights up to the card's tap.
    device : str
        ``auto`` (a CUDA device when there is one, else the CPU) or a torch device.
    precision : str
        ``float32``, which ``auto`` stands for: equal to the reference within
        1e-4 at block6a (docs/method.md#network). ``mixed``, for GPUs: half precision, features
        within `cpcnn_core.engines.engine.MIXED_TOLERANCE`, which is tried at load.
    batch_size : int, optional
        Crops of one pass through the network; bounds the memory. Default: what suits the
        engine.
    engine : str
        ``auto`` (LiteRT on a CPU where it is installed, else PyTorch), ``torch`` or
        ``litert``; see `cpcnn_core.engines.engine.choose_engine`.

    Examples
    --------
    >>> model = load_model("untrained-efficientnet-b0", device="cpu")
    >>> model.card.channels
    ('DNA', 'RNA', 'ER', 'AGP', 'Mito')
    >>> model.embed(np.zeros((3, 5, 128, 128), np.float32)).shape
    (3, 672)
    """

    def __init__(
        self,
        card: ModelCard,
        weights: Mapping[str, np.ndarray],
        device: str = "auto",
        precision: str = "auto",
        batch_size: int | None = None,
        engine: str = "auto",
    ) -> None:
        if engine not in ENGINES:
            raise DeviceError(f"expected an engine of {', '.join(ENGINES)}, got {engine!r}")
        if precision not in PRECISIONS:
            raise DeviceError(f"expected a precision of {', '.join(PRECISIONS)}, got {precision!r}")
        if precision == "mixed" and engine == "litert":
            raise DeviceError("mixed precision needs the engine torch; leave one of them out")
        self.card = card
        self.device = _pick_device(device)
        network = fold_batch_norms(build_network(card, weights).eval())
        reference = TorchEngine(network, self.device, batch_size=batch_size)
        self._size = (len(card.channels), card.crop_px, card.crop_px)
        self._engine: Engine
        if precision == "mixed":
            self._engine = mixed_engine(reference, self._size)
        else:
            self._engine = choose_engine(reference, self._size, engine, batch_size)
        self._buffers = threading.local()

    @property
    def batch_size(self) -> int:
        """The most crops of one pass through the network."""
        return self._engine.batch_size

    @property
    def engine(self) -> str:
        """The engine that runs the network: ``torch`` or ``litert``."""
        return self._engine.name

    @property
    def precision(self) -> str:
        """``mixed`` where that was asked for and is available, else ``float32``."""
        return self._engine.precision

    def embed_on_device(self, crops: torch.Tensor) -> torch.Tensor:
        """Embed crops that PyTorch's engine finds, and leaves, on the model's device.

        Parameters
        ----------
        crops : Tensor of shape (n, c, crop_px, crop_px), float32, range [0, 1]

        Returns
        -------
        Tensor of shape (n, embed_dim), float32

        Examples
        --------
        >>> model = load_model("untrained-efficientnet-b0", device="cpu", engine="torch")
        >>> model.embed_on_device(torch.zeros((2, 5, 128, 128))).shape
        torch.Size([2, 672])
        """
        return cast("TorchEngine", self._engine).on_device(crops)

    def embed(self, crops: np.ndarray) -> np.ndarray:
        """Embed crops.

        Parameters
        ----------
        crops : ndarray of shape (n, c, crop_px, crop_px), float32, range [0, 1]
            What `cpcnn_core.crop_cells` gives, channels in the card's order.

        Returns
        -------
        ndarray of shape (n, embed_dim), float32

        Raises
        ------
        CropError
            Another shape, or values that the card's normaliser cannot have made.

        Examples
        --------
        >>> model = load_model("untrained-efficientnet-b0", device="cpu")
        >>> model.embed(np.zeros((1, 4, 128, 128), np.float32))
        Traceback (most recent call last):
        cpcnn_core.errors.CropError: untrained-efficientnet-b0 takes crops of shape \
(n, 5, 128, 128), got (1, 4, 128, 128); cut them with crop_cells
        """
        crops = np.asarray(crops, np.float32)
        if crops.ndim != 4 or crops.shape[1:] != self._size:
            raise CropError(
                f"{self.card.name} takes crops of shape {('n', *self._size)}, got {crops.shape}; "
                "cut them with crop_cells".replace("'", "")
            )
        # Written so that NaN fails too.
        if len(crops) and not (crops.min() >= 0 and crops.max() <= 1):
            raise CropError(
                f"{self.card.name} takes crops with values from 0 to 1 "
                f"({self.card.normalizer}), got {crops.min()} to {crops.max()}; "
                "cut them with crop_cells"
            )
        return self.start(len(crops), lambda part, out: np.copyto(out, crops[part])).wait()

    def start(self, count: int, cut: Cut) -> Passes:
        """Start to embed cells, pass by pass, on the engine's threads.

        Parameters
        ----------
        count : int
            How many cells.
        cut : callable (slice, ndarray of shape (m, c, crop_px, crop_px), float32)
            Called for every pass, on the thread that runs it: writes the crops of these
            cells into the array.

        Returns
        -------
        Passes

        Examples
        --------
        >>> model = load_model("untrained-efficientnet-b0", device="cpu")
        >>> model.start(3, lambda part, crops: crops.fill(part.start)).wait().shape
        (3, 672)
        """
        features = np.empty((count, self.card.embed_dim), np.float32)
        size = self.batch_size
        parts = [slice(start, min(start + size, count)) for start in range(0, count, size)]
        run = self._engine.threads.submit
        return Passes(features, [run(self._pass, features, cut, part) for part in parts])

    def _pass(self, features: np.ndarray, cut: Cut, part: slice) -> int:
        count: int = part.stop - part.start
        # Kept for every thread: memory that is new for every pass takes as long to get as
        # the crops to cut.
        if not hasattr(self._buffers, "crops"):
            self._buffers.crops = np.empty((self.batch_size, *self._size), np.float32)
        crops = self._buffers.crops[:count]
        cut(part, crops)
        found = self._engine(crops)
        bad = ~np.isfinite(found).all(axis=1)
        if bad.any():
            raise CropError(
                f"{self.card.name} gives features that are NaN or infinite for {bad.sum()} of "
                f"{count} crops; look for pixel values that are far too large"
            )
        features[part] = found
        return count


class Passes:
    """Cells on their way through the network.

    Attributes
    ----------
    features : ndarray of shape (n, embed_dim), float32
        Whole when all passes are done.

    Parameters
    ----------
    passes : list of Future
        One for every pass, in order: the number of cells it embeds.

    Examples
    --------
    >>> Passes(np.zeros((0, 672)), []).wait().shape
    (0, 672)
    """

    def __init__(self, features: np.ndarray, passes: list[Future[int]]) -> None:
        self.features = features
        self._passes = passes

    def done(self) -> bool:
        """Tell whether `wait` would not wait."""
        return all(one.done() for one in self._passes)

    def wait(self, progress: Progress | None = None, cancel: Cancel | None = None) -> np.ndarray:
        """Return the features, (n, embed_dim) float32, when they are whole.

        Parameters
        ----------
        progress, cancel : callable, optional
            See `cpcnn_core.embedding.cells.embed_cells`.

        Raises
        ------
        CancelledError
            `cancel` said so.
        Exception
            Whatever a pass raised.
        """
        done = 0
        try:
            for one in self._passes:
                if cancel is not None and cancel():
                    raise CancelledError("cancelled")
                done += one.result()
                if progress is not None:
                    progress(done, len(self.features))
        finally:
            # After an error or Ctrl-C, those that have not begun are not needed.
            for one in self._passes:
                one.cancel()
        return self.features


def load_model(
    name_or_path: str | Path,
    device: str = "auto",
    precision: str = "auto",
    engine: str = "auto",
    channels: Sequence[str] | None = None,
) -> Embedder:
    """Load a model by name or from a model file.

    Parameters
    ----------
    name_or_path : str or Path
        A name of ``cpcnn models list``, or a ``.safetensors`` file with a card.
    device, precision, engine : str
        See `Embedder`.
    channels : sequence of str, optional
        For a model that takes any channels: those of the images. Default: the card's.

    Returns
    -------
    Embedder

    Raises
    ------
    ModelNotFoundError
        Unknown name, or a model that is not on this machine yet.
    ChannelError
        Other channels than the card's, for a model that takes no others.
    LicenceError
        The licence forbids commercial use and was not accepted yet.
    WeightsError
        A damaged file.
    DeviceError
        A device that this machine does not have.

    Examples
    --------
    >>> load_model("untrained-efficientnet-b0").card.trained
    False
    """
    check_licence(find_model(name_or_path)[0])
    card, weights = open_model(name_or_path)
    if channels is not None:
        card = card.with_channels(tuple(channels))
    return Embedder(card, weights, device, precision, engine=engine)


def _pick_device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DeviceError(
            f"the device {device!r} cannot be used here ({reason}); use 'auto' or 'cpu'"
        ) from error
    return torch.device(device)
