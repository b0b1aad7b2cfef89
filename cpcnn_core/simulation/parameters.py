"""The parameters of a cell: what they are typically, and how cells differ in them.

Typical values are those of U2OS cells in the untreated example field of CPJUMP1, where
they could be measured there (``docs/simulate.md``); the others were set by eye. Patterns say
how the same amounts are arranged: an untreated cell has none of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

Kind = Literal["cell", "chance", "field", "pattern"]


@dataclass(frozen=True)
class Parameter:
    """One parameter.

    Attributes
    ----------
    name : str
    typical : float
        Of untreated cells: the median, or a probability.
    spread : float
        Standard deviation between untreated cells, on the scale of the natural logarithm
        (of the odds, for a chance). Effects are counted in it. Of a pattern,
        which untreated cells do not have: its value is tanh(spread * effect).
    unit : str
    meaning : str
    kind : {"cell", "chance", "field", "pattern"}
        Each cell has a value of its own; or each cell's fate is drawn with this chance;
        or it is the same for all cells of a field; or it is the part of a cell that has
        the pattern, below 0 the part that has its opposite.

    Examples
    --------
    >>> Parameter("width", 10.0, 0.25, "um", "width").value(2.0)  # 10 exp(0.5)
    16.487212707001284
    >>> Parameter("dividing", 0.5, 1.0, "", "divides", "chance").value(0.0)
    0.5
    >>> Parameter("mesh", 0.0, 0.5, "", "in a mesh", "pattern").value(2.0)
    0.7615941559557649
    """

    name: str
    typical: float
    spread: float
    unit: str
    meaning: str
    kind: Kind = "cell"

    def value(self, deviation: float) -> float:
        """Return the value that is ``deviation`` spreads above the typical one."""
        if self.kind == "chance":
            odds = self.typical / (1 - self.typical) * math.exp(self.spread * deviation)
            return odds / (1 + odds)
        if self.kind == "pattern":
            return math.tanh(self.spread * deviation)
        return self.typical * math.exp(self.spread * deviation)


PARAMETERS = (
    Parameter("cell_count", 1.0, 0.25, "", "cells, relative to untreated", "field"),
    Parameter("dividing", 0.03, 1.0, "", "chance to be in mitosis", "chance"),
    Parameter("rounded", 0.03, 1.0, "", "chance to have rounded up and died", "chance"),
    Parameter("multinucleate", 0.03, 1.0, "", "chance to have several nuclei", "chance"),
    Parameter("cell_area", 1900.0, 0.25, "um2", "area of a cell that has room"),
    Parameter("cell_elongation", 1.6, 0.2, "", "length by width of the cell's body"),
    Parameter("protrusions", 0.4, 0.35, "", "height of protrusions, relative to the radius"),
    Parameter("blebs", 0.12, 0.9, "", "expected number of blebs"),
    Parameter("nucleus_area", 340.0, 0.12, "um2", "area of all its nuclei, before S phase"),
    Parameter("nucleus_elongation", 1.5, 0.12, "", "length by width of a nucleus"),
    Parameter(
        "nucleus_irregularity", 0.022, 0.4, "", "waves of its outline, relative to the radius"
    ),
    Parameter("nucleus_offset", 0.15, 0.4, "", "distance from the cell's centre, relative"),
    Parameter("micronuclei", 0.05, 0.9, "", "expected number of micronuclei"),
    Parameter("dna_intensity", 9800.0, 0.12, "counts", "DNA in the nucleus"),
    Parameter("chromatin_contrast", 0.17, 0.2, "", "standard deviation of DNA, relative"),
    Parameter("chromatin_grain", 0.7, 0.2, "um", "size of chromatin's grains"),
    Parameter("nucleoli_number", 8.0, 0.3, "", "expected number of nucleoli"),
    Parameter("nucleoli_area", 2.6, 0.3, "um2", "area of one nucleolus"),
    Parameter("nucleoli_intensity", 0.75, 0.2, "", "RNA in them above that of the nucleus"),
    Parameter("rna_intensity", 11200.0, 0.25, "counts", "RNA beside the nucleus"),
    Parameter("er_intensity", 6400.0, 0.25, "counts", "ER beside the nucleus"),
    Parameter("er_spread", 5.5, 0.2, "um", "way on which ER falls to a third"),
    Parameter("er_texture", 0.36, 0.25, "", "contrast of the ER's network"),
    Parameter("agp_intensity", 2450.0, 0.2, "counts", "actin and membrane in the cytoplasm"),
    Parameter("golgi_intensity", 1600.0, 0.35, "counts", "Golgi apparatus"),
    Parameter("golgi_spread", 2.0, 0.3, "um", "standard deviation of its parts' places"),
    Parameter("actin_fibres", 0.11, 0.4, "", "contrast of actin fibres"),
    Parameter("ruffles", 0.45, 0.4, "", "AGP at the cell's border, above the cytoplasm"),
    Parameter("mito_intensity", 980.0, 0.5, "counts", "mitochondria"),
    Parameter("mito_length", 5.0, 0.25, "um", "length of a mitochondrion"),
    Parameter("mito_number", 220.0, 0.2, "", "number of mitochondria"),
    Parameter("mito_spread", 5.0, 0.22, "um", "their mean distance from the nucleus"),
)
BY_NAME = {parameter.name: parameter for parameter in PARAMETERS}
OF_CELLS = tuple(parameter.name for parameter in PARAMETERS if parameter.kind == "cell")
PATTERNS = tuple(
    Parameter(name, 0.0, 0.5, "", meaning, "pattern")
    for name, meaning in {
        "actin_mesh": "part of the actin fibres that lie in any direction, not along the cell",
        "actin_crosswise": "part of the actin fibres that lie across the cell",
        "chromatin_spots": "part of chromatin's texture that is spots; below 0: holes",
        "chromatin_filaments": "part of chromatin's texture that is filaments",
        "mito_fragments": "how far mitochondria are drawn together to rows of dots",
        "mito_circling": "how far mitochondria turn from outwards to around the nucleus",
        "er_sheets": "part of the ER's texture that is sheets, not tubules",
        "er_vesicles": "part of the ER's texture that is vesicles, not tubules",
        "golgi_around": "part of the Golgi apparatus that lies anywhere around the nucleus",
        "golgi_stacks": "how far the Golgi apparatus is drawn together to a few stacks",
        "mito_polar": "how far mitochondria gather on one side of the nucleus",
        "mito_opposite": "part of the mitochondria that are mirrored, away from the Golgi",
        "mito_to_neighbour": "part of the mitochondria that face the nearest cell; below 0: away",
        "golgi_to_neighbour": "part of the cells whose Golgi apparatus faces the nearest cell; "
        "below 0: away",
        "golgi_common": "part of the cells whose Golgi apparatus is on the field's common side",
    }.items()
)
# Correlation of the logarithms: large cells have large nuclei.
SIZE_CORRELATION = 0.5


def draw_values(random: np.random.RandomState, effects: Mapping[str, float]) -> dict[str, float]:
    """Draw one cell's own values, and the chances of its fate.

    Parameters
    ----------
    random : numpy.random.RandomState
        One number is taken for every parameter, whatever the effects: the same cell
        treated and untreated differs by the treatment alone.
    effects : mapping of str to float
        How far a treatment moves parameters, in spreads. Others are not moved.

    Returns
    -------
    dict of str to float
        Of `PARAMETERS` and `PATTERNS`.

    Examples
    --------
    >>> from cpcnn_core.simulation.seeds import stream
    >>> plain, moved = (draw_values(stream(1), e) for e in ({}, {"cell_area": 2.0}))
    >>> [round(math.log(moved[name] / plain[name]), 9) for name in ("cell_area", "blebs")]
    [0.5, 0.0]
    """
    own = dict(zip(BY_NAME, random.standard_normal(len(BY_NAME)).tolist(), strict=True))
    independent = math.sqrt(1 - SIZE_CORRELATION**2)
    own["nucleus_area"] = SIZE_CORRELATION * own["cell_area"] + independent * own["nucleus_area"]
    values = {
        name: parameter.value(
            effects.get(name, 0.0) + (own[name] if parameter.kind == "cell" else 0.0)
        )
        for name, parameter in BY_NAME.items()
    }
    return values | {one.name: one.value(effects.get(one.name, 0.0)) for one in PATTERNS}
