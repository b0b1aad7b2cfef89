"""Micrometres per pixel: from the scale of the images to that of a model.

A crop has a fixed width in pixels. If a model was trained at another scale than that of the
images, the same width covers more or less of the cell, so the field is resampled first.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Protocol

import numpy as np

from cpcnn_core.errors import ImageError
from cpcnn_core.imaging.crops import check_centers, touches_border

# Crops are stretched by up to a percent anyway (docs/method.md#crops),
# and pixel sizes are often written down with two digits: nothing to blur an image for.
SAME_SCALE = 0.01
# From the finest objective in use to the coarsest; beyond that, the unit was mistaken.
MAX_ZOOM = 20


class Scaled(Protocol):
    """Anything with a name and a scale, such as a `cpcnn_core.ModelCard`."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def um_per_px(self) -> float | None:
        """Micrometres per pixel, where known."""


def check_um_per_px(value: float) -> float:
    """Return micrometres per pixel as a float, or say why they cannot be used.

    Raises
    ------
    ImageError
        Not a number, not positive, or not finite.

    Examples
    --------
    >>> check_um_per_px(0.325)
    0.325
    >>> check_um_per_px(0)
    Traceback (most recent call last):
    cpcnn_core.errors.ImageError: expected micrometres per pixel as a positive number, got 0; ...
    """
    number = isinstance(value, Real) and not isinstance(value, bool | np.bool_)
    # Written so that NaN fails too.
    if not number or not 0 < value < math.inf:
        raise ImageError(
            f"expected micrometres per pixel as a positive number, got {value!r}; leave it out "
            "if it is unknown"
        )
    return float(value)


def zoom_of(card_um_per_px: float | None, image_um_per_px: float | None) -> float:
    """Say by how much images are enlarged to have the model's scale.

    Parameters
    ----------
    card_um_per_px, image_um_per_px : float or None
        Micrometres per pixel of the model's training images and of those at hand.

    Returns
    -------
    float
        Below 1 they are shrunk; exactly 1 where one is not known, or where they differ by
        less than a percent.

    Raises
    ------
    ImageError
        No positive numbers, or scales that are impossibly far apart.

    Examples
    --------
    >>> zoom_of(0.65, 0.325), zoom_of(0.65, 0.656), zoom_of(None, 0.325)
    (0.5, 1.0, 1.0)
    """
    known = [check_um_per_px(v) for v in (card_um_per_px, image_um_per_px) if v is not None]
    if len(known) < 2:
        return 1.0
    card, image = known
    zoom = image / card
    if abs(zoom - 1) < SAME_SCALE:
        return 1.0
    if not 1 / MAX_ZOOM <= zoom <= MAX_ZOOM:
        raise ImageError(
            f"expected images within a factor of {MAX_ZOOM} of the model's {card:g} µm per "
            f"pixel, got {image:g}; give it in micrometres (0.325, not 325)"
        )
    return zoom


