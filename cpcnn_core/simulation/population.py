"""The cells of one field: their positions, states and values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import spatial

from cpcnn_core.simulation.parameters import BY_NAME, OF_CELLS, PATTERNS, draw_values
from cpcnn_core.simulation.seeds import stream

State = Literal["interphase", "dividing", "rounded"]
# Centres keep this distance where there is room, and cells outside the field, but within
# this margin, reach into it.
DISTANCE_UM, MARGIN_UM = 19.0, 30.0
TRIES = 12
# Width of the gaps and clumps of cells, and how marked they are.
CLUMP_UM, CLUMPING = 50.0, 0.85
# What rounding up does to a cell: factors on its values.
DIVIDING = {"cell_area": 0.5, "nucleus_area": 0.3, "dna_intensity": 1.5}
ROUNDED = {"cell_area": 0.2, "nucleus_area": 0.35, "dna_intensity": 2.5}
_FACTS = ("row", "col", "state", "nuclei", "content", "affected")
_VALUES = (*OF_CELLS, *(one.name for one in PATTERNS))
COLUMNS = (*_FACTS, *_VALUES)
FLAT_ONLY = ("protrusions", "nucleus_offset", "actin_fibres")
BRIGHTER = ("rna_intensity", "er_intensity", "agp_intensity", "mito_intensity")
DIVIDING_BRIGHTNESS, ROUNDED_BRIGHTNESS = 1.7, 5.0


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes
    ----------
    row, col : float
        Centre in pixels.
    angle : float
        Of its long axis against the columns' axis, in radians.
    state : {"interphase", "dividing", "rounded"}
    nuclei : int
    content : float
        DNA, from 1 before S phase to 2 after it.
    values : mapping of str to float
        Of every parameter of `cpcnn_core.simulation.parameters`.
    affected : bool
        The treatment does something to it.
    neighbour : float
        Direction of the nearest other cell's centre, as `angle`.
    key : tuple
        Its random numbers, see `random`.
    """

    row: float
    col: float
    angle: float
    state: State
    nuclei: int
    content: float
    values: Mapping[str, float]
    affected: bool
    neighbour: float
    key: tuple[object, ...]

    def random(self, what: str) -> np.random.RandomState:
        """Return the cell's own random numbers for drawing one of its parts."""
        return stream(*self.key, what)


def grow_cells(
    key: tuple[object, ...],
    shape: tuple[int, int],
    pixel_size: float,
    expected: float,
    effects: Mapping[str, float],
    fraction: float = 1.0,
    usual: Mapping[str, float] | None = None,
) -> list[Cell]:
    """Place the cells of a field, and draw their states and values.

    Parameters
    ----------
    key : tuple
        Of the field's random numbers.
    shape : (int, int)
        Height and width in pixels.
    pixel_size : float
        Micrometres per pixel.
    expected : float
        Mean number of cells with their centre in the field, before effects.
    effects : mapping of str to float
        See `cpcnn_core.simulation.treatments.effects_of`.
    fraction : float
        Of the cells that the effects move. The number of cells is moved in any case.
    usual : mapping of str to float, optional
        How far the parameters of all cells are moved, treated or not.

    Returns
    -------
    list of Cell
        Also those outside the field that may reach into it.

    Examples
    --------
    >>> cells = grow_cells((1, "x"), (200, 200), 0.6, 10.0, {})
    >>> cells == grow_cells((1, "x"), (200, 200), 0.6, 10.0, {})
    True
    """
    margin = MARGIN_UM / pixel_size
    sides = np.array(shape) + 2 * margin
    mean = expected * BY_NAME["cell_count"].value(effects.get("cell_count", 0.0))
    number = stream(*key, "number").poisson(mean * sides.prod() / np.prod(shape))
    places = _place(stream(*key, "places"), number, sides, pixel_size) - margin
    common = stream(*key, "direction").uniform(0, math.pi)
    usual = usual or {}
    treated = {name: usual.get(name, 0.0) + effects.get(name, 0.0) for name in (*usual, *effects)}
    cells = []
    for index, (place, neighbour) in enumerate(zip(places, _neighbours(places), strict=True)):
        own_key = (*key, index)
        affected = any(effects.values()) and stream(*own_key, "affected").uniform() < fraction
        moved = treated if affected else usual
        cells.append(_cell(own_key, place, common, moved, affected, neighbour))
    return cells


