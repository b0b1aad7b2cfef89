"""One picture of the measured cells: crops in order, and a map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cpcnn_core.demo.summary import Cells
from cpcnn_core.imaging.crops import touches_border

ROWS, COLUMNS = 6, 8
# Okabe and Ito's colours, which colour-blind people can tell apart.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")


def cell_map(features: np.ndarray) -> np.ndarray:
    """Place cells on a plane: principal components of their directions.

    Parameters
    ----------
    features : ndarray of shape (n, d), float

    Returns
    -------
    ndarray of shape (n, 2), float64
        Profiles are compared by cosine, so every cell is scaled to length one
        first; then every feature is standardised. A constant one counts for nothing.

    Examples
    --------
    >>> cells = np.array([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0]])
    >>> first, same, other = cell_map(cells)[:, 0].round(6).tolist()
    >>> first == same, first == other
    (True, False)
    """
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    directions = features / np.where(lengths > 0, lengths, 1)
    centred = directions - directions.mean(axis=0)
    spread = centred.std(axis=0)
    left, scales, _ = np.linalg.svd(centred / np.where(spread > 0, spread, 1), full_matrices=False)
    result: np.ndarray = left[:, :2] * scales[:2]
    return result


def draw_cells(cells: Cells, images: Sequence[Path], crop_px: int, out: str | Path) -> Path:
    """Draw a montage of crops, ordered along the map's first axis, beside the map.

    Parameters
    ----------
    cells : Cells
    images : sequence of Path
        One RGB image per field, in the order of the fields.
    crop_px : int
        Side of the crops in pixels.
    out : str or Path
        PNG file to write.

    Returns
    -------
    Path

    Examples
    --------
    >>> draw_cells(cells, images, 128, "cells.png")  # doctest: +SKIP
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 5.2), layout="constrained", facecolor="white")
    crops_side, map_side = figure.subplots(1, 2, width_ratios=(4, 3))
    where = cell_map(cells.features)
    chosen = _spread_along(where[:, 0], _whole_crops(cells, images, crop_px))
    crops_side.imshow(_montage(cells, images, crop_px, chosen))
    crops_side.set_axis_off()
    crops_side.set_title(
        f"{len(chosen)} of {len(cells.features)} cells, {crop_px} px crops, "
        "left to right, top to bottom along the map's first axis",
        fontsize=11,
    )
    for field, color in zip(np.unique(cells.field), COLORS * len(images), strict=False):
        of_field = cells.field == field
        map_side.scatter(
            *where[of_field].T, s=14, alpha=0.6, lw=0, color=color, label=f"field {field}"
        )
    map_side.scatter(*where[chosen].T, s=30, fc="none", ec="black", lw=0.7, label="in the montage")
    map_side.set(xlabel="first principal component", ylabel="second principal component")
    map_side.set_title(
        f"Map of the cells: {cells.features.shape[1]} features of an untrained network", fontsize=11
    )
    map_side.spines[["top", "right"]].set_visible(False)
    map_side.legend(frameon=False, fontsize=9)
    figure.savefig(out, dpi=110)
    return Path(out)


def _whole_crops(cells: Cells, images: Sequence[Path], crop_px: int) -> np.ndarray:
    from matplotlib.image import imread

    shape = imread(images[0]).shape[:2]
    return np.flatnonzero(~touches_border(cells.centers, shape, crop_px))


def _spread_along(axis: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Choose cells at even steps from one end of the axis to the other."""
    ordered = candidates[np.argsort(axis[candidates])]
    steps = np.linspace(0, len(ordered) - 1, min(ROWS * COLUMNS, len(ordered)))
    result: np.ndarray = ordered[steps.round().astype(int)]
    return result


def _montage(cells: Cells, images: Sequence[Path], crop_px: int, chosen: np.ndarray) -> np.ndarray:
    from matplotlib.image import imread

    fields = {field: imread(path) for field, path in enumerate(images, start=1)}
    gap = 4
    step = crop_px + gap
    sheet = np.full((ROWS * step - gap, COLUMNS * step - gap, 3), 255, np.uint8)
    for place, cell in enumerate(chosen):
        top, left = (place // COLUMNS) * step, (place % COLUMNS) * step
        row, col = (cells.centers[cell] - crop_px / 2).round().astype(int)
        crop = fields[cells.field[cell]][row : row + crop_px, col : col + crop_px, :3]
        # Dim microscopy images are shown as bright as they go.
        bright = crop.astype(float) / max(np.percentile(crop, 99.8), 1)
        sheet[top : top + crop_px, left : left + crop_px] = (255 * bright.clip(0, 1)).astype(
            np.uint8
        )
    return sheet
