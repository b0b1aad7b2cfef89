"""Who owns which pixel: cells that touch, and their nuclei."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from cpcnn_core.simulation.outlines import Outline

# A nucleus owns its pixels and a seam of cytoplasm around, whichever cell reaches across it.
SEAM = 1.25


def own_pixels(
    cells: Sequence[Outline],
    nuclei: Sequence[Sequence[Outline]],
    bends: tuple[np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Say which cell, and which cell's nuclei, every pixel belongs to.

    Parameters
    ----------
    cells : sequence of Outline
    nuclei : sequence of sequence of Outline
        Those of each cell.
    bends : two ndarrays of shape (h, w), float32
        Rows and columns of the pixels, bent a little: outlines of cells follow them.

    Returns
    -------
    labels, nucleus_labels : ndarray of shape (h, w), int32
        0 where there is none, else the cell's place in `cells` plus 1. Where outlines
        overlap, a pixel belongs to the cell in which it is less far out.

    Examples
    --------
    >>> from cpcnn_core.simulation.outlines import STEPS
    >>> circle = [Outline(5, col, np.full(STEPS, 4, np.float32)) for col in (4, 10)]
    >>> small = [[Outline(5, col, np.full(STEPS, 2, np.float32))] for col in (4, 10)]
    >>> rows, cols = np.mgrid[:10, :14].astype(np.float32)
    >>> own_pixels(circle, small, (rows, cols))[0][5]
    array([0, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2], dtype=int32)
    """
    shape = bends[0].shape
    places = np.indices(shape, np.float32)
    rows, cols = places[0], places[1]
    best = np.ones(shape, np.float32)
    labels = np.zeros(shape, np.int32)
    nucleus_labels = np.zeros(shape, np.int32)
    for number, (outline, inner) in enumerate(zip(cells, nuclei, strict=True), start=1):
        box = outline.box(shape)
        distance, radius = outline.polar(bends[0][box], bends[1][box])
        _claim(best[box], distance / radius, 1.0, labels[box], number)
        for nucleus in inner:
            box = nucleus.box(shape, SEAM)
            distance, radius = nucleus.polar(rows[box], cols[box])
            # Below zero, so that no cell's far end is nearer than another's nucleus.
            far = distance / (SEAM * radius) - 1
            mine = _claim(best[box], far, 0.0, labels[box], number)
            nucleus_labels[box][mine] = np.where((distance < radius)[mine], number, 0)
    nucleus_labels[nucleus_labels != labels] = 0
    return _without_islands(labels, nucleus_labels, len(cells)), nucleus_labels


def _claim(
    best: np.ndarray, far: np.ndarray, limit: float, labels: np.ndarray, number: int
) -> np.ndarray:
    """Take the pixels that are nearer to this curve's centre than to any before, and say which."""
    mine: np.ndarray = far < np.minimum(best, limit)
    best[mine] = far[mine]
    labels[mine] = number
    return mine


def _without_islands(labels: np.ndarray, nuclei: np.ndarray, number: int) -> np.ndarray:
    """Take from every cell what a neighbour has cut off from its nuclei."""
    kept = labels.copy()
    for value, box in enumerate(ndimage.find_objects(labels, number), start=1):
        if box is None:
            continue
        parts, count = ndimage.label(labels[box] == value)
        if count < 2:
            continue
        sizes = np.bincount(parts[parts > 0])
        anchored = np.unique(parts[nuclei[box] == value])
        stays = anchored if len(anchored) else [sizes.argmax()]
        kept[box][(parts > 0) & ~np.isin(parts, stays)] = 0
    return kept
