"""Crops to features, batch by batch, on any device: the hot loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from cpcnn_core.crops import (
    check_centers,
    check_image,
    check_label_ids,
    check_labels,
    cut_crops,
    touches_border,
    warn_of_boxes_outside,
)
from cpcnn_core.engines import ENGINES, PRECISIONS, TorchEngine, choose_engine, mixed_engine
from cpcnn_core.errors import CancelledError, ChannelError, CropError, DeviceError
from cpcnn_core.fields import Field
from cpcnn_core.models.building import build_network
from cpcnn_core.models.card import ModelCard
from cpcnn_core.models.folding import fold_batch_norms
from cpcnn_core.models.registry import find_model
from cpcnn_core.models.untrained import untrained_efficientnet_b0
from cpcnn_core.models.weights import read_model
from cpcnn_core.tables import Profiles, feature_names

if TYPE_CHECKING:
    from collections.abc import Mapping

Progress = Callable[[int, int], None]
Cancel = Callable[[], bool]


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
        1e-4 at block6a (REFERENCE a). ``mixed``, for GPUs: half precision, features
        within `cpcnn_core.engines.MIXED_TOLERANCE`, which is tried at load.
    batch_size : int, optional
        Crops per pass through the network; bounds the memory. Default: what suits the
        engine.
    engine : str
        ``auto`` (OpenVINO on a CPU where it is installed, else PyTorch), ``torch`` or
        ``openvino``; see `cpcnn_core.engines.choose_engine`.

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
        if precision == "mixed" and engine == "openvino":
            raise DeviceError("mixed precision needs the engine torch; leave one of them out")
        self.card = card
        self.device = _pick_device(device)
        truth = TorchEngine(fold_batch_norms(build_network(card, weights).eval()), self.device)
        size = (len(card.channels), card.crop_px, card.crop_px)
        if precision == "mixed":
            self._engine = mixed_engine(truth, size)
        else:
            self._engine = choose_engine(truth, size, engine)
        self.batch_size = batch_size or self._engine.batch_size

    @property
    def engine(self) -> str:
        """What runs the network: ``torch`` or ``openvino``."""
        return self._engine.name

    @property
    def precision(self) -> str:
        """``float32``, or ``mixed`` where that was asked for and can be had."""
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
        return self._engine.on_device(crops)

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
        size = (len(self.card.channels), self.card.crop_px, self.card.crop_px)
        if crops.ndim != 4 or crops.shape[1:] != size:
            raise CropError(
                f"{self.card.name} takes crops of shape {('n', *size)}, got {crops.shape}; "
                "cut them with crop_cells".replace("'", "")
            )
        features = np.empty((len(crops), self.card.embed_dim), np.float32)
        for start in range(0, len(crops), self.batch_size):
            batch = slice(start, start + self.batch_size)
            features[batch] = self._embed_batch(crops[batch])
        return features

    def _embed_batch(self, crops: np.ndarray) -> np.ndarray:
        # Written so that NaN fails too.
        if len(crops) and not (crops.min() >= 0 and crops.max() <= 1):
            raise CropError(
                f"{self.card.name} takes crops with values from 0 to 1 "
                f"({self.card.normalizer}), got {crops.min()} to {crops.max()}; "
                "cut them with crop_cells"
            )
        return self._engine(crops)


def load_model(
    name_or_path: str | Path,
    device: str = "auto",
    precision: str = "auto",
    engine: str = "auto",
) -> Embedder:
    """Load a model by name or from a model file.

    Parameters
    ----------
    name_or_path : str or Path
        A name of ``cpcnn models list``, or a ``.safetensors`` file with a card.
    device, precision, engine : str
        See `Embedder`.

    Returns
    -------
    Embedder

    Raises
    ------
    ModelNotFoundError
        Unknown name, or a model that is not on this machine yet.
    WeightsError
        A damaged file.
    DeviceError
        A device that this machine does not have.

    Examples
    --------
    >>> load_model("untrained-efficientnet-b0").card.trained
    False
    """
    card, path = find_model(name_or_path)
    if path is None:
        card, weights = untrained_efficientnet_b0()
    else:
        card, weights = read_model(path)
    return Embedder(card, weights, device, precision, engine=engine)


def embed_cells(
    model: Embedder,
    image: np.ndarray,
    centers: np.ndarray,
    *,
    labels: np.ndarray | None = None,
    label_ids: np.ndarray | None = None,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> np.ndarray:
    """Crop and embed the cells of one field, a batch at a time.

    Parameters
    ----------
    model : Embedder
    image : ndarray of shape (c, h, w), any real dtype
        Channels in the card's order.
    centers : ndarray of shape (n, 2), float64, (row, col) in pixels
    labels, label_ids : ndarray, optional
        As in `cpcnn_core.crop_cells`: given, neighbouring cells are masked.
    progress : callable (done, total), optional
        Called after every batch.
    cancel : callable () -> bool, optional
        Asked before every batch; True ends the work with `CancelledError`.

    Returns
    -------
    ndarray of shape (n, embed_dim), float32
        Row i belongs to centre i.

    Raises
    ------
    ChannelError, ImageError
        The image does not fit the model or cannot be used.

    Notes
    -----
    Memory beyond the field itself is that of one batch, whatever the number of cells.

    Examples
    --------
    >>> model = load_model("untrained-efficientnet-b0", device="cpu")
    >>> image = np.random.default_rng(0).random((5, 200, 200))
    >>> embed_cells(model, image, np.array([[100.0, 100.0]])).shape
    (1, 672)
    """
    card = model.card
    image, centers, labels, label_ids = check_cells(card, image, centers, labels, label_ids)
    features = np.empty((len(centers), card.embed_dim), np.float32)
    for batch in _batches(len(centers), model.batch_size):
        if cancel is not None and cancel():
            raise CancelledError("cancelled")
        ids = None if label_ids is None else label_ids[batch]
        crops = cut_crops(image, centers[batch], card.crop_px, labels, ids, card.normalizer)
        features[batch] = model.embed(crops)
        if progress is not None:
            progress(min(batch.stop, len(centers)), len(centers))
    return features


def check_cells(
    card: ModelCard,
    image: np.ndarray,
    centers: np.ndarray,
    labels: np.ndarray | None,
    label_ids: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Return image, centres, labels and label ids ready to be cut, or say what is wrong.

    Parameters and errors are those of `embed_cells`.

    Examples
    --------
    >>> card = ModelCard("tiny", "", ("DNA",), 3)
    >>> check_cells(card, np.zeros((2, 9, 9)), np.ones((1, 2)), None, None)
    Traceback (most recent call last):
    cpcnn_core.errors.ChannelError: tiny takes 1 channels (DNA), got 2; give one...
    """
    image = check_image(image)
    if len(image) != len(card.channels):
        raise ChannelError(
            f"{card.name} takes {len(card.channels)} channels ({', '.join(card.channels)}), "
            f"got {len(image)}; give one image per channel, in this order"
        )
    centers = check_centers(centers)
    if labels is not None:
        labels = check_labels(labels, image.shape[1:])
        label_ids = check_label_ids(label_ids, labels, centers)
    warn_of_boxes_outside(centers, image.shape[1:], card.crop_px)
    return image, centers, labels, label_ids


