"""Fields in which everything is typical but for what a test moves."""

import functools

import pytest

from cpcnn_core.simulation.design import ScreenDesign
from cpcnn_core.simulation.field import simulate_field
from cpcnn_core.simulation.technique import FACTORS

TYPICAL = {name: factor.typical for name, factor in FACTORS.items()}
DESIGN = ScreenDesign(size=420, cells=17.0, batch_strength=0.0, seed=13)


@functools.cache
def made(effects, technique):
    return simulate_field(
        DESIGN, "S1P1", "A01", 1, effects=dict(effects), technique=TYPICAL | dict(technique)
    )


@pytest.fixture
def field():
    """Return a function that makes a field, once: ``field(effects, technique)``."""
    return lambda effects=(), technique=(): made(
        tuple(dict(effects).items()), tuple(dict(technique).items())
    )
