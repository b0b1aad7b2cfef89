"""Drawing of RNA and ER: dense around the nucleus, thinner towards the border."""

from __future__ import annotations

import math

import numpy as np

from cpcnn_core.simulation.pixels import Pixels
from cpcnn_core.simulation.population import Cell
from cpcnn_core.simulation.textures import Textures, blend

# Relative to the cytoplasm beside the nucleus: what is far out, and above or below a nucleus.
RNA_FAR, RNA_NUCLEUS, RNA_SPREAD_UM, RNA_TEXTURE = 0.3, 0.63, 7.5, 0.24
ER_FAR, ER_NUCLEUS = 0.2, 0.49
# Mean and standard deviation of the lines that make a network.
LINES_MEAN, LINES_SD = -0.187, 0.438
VESICLE_UM, SHEET_UM = 0.8, 2.4
# The microscope blurs what is large less: with this contrast sheets look as rich as tubules.
SHEET_EDGE, SHEET_CONTRAST = 3.0, 0.58
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
    end, bend = random.randint(2), 0.6 * random.standard_normal()
    chance = cell.random("polarity").uniform()
    if chance < abs(toward := cell.values["golgi_to_neighbour"]):
        return cell.neighbour + (0.0 if toward > 0 else math.pi) + bend
    if chance < cell.values["golgi_common"]:
        # Cells lie loosely along the field's direction, and this end of theirs points there.
        end = 0
    return cell.angle + math.pi * end + bend


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
    >>> from cpcnn_core.simulation.seeds import stream
    >>> textures = Textures(stream(1), (8, 8), 0.6)
    >>> light = rna(cell, pixels, np.zeros(3), textures)
    >>> bool(light[1] > light[0] > light[2])  # beside the nucleus, in it, far out
    True
    """
    lines = _lines(pixels, textures)
    body = _body(cell, pixels, RNA_SPREAD_UM, RNA_FAR, textures, RNA_TEXTURE, lines)
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
    >>> from cpcnn_core.simulation.seeds import stream
    >>> textures = Textures(stream(1), (8, 8), 0.6)
    >>> light = er(cell, pixels, np.zeros(3), textures)
    >>> bool(light[1] > light[0] > light[2])  # beside the nucleus, in it, far out
    True
    """
    values = cell.values
    lines = _er_lines(cell, pixels, textures)
    body = _body(cell, pixels, values["er_spread"], ER_FAR, textures, values["er_texture"], lines)
    nucleus = ER_NUCLEUS * (1 + 0.12 * in_nucleoli) * _uneven(cell, pixels, textures)
    return values["er_intensity"] * _with_nucleus(cell, pixels, body, nucleus)


def _lines(pixels: Pixels, textures: Textures) -> np.ndarray:
    """Return lines that make a network: where noise changes its sign."""
    noise = textures.at(pixels.rows, pixels.cols, 1.0)
    result: np.ndarray = 1.6 * (np.exp(-np.abs(noise) / 0.6) - 0.5)
    return result


def _er_lines(cell: Cell, pixels: Pixels, textures: Textures) -> np.ndarray:
    """Return the lines of tubules, or what a treatment puts in their place."""
    rows, cols = pixels.rows, pixels.cols
    lines = _lines(pixels, textures)
    if degree := cell.values["er_sheets"]:
        # Bright or dark plates with edges between them.
        plates = SHEET_CONTRAST * np.tanh(SHEET_EDGE * textures.at(rows, cols, SHEET_UM))
        lines = LINES_MEAN + blend(lines - LINES_MEAN, LINES_SD * plates, degree)
    if degree := cell.values["er_vesicles"]:
        vesicles = textures.at(rows, cols, VESICLE_UM, "spots")
        lines = LINES_MEAN + blend(lines - LINES_MEAN, LINES_SD * vesicles, degree)
    return lines


def _body(
    cell: Cell,
    pixels: Pixels,
    spread_um: float,
    far: float,
    textures: Textures,
    contrast: float,
    lines: np.ndarray,
) -> np.ndarray:
    outside = np.maximum(pixels.nucleus, 0)
    near = np.exp(-outside / spread_um)
    side = 1 + SIDE * side_of_golgi(cell, pixels) * near
    rows, cols = pixels.rows, pixels.cols
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
