"""One picture of the measured cells: crops in order, and two maps coloured by what is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cpcnn_core.demo.cell_map import cell_map
from cpcnn_core.demo.likeness import likeness
from cpcnn_core.demo.summary import Cells
from cpcnn_core.imaging.crops import touches_border

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROWS, COLUMNS = 6, 8
# Of the colours: the few smallest and largest values would take most of the range.
PERCENTILES = (2, 98)


def draw_cells(cells: Cells, images: Sequence[Path], crop_px: int, out: str | Path) -> Path:
    """Draw crops, ordered along the map's first axis, and the map twice, coloured by what is known.

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
    >>> draw_cells(cells, images, 48, "cells.png")  # doctest: +SKIP
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 5), layout="constrained", facecolor="white")
    crops_side, *map_sides = figure.subplots(1, 1 + len(cells.known), width_ratios=(13, 10, 10))
    where = cell_map(cells.features)
    chosen = _spread_along(where[:, 0], _whole_crops(cells, images, crop_px))
    crops_side.imshow(_montage(cells, images, crop_px, chosen))
    crops_side.set_axis_off()
    crops_side.set_title(
        f"{len(chosen)} of {len(cells.features)} cells (crops of {crop_px} px), left to right,\n"
        "top to bottom along the map's first axis",
        fontsize=11,
    )
    for side, (name, values) in zip(map_sides, cells.known.items(), strict=True):
        _draw_map(side, where, values, chosen)
        found, shuffled = likeness(cells.features, cells.field, values)
        side.set_title(
            f"The map, coloured by {name};\ntold from similar cells: Spearman {found:.2f} "
            f"(shuffled: {shuffled:.2f})",
            fontsize=11,
        )
    map_sides[0].set_ylabel("second principal component")
    figure.savefig(out, dpi=110)
    return Path(out)


def _draw_map(side: Axes, where: np.ndarray, values: np.ndarray, chosen: np.ndarray) -> None:
    low, high = np.percentile(values, PERCENTILES)
    points = side.scatter(
        where[:, 0], where[:, 1], s=14, lw=0, c=values, cmap="viridis", vmin=low, vmax=high
    )
    side.scatter(where[chosen, 0], where[chosen, 1], s=30, fc="none", ec="black", lw=0.7)
    side.set(xlabel="first principal component", xticks=[], yticks=[])
    side.spines[["top", "right"]].set_visible(False)
    side.figure.colorbar(points, ax=side, fraction=0.05, extend="both")


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
    gap = 2
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
