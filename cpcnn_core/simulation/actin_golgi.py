"""Drawing of AGP: actin fibres, membrane ruffles, and the Golgi apparatus as points."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cpcnn_core.simulation.cytoplasm import above_nucleus, golgi_direction, thickness
from cpcnn_core.simulation.outlines import Outline
from cpcnn_core.simulation.pixels import Pixels, Points
from cpcnn_core.simulation.population import Cell
from cpcnn_core.simulation.textures import Textures

# Relative to the cytoplasm.
NUCLEUS, NEAR, NEAR_UM = 1.6, 0.35, 6.0
RUFFLE_UM = 0.9
FIBRE_UM, FIBRE_DISTANCE_UM = 0.3, 2.2
GOLGI_PARTS, VESICLES = 90, 14
# The Golgi apparatus is beside the nucleus, along its outline.
GOLGI_GAP_UM, GOLGI_ALONG = 0.5, 1.7
GOLGI_STACKS = 8
# Directions of fibres in a mesh, against those that lie along the cell.
MESH_ANGLES = np.arange(-1, 3) * math.pi / 4


def agp(cell: Cell, pixels: Pixels, textures: Textures, pixel_size: float) -> np.ndarray:
    """Return actin and membrane of every pixel of a cell, in counts, without the Golgi apparatus.

    Parameters
    ----------
    cell : Cell
    pixels : Pixels
    textures : Textures
    pixel_size : float
        Micrometres per pixel.

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
    >>> light = agp(cell, pixels, textures, 0.6)
    >>> light.shape, bool((light > 0).all())
    ((3,), True)
    """
    rows, cols = pixels.rows, pixels.cols
    outside = np.maximum(pixels.nucleus, 0)
    ground = (0.85 + NEAR * np.exp(-outside / NEAR_UM)) * thickness(pixels)
    ground = ground * (1 + 0.06 * textures.at(rows, cols, 0.7) + 0.1 * textures.at(rows, cols, 5.0))
    patches = np.clip(0.7 + textures.at(rows, cols, 2.8), 0, None)
    ruffles = cell.values["ruffles"] * patches * np.exp(-((pixels.border / RUFFLE_UM) ** 2))
    fibres = cell.values["actin_fibres"] * _fibres(cell, pixels, textures, pixel_size)
    part = above_nucleus(pixels, 0.8) * (cell.state == "interphase")
    above = NUCLEUS * (1 + 0.1 * textures.at(rows, cols, 1.4))
    body = ground * (1 - part) + above * part
    result: np.ndarray = cell.values["agp_intensity"] * (body + ruffles + fibres * (1 - 0.6 * part))
    return result


def golgi(cell: Cell, nuclei: Sequence[Outline], pixel_size: float) -> Points:
    """Return the parts of the Golgi apparatus and vesicles around it.

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
    >>> len(golgi(cell, nucleus_outlines(cell, 0.6), 0.6).light) == GOLGI_PARTS + VESICLES
    True
    """
    random = cell.random("golgi")
    spread = cell.values["golgi_spread"]
    if cell.state != "interphase":
        spread *= 3
    outline = nuclei[0]
    direction = golgi_direction(cell)
    along = GOLGI_ALONG * spread * random.standard_normal(GOLGI_PARTS)
    out = GOLGI_GAP_UM + 0.7 * spread * random.standard_normal(GOLGI_PARTS)
    along, out = _patterned(cell, along, out, float(outline.radii.mean()) * pixel_size)
    wide = random.exponential(8.0, VESICLES), random.uniform(-math.pi, math.pi, VESICLES)
    radii = outline.radii * pixel_size
    mean = float(radii.mean())
    angles = np.concatenate([direction + along / mean, direction + wide[1]])
    reach = radii[(angles / (2 * math.pi) * len(radii)).astype(int) % len(radii)]
    reach = (reach + np.concatenate([out, wide[0]])) / pixel_size
    light = random.exponential(1.0, GOLGI_PARTS + VESICLES)
    light[GOLGI_PARTS:] *= 0.35
    # A brighter apparatus in fewer places is as bright as a dispersed one in many.
    light *= cell.values["golgi_intensity"] * 1.2 / pixel_size**2
    return Points(outline.row + reach * np.sin(angles), outline.col + reach * np.cos(angles), light)


def _fibres(cell: Cell, pixels: Pixels, textures: Textures, pixel_size: float) -> np.ndarray:
    """Return bundles of fibres: lines roughly along the cell, each bright over some length."""
    random = cell.random("fibres")
    turn = cell.angle + 0.35 * random.standard_normal()
    bent = [
        axis[pixels.rows, pixels.cols] - np.float32(center)
        for axis, center in zip(textures.bent, (cell.row, cell.col), strict=True)
    ]
    grid = np.arange(-120.0, 120.0, FIBRE_UM / 2)
    number = int(240 / FIBRE_DISTANCE_UM)
    places, weights = random.randint(len(grid), size=number), random.exponential(1.0, number)
    kernel = np.exp(-0.5 * (np.arange(-6, 7) / 2) ** 2)
    angles = _fibre_angles(cell, number)
    profile: np.ndarray | float = 0.0
    # As many lines in several directions cover as much, with the same variance.
    for angle in np.unique(angles):
        lines, mine = np.zeros(len(grid)), angles == angle
        np.add.at(lines, places[mine], weights[mine])
        lines = np.convolve(lines, kernel, "same").astype(np.float32)
        down, right = math.cos(turn + angle), math.sin(turn + angle)
        across = (bent[0] * down - bent[1] * right) * np.float32(pixel_size)
        profile = profile + np.interp(across, grid, lines)
    bright = np.clip(0.4 + textures.at(pixels.rows, pixels.cols, 5.0), 0, None)
    result: np.ndarray = profile * bright
    return result


def _fibre_angles(cell: Cell, number: int) -> np.ndarray:
    """Return the direction of every fibre against the cell's, in radians."""
    random = cell.random("fibre angles")
    chances, any_angle = random.uniform(size=number), random.choice(MESH_ANGLES, number)
    crosswise = np.where(chances < cell.values["actin_crosswise"], math.pi / 2, 0.0)
    return np.where(chances < cell.values["actin_mesh"], any_angle, crosswise)


def _patterned(
    cell: Cell, along: np.ndarray, out: np.ndarray, radius_um: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return where the Golgi apparatus's parts are along the nucleus and away from it, in um."""
    random = cell.random("golgi patterns")
    stack = random.randint(GOLGI_STACKS, size=GOLGI_PARTS)
    moves = random.uniform(size=GOLGI_PARTS) < cell.values["golgi_around"]
    anywhere = radius_um * random.uniform(-math.pi, math.pi, GOLGI_PARTS)
    along = np.where(moves, anywhere, along)
    together = max(0.0, cell.values["golgi_stacks"])
    # Each stack is where one of the parts was.
    along, out = (part + together * (part[stack] - part) for part in (along, out))
    return along, out
