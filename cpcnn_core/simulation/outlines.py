"""Outlines of cells and nuclei: closed curves around a centre."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

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
