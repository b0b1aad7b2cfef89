"""One field of a virtual screen: its image, its labels, and the truth about its cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from cpcnn_core.errors import SiteError
from cpcnn_core.simulation import actin_golgi, cytoplasm, mitochondria, nucleus
from cpcnn_core.simulation.design import ScreenDesign
from cpcnn_core.simulation.layout import find_well
from cpcnn_core.simulation.outlines import Outline, cell_outline, nucleus_outlines, own_pixels
from cpcnn_core.simulation.pixels import Pixels, Points, pixels_of_cells, splat
from cpcnn_core.simulation.population import COLUMNS, Cell, as_table_row, grow_cells
from cpcnn_core.simulation.seeds import stream
from cpcnn_core.simulation.technique import CHANNELS, photograph, technique_of_well
from cpcnn_core.simulation.textures import Textures
from cpcnn_core.simulation.treatments import affected_fraction, effects_of, usual_effects

MITO, AGP = CHANNELS.index("Mito"), CHANNELS.index("AGP")


class SimulatedField(NamedTuple):
    """A field as `simulate_field` returns it."""

    image: np.ndarray
    cell_labels: np.ndarray
    nucleus_labels: np.ndarray
    cells: pd.DataFrame


def simulate_field(
    design: ScreenDesign,
    plate: str,
    well: str,
    site: int,
    *,
    effects: Mapping[str, float] | None = None,
    fraction: float = 1.0,
    technique: Mapping[str, float] | None = None,
) -> SimulatedField:
    """Make one field of a screen, which depends on no other.

    Parameters
    ----------
    design : ScreenDesign
    plate, well : str
        Such as ``S1P1`` and ``A01``.
    site : int
        From 1.
    effects : mapping of str to float, optional
        How far parameters are moved, in spreads between untreated cells. Default: by the
        treatment of the well.
    fraction : float
        Of the cells that these ``effects`` move. The treatment of a well has its own.
    technique : mapping of str to float, optional
        Default: that of the well, `cpcnn_core.simulation.technique.technique_of_well`.

    Returns
    -------
    image : ndarray of shape (5, h, w), uint16
        Channels DNA, RNA, ER, AGP, Mito.
    cell_labels, nucleus_labels : ndarray of shape (h, w), int32
        Cells whose centre is in the field, 1 to n; the nuclei of a cell have its number.
        Cells that only reach into the field are drawn, and are background here.
    cells : pandas.DataFrame
        A row for each: ``number``, ``row`` and ``col`` of the centre in pixels, ``state``
        (interphase, dividing, rounded), ``nuclei``, DNA ``content``, whether the treatment
        ``affected`` it, ``area_px`` and ``nucleus_area_px`` as labelled, and the values of
        all parameters that cells have of their own.

    Raises
    ------
    SiteError
        The design has no such plate, well or site.

    Examples
    --------
    >>> design = ScreenDesign(size=128, cells=3)
    >>> image, labels, nuclei, cells = simulate_field(design, "S1P1", "A01", 1)
    >>> image.shape, image.dtype, labels.max() == len(cells)
    ((5, 128, 128), dtype('uint16'), np.True_)
    """
    place = find_well(design, plate, well)
    if not 1 <= site <= design.sites:
        raise SiteError(f"the design has no site {site}; its sites are 1 to {design.sites}")
    if effects is None:
        effects = effects_of(design, place.treatment, place.dose)
        fraction = affected_fraction(design, place.treatment)
    if technique is None:
        technique = technique_of_well(design, place)
    key = (design.seed, plate, well, site)
    shape, pixel_size = (design.size, design.size), design.pixel_size
    expected = design.cells * technique["density"]
    usual = usual_effects(design)
    cells = grow_cells(key, shape, pixel_size, expected, effects, fraction, usual)
    textures = Textures(stream(*key, "textures"), shape, pixel_size)
    nuclei = [nucleus_outlines(cell, pixel_size) for cell in cells]
    outlines = [cell_outline(cell, pixel_size) for cell in cells]
    labels, nucleus_labels = own_pixels(outlines, nuclei, textures.bent)
    light, floating = _light(cells, nuclei, labels, nucleus_labels, textures, pixel_size)
    image = photograph(light, floating, technique, pixel_size, stream(*key, "camera"))
    return SimulatedField(image, *_numbered(cells, labels, nucleus_labels))


def _light(
    cells: Sequence[Cell],
    nuclei: Sequence[Sequence[Outline]],
    labels: np.ndarray,
    nucleus_labels: np.ndarray,
    textures: Textures,
    pixel_size: float,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the light of all cells, and that of rounded ones, which float above the focus."""
    light = np.zeros((len(CHANNELS), *labels.shape), np.float32)
    floating = None
    outside_nuclei = np.where(nucleus_labels > 0, 0, labels)
    points: dict[int, list[Points]] = {AGP: [], MITO: []}
    for number, pixels in pixels_of_cells(labels, nuclei, pixel_size):
        cell, own_nuclei = cells[number - 1], nuclei[number - 1]
        drawn = _draw(cell, pixels, own_nuclei, textures, pixel_size)
        if cell.state == "rounded":
            floating = np.zeros_like(light) if floating is None else floating
            floating[:, pixels.rows, pixels.cols] = drawn
            continue
        light[:, pixels.rows, pixels.cols] = drawn
        golgi = actin_golgi.golgi(cell, own_nuclei, pixel_size)
        points[AGP].append(golgi.within(labels, number))
        filaments = mitochondria.filaments(cell, own_nuclei, pixel_size)
        points[MITO].append(filaments.within(outside_nuclei, number))
        over_nucleus = filaments.within(nucleus_labels, number)
        points[MITO].append(over_nucleus.dimmed(mitochondria.OVER_NUCLEUS))
    for channel, parts in points.items():
        light[channel] += splat(parts, labels.shape)
    return light, floating


def _draw(
    cell: Cell,
    pixels: Pixels,
    nuclei: Sequence[Outline],
    textures: Textures,
    pixel_size: float,
) -> np.ndarray:
    in_nucleoli = nucleus.nucleoli(cell, pixels, nuclei, pixel_size)
    return np.stack(
        [
            nucleus.dna(cell, pixels, nuclei, in_nucleoli, textures, pixel_size),
            cytoplasm.rna(cell, pixels, in_nucleoli, textures),
            cytoplasm.er(cell, pixels, in_nucleoli, textures),
            actin_golgi.agp(cell, pixels, textures, pixel_size),
            mitochondria.haze(cell, pixels, textures),
        ]
    )


def _numbered(
    cells: Sequence[Cell], labels: np.ndarray, nucleus_labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Give the cells whose centre is in the field numbers from 1, and tell about each."""
    height, width = labels.shape
    areas = np.bincount(labels.ravel(), minlength=len(cells) + 1)
    nucleus_areas = np.bincount(nucleus_labels.ravel(), minlength=len(cells) + 1)
    new = np.zeros(len(cells) + 1, np.int32)
    rows: list[dict[str, object]] = []
    for number, cell in enumerate(cells, start=1):
        if not (0 <= cell.row < height and 0 <= cell.col < width and nucleus_areas[number]):
            continue
        new[number] = len(rows) + 1
        measured = {"area_px": areas[number], "nucleus_area_px": nucleus_areas[number]}
        rows.append({"number": new[number], **as_table_row(cell), **measured})
    columns = ["number", *COLUMNS, "area_px", "nucleus_area_px"]
    return new[labels], new[nucleus_labels], pd.DataFrame(rows, columns=columns)
