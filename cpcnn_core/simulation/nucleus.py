"""Drawing of a nucleus: chromatin in DNA, nucleoli in RNA."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cpcnn_core.simulation.outlines import Outline
from cpcnn_core.simulation.pixels import Pixels
from cpcnn_core.simulation.population import Cell
from cpcnn_core.simulation.textures import Form, Textures, blend

# Chromatin left in nucleoli; width of the nucleus's slope towards its outline.
IN_NUCLEOLI, SLOPE_UM = 0.75, 1.3
# Of Gaussian chromatin towards bright grains, and its standard deviation with it.
SKEW = 0.25
SKEWED_SD = math.sqrt(1 + 2 * SKEW**2)
CHROMATIN_FORMS: dict[str, Form] = {
    "chromatin_spots": "spots",
    "chromatin_filaments": "filaments",
}
MICRONUCLEUS_UM, MICRONUCLEUS_DNA = (0.8, 1.8), 0.7
# DNA dye on RNA in the cytoplasm.
IN_CYTOPLASM = 0.016


def nucleoli(
    cell: Cell, pixels: Pixels, nuclei: Sequence[Outline], pixel_size: float
) -> np.ndarray:
    """Return how much each pixel belongs to a nucleolus.

    Parameters
    ----------
    cell : Cell
    pixels : Pixels
    nuclei : sequence of Outline
    pixel_size : float
        Micrometres per pixel.

    Returns
    -------
    ndarray of shape (n,), float32, range [0, 1]
        0 outside nuclei, and in a dividing cell, whose nucleoli are dissolved.

    Examples
    --------
    >>> from cpcnn_core.simulation.population import grow_cells
    >>> cell = grow_cells((1,), (300, 300), 0.6, 9.0, {})[0]
    >>> place = np.zeros(3, int)
    >>> pixels = Pixels(place, place, np.float32([9, 9, 9]), np.float32([-5, 1, 20]))
    >>> from cpcnn_core.simulation.outlines import nucleus_outlines
    >>> nuclei = nucleus_outlines(cell, 0.6)
    >>> nucleoli(cell, pixels, nuclei, 0.6)[1:]
    array([0., 0.], dtype=float32)
    """
    belongs = np.zeros(len(pixels.rows), np.float32)
    if cell.state != "interphase":
        return belongs
    random = cell.random("nucleoli")
    number = max(1, random.poisson(cell.values["nucleoli_number"]))
    inner = np.flatnonzero(pixels.nucleus < -SLOPE_UM)
    for _ in range(number):
        outline = nuclei[random.randint(len(nuclei))]
        direction, reach = random.uniform(0, 2 * math.pi), 0.75 * math.sqrt(random.uniform())
        radius = outline.radii[int(direction / (2 * math.pi) * len(outline.radii))]
        row = outline.row + reach * radius * math.sin(direction)
        col = outline.col + reach * radius * math.cos(direction)
        size = math.sqrt(cell.values["nucleoli_area"] / math.pi) * random.uniform(0.6, 1.3)
        stretch, turn = random.uniform(1.0, 1.5), random.uniform(0, math.pi)
        down, right = pixels.rows[inner] - row, pixels.cols[inner] - col
        along = (down * math.sin(turn) + right * math.cos(turn)) / stretch
        across = (down * math.cos(turn) - right * math.sin(turn)) * stretch
        far = np.hypot(along, across) * pixel_size / size
        belongs[inner] = np.maximum(belongs[inner], np.clip((1.35 - far) / 0.7, 0, 1))
    return belongs


def dna(
    cell: Cell,
    pixels: Pixels,
    nuclei: Sequence[Outline],
    in_nucleoli: np.ndarray,
    textures: Textures,
    pixel_size: float,
) -> np.ndarray:
    """Return the DNA of every pixel of a cell, in counts.

    Parameters
    ----------
    cell : Cell
    pixels : Pixels
    nuclei : sequence of Outline
    in_nucleoli : ndarray of shape (n,)
        See `nucleoli`.
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
    >>> from cpcnn_core.simulation.outlines import nucleus_outlines
    >>> nuclei = nucleus_outlines(cell, 0.6)
    >>> light = dna(cell, pixels, nuclei, np.zeros(3), textures, 0.6)
    >>> bool(light[0] > 10 * light[2] > 0)  # in the nucleus, far out
    True
    """
    values = cell.values
    # Of doubled DNA a part makes the nucleus larger, the rest makes it brighter.
    light = values["dna_intensity"] * cell.content**0.3
    inside = np.clip(0.3 - pixels.nucleus / SLOPE_UM, 0, 1)
    grains = textures.at(pixels.rows, pixels.cols, values["chromatin_grain"])
    # Dense chromatin stands out from an even ground.
    grains = grains + SKEW * (grains**2 - 1)
    for name, form in CHROMATIN_FORMS.items():
        if degree := values[name]:
            other = textures.at(pixels.rows, pixels.cols, values["chromatin_grain"], form)
            grains = blend(grains, SKEWED_SD * other, degree)
    density = np.clip(1 + values["chromatin_contrast"] * grains, 0.2, None)
    density = density * (1 - (1 - IN_NUCLEOLI) * in_nucleoli)
    drawn = light * np.maximum(inside * density, IN_CYTOPLASM)
    result: np.ndarray = np.maximum(drawn, light * _micronuclei(cell, pixels, nuclei, pixel_size))
    return result


def _micronuclei(
    cell: Cell, pixels: Pixels, nuclei: Sequence[Outline], pixel_size: float
) -> np.ndarray:
    random = cell.random("micronuclei")
    drawn = np.zeros(len(pixels.rows), np.float32)
    for _ in range(random.poisson(cell.values["micronuclei"])):
        outline = nuclei[random.randint(len(nuclei))]
        direction, size = random.uniform(0, 2 * math.pi), random.uniform(*MICRONUCLEUS_UM)
        apart = (size + random.uniform(0.3, 3.0)) / pixel_size
        reach = apart + outline.radii[int(direction / (2 * math.pi) * len(outline.radii))]
        down = pixels.rows - (outline.row + reach * math.sin(direction))
        right = pixels.cols - (outline.col + reach * math.cos(direction))
        far = np.hypot(down, right) * pixel_size / size
        drawn = np.maximum(drawn, MICRONUCLEUS_DNA * np.clip((1.2 - far) / 0.4, 0, 1))
    return drawn
