"""Drawing of mitochondria: a haze of the cytoplasm, and filaments as rows of points."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cpcnn_core.simulation.cytoplasm import above_nucleus, golgi_direction, thickness
from cpcnn_core.simulation.outlines import Outline
from cpcnn_core.simulation.pixels import Pixels, Points
from cpcnn_core.simulation.population import Cell
from cpcnn_core.simulation.textures import Textures

STEP_UM = 0.3
# Standard deviation of the turn at every step, in radians.
TURN = 0.22
# Concentration of their directions on one side, of all cells and added in polar ones.
SIDED, MORE_SIDED = 0.5, 1.5
# Of a fragment: 2.1 um.
FRAGMENT_STEPS = 7
# Those that circle begin as far out as others get.
CIRCLING_OUT_UM = 1.5
# Counts without mitochondria: above the nucleus and in the cytoplasm.
NUCLEUS, CYTOPLASM, NEAR_UM = 630.0, 180.0, 5.0
# Light of a filament relative to that of mito_intensity over a square micrometre.
FILAMENT = 0.25
# What is left of it above and below a nucleus.
OVER_NUCLEUS = 0.35


def haze(cell: Cell, pixels: Pixels, textures: Textures) -> np.ndarray:
    """Return the light of every pixel of a cell that comes from no filament, in counts.

    Parameters
    ----------
    cell : Cell
    pixels : Pixels
    textures : Textures

    Returns
    -------
    ndarray of shape (n,), float32

    Examples
    --------
    >>> from cpcnn_core.simulation.population import grow_cells
    >>> cell = grow_cells((1,), (300, 300), 0.6, 9.0, {})[0]
    >>> place = np.zeros(3, int)
    >>> pixels = Pixels(place, place, np.float32([9, 9, 9]), np.float32([-5, 1, 20]))
    >>> from cpcnn_core.simulation.seeds import stream
    >>> textures = Textures(stream(1), (8, 8), 0.6)
    >>> light = haze(cell, pixels, textures)
    >>> light.shape, bool(light[1] > light[2])  # beside the nucleus, far out
    ((3,), True)
    """
    outside = np.maximum(pixels.nucleus, 0)
    near = np.exp(-outside / NEAR_UM)
    body = CYTOPLASM * thickness(pixels) + 0.55 * cell.values["mito_intensity"] * near
    if cell.state != "interphase":
        result: np.ndarray = body + cell.values["mito_intensity"] * 0.6
        return result
    part = above_nucleus(pixels, 0.8)
    clouds = 1 + 0.12 * textures.at(pixels.rows, pixels.cols, 1.4)
    drawn: np.ndarray = (body * (1 - part) + NUCLEUS * part) * clouds
    return drawn


def filaments(cell: Cell, nuclei: Sequence[Outline], pixel_size: float) -> Points:
    """Return mitochondria as rows of points that begin around the nucleus and wander outwards.

    Parameters
    ----------
    cell : Cell
    nuclei : sequence of Outline
    pixel_size : float
        Micrometres per pixel.

    Returns
    -------
    Points
        Their light is in counts times square pixels.

    Examples
    --------
    >>> from cpcnn_core.simulation.population import grow_cells
    >>> cell = grow_cells((1,), (300, 300), 0.6, 9.0, {})[0]
    >>> from cpcnn_core.simulation.outlines import nucleus_outlines
    >>> points = filaments(cell, nucleus_outlines(cell, 0.6), 0.6)
    >>> len(points.rows) == len(points.light) > 1000
    True
    """
    random = cell.random("mitochondria")
    number = random.poisson(cell.values["mito_number"])
    lengths = cell.values["mito_length"] * random.gamma(3.0, 1 / 3.0, number)
    steps = np.maximum(1, np.rint(lengths / STEP_UM)).astype(int)
    which = random.randint(len(nuclei), size=number)
    # More on the side of the Golgi apparatus.
    gathered = SIDED + MORE_SIDED * max(0.0, cell.values["mito_polar"])
    around = golgi_direction(cell) + random.vonmises(0.0, gathered, number)
    out = random.exponential(cell.values["mito_spread"], number) + 0.4
    around = _facing(cell, around)
    sideways = random.choice((-1, 1), number) * np.abs(1.2 * random.standard_normal(number))
    brightness = random.gamma(4.0, 0.25, number)
    turns = TURN * random.standard_normal((number, int(steps.max(initial=1))))
    circling = max(0.0, cell.values["mito_circling"])
    out = out + CIRCLING_OUT_UM * circling
    heading = around + (1 - circling) * sideways + circling * np.sign(sideways) * math.pi / 2
    heading = heading[:, None] + np.cumsum(turns, axis=1)
    rows, cols = _starts(nuclei, which, around, out, pixel_size)
    rows = rows[:, None] + np.cumsum(np.sin(heading), axis=1) * STEP_UM / pixel_size
    cols = cols[:, None] + np.cumsum(np.cos(heading), axis=1) * STEP_UM / pixel_size
    there = np.arange(rows.shape[1]) < steps[:, None]
    together = max(0.0, cell.values["mito_fragments"])
    rows, cols = (_drawn_together(places, steps, together) for places in (rows, cols))
    in_step = FILAMENT * cell.values["mito_intensity"] * STEP_UM / pixel_size**2
    light = np.broadcast_to(in_step * brightness[:, None], rows.shape)
    return Points(rows[there], cols[there], light[there])


def _starts(
    nuclei: Sequence[Outline],
    which: np.ndarray,
    around: np.ndarray,
    out: np.ndarray,
    pixel_size: float,
) -> tuple[np.ndarray, np.ndarray]:
    centers = np.array([(one.row, one.col) for one in nuclei])[which]
    radii = np.stack([one.radii for one in nuclei])
    place = (around / (2 * math.pi) * radii.shape[1]).astype(int) % radii.shape[1]
    reach = radii[which, place] + out / pixel_size
    return centers[:, 0] + reach * np.sin(around), centers[:, 1] + reach * np.cos(around)


def _facing(cell: Cell, around: np.ndarray) -> np.ndarray:
    """Return under which angles the nucleus sees mitochondria, from those of an untreated cell."""
    side = golgi_direction(cell)
    toward = cell.values["mito_to_neighbour"]
    chances = cell.random("facing").uniform(size=len(around))
    turned = cell.neighbour + (0.0 if toward > 0 else math.pi) - side
    turn = np.where(chances < cell.values["mito_opposite"], math.pi, 0.0)
    return around + np.where(chances < abs(toward), turned, turn)


def _drawn_together(places: np.ndarray, steps: np.ndarray, together: float) -> np.ndarray:
    """Move the points of mitochondria, a row for each, towards the middles of their fragments."""
    if not together:
        return places
    last = np.minimum(np.arange(places.shape[1]), steps[:, None] - 1)
    middle = np.minimum(
        last // FRAGMENT_STEPS * FRAGMENT_STEPS + FRAGMENT_STEPS // 2, steps[:, None] - 1
    )
    moved: np.ndarray = places + together * (np.take_along_axis(places, middle, 1) - places)
    return moved
