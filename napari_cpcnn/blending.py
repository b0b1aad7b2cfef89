"""Channels of a crop, each in its colour, added up to one picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cpcnn_core.errors import ImageError

# The colour (red, green, blue; 0 to 1) and the values that are black and fully bright.
Channel = tuple[tuple[float, float, float], tuple[float, float]]

GREY = (1.0, 1.0, 1.0)
# napari's own order for several channels, then what is left.
COLOURS = (
    (0.0, 1.0, 1.0), (1.0, 1.0, 0.0), (1.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0),
    (0.0, 0.0, 1.0),
)  # fmt: skip


def blend(crop: np.ndarray, channels: Sequence[Channel]) -> np.ndarray:
    """Make a picture of a crop as napari does with additive blending.

    Parameters
    ----------
    crop : ndarray of shape (c, h, w)
        Raw pixel values; what is NaN is black.
    channels : sequence of c tuples (colour, (low, high))
        ``colour`` is (red, green, blue), each from 0 to 1; ``low`` and below is black,
        ``high`` and above has the full colour.

    Returns
    -------
    ndarray of shape (h, w, 3), uint8

    Raises
    ------
    ImageError
        Another number of channels than colours.

    Examples
    --------
    >>> crop = np.array([[[0, 50, 100]], [[7, 7, 9]]])
    >>> blend(crop, [((1, 0, 0), (0, 100)), ((0, 1, 1), (7, 9))])[0].tolist()
    [[0, 0, 0], [128, 0, 0], [255, 255, 255]]
    """
    crop = np.asarray(crop)
    if crop.ndim != 3 or len(crop) != len(channels):
        raise ImageError(
            f"expected a crop of shape (c, h, w) with {len(channels)} channels, as there are "
            f"colours, got {crop.shape}"
        )
    picture = np.zeros((*crop.shape[1:], 3), np.float32)
    for values, (colour, (low, high)) in zip(crop, channels, strict=True):
        span = (high - low) or 1
        bright = np.clip((np.nan_to_num(values.astype(np.float32), nan=low) - low) / span, 0, 1)
        picture += bright[..., None] * np.asarray(colour, np.float32)
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)


def own_channels(crop: np.ndarray, channels: Sequence[Channel] = ()) -> list[Channel]:
    """Stretch every channel by the crop's own minimum and maximum.

    Parameters
    ----------
    crop : ndarray of shape (c, h, w)
    channels : sequence of c tuples (colour, (low, high))
        Their colours are kept. With another number of them the colours are `COLOURS`, or
        grey for one channel.

    Returns
    -------
    list of c tuples (colour, (low, high))

    Examples
    --------
    >>> own_channels(np.array([[[3, 5, 4]]]))
    [((1.0, 1.0, 1.0), (3.0, 5.0))]
    """
    colours = [colour for colour, _ in channels]
    if len(colours) != len(crop):
        colours = (
            [GREY] if len(crop) == 1 else [COLOURS[n % len(COLOURS)] for n in range(len(crop))]
        )
    limits = []
    for values in np.asarray(crop, np.float32):
        finite = values[np.isfinite(values)]
        limits.append((float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0))
    return list(zip(colours, limits, strict=True))