def zoom_field(
    image: np.ndarray, centers: np.ndarray, labels: np.ndarray | None, zoom: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Resample a field together with its centres and labels.

    Parameters
    ----------
    image : ndarray of shape (c, h, w), float32
    centers : ndarray of shape (n, 2), float64, (row, col) in pixels
        Pixel centre convention: the middle of the first pixel is 0.
    labels : ndarray of shape (h, w), integer, or None
    zoom : float
        See `zoom_of`.

    Returns
    -------
    image : ndarray of shape (c, round(h * zoom), round(w * zoom)), float32
        Bilinear samples, of the image smoothed by a Gaussian when it is shrunk (scikit-image's
        ``resize``); never beyond the values of the image.
    centers : ndarray of shape (n, 2), float64
        See `zoom_centers`.
    labels : ndarray of the image's height and width, or None
        The label of the nearest pixel, dtype kept.

    Examples
    --------
    >>> image = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    >>> small, centers, _ = zoom_field(image, np.array([[1.5, 0.5]]), None, 0.5)
    >>> small.shape, centers.tolist()
    ((1, 2, 2), [[0.5, 0.0]])
    """
    from skimage.transform import resize

    shape = image.shape[1:]
    height, width = new = zoomed_shape(shape, zoom)
    # Plane by plane: scikit-image would interpolate between channels too, for the same result.
    zoomed = np.empty((len(image), height, width), np.float32)
    # Neither a Gaussian nor a bilinear sample leaves the range, so there is nothing to clip.
    how = {"order": 1, "mode": "edge", "anti_aliasing": zoom < 1, "clip": False}
    for plane, out in zip(image, zoomed, strict=True):
        out[...] = resize(plane, new, preserve_range=True, **how)
    if labels is not None:
        rows, cols = (_nearest(old, length) for old, length in zip(shape, new, strict=True))
        labels = labels[rows[:, None], cols]
    return zoomed, zoom_centers(centers, shape, zoom), labels


def zoomed_shape(shape: tuple[int, ...], zoom: float) -> tuple[int, int]:
    """Return height and width of a field after `zoom_field`, at least a pixel.

    Examples
    --------
    >>> zoomed_shape((1080, 1081), 0.5)
    (540, 540)
    """
    height, width = (max(1, round(length * zoom)) for length in shape)
    return height, width


def zoom_centers(centers: np.ndarray, shape: tuple[int, ...], zoom: float) -> np.ndarray:
    """Say where positions of a field lie after `zoom_field`.

    Parameters
    ----------
    centers : ndarray of shape (n, 2), float64, (row, col) in pixels
    shape : (height, width) of the field before, in pixels
    zoom : float

    Returns
    -------
    ndarray of shape (n, 2), float64
        ``(center + 0.5) * new / old - 0.5``: the field's edges stay its edges.

    Examples
    --------
    >>> zoom_centers(np.array([[-0.5, 99.5]]), (100, 100), 2.0).tolist()
    [[-0.5, 199.5]]
    """
    return (centers + 0.5) * np.divide(zoomed_shape(shape, zoom), shape) - 0.5


def touches_border_at(
    centers: np.ndarray, shape: tuple[int, int], crop_px: int, zoom: float
) -> np.ndarray:
    """Tell which crops reach over the border of an image that is resampled first.

    Parameters
    ----------
    centers : ndarray of shape (n, 2), float64, (row, col) in pixels
    shape : (height, width) of the image in pixels
        As the centres, before it is resampled.
    crop_px : int
        Side of the box in pixels of the resampled image.
    zoom : float
        See `zoom_of`; for 1 this is `cpcnn_core.touches_border`.

    Returns
    -------
    ndarray of shape (n,), bool

    Examples
    --------
    >>> center = np.array([[100.0, 100.0]])
    >>> [touches_border_at(center, (200, 200), 128, zoom).item() for zoom in (0.5, 1, 2)]
    [True, False, False]
    """
    if zoom == 1:
        return touches_border(centers, shape, crop_px)
    centers = zoom_centers(check_centers(centers), shape, zoom)
    return touches_border(centers, zoomed_shape(shape, zoom), crop_px)


def scale_notice(card: Scaled, image_um_per_px: float | None) -> str:
    """Say that images are resampled for a model, and by how much.

    Parameters
    ----------
    card : ModelCard
    image_um_per_px : float or None

    Returns
    -------
    str
        Empty where they are not resampled.

    Raises
    ------
    ImageError
        As `zoom_of`.

    Examples
    --------
    >>> from types import SimpleNamespace as Card
    >>> scale_notice(Card(name="tiny", um_per_px=0.65), 0.325)
    'tiny was trained at 0.65 µm per pixel, the images have 0.325: they are resampled by 0.5 ...'
    """
    zoom = zoom_of(card.um_per_px, image_um_per_px)
    if zoom == 1:
        return ""
    return (
        f"{card.name} was trained at {card.um_per_px:g} µm per pixel, the images have "
        f"{image_um_per_px:g}: they are resampled by {zoom:.4g} before cells are cut"
    )


def _nearest(old: int, new: int) -> np.ndarray:
    """Return for every new pixel the old one in which its middle lies, in exact integers."""
    return (2 * np.arange(new) + 1) * old // (2 * new)
