"""The treatments of a virtual screen: a mechanism, a strength, and something of their own.

A mechanism moves some parameters of the cell, each so far. They follow what such compounds do to
U2OS cells in broad strokes, and are no models of any compound: what matters is that the cause of
every difference is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest

import numpy as np

from cpcnn_core.simulation.design import ScreenDesign
from cpcnn_core.simulation.parameters import BY_NAME
from cpcnn_core.simulation.seeds import stream

CONTROL = "DMSO"
# Spread of the logarithm of strength between treatments of one mechanism.
STRENGTH_SPREAD = 0.25
# What a treatment does beyond its mechanism, in spreads of every parameter between cells.
DEVIATION = 0.15
# Range, even in the logarithm, of the dose that has half of the largest possible effect.
HALF_DOSES = (0.03, 0.5)
DOSE_STEP = 3.0
# Range, even in the logarithm, of the part of a well's cells that is affected in subpopulations.
FRACTIONS = (0.05, 0.2)
# What all cells of screens with other causes than classical ones have: fibres and tubules that can
# be seen, and mitochondria on a side.
VISIBLE = {"actin_fibres": 3.0, "er_texture": 2.0, "mito_polar": 1.5}


@dataclass(frozen=True)
class Treatment:
    """One treatment and its effects.

    Attributes
    ----------
    name, family, mechanism : str
    strength : float
        Factor on what its mechanism does.
    half_dose : float
        Dose of half of the largest possible effect, relative to the highest dose used.
    effects : dict of str to float
        At the highest dose and effect strength 1: how far every parameter is moved, in
        its spreads between untreated cells.
    fraction : float
        Of the cells, which it affects.
    """

    name: str
    family: str
    mechanism: str
    strength: float
    half_dose: float
    effects: dict[str, float]
    fraction: float = 1.0

    def response(self, dose: float) -> float:
        """Return the part of `effects` that a dose has: 1 at dose 1.

        Parameters
        ----------
        dose : float
            Relative to the highest.

        Examples
        --------
        >>> Treatment("T001", "classical", "x", 1.0, 0.5, {}).response(0.5)
        0.75
        """
        return dose * (1 + self.half_dose) / (dose + self.half_dose)


def treatments_of(design: ScreenDesign) -> dict[str, Treatment]:
    """Return all treatments of a design by name, the control not among them.

    Parameters
    ----------
    design : ScreenDesign
        Only its seed, its causes and its numbers of treatments and mechanisms count.

    Examples
    --------
    >>> made = treatments_of(ScreenDesign(treatments=4, mechanisms=2))
    >>> [(one.name, one.mechanism) for one in made.values()][1:3]
    [('T002', 'mitochondrial uncoupler'), ('T003', 'Aurora kinase inhibitor')]
    """
    numbers = design.all_treatments, design.mechanism_number
    return dict(_treatments(design.seed, design.causes, *numbers))


def study_treatments(design: ScreenDesign, study: int) -> list[str]:
    """Return the names of a study's treatments: those that all have, then its own.

    Parameters
    ----------
    design : ScreenDesign
    study : int
        From 0.

    Examples
    --------
    >>> study_treatments(ScreenDesign(studies=2, treatments=3, shared=1), 1)
    ['T001', 'T004', 'T005']
    """
    shared, own = design.shared_treatments, design.treatments - design.shared_treatments
    numbers = [*range(shared), *range(shared + study * own, shared + (study + 1) * own)]
    return [_name(number) for number in numbers]


def doses_of(design: ScreenDesign) -> list[float]:
    """Return the doses of every treatment, relative to the highest, rising.

    Examples
    --------
    >>> doses_of(ScreenDesign(doses=2))
    [0.333333, 1.0]
    """
    return [round(DOSE_STEP**-step, 6) for step in range(design.doses - 1, -1, -1)]


def effects_of(design: ScreenDesign, treatment: str, dose: float = 1.0) -> dict[str, float]:
    """Return how far a treatment moves each parameter, in spreads between untreated cells.

    Parameters
    ----------
    design : ScreenDesign
    treatment : str
        `CONTROL` moves nothing.
    dose : float
        Relative to the highest.

    Examples
    --------
    >>> design = ScreenDesign(effect_strength=0.0)
    >>> any(effects_of(design, "T001").values()), effects_of(design, "DMSO")
    (False, {})
    """
    if treatment == CONTROL:
        return {}
    one = treatments_of(design)[treatment]
    factor = design.effect_strength * one.response(dose)
    return {name: factor * moved for name, moved in one.effects.items()}


def affected_fraction(design: ScreenDesign, treatment: str) -> float:
    """Return the fraction of cells that a treatment affects.

    Parameters
    ----------
    design : ScreenDesign
    treatment : str
        `CONTROL` affects none.

    Examples
    --------
    >>> affected_fraction(ScreenDesign(), "T001"), affected_fraction(ScreenDesign(), "DMSO")
    (1.0, 0.0)
    """
    return 0.0 if treatment == CONTROL else treatments_of(design)[treatment].fraction


def usual_effects(design: ScreenDesign) -> dict[str, float]:
    """Return how far the parameters of all cells of a screen are moved, controls among them.

    Examples
    --------
    >>> usual_effects(ScreenDesign()), usual_effects(ScreenDesign(causes=("organelles",)))
    ({}, {'actin_fibres': 3.0, 'er_texture': 2.0, 'mito_polar': 1.5})
    """
    return {} if design.causes == ("classical",) else dict(VISIBLE)


@lru_cache(maxsize=8)
def _treatments(
    seed: int, causes: tuple[str, ...], number: int, mechanisms: int
) -> tuple[tuple[str, Treatment], ...]:
    # In turn, so that few mechanisms are of all families too.
    turns = zip_longest(*([(family, name) for name in CAUSES[family]] for family in causes))
    known = [one for turn in turns for one in turn if one is not None][:mechanisms]
    made = [_treatment(seed, _name(i), *known[i % mechanisms]) for i in range(number)]
    return tuple((one.name, one) for one in made)


def _treatment(seed: int, name: str, family: str, mechanism: str) -> Treatment:
    random = stream(seed, "treatment", name)
    strength = float(np.exp(STRENGTH_SPREAD * random.standard_normal()))
    half_dose = float(np.exp(random.uniform(*np.log(HALF_DOSES))))
    own = dict(
        zip(BY_NAME, (DEVIATION * random.standard_normal(len(BY_NAME))).tolist(), strict=True)
    )
    moved = CAUSES[family][mechanism]
    if family == "classical":
        effects = {key: strength * moved.get(key, 0.0) + own[key] for key in BY_NAME}
        return Treatment(name, family, mechanism, strength, half_dose, effects)
    # No deviations: they would change sizes and intensities, which other families leave alone.
    effects = {key: strength * value for key, value in moved.items()}
    fraction = 1.0
    if family == "subpopulations":
        fraction = float(np.exp(random.uniform(*np.log(FRACTIONS))))
    return Treatment(name, family, mechanism, strength, half_dose, effects, fraction)


def _name(number: int) -> str:
    return f"T{number + 1:03d}"


# In spreads of the parameter between untreated cells, at strength 1.
MECHANISMS: dict[str, dict[str, float]] = {
    "Aurora kinase inhibitor": {
        "multinucleate": 3.0,
        "nucleus_irregularity": 2.2,
        "nucleus_area": 2.2,
        "micronuclei": 2.5,
        "cell_area": 1.2,
        "cell_count": -2.0,
    },
    "mitochondrial uncoupler": {
        "mito_intensity": -1.5,
        "mito_length": -2.5,
        "mito_number": -1.0,
    },
    "actin inhibitor": {
        "actin_fibres": -3.0,
        "ruffles": -1.5,
        "protrusions": 1.8,
        "cell_area": -1.0,
        "blebs": 1.5,
    },
    "RNA polymerase inhibitor": {
        "nucleoli_number": -2.0,
        "nucleoli_area": -1.0,
        "nucleoli_intensity": -2.5,
        "rna_intensity": -1.5,
        "chromatin_contrast": -1.0,
    },
    "tubulin inhibitor": {
        "dividing": 2.2,
        "rounded": 1.2,
        "nucleus_irregularity": 1.5,
        "golgi_spread": 2.0,
        "mito_spread": -1.2,
        "cell_elongation": -1.5,
        "cell_count": -1.5,
    },
    "ER stress inducer": {
        "er_intensity": 1.5,
        "er_texture": 2.2,
        "er_spread": 1.5,
        "rna_intensity": -1.0,
    },
    "Golgi disruptor": {
        "golgi_spread": 3.0,
        "golgi_intensity": -1.5,
        "er_intensity": 0.8,
    },
    "HDAC inhibitor": {
        "nucleus_area": 1.3,
        "chromatin_contrast": -2.0,
        "chromatin_grain": 1.5,
        "cell_elongation": 1.5,
        "actin_fibres": 1.5,
        "nucleoli_number": -1.0,
        "cell_count": -1.0,
    },
    "DNA damaging agent": {
        "nucleus_area": 2.5,
        "cell_area": 2.0,
        "micronuclei": 1.0,
        "dividing": -2.0,
        "dna_intensity": -0.8,
        "cell_count": -2.5,
    },
    "kinesin inhibitor": {
        "mito_spread": -2.2,
        "er_spread": -1.2,
        "golgi_spread": -1.0,
        "dividing": 1.2,
    },
    "ROCK inhibitor": {
        "cell_elongation": 2.2,
        "protrusions": 2.0,
        "actin_fibres": -1.8,
        "ruffles": 1.0,
        "multinucleate": 1.2,
    },
    "proteasome inhibitor": {
        "er_spread": -2.0,
        "nucleoli_area": 1.8,
        "rna_intensity": 1.0,
        "cell_area": -1.2,
        "rounded": 1.5,
        "cell_count": -2.0,
    },
    "mitochondrial fission inhibitor": {
        "mito_length": 2.5,
        "mito_spread": 1.5,
        "mito_intensity": 0.8,
    },
    "apoptosis inducer": {
        "rounded": 2.5,
        "blebs": 2.8,
        "cell_count": -3.5,
        "cell_area": -1.0,
        "nucleus_area": -1.5,
        "chromatin_contrast": 1.5,
    },
}

# The same amounts in another texture.
TEXTURES = {
    "actin mesh": {"actin_mesh": 3.0},
    "chromatin spots": {"chromatin_spots": 3.0},
    "chromatin holes": {"chromatin_spots": -3.0},
    "chromatin filaments": {"chromatin_filaments": 3.0},
}
# The same amounts in organelles of another form.
ORGANELLES = {
    "fragmented mitochondria": {"mito_fragments": 3.0},
    "mitochondria on all sides": {"mito_polar": -3.0},
    "circling mitochondria": {"mito_circling": 3.0},
    "ER sheets": {"er_sheets": 3.0},
    "ER vesicles": {"er_vesicles": 3.0},
    # Parts that are spread are less uneven, stacks are more: together they are as controls.
    "Golgi around the nucleus": {"golgi_around": 3.0, "golgi_stacks": 2.5},
    "Golgi stacks": {"golgi_stacks": 3.0, "golgi_around": 0.6},
}
# The same organelles at another place relative to others, to the cell or to its neighbours.
ARRANGEMENT = {
    "mitochondria opposite to the Golgi": {"mito_opposite": 3.0},
    "mitochondria to the neighbour": {"mito_to_neighbour": 3.0},
    "mitochondria from the neighbour": {"mito_to_neighbour": -3.0},
    "Golgi to the neighbour": {"golgi_to_neighbour": 3.0},
    "Golgi on a common side": {"golgi_common": 3.0},
    "actin fibres crosswise": {"actin_crosswise": 3.0},
}
# Strong, in a few cells.
SUBPOPULATIONS = {
    "few giant nuclei": {"nucleus_area": 5.0, "cell_area": 1.5},
    "few with bright mitochondria": {"mito_intensity": 3.0, "mito_length": 1.5},
    "few with dispersed Golgi": {"golgi_spread": 4.0},
    "few without RNA synthesis": {"rna_intensity": -4.0, "nucleoli_intensity": -4.0},
    "few long cells": {"cell_elongation": 4.0, "protrusions": 2.0},
    "few with fragmented mitochondria": {"mito_fragments": 5.0, "mito_spread": -2.0},
}
CAUSES: dict[str, dict[str, dict[str, float]]] = {
    "classical": MECHANISMS,
    "textures": TEXTURES,
    "organelles": ORGANELLES,
    "arrangement": ARRANGEMENT,
    "subpopulations": SUBPOPULATIONS,
}