def _place(
    random: np.random.RandomState, number: int, sides: np.ndarray, pixel_size: float
) -> np.ndarray:
    """Draw places (number, 2) one after the other, so that more cells leave the first alone."""
    waves = _Waves(random, pixel_size)
    places = np.empty((number, 2))
    for index in range(number):
        candidates = random.uniform(0, sides, (TRIES, 2))
        keep = random.uniform(size=TRIES) < waves.density(candidates)
        if index == 0:
            places[0] = candidates[0]
            continue
        distances = np.linalg.norm(candidates[:, None] - places[None, :index], axis=2).min(axis=1)
        free = np.flatnonzero(keep & (distances > DISTANCE_UM / pixel_size))
        places[index] = candidates[free[0] if len(free) else distances.argmax()]
    return places


def _neighbours(places: np.ndarray) -> list[float]:
    """Return the direction of every place's nearest other, in radians; 0 where there is none."""
    if len(places) < 2:
        return [0.0] * len(places)
    nearest = spatial.KDTree(places).query(places, 2)[1][:, 1]
    down, right = (places[nearest] - places).T
    angles: list[float] = np.arctan2(down, right).tolist()
    return angles


class _Waves:
    """A smooth landscape of chances between 1 - CLUMPING and 1: a sum of plane waves."""

    def __init__(self, random: np.random.RandomState, pixel_size: float) -> None:
        self._vectors = random.standard_normal((2, 12)) * pixel_size / CLUMP_UM
        self._phases = random.uniform(0, 2 * math.pi, 12)

    def density(self, places: np.ndarray) -> np.ndarray:
        height = np.cos(places @ self._vectors + self._phases).sum(axis=1) / math.sqrt(6)
        result: np.ndarray = 1 - CLUMPING / (1 + np.exp(4 * height))
        return result


def _cell(
    key: tuple[object, ...],
    place: np.ndarray,
    common: float,
    effects: Mapping[str, float],
    affected: bool,
    neighbour: float,
) -> Cell:
    random = stream(*key, "cell")
    values = draw_values(random, effects)
    chances = random.uniform(size=4)
    # Neighbours are loosely aligned.
    angle = common + 0.7 * random.standard_normal()
    state: State = "interphase"
    nuclei = 1
    if chances[0] < values["rounded"]:
        state, values = "rounded", _rounded_up(values, ROUNDED, ROUNDED_BRIGHTNESS)
    elif chances[1] < values["dividing"]:
        state, values = "dividing", _rounded_up(values, DIVIDING, DIVIDING_BRIGHTNESS)
        # In anaphase there are two sets of chromosomes, in metaphase one.
        nuclei = 2 if chances[3] < 0.4 else 1
    elif chances[2] < values["multinucleate"]:
        nuclei = 2 + int(3 * chances[3] ** 2)
    content = 2.0 if state == "dividing" else _dna_content(random.uniform())
    row, col = place
    facts = state, nuclei, content, values, affected, neighbour, key
    return Cell(float(row), float(col), float(angle), *facts)


def _rounded_up(
    values: Mapping[str, float], factors: Mapping[str, float], brightness: float
) -> dict[str, float]:
    changed = {name: value * factors.get(name, 1.0) for name, value in values.items()}
    changed |= dict.fromkeys(FLAT_ONLY, 0.0)
    changed |= {name: values[name] * brightness for name in BRIGHTER}
    changed["cell_elongation"] = 1.05
    return changed


def _dna_content(phase: float) -> float:
    """Return the DNA at a uniform place in the cycle: half in G1, a third in S, then G2."""
    return float(np.interp(phase, (0.5, 0.83), (1.0, 2.0)))


def as_table_row(cell: Cell) -> dict[str, object]:
    """Return what the table of cells says of a cell: `COLUMNS`.

    Examples
    --------
    >>> cell = grow_cells((1,), (300, 300), 0.6, 9.0, {})[0]
    >>> list(as_table_row(cell)) == list(COLUMNS)
    True
    """
    own = {name: cell.values[name] for name in _VALUES}
    return {name: getattr(cell, name) for name in _FACTS} | own
