import math

import numpy as np
import pytest

from cpcnn_core.simulation.parameters import BY_NAME, PARAMETERS, SIZE_CORRELATION, draw_values
from cpcnn_core.simulation.seeds import stream


def draw_many(effects, number=4000):
    drawn = [draw_values(stream(7, index), effects) for index in range(number)]
    return {name: np.array([values[name] for values in drawn]) for name in BY_NAME}


def test_cells_differ_by_the_spread_around_the_typical_value():
    drawn = draw_many({})
    for one in PARAMETERS:
        values = drawn[one.name]
        if one.kind == "cell":
            logs = np.log(values / one.typical)
            assert abs(logs.mean()) < 4 * one.spread / math.sqrt(len(logs)), one.name
            assert logs.std() == pytest.approx(one.spread, rel=0.05), one.name
        else:
            assert values == pytest.approx(np.full(len(values), one.typical)), one.name


def test_large_cells_have_large_nuclei():
    drawn = draw_many({})
    found = np.corrcoef(np.log(drawn["cell_area"]), np.log(drawn["nucleus_area"]))[0, 1]
    assert found == pytest.approx(SIZE_CORRELATION, abs=0.05)


@pytest.mark.parametrize("one", PARAMETERS, ids=lambda one: one.name)
def test_an_effect_moves_its_parameter_alone_by_so_many_spreads(one):
    plain, moved = (draw_values(stream(7, "cell"), effects) for effects in ({}, {one.name: 1.5}))
    others = [name for name in BY_NAME if name != one.name]
    assert [plain[name] for name in others] == [moved[name] for name in others]
    if one.kind == "chance":
        odds = [value / (1 - value) for value in (plain[one.name], moved[one.name])]
        assert math.log(odds[1] / odds[0]) == pytest.approx(1.5 * one.spread)
    else:
        assert math.log(moved[one.name] / plain[one.name]) == pytest.approx(1.5 * one.spread)
