"""Where the samples of a crop fall in the image, and their values (docs/method.md#crops)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np


class Axis(NamedTuple):
    """Where the samples of each crop fall along one image axis, each (n, crop_px).

    Attributes
    ----------
    low, high : ndarray of intp
        The pixels on both sides of a sample.
    weight : ndarray of float32
        How far the sample lies from `low` towards `high`, in pixels.
    inside : ndarray of bool
        Whether the sample lies in the image; elsewhere the crop is zero.
    """

    low: np.ndarray
    high: np.ndarray
    weight: np.ndarray
    inside: np.ndarray

    def of_crop(self, number: int) -> Axis:
        """Return the same for one crop, each (crop_px,).

        Examples
        --------
        >>> sample_axis(np.array([50.0]), size=100, crop_px=4).of_crop(0).high.tolist()
        [48, 49, 51, 52]
        """
        return Axis(*(values[number] for values in self))


def sample_axis(centers: np.ndarray, size: int, crop_px: int) -> Axis:
    """Say where the samples of every crop fall along one axis (docs/method.md#crops).

    Parameters
    ----------
    centers : ndarray of shape (n,), float64, in pixels
    size : int
        Of the image along this axis, in pixels.
    crop_px : int

    Returns
    -------
    Axis

    Examples
    --------
    >>> axis = sample_axis(np.array([50.0]), size=100, crop_px=4)
    >>> axis.low.tolist(), axis.inside.all()
    ([[47, 48, 50, 51]], np.True_)
    """
    # Corners in float64, everything after in float32 and in this order: so the
    # positions are TensorFlow's to the bit.
    half = crop_px / 2
    start = ((centers - half).astype(np.float32) / np.float32(size))[:, None]
    end = ((centers + half).astype(np.float32) / np.float32(size))[:, None]
    last = np.float32(size - 1)
    step = (end - start) * last / np.float32(crop_px - 1)
    position = start * last + np.arange(crop_px, dtype=np.float32) * step
    inside = (position >= 0) & (position <= last)
    position = np.where(inside, position, np.float32(0))
    low = np.floor(position)
    return Axis(low.astype(np.intp), np.ceil(position).astype(np.intp), position - low, inside)


def resample(image: np.ndarray, rows: Axis, cols: Axis, crop: np.ndarray) -> None:
    """Fill one crop with the image's bilinear samples; zero outside the image.

    Parameters
    ----------
    image : ndarray of shape (c, h, w), float32
    rows, cols : Axis
        Of one crop, see `Axis.of_crop`.
    crop : ndarray of shape (c, crop_px, crop_px), float32
        Written to.

    Examples
    --------
    >>> rows = sample_axis(np.array([2.0]), size=4, crop_px=3).of_crop(0)
    >>> crop = np.empty((1, 3, 3), np.float32)
    >>> resample(np.arange(16, dtype=np.float32).reshape(1, 4, 4), rows, rows, crop)
    >>> crop[0].tolist()
    [[1.875, 3.0, 4.125], [6.375, 7.5, 8.625], [10.875, 12.0, 13.125]]
    """
    into_rows, into_cols = np.flatnonzero(rows.inside), np.flatnonzero(cols.inside)
    if len(into_rows) < len(rows.inside) or len(into_cols) < len(cols.inside):
        crop[...] = 0
    if not (into_rows.size and into_cols.size):
        return
    y, x = slice(into_rows[0], into_rows[-1] + 1), slice(into_cols[0], into_cols[-1] + 1)
    top, first = rows.low[y.start], cols.low[x.start]
    part = image[:, top : rows.high[y.stop - 1] + 1, first : cols.high[x.stop - 1] + 1]
    upper_rows, lower_rows, down = rows.low[y] - top, rows.high[y] - top, rows.weight[y][:, None]
    runs = list(_runs(cols.low[x] - first, cols.high[x] - first))
    # Along the columns first, once for every image row the crop needs, then along the
    # rows: the reference's order, with each product computed once. Plane by plane, since
    # all that a plane needs fits into a core's cache.
    shape = (part.shape[1], x.stop - x.start)
    left, across = np.empty(shape, np.float32), np.empty(shape, np.float32)
    for plane, samples in zip(part, crop[:, y, x], strict=True):
        for place, low, high in runs:
            width = place.stop - place.start
            left[:, place] = plane[:, low : low + width]
            across[:, place] = plane[:, high : high + width]
        across -= left
        across *= cols.weight[x]
        across += left
        upper, lower = across.take(upper_rows, axis=0), across.take(lower_rows, axis=0)
        lower -= upper
        lower *= down
        np.add(lower, upper, out=samples)


def _runs(low: np.ndarray, high: np.ndarray) -> Iterator[tuple[slice, int, int]]:
    """Split samples into runs in which both neighbours advance by one pixel a sample.

    Samples lie about a pixel apart, so there are few runs, and copying each is much
    faster than gathering sample by sample.
    """
    breaks = np.flatnonzero((np.diff(low) != 1) | (np.diff(high) != 1)) + 1
    edges = [0, *breaks.tolist(), len(low)]
    for start, stop in pairwise(edges):
        yield slice(start, stop), int(low[start]), int(high[start])
