"""q-values of doses: by a plain search over levels, as copairs' second stage, and on nothing."""

import logging

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from copairs.map import apply_hierarchical_fdr_correction

from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.doses import compounds_of, dose_aware_q_values
from cpcnn_core.schema.profiles import Profiles


def drawn(seed, compounds=12, doses=4, active=3):
    random = np.random.default_rng(seed)
    p_values = random.random((compounds, doses))
    p_values[:active, -2:] *= 0.005
    names = np.repeat([f"c{number}" for number in range(compounds)], doses)
    return p_values.ravel(), names


def rejected(p_values, names, level):
    """The procedure of Benjamini and Bogomolov at one level, in plain loops."""
    compounds = sorted(set(names))
    simes = {}
    for compound in compounds:
        mine = np.sort(p_values[names == compound])
        simes[compound] = min(len(mine) * p / (rank + 1) for rank, p in enumerate(mine))
    ordered = sorted(compounds, key=simes.get)
    ranks = [i + 1 for i, c in enumerate(ordered) if simes[c] <= level * (i + 1) / len(ordered)]
    chosen = ordered[: max(ranks, default=0)]
    own = level * len(chosen) / len(compounds)
    found = np.zeros(len(names), bool)
    for compound in chosen:
        mine = np.flatnonzero(names == compound)
        order = mine[np.argsort(p_values[mine])]
        fits = [i + 1 for i, row in enumerate(order) if p_values[row] <= own * (i + 1) / len(order)]
        found[order[: max(fits, default=0)]] = True
    return found, np.isin(names, chosen)


@pytest.mark.parametrize("seed", range(5))
def test_q_values_are_the_smallest_levels_that_find_a_dose(seed):
    p_values, names = drawn(seed)
    found = dose_aware_q_values(p_values, names)
    for level in np.random.default_rng(seed).random(40) ** 2:
        doses, compounds = rejected(p_values, names, level)
        np.testing.assert_array_equal(found["q_value"] <= level, doses)
        np.testing.assert_array_equal(found["compound_q_value"] <= level, compounds)


def test_of_one_dose_each_they_are_benjaminis_and_hochbergs():
    p_values, _ = drawn(0)
    found = dose_aware_q_values(p_values, [str(number) for number in range(len(p_values))])
    expected = scipy.stats.false_discovery_control(p_values)
    np.testing.assert_allclose(found["q_value"], expected, rtol=1e-12)
    np.testing.assert_allclose(found["compound_q_value"], expected, rtol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_second_stage_is_that_of_copairs(seed, caplog):
    caplog.set_level(logging.WARNING)
    p_values, names = drawn(seed)
    doses = [f"{name}@{number}" for number, name in enumerate(names)]
    table = pd.DataFrame({"compound": names, "dose": doses, "p_value": p_values})
    theirs = apply_hierarchical_fdr_correction(table, ["compound"], ["compound", "dose"])
    passed = theirs["stage1_significant"].to_numpy()
    assert 0 < passed.sum() < len(passed)
    for name in set(names[passed]):
        mine = names == name
        within = dose_aware_q_values(p_values[mine], names[mine])
        # Of one compound alone all of the level is its own.
        expected = theirs["corrected_p_value"][mine]
        np.testing.assert_allclose(within["q_value"], expected, rtol=1e-12)


def test_nothing_is_found_among_nothing(caplog):
    caplog.set_level(logging.WARNING)
    ours, theirs, screens = 0, 0, 300
    for seed in range(screens):
        p_values, names = drawn(seed, compounds=20, active=0)
        ours += (dose_aware_q_values(p_values, names)["q_value"] <= 0.05).any()
        table = pd.DataFrame({"compound": names, "dose": range(len(names)), "p_value": p_values})
        found = apply_hierarchical_fdr_correction(table, ["compound"], ["compound", "dose"])
        theirs += (found["corrected_p_value"] <= 0.05).any()
    print(f"screens with a false find: {ours / screens:.3f}, copairs {theirs / screens:.3f}")
    # .05, give or take three standard errors of 300 screens.
    assert ours / screens < 0.05 + 3 * np.sqrt(0.05 * 0.95 / screens)
    assert theirs / screens > 0.1


def test_a_treatment_is_a_dose_of_one_compound():
    rows = pd.DataFrame({"Metadata_T": ["a1", "a1", "b", ""], "Metadata_C": ["a", "a", "", "x"]})
    wells = Profiles(np.ones((4, 1)), rows, ["x"])
    assert compounds_of(wells, "Metadata_T", "Metadata_C") == {"a1": "a", "b": "b"}
    wells.metadata["Metadata_C"] = ["a", "c", "", "x"]
    with pytest.raises(ProfileError, match="a1 has the Metadata_C a in some wells and c in others"):
        compounds_of(wells, "Metadata_T", "Metadata_C")
