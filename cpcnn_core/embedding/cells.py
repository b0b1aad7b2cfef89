"""The cells of a field to features: cut, embedded, and put into a table."""

from __future__ import annotations

import warnings
from typing import cast

import numpy as np

from cpcnn_core.embedding.embedder import Cancel, Embedder, Passes, Progress
from cpcnn_core.errors import ChannelError, CropError, ScaleWarning
from cpcnn_core.imaging.crops import (
    check_centers,
    check_image,
    check_label_ids,
    check_labels,
    cut_crops,
    warn_of_boxes_outside,
)
from cpcnn_core.imaging.field import Field
from cpcnn_core.imaging.normalization import normalize_field
from cpcnn_core.imaging.scale import scale_notice, touches_border_at, zoom_field, zoom_of
from cpcnn_core.models.card import ModelCard
from cpcnn_core.schema.cells import cell_columns
from cpcnn_core.schema.columns import (
    feature_names,
    metadata_column,
)
from cpcnn_core.schema.profiles import Profiles


def embed_cells(
    model: Embedder,
    image: np.ndarray,
    centers: np.ndarray,
    *,
    labels: np.ndarray | None = None,
    label_ids: np.ndarray | None = None,
    um_per_px: float | None = None,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> np.ndarray:
    """Crop and embed the cells of one field, pass by pass.

    Parameters
    ----------
    model : Embedder
    image : ndarray of shape (c, h, w), any real dtype
        Channels in the card's order.
    centers : ndarray of shape (n, 2), float64, (row, col) in pixels
    labels, label_ids : ndarray, optional
        As in `cpcnn_core.crop_cells`: given, neighbouring cells are masked.
    um_per_px : float, optional
        Micrometres per pixel of the image. Where the card has another scale, the field is
        resampled to it before cells are cut; see `cpcnn_core.imaging.scale.zoom_field`.
    progress : callable (done, total), optional
        Called after every pass.
    cancel : callable () -> bool, optional
        Asked before every pass; True ends the work with `CancelledError`.

    Returns
    -------
    ndarray of shape (n, embed_dim), float32
        Row i belongs to centre i.

    Raises
    ------
    ChannelError, ImageError
        The image does not fit the model or cannot be used.

    Warns
    -----
    ScaleWarning
        The field is resampled; says from which scale to which.
    CropWarning
        A box lies completely outside the image; its crop is all zero.

    Notes
    -----
    Memory beyond the field, its copy at the model's scale and its features is that of the
    crops of one pass for every thread, whatever the number of cells.

    Examples
    --------
    >>> from cpcnn_core.embedding.embedder import load_model
    >>> model = load_model("untrained-efficientnet-b0", device="cpu")
    >>> image = np.random.default_rng(0).random((5, 200, 200))
    >>> embed_cells(model, image, np.array([[100.0, 100.0]])).shape
    (1, 672)
    """
    passes = start_cells(model, image, centers, labels, label_ids, um_per_px)
    return passes.wait(progress, cancel)


def start_cells(
    model: Embedder,
    image: np.ndarray,
    centers: np.ndarray,
    labels: np.ndarray | None,
    label_ids: np.ndarray | None,
    um_per_px: float | None = None,
) -> Passes:
    """Start what `embed_cells` waits for; parameters and errors are the same.

    Examples
    --------
    >>> from cpcnn_core.embedding.embedder import load_model
    >>> model = load_model("untrained-efficientnet-b0", device="cpu")
    >>> start_cells(model, np.eye(99)[[0] * 5, None], [[0, 50]], None, None).wait().shape
    (1, 672)
    """
    card = model.card
    given = (image, centers, labels, label_ids, um_per_px)
    image, centers, labels, label_ids = check_cells(card, *given)

    def cut(part: slice, crops: np.ndarray) -> None:
        ids = None if label_ids is None else label_ids[part]
        cut_crops(image, centers[part], card.crop_px, labels, ids, card.normalizer, out=crops)

    return model.start(len(centers), cut)


def check_cells(
    card: ModelCard,
    image: np.ndarray,
    centers: np.ndarray,
    labels: np.ndarray | None,
    label_ids: np.ndarray | None,
    um_per_px: float | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Return image, centres, labels and label ids ready to be cut, or say what is wrong.

    All at the card's scale. Parameters, errors and warnings are those of `embed_cells`.

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
        # On the labels as they were found: which cell it is does not depend on the scale.
        label_ids = check_label_ids(label_ids, labels, centers)
    zoom = zoom_of(card.um_per_px, um_per_px)
    if zoom != 1:
        warnings.warn(scale_notice(card, um_per_px), ScaleWarning, stacklevel=3)
        image, centers, labels = zoom_field(image, centers, labels, zoom)
    # At the model's scale, as its makers normalised their fields.
    image = normalize_field(image, card.normalizer)
    if labels is not None:
        # Once for all passes: they are interpolated like pixels.
        labels = labels.astype(np.float32)
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
        First part of the feature names; see `cpcnn_core.schema.columns.feature_names`.
    mask_neighbors : bool
        Set everything outside the object's own label to zero; needs labels.
    progress, cancel
        As in `embed_cells`.

    Returns
    -------
    Profiles
        One row per object, in the order of the field. Metadata: that of the
        field, object number, centre (x, y) in the field's own pixels, whether the crop
        touches the border, and the model's name.

    Examples
    --------
    >>> from cpcnn_core.embedding.embedder import load_model
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
        um_per_px=field.um_per_px,
        progress=progress,
        cancel=cancel,
    )
    metadata = {metadata_column(key): value for key, value in field.metadata.items()}
    touches = touches_border_at(
        field.centers,
        field.image.shape[1:],
        card.crop_px,
        zoom_of(card.um_per_px, field.um_per_px),
    )
    numbers, centers_xy = cast("np.ndarray", field.object_numbers), field.centers[:, ::-1]
    columns = cell_columns(metadata, numbers, centers_xy, touches, model=card.name)
    index = pd.RangeIndex(len(features))
    names = feature_names(card.embed_dim, card.prefix, compartment)
    return Profiles(features, pd.DataFrame(columns, index=index), names)
