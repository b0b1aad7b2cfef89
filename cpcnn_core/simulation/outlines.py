"""Outlines of cells and nuclei, closed curves around a centre, and who owns which pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from cpcnn_core.simulation.population import Cell

STEPS = 512
_ANGLES = np.arange(STEPS) * (2 * math.pi / STEPS)
BLEB_UM = (1.5, 3.0)
# How far the sides between corners are drawn in without protrusions, relative; below 0: they bulge.
HOLLOW = (-0.3, 0.15)
WAVES, ROUNDING = 0.025, 7.0


@dataclass(frozen=True)
class Outline:
    """A closed curve around a centre that meets every ray from it once.

    Attributes
    ----------
    row, col : float
        Centre in pixels.
    radii : ndarray of shape (STEPS,), float32
        Distance of the curve from the centre, in pixels, by the ray's angle against the
        columns' axis.
    """

    row: float
    col: float
    radii: np.ndarray

    def polar(self, rows: np.ndarray, cols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return for places the distance from the centre, and the curve's on their rays."""
        down, right = rows - self.row, cols - self.col
        step = np.arctan2(down, right) * np.float32(STEPS / (2 * math.pi))
        return np.hypot(down, right), self.radii[step.astype(np.int32) % STEPS]

    def box(self, shape: tuple[int, int], seam: float = 1.0) -> tuple[slice, slice]:
        """Return the part of an image that the curve, made wider by ``seam``, may touch."""
        reach = seam * float(self.radii.max()) + 4
        rows, cols = (
            slice(max(0, int(center - reach)), max(0, min(side, int(center + reach) + 1)))
            for center, side in zip((self.row, self.col), shape, strict=True)
        )
        return rows, cols


def cell_outline(cell: Cell, pixel_size: float) -> Outline:
    """Draw the outline that a cell has when it is alone.

    Parameters
    ----------
    cell : Cell
    pixel_size : float
        Micrometres per pixel.

    Returns
    -------
    Outline
        Corners about on an ellipse, some of them drawn out to protrusions, with sides that
        are mostly hollow, or an ellipse for a cell that has rounded up; and blebs. Without
        blebs its area is the cell's ``cell_area``.

    Examples
    --------
    >>> from cpcnn_core.simulation.population import grow_cells
    >>> cell = grow_cells((1,), (300, 300), 0.5, 9.0, {"blebs": -9.0})[0]
    >>> area = 0.5 * (cell_outline(cell, 0.5).radii ** 2).sum() * 2 * math.pi / STEPS
    >>> round(float(area * 0.5**2 / cell.values["cell_area"]), 3)
    1.0
    """
    random = cell.random("outline")
    if cell.state == "interphase":
        radii = _spread_out(cell, random)
    else:
        radii = _ellipse(_ANGLES - cell.angle, cell.values["cell_elongation"])
    radii = radii * (1 + _waves(random, WAVES, range(3, 12)))
    radii = _of_area(radii, cell.values["cell_area"] / pixel_size**2)
    return Outline(cell.row, cell.col, _with_blebs(cell, radii, pixel_size))


def nucleus_outlines(cell: Cell, pixel_size: float) -> list[Outline]:
    """Draw the outlines of a cell's nuclei, or of its chromosomes when it divides.

    Returns
    -------
    list of Outline
        Together they have the cell's ``nucleus_area``, more when its DNA is doubled.

    Examples
    --------
    >>> from cpcnn_core.simulation.population import grow_cells
    >>> cell = grow_cells((1,), (300, 300), 0.5, 9.0, {})[0]
    >>> len(nucleus_outlines(cell, 0.5)) == cell.nuclei
    True
    """
    random = cell.random("nuclei")
    values = cell.values
    area = values["nucleus_area"] * cell.content**0.5 / pixel_size**2 / cell.nuclei
    elongation = max(1.0, values["nucleus_elongation"])
    angle = cell.angle + 0.25 * random.standard_normal()
    waves = values["nucleus_irregularity"]
    if cell.state == "dividing":
        # Chromosomes in the middle of the cell, seen from the side.
        elongation, waves, angle = 2.6, 0.07, cell.angle + math.pi / 2
    elif cell.nuclei > 1:
        elongation = 1 + 0.5 * (elongation - 1)
    radius = math.sqrt(area / math.pi)
    down, right = _arrangement(cell, radius, random)
    made = []
    for index in range(cell.nuclei):
        radii = _ellipse(_ANGLES - angle, elongation) * (1 + _waves(random, waves, range(2, 8)))
        center = cell.row + down[index], cell.col + right[index]
        made.append(Outline(*center, _of_area(radii, area).astype(np.float32)))
    return made


