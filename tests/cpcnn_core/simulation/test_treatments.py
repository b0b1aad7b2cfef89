import numpy as np
import pytest

from cpcnn_core.simulation.design import MECHANISM_LIMIT, ScreenDesign
from cpcnn_core.simulation.parameters import BY_NAME
from cpcnn_core.simulation.treatments import (
    DEVIATION,
    MECHANISMS,
    STRENGTH_SPREAD,
    doses_of,
    effects_of,
    treatments_of,
)

MANY = ScreenDesign(wells=1536, treatments=560, replicates=1, mechanisms=14)


def test_mechanisms_move_parameters_that_there_are():
    assert len(MECHANISMS) == MECHANISM_LIMIT
    for name, moved in MECHANISMS.items():
        assert moved, name
        assert set(moved) <= set(BY_NAME), name


def test_no_two_mechanisms_are_alike():
    vectors = np.array([[m.get(name, 0.0) for name in BY_NAME] for m in MECHANISMS.values()])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert (np.triu(vectors @ vectors.T, 1) < 0.8).all()


def test_a_treatment_is_its_mechanism_times_its_strength_and_a_deviation_of_its_own():
    treatments = treatments_of(MANY).values()
    strengths = np.log([one.strength for one in treatments])
    assert abs(strengths.mean()) < 4 * STRENGTH_SPREAD / np.sqrt(560)
    assert strengths.std() == pytest.approx(STRENGTH_SPREAD, rel=0.15)
    deviations = [
        moved - one.strength * MECHANISMS[one.mechanism].get(name, 0.0)
        for one in treatments
        for name, moved in one.effects.items()
    ]
    assert np.mean(deviations) == pytest.approx(0, abs=0.01)
    assert np.std(deviations) == pytest.approx(DEVIATION, rel=0.05)
    for mechanism in MECHANISMS:
        assert sum(one.mechanism == mechanism for one in treatments) == 40


def test_strength_and_dose_are_factors_on_all_effects():
    full = effects_of(ScreenDesign(), "T003")
    for strength, dose in ((0.5, 1.0), (2.0, 0.1)):
        one = treatments_of(ScreenDesign())["T003"]
        # Half of the largest effect at the half dose, scaled to 1 at dose 1.
        part = strength * (dose / (dose + one.half_dose)) / (1 / (1 + one.half_dose))
        weaker = effects_of(ScreenDesign(effect_strength=strength), "T003", dose)
        assert weaker == pytest.approx({key: part * value for key, value in full.items()})


def test_doses_are_a_third_of_the_next_and_rise_to_one():
    doses = doses_of(ScreenDesign(wells=96, doses=3))
    assert doses == pytest.approx([1 / 9, 1 / 3, 1], abs=1e-6)


def test_a_treatment_is_the_same_whatever_else_is_in_the_screen():
    small, large = ScreenDesign(treatments=8), ScreenDesign(treatments=16, mechanisms=4, plates=9)
    assert treatments_of(small)["T006"] == treatments_of(large)["T006"]
    assert treatments_of(ScreenDesign(seed=2))["T006"] != treatments_of(small)["T006"]
