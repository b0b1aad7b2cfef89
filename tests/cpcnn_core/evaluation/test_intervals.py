"""Intervals of means against a slow loop, and against what is known of them."""

import numpy as np
import pytest

from cpcnn_core.evaluation.intervals import bootstrap_interval


def slow_interval(values, groups, seed):
    known = [(value, group) for value, group in zip(values, groups, strict=True) if value == value]
    names = sorted({group for _, group in known})
    random = np.random.default_rng(seed)
    means = []
    for _ in range(2000):
        drawn = []
        for place in random.integers(0, len(names), len(names)):
            drawn += [value for value, group in known if group == names[place]]
        means.append(sum(drawn) / len(drawn))
    means.sort()
    # Linear interpolation between order statistics, NumPy's default.
    at = [0.025 * 1999, 0.975 * 1999]
    return [means[int(a)] + (a - int(a)) * (means[int(a) + 1] - means[int(a)]) for a in at]


def test_whole_groups_are_drawn():
    random = np.random.default_rng(3)
    groups = random.choice(list("abcde"), 23)
    values = random.uniform(size=23)
    values[[2, 7]] = np.nan
    found = bootstrap_interval(values, groups, seed=4)
    np.testing.assert_allclose([found["low"], found["high"]], slow_interval(values, groups, 4))
    assert found["mean"] == pytest.approx(np.nanmean(values), rel=1e-12)


def test_it_is_as_wide_as_the_law_of_large_numbers_says():
    values = np.random.default_rng(0).normal(size=4000)
    found = bootstrap_interval(values, np.arange(4000))
    width = found["high"] - found["low"]
    assert width == pytest.approx(2 * 1.96 * values.std() / np.sqrt(4000), rel=0.06)


def test_one_group_has_no_interval_and_nothing_no_mean():
    assert bootstrap_interval([0.25, 0.75], ["a", "a"]) == {"mean": 0.5, "low": None, "high": None}
    nothing = bootstrap_interval([np.nan], ["a"])
    assert nothing == {"mean": None, "low": None, "high": None}
    with pytest.raises(ValueError, match="expected a group for each of"):
        bootstrap_interval([1.0, 2.0], ["a"])