def embed_field(
    model: Embedder,
    field: Field,
    *,
    compartment: str = "Cells",
    mask_neighbors: bool = False,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> Profiles:
    """Embed every object of a field, channels chosen by name.

    Parameters
    ----------
    model : Embedder
    field : Field
    compartment : str
        First part of the feature names; see `cpcnn_core.tables.feature_names`.
    mask_neighbors : bool
        Set everything outside the object's own label to zero; needs labels.
    progress, cancel
        As in `embed_cells`.

    Returns
    -------
    Profiles
        One row per object, in the order of the field. Metadata: that of the
        field, object number, centre (x, y), whether the crop touches the border,
        and the model's name.

    Examples
    --------
    >>> model = load_model("untrained-efficientnet-b0", device="cpu")
    >>> site = Field(np.zeros((5, 90, 90)), model.card.channels, [[45.0, 40.0]])
    >>> embed_field(model, site).to_frame().shape
    (1, 677)
    """
    import pandas as pd

    card = model.card
    if mask_neighbors and field.labels is None:
        raise CropError("masking neighbouring cells needs the field's label image; it has none")
    features = embed_cells(
        model,
        field.planes(card.channels),
        field.centers,
        labels=field.labels if mask_neighbors else None,
        label_ids=field.object_numbers if mask_neighbors else None,
        progress=progress,
        cancel=cancel,
    )
    metadata = {f"Metadata_{key}": value for key, value in field.metadata.items()}
    metadata |= {
        "Metadata_ObjectNumber": field.object_numbers,
        "Metadata_Location_Center_X": field.centers[:, 1],
        "Metadata_Location_Center_Y": field.centers[:, 0],
        "Metadata_CropTouchesBorder": touches_border(
            field.centers, field.image.shape[1:], card.crop_px
        ),
        "Metadata_Model": card.name,
    }
    index = pd.RangeIndex(len(features))
    names = feature_names(card.embed_dim, compartment=compartment)
    return Profiles(features, pd.DataFrame(metadata, index=index), names)


def _batches(total: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, total, size))


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
