"""Drawing of what surrounds the nucleus: RNA and ER, AGP, mitochondria.

RNA and ER are dense around the nucleus and thinner towards the border; AGP is actin fibers,
membrane ruffles, and the Golgi apparatus as points; mitochondria are a haze of the cytoplasm, and
filaments as rows of points.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cpcnn_core.simulation.outlines import Outline
from cpcnn_core.simulation.pixels import Pixels, Points, Textures
from cpcnn_core.simulation.population import Cell

# Relative to the cytoplasm beside the nucleus: what is far out, and above or below a nucleus.
RNA_FAR, RNA_NUCLEUS, RNA_SPREAD_UM, RNA_TEXTURE = 0.3, 0.63, 7.5, 0.24
ER_FAR, ER_NUCLEUS = 0.2, 0.49
# How much thicker one side of the nucleus is, where the Golgi apparatus is.
SIDE = 0.3


def thickness(pixels: Pixels) -> np.ndarray:
    """Return how thick a cell is at its pixels, relative to its middle: thin at its border.

    Returns
    -------
    ndarray of shape (n,), float32, range [0, 1]

    Examples
    --------
    >>> place = np.zeros(2, int)
    >>> thickness(Pixels(place, place, np.float32([0, 99]), np.float32([9, 9]))).round(2)
    array([0.15, 1.  ], dtype=float32)
    """
    return 1 - 0.5 * np.exp(-pixels.border / 1.2) - 0.35 * np.exp(-pixels.border / 4.0)


def above_nucleus(pixels: Pixels, edge_um: float) -> np.ndarray:
    """Return the fraction of each pixel above or below a nucleus with an edge of that width.

    Returns
    -------
    ndarray of shape (n,), float32, range [0, 1]

    Examples
    --------
    >>> place = np.zeros(3, int)
    >>> above_nucleus(Pixels(place, place, np.float32([9] * 3), np.float32([-5, 0, 5])), 0.6)
    array([1. , 0.5, 0. ], dtype=float32)
    """
    return np.clip(0.5 - pixels.nucleus / edge_um, 0, 1)


def side_of_golgi(cell: Cell, pixels: Pixels) -> np.ndarray:
    """Return 1 on the Golgi apparatus's side of the nucleus, -1 on the other, smoothly between.

    Returns
    -------
    ndarray of shape (n,), float32

    Examples
    --------
    >>> from cpcnn_core.simulation.population import grow_cells
    >>> cell = grow_cells((1,), (300, 300), 0.6, 9.0, {})[0]
    >>> place = np.zeros(3, int)
    >>> pixels = Pixels(place, place, np.float32([9, 9, 9]), np.float32([-5, 1, 20]))
    >>> bool(np.all(np.abs(side_of_golgi(cell, pixels)) <= 1))
    True
    """
    return np.cos(pixels.around(cell.row, cell.col) - np.float32(golgi_direction(cell)))


def golgi_direction(cell: Cell) -> float:
    """Return the angle under which the nucleus sees the Golgi apparatus: mostly lengthwise.

    Examples
    --------
    >>> from cpcnn_core.simulation.population import grow_cells
    >>> cell = grow_cells((1,), (300, 300), 0.6, 9.0, {})[0]
    >>> golgi_direction(cell) == golgi_direction(cell)
    True
    """
    random = cell.random("side")
    return cell.angle + math.pi * random.randint(2) + 0.6 * random.standard_normal()


def rna(cell: Cell, pixels: Pixels, in_nucleoli: np.ndarray, textures: Textures) -> np.ndarray:
    """Return the RNA of every pixel of a cell, in counts.

    Parameters
    ----------
    cell : Cell
    pixels : Pixels
    in_nucleoli : ndarray of shape (n,)
        See `cpcnn_core.simulation.nucleus.nucleoli`.
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
    >>> from cpcnn_core.simulation.parameters import stream
    >>> textures = Textures(stream(1), (8, 8), 0.6)
    >>> light = rna(cell, pixels, np.zeros(3), textures)
    >>> bool(light[1] > light[0] > light[2])  # beside the nucleus, in it, far out
    True
    """
    body = _body(cell, pixels, RNA_SPREAD_UM, RNA_FAR, textures, RNA_TEXTURE)
    nucleus = RNA_NUCLEUS + cell.values["nucleoli_intensity"] * in_nucleoli
    nucleus = nucleus * _uneven(cell, pixels, textures)
    return cell.values["rna_intensity"] * _with_nucleus(cell, pixels, body, nucleus)


def er(cell: Cell, pixels: Pixels, in_nucleoli: np.ndarray, textures: Textures) -> np.ndarray:
    """Return the ER of every pixel of a cell, in counts.

    Parameters
    ----------
    cell, pixels, in_nucleoli, textures
        As `rna`.

    Returns
    -------
    ndarray of shape (n,), float32

    Examples
    --------
    >>> from cpcnn_core.simulation.population import grow_cells
    >>> cell = grow_cells((1,), (300, 300), 0.6, 9.0, {})[0]
    >>> place = np.zeros(3, int)
    >>> pixels = Pixels(place, place, np.float32([9, 9, 9]), np.float32([-5, 1, 20]))
    >>> from cpcnn_core.simulation.parameters import stream
    >>> textures = Textures(stream(1), (8, 8), 0.6)
    >>> light = er(cell, pixels, np.zeros(3), textures)
    >>> bool(light[1] > light[0] > light[2])  # beside the nucleus, in it, far out
    True
    """
    values = cell.values
    body = _body(cell, pixels, values["er_spread"], ER_FAR, textures, values["er_texture"])
    nucleus = ER_NUCLEUS * (1 + 0.12 * in_nucleoli) * _uneven(cell, pixels, textures)
    return values["er_intensity"] * _with_nucleus(cell, pixels, body, nucleus)


def _body(
    cell: Cell, pixels: Pixels, spread_um: float, far: float, textures: Textures, contrast: float
) -> np.ndarray:
    outside = np.maximum(pixels.nucleus, 0)
    near = np.exp(-outside / spread_um)
    side = 1 + SIDE * side_of_golgi(cell, pixels) * near
    rows, cols = pixels.rows, pixels.cols
    # Where noise changes its sign there are lines, which make a network.
    lines = 1.6 * (np.exp(-np.abs(textures.at(rows, cols, 1.0)) / 0.6) - 0.5)
    net = lines + 0.5 * textures.at(rows, cols, 2.0)
    clouds = 0.1 * textures.at(rows, cols, 5.0)
    texture = np.clip(1 + contrast * net + clouds, 0.1, None)
    result: np.ndarray = (far + (1 - far) * near) * side * texture * thickness(pixels)
    return result


def _uneven(cell: Cell, pixels: Pixels, textures: Textures) -> np.ndarray:
    """Return what the cytoplasm above and below does to a nucleus's light, about 1."""
    grains = 0.06 * textures.at(pixels.rows, pixels.cols, 0.7)
    clouds = 0.08 * textures.at(pixels.rows, pixels.cols, 2.8)
    return 1 + grains + clouds + 0.1 * side_of_golgi(cell, pixels)


