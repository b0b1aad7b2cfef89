"""Differences between studies, plates and wells that have no biological cause."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from cpcnn_core.simulation.design import ScreenDesign
from cpcnn_core.simulation.layout import Well
from cpcnn_core.simulation.seeds import stream

CHANNELS = ("DNA", "RNA", "ER", "AGP", "Mito")
# Counts above the camera's offset where there is no cell, as in the example of CPJUMP1.
BACKGROUNDS = {"DNA": 530.0, "RNA": 560.0, "ER": 330.0, "AGP": 680.0, "Mito": 1030.0}
# Of the logarithm, for a plate as a whole: wells of the outer rows and columns have fewer
# cells and are brighter; brightness drifts from the first column to the last.
EDGE_SPREAD, DRIFT_SPREAD = 0.12, 0.12
EDGE_BRIGHTNESS = 0.5


@dataclass(frozen=True)
class Factor:
    """One technical value.

    Attributes
    ----------
    typical : float
    study, plate, well : float
        Standard deviations that these add, at batch strength 1: of the logarithm, or of
        the value itself where it is a `place`.
    place : bool
        It may be negative.
    """

    typical: float
    study: float
    plate: float
    well: float
    place: bool = False


FACTORS = {
    **{f"gain_{channel}": Factor(1.0, 0.3, 0.15, 0.05) for channel in CHANNELS},
    **{f"background_{name}": Factor(BACKGROUNDS[name], 0.3, 0.15, 0.05) for name in CHANNELS},
    "focus_um": Factor(0.25, 0.3, 0.35, 0.35),
    "vignetting": Factor(0.4, 0.3, 0.3, 0.0),
    "vignetting_row": Factor(0.0, 0.12, 0.05, 0.0, place=True),
    "vignetting_column": Factor(0.0, 0.12, 0.05, 0.0, place=True),
    "bleed_through": Factor(1.0, 0.3, 0.1, 0.0),
    "noise": Factor(0.25, 0.3, 0.1, 0.0),
    "density": Factor(1.0, 0.15, 0.12, 0.1),
}


def technique_of_plate(design: ScreenDesign, well: Well) -> dict[str, float]:
    """Return the technical values of a well's plate: its study's style and its own.

    Parameters
    ----------
    design : ScreenDesign
    well : Well
        Any of the plate.

    Returns
    -------
    dict of str to float
        A value for each of `FACTORS`: ``gain_*`` (factor on all light of a channel),
        ``background_*`` (counts), ``focus_um`` (standard deviation of the blur beyond the
        microscope's own, in micrometres), ``vignetting`` (light lost at the corners, relative)
        and its centre (relative to the field's side, from its middle), ``bleed_through``
        (factor), ``noise`` (variance per count), ``density`` (factor on the number of cells).

    Examples
    --------
    >>> from cpcnn_core.simulation.layout import find_well
    >>> design = ScreenDesign(batch_strength=0.0)
    >>> technique_of_plate(design, find_well(design, "S1P1", "A01"))["background_ER"]
    330.0
    """
    return _typical_but_for(_of_plate(design, well))


def technique_of_well(design: ScreenDesign, well: Well) -> dict[str, float]:
    """Return the technical values of a well: the plate's, its own, and those of its place.

    Parameters
    ----------
    design : ScreenDesign
    well : Well

    Returns
    -------
    dict of str to float
        As `technique_of_plate`.

    Examples
    --------
    >>> from cpcnn_core.simulation.layout import find_well
    >>> design = ScreenDesign(batch_strength=0.0)
    >>> technique_of_well(design, find_well(design, "S1P1", "A01"))["density"]
    1.0
    """
    moved = _of_plate(design, well)
    for name, deviation in _deviations(design, "well", well.plate, well.name).items():
        moved[name] += deviation
    edge, drift = _of_place(design, well)
    moved["density"] -= edge
    for channel in CHANNELS:
        moved[f"gain_{channel}"] += EDGE_BRIGHTNESS * edge + drift
    return _typical_but_for(moved)


def _of_plate(design: ScreenDesign, well: Well) -> dict[str, float]:
    study = _deviations(design, "study", well.study_name)
    plate = _deviations(design, "plate", well.plate)
    return {name: study[name] + plate[name] for name in FACTORS}


def _deviations(design: ScreenDesign, level: str, *name: str) -> dict[str, float]:
    drawn = stream(design.seed, level, *name).standard_normal(len(FACTORS))
    return {
        key: float(design.batch_strength * getattr(factor, level) * deviation)
        for (key, factor), deviation in zip(FACTORS.items(), drawn, strict=True)
    }


def _of_place(design: ScreenDesign, well: Well) -> tuple[float, float]:
    """Return what the plate's edge and the drift over its columns add to logarithms."""
    drawn = stream(design.seed, "places", well.plate).standard_normal(2) * design.batch_strength
    rows, columns = design.plate_format
    on_edge = well.row in (0, rows - 1) or well.column in (0, columns - 1)
    edge = EDGE_SPREAD * abs(drawn[0]) if on_edge else 0.0
    return edge, float(DRIFT_SPREAD * drawn[1] * (well.column / (columns - 1) - 0.5))


def _typical_but_for(moved: Mapping[str, float]) -> dict[str, float]:
    return {
        name: factor.typical + moved[name]
        if factor.place
        else factor.typical * math.exp(moved[name])
        for name, factor in FACTORS.items()
    }
