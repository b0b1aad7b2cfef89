import numpy as np
import pytest

from cpcnn_core.simulation.design import FAMILIES, ScreenDesign
from cpcnn_core.simulation.parameters import BY_NAME, PATTERNS
from cpcnn_core.simulation.treatments import (
    CAUSES,
    DEVIATION,
    FRACTIONS,
    MECHANISMS,
    STRENGTH_SPREAD,
    doses_of,
    effects_of,
    treatments_of,
)

MANY = ScreenDesign(wells=1536, treatments=560, replicates=1, mechanisms=14)


def test_mechanisms_move_parameters_that_there_are():
    assert {family: len(mechanisms) for family, mechanisms in CAUSES.items()} == FAMILIES
    patterns = {one.name for one in PATTERNS}
    for family, mechanisms in CAUSES.items():
        for name, moved in mechanisms.items():
            assert moved, name
            assert set(moved) <= set(BY_NAME) | patterns, name
            if family == "classical":
                assert not set(moved) & patterns, name
            elif family == "subpopulations":
                # Numbers of cells belong to a field, not to a part of its cells.
                assert "cell_count" not in moved, name
            else:
                assert set(moved) <= patterns, name


def test_no_two_mechanisms_are_alike():
    names = [*BY_NAME, *(one.name for one in PATTERNS)]
    for mechanisms in CAUSES.values():
        vectors = np.array([[m.get(name, 0.0) for name in names] for m in mechanisms.values()])
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


OTHERS = ScreenDesign(
    wells=384,
    treatments=84,
    replicates=1,
    mechanisms=20,
    causes=("textures", "organelles", "arrangement", "subpopulations"),
)


def test_other_causes_are_their_mechanism_times_a_strength_and_nothing_else():
    for one in treatments_of(OTHERS).values():
        moved = CAUSES[one.family][one.mechanism]
        assert one.effects == {name: one.strength * value for name, value in moved.items()}


def test_mechanisms_are_of_all_families_in_turn():
    families = [one.family for one in treatments_of(OTHERS).values()][:20]
    assert families[:8] == 2 * ["textures", "organelles", "arrangement", "subpopulations"]
    assert {family: families.count(family) for family in families} == {
        "textures": 4,
        "organelles": 6,
        "arrangement": 5,
        "subpopulations": 5,
    }
    mechanisms = [one.mechanism for one in treatments_of(OTHERS).values()]
    assert len(set(mechanisms[:20])) == 20
    assert mechanisms[20:40] == mechanisms[:20]


def test_subpopulations_are_a_small_fraction_and_others_are_all_cells():
    fractions = {
        family: [one.fraction for one in treatments_of(OTHERS).values() if one.family == family]
        for family in OTHERS.causes
    }
    few = fractions.pop("subpopulations")
    assert FRACTIONS == (0.05, 0.2)
    assert 0.05 <= min(few) < 0.08 < 0.14 < max(few) <= 0.2
    assert {part for parts in fractions.values() for part in parts} == {1.0}