def _with_nucleus(
    cell: Cell, pixels: Pixels, body: np.ndarray, nucleus: np.ndarray | float
) -> np.ndarray:
    if cell.state != "interphase":
        # Its nuclear envelope is gone.
        return body
    # The envelope is about as sharp as the microscope shows it.
    part = above_nucleus(pixels, 0.6)
    result: np.ndarray = body * (1 - part) + nucleus * part
    return result


# Relative to the cytoplasm.
IN_NUCLEUS, NEAR, GOLGI_NEAR_UM = 1.6, 0.35, 6.0
RUFFLE_UM = 0.9
FIBRE_UM, FIBRE_DISTANCE_UM = 0.3, 2.2
GOLGI_PARTS, VESICLES = 90, 14
# The Golgi apparatus is beside the nucleus, along its outline.
GOLGI_GAP_UM, GOLGI_ALONG = 0.5, 1.7


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
    >>> from cpcnn_core.simulation.parameters import stream
    >>> textures = Textures(stream(1), (8, 8), 0.6)
    >>> light = agp(cell, pixels, textures, 0.6)
    >>> light.shape, bool((light > 0).all())
    ((3,), True)
    """
    rows, cols = pixels.rows, pixels.cols
    outside = np.maximum(pixels.nucleus, 0)
    ground = (0.85 + NEAR * np.exp(-outside / GOLGI_NEAR_UM)) * thickness(pixels)
    ground = ground * (1 + 0.06 * textures.at(rows, cols, 0.7) + 0.1 * textures.at(rows, cols, 5.0))
    patches = np.clip(0.7 + textures.at(rows, cols, 2.8), 0, None)
    ruffles = cell.values["ruffles"] * patches * np.exp(-((pixels.border / RUFFLE_UM) ** 2))
    fibres = cell.values["actin_fibres"] * _fibres(cell, pixels, textures, pixel_size)
    part = above_nucleus(pixels, 0.8) * (cell.state == "interphase")
    above = IN_NUCLEUS * (1 + 0.1 * textures.at(rows, cols, 1.4))
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
    across = (bent[0] * math.cos(turn) - bent[1] * math.sin(turn)) * np.float32(pixel_size)
    grid = np.arange(-120.0, 120.0, FIBRE_UM / 2)
    number = int(240 / FIBRE_DISTANCE_UM)
    lines = np.zeros(len(grid))
    np.add.at(lines, random.randint(len(grid), size=number), random.exponential(1.0, number))
    kernel = np.exp(-0.5 * (np.arange(-6, 7) / 2) ** 2)
    lines = np.convolve(lines, kernel, "same").astype(np.float32)
    profile = np.interp(across, grid, lines)
    bright = np.clip(0.4 + textures.at(pixels.rows, pixels.cols, 5.0), 0, None)
    result: np.ndarray = profile * bright
    return result


STEP_UM = 0.3
# Standard deviation of the turn at every step, in radians.
TURN = 0.22
# Counts without mitochondria: above the nucleus and in the cytoplasm.
MITOCHONDRIA_IN_NUCLEUS, CYTOPLASM, MITOCHONDRIA_NEAR_UM = 630.0, 180.0, 5.0
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
    >>> from cpcnn_core.simulation.parameters import stream
    >>> textures = Textures(stream(1), (8, 8), 0.6)
    >>> light = haze(cell, pixels, textures)
    >>> light.shape, bool(light[1] > light[2])  # beside the nucleus, far out
    ((3,), True)
    """
    outside = np.maximum(pixels.nucleus, 0)
    near = np.exp(-outside / MITOCHONDRIA_NEAR_UM)
    body = CYTOPLASM * thickness(pixels) + 0.55 * cell.values["mito_intensity"] * near
    if cell.state != "interphase":
        result: np.ndarray = body + cell.values["mito_intensity"] * 0.6
        return result
    part = above_nucleus(pixels, 0.8)
    clouds = 1 + 0.12 * textures.at(pixels.rows, pixels.cols, 1.4)
    drawn: np.ndarray = (body * (1 - part) + MITOCHONDRIA_IN_NUCLEUS * part) * clouds
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
    around = golgi_direction(cell) + random.vonmises(0.0, 0.5, number)
    out = random.exponential(cell.values["mito_spread"], number) + 0.4
    heading = around + random.choice((-1, 1), number) * np.abs(1.2 * random.standard_normal(number))
    brightness = random.gamma(4.0, 0.25, number)
    turns = TURN * random.standard_normal((number, int(steps.max(initial=1))))
    heading = heading[:, None] + np.cumsum(turns, axis=1)
    rows, cols = _starts(nuclei, which, around, out, pixel_size)
    rows = rows[:, None] + np.cumsum(np.sin(heading), axis=1) * STEP_UM / pixel_size
    cols = cols[:, None] + np.cumsum(np.cos(heading), axis=1) * STEP_UM / pixel_size
    there = np.arange(rows.shape[1]) < steps[:, None]
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
