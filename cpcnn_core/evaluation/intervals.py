"""How far a mean can be trusted: intervals by drawing whole groups again and again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.stats

RESAMPLES = 2000


def exact_interval(hits: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Clopper and Pearson).

    Parameters
    ----------
    hits : int
    count : int
        Of how many independent ones.

    Examples
    --------
    >>> low, high = exact_interval(1, 20)
    >>> round(low, 4), round(high, 4)
    (0.0013, 0.2487)
    """
    found = scipy.stats.binomtest(hits, count).proportion_ci(method="exact")
    return float(found.low), float(found.high)


def bootstrap_interval(
    values: np.ndarray, groups: Sequence[object] | np.ndarray, seed: int = 0
) -> dict[str, float | None]:
    """Return the mean of some values and its 95 % interval.

    Whole groups are drawn with replacement: the wells of a treatment succeed and fail
    together, so that each of them alone would promise more than is known.

    Parameters
    ----------
    values : ndarray of shape (n,)
        NaN is left out.
    groups : sequence of n
        Which group each value belongs to, e.g. the name of its treatment.
    seed : int

    Returns
    -------
    dict
        ``mean``, ``low`` and ``high``: percentiles 2.5 and 97.5 of 2000 drawn means; these
        two are None where one group is all there is. All are None without any value.

    Raises
    ------
    ValueError
        Not as many groups as values.

    Examples
    --------
    >>> found = bootstrap_interval([0.0, 1.0, 0.0, 1.0], ["a", "b", "c", "d"])
    >>> found
    {'mean': 0.5, 'low': 0.0, 'high': 1.0}
    """
    values = np.asarray(values, float)
    groups = np.asarray(groups)
    if values.shape != groups.shape:
        raise ValueError(f"expected a group for each of {values.shape} values, got {groups.shape}")
    known = ~np.isnan(values)
    if not known.any():
        return {"mean": None, "low": None, "high": None}
    names, place = np.unique(groups[known], return_inverse=True)
    mean = float(values[known].mean())
    if len(names) == 1:
        return {"mean": mean, "low": None, "high": None}
    sums, counts = np.bincount(place, values[known]), np.bincount(place)
    random = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for turn in range(RESAMPLES):
        drawn = random.integers(0, len(names), len(names))
        means[turn] = sums[drawn].sum() / counts[drawn].sum()
    low, high = np.percentile(means, [2.5, 97.5])
    return {"mean": mean, "low": float(low), "high": float(high)}
