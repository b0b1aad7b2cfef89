"""A cell's pixels with their places in it; places of points that become light."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from cpcnn_core.simulation.outlines import Outline


@dataclass(frozen=True)
class Pixels:
    """The pixels of one cell.

    Attributes
    ----------
    rows, cols : ndarray of shape (n,), int
    border : ndarray of shape (n,), float32
        Micrometres to the nearest pixel that is not the cell's.
    nucleus : ndarray of shape (n,), float32
        Micrometres to the outline of the nearest nucleus; negative in a nucleus.

    Examples
    --------
    >>> pixels = Pixels(np.array([3]), np.array([4]), np.float32([2.0]), np.float32([-0.5]))
    >>> pixels.inside.tolist(), pixels.around(3, 3).tolist()
    ([True], [0.0])
    """

    rows: np.ndarray
    cols: np.ndarray
    border: np.ndarray
    nucleus: np.ndarray

    @property
    def inside(self) -> np.ndarray:
        """Which pixels are in a nucleus, (n,) bool."""
        return self.nucleus < 0

    def around(self, row: float, col: float) -> np.ndarray:
        """Return the angles under which pixels are seen from a place, (n,) float32."""
        return np.arctan2(
            self.rows - np.float32(row), self.cols - np.float32(col), dtype=np.float32
        )


@dataclass(frozen=True)
class Points:
    """Points of light.

    Attributes
    ----------
    rows, cols : ndarray of shape (n,), float
        In pixels, not whole.
    light : ndarray of shape (n,), float

    Examples
    --------
    >>> points = Points(np.array([0.2, 5.0]), np.array([1.0, 1.0]), np.array([8.0, 9.0]))
    >>> points.within(np.array([[0, 7]]), 7).dimmed(0.5).light
    array([4.])
    """

    rows: np.ndarray
    cols: np.ndarray
    light: np.ndarray

    def within(self, labels: np.ndarray, number: int) -> Points:
        """Return those that are on the pixels of one label."""
        rows, cols = np.rint(self.rows).astype(int), np.rint(self.cols).astype(int)
        height, width = labels.shape
        there = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)
        there[there] = labels[rows[there], cols[there]] == number
        return Points(self.rows[there], self.cols[there], self.light[there])

    def dimmed(self, factor: float) -> Points:
        """Return the same points with this part of their light."""
        return Points(self.rows, self.cols, self.light * factor)


def pixels_of_cells(
    labels: np.ndarray,
    nuclei: Sequence[Sequence[Outline]],
    pixel_size: float,
) -> Iterator[tuple[int, Pixels]]:
    """Yield number and pixels of every cell that has any.

    Parameters
    ----------
    labels : ndarray of shape (h, w), int32
    nuclei : sequence of sequence of Outline
        Those of the cells 1, 2, ...
    pixel_size : float
        Micrometres per pixel.

    Examples
    --------
    >>> from cpcnn_core.simulation.outlines import STEPS
    >>> labels = np.ones((7, 7), np.int32)
    >>> circle = Outline(3, 3, np.full(STEPS, 2, np.float32))
    >>> (number, pixels), = pixels_of_cells(labels, [[circle]], 0.5)
    >>> number, pixels.nucleus.min()
    (1, np.float32(-1.0))
    """
    border = _to_border(labels) * np.float32(pixel_size)
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        rows, cols = np.nonzero(labels[box] == number)
        rows, cols = rows + box[0].start, cols + box[1].start
        far = np.full(len(rows), np.inf, np.float32)
        for outline in nuclei[number - 1]:
            distance, radius = outline.polar(rows.astype(np.float32), cols.astype(np.float32))
            far = np.minimum(far, distance - radius)
        yield number, Pixels(rows, cols, border[rows, cols], far * np.float32(pixel_size))


def splat(points: Sequence[Points], shape: tuple[int, int]) -> np.ndarray:
    """Put points of light on the four pixels around each, by distance.

    Parameters
    ----------
    points : sequence of Points
    shape : (int, int)

    Returns
    -------
    ndarray of that shape, float32
        Holds as much light as the points on it.

    Examples
    --------
    >>> splat([Points(np.array([1.0]), np.array([0.25]), np.array([4.0]))], (3, 2))
    array([[0., 0.],
           [3., 1.],
           [0., 0.]], dtype=float32)
    """
    image = np.zeros(shape[0] * shape[1])
    if points:
        rows, cols, light = (
            np.concatenate([getattr(part, name) for part in points])
            for name in ("rows", "cols", "light")
        )
        top, left = np.floor(rows).astype(int), np.floor(cols).astype(int)
        for down in (0, 1):
            for right in (0, 1):
                row, col = top + down, left + right
                part = light * abs(1 - down - (rows - top)) * abs(1 - right - (cols - left))
                there = (row >= 0) & (row < shape[0]) & (col >= 0) & (col < shape[1])
                flat = row[there] * shape[1] + col[there]
                image += np.bincount(flat, part[there], image.size)
    return image.reshape(shape).astype(np.float32)


def _to_border(labels: np.ndarray) -> np.ndarray:
    """Return for every pixel the distance to the nearest one of another label."""
    inner = np.ones(labels.shape, bool)
    for axis in (0, 1):
        same = np.diff(labels, axis=axis) == 0
        before = (slice(None),) * axis + (slice(None, -1),)
        after = (slice(None),) * axis + (slice(1, None),)
        inner[before] &= same
        inner[after] &= same
    if inner.all():
        return np.full(labels.shape, max(labels.shape), np.float32)
    result: np.ndarray = (ndimage.distance_transform_edt(inner) + 0.5).astype(np.float32)
    return result