def _spread_out(cell: Cell, random: np.random.RandomState) -> np.ndarray:
    """Return the radii of a cell that holds on to the ground with its corners."""
    number = random.randint(5, 8)
    corners = (np.arange(number) + random.uniform(-0.35, 0.35, number)) * (2 * math.pi / number)
    far = _ellipse(corners, cell.values["cell_elongation"])
    height = cell.values["protrusions"]
    # A few corners reach far out, most do not.
    far = far * (1 + height * 0.7 * random.exponential(1.0, number) ** 1.5)
    hollow = random.uniform(*HOLLOW, number) + 0.5 * height / (1 + height)
    radii = _polygon(corners, far, hollow)
    return _turned(_rounded(radii), cell.angle + random.uniform(-0.2, 0.2))


def _ellipse(angles: np.ndarray, elongation: float) -> np.ndarray:
    result: np.ndarray = 1 / np.sqrt(
        np.cos(angles) ** 2 / elongation + np.sin(angles) ** 2 * elongation
    )
    return result


def _polygon(corners: np.ndarray, far: np.ndarray, hollow: np.ndarray) -> np.ndarray:
    """Return the radii of sides between corners, which rise by less than pi."""
    angles = corners[0] + _ANGLES
    after = np.searchsorted(corners, angles, side="right") - 1
    ends = np.append(corners, corners[0] + 2 * math.pi)
    wide, into = ends[after + 1] - ends[after], angles - ends[after]
    next_far = np.append(far, far[0])[after + 1]
    # A straight line in polar coordinates.
    line = np.sin(wide) / (np.sin(wide - into) / far[after] + np.sin(into) / next_far)
    radii = line * (1 - hollow[after] * np.sin(math.pi * into / wide))
    return _turned(radii, corners[0])


def _turned(radii: np.ndarray, angle: float) -> np.ndarray:
    result: np.ndarray = np.interp(_ANGLES - angle, _ANGLES, radii, period=2 * math.pi)
    return result


def _rounded(radii: np.ndarray) -> np.ndarray:
    """Round the corners off."""
    reach = int(3 * ROUNDING)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / ROUNDING) ** 2)
    around = np.concatenate([radii[-reach:], radii, radii[:reach]])
    return np.convolve(around, kernel / kernel.sum(), "valid")


def _waves(random: np.random.RandomState, size: float, orders: range) -> np.ndarray:
    """Return a smooth curve around the circle of about this standard deviation."""
    numbers = np.array(orders)[:, None]
    phases = random.uniform(0, 2 * math.pi, (len(orders), 1))
    weights = np.sqrt(2.0 / numbers / (1 / numbers).sum())
    result: np.ndarray = size * (weights * np.cos(numbers * _ANGLES + phases)).sum(axis=0)
    return result


def _of_area(radii: np.ndarray, area: float) -> np.ndarray:
    radii = np.maximum(radii, 0.2)
    return radii * math.sqrt(area / (0.5 * (radii**2).sum() * 2 * math.pi / STEPS))


def _with_blebs(cell: Cell, radii: np.ndarray, pixel_size: float) -> np.ndarray:
    random = cell.random("blebs")
    for _ in range(random.poisson(cell.values["blebs"])):
        step, size = random.randint(STEPS), random.uniform(*BLEB_UM) / pixel_size
        # A half circle of that radius, seen from the centre.
        across = (_ANGLES - _ANGLES[step] + math.pi) % (2 * math.pi) - math.pi
        height = size**2 - (across * radii[step]) ** 2
        radii = radii + 1.5 * np.sqrt(np.maximum(height, 0))
    return radii.astype(np.float32)


def _arrangement(
    cell: Cell, radius: float, random: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of nuclei around the cell's centre: touching, beside each other."""
    offset = cell.values["nucleus_offset"] * radius * random.standard_normal()
    toward = cell.angle + 0.3 * random.standard_normal()
    turn: np.ndarray = toward + 2 * math.pi * np.arange(cell.nuclei) / cell.nuclei
    apart = 0.0 if cell.nuclei == 1 else radius * 0.98 / math.sin(math.pi / cell.nuclei)
    if cell.state == "dividing":
        apart = 0.0 if cell.nuclei == 1 else 1.5 * radius
        turn = cell.angle + math.pi * np.arange(cell.nuclei)
    down = apart * np.sin(turn) + offset * math.sin(toward)
    right = apart * np.cos(turn) + offset * math.cos(toward)
    return down, right


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
