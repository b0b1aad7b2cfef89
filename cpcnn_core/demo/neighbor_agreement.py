"""Whether cells that look alike to a network are alike in what is measured without it."""

from __future__ import annotations

import numpy as np

from cpcnn_core.demo.cell_map import standardized

# Neighbours of a cell, and shuffles of the placebo.
NEAREST, SHUFFLES = 10, 20


def neighbor_agreement(
    features: np.ndarray, field: np.ndarray, values: np.ndarray
) -> tuple[float, float]:
    """Tell a cell's value from those of the cells most like it in other fields.

    Parameters
    ----------
    features : ndarray of shape (n, d), float
    field : ndarray of shape (n,)
        Two or more fields. Cells of a field have their light, and their treatment, in common:
        neighbours are of other fields, and ranks are those within a field.
    values : ndarray of shape (n,), float
        What is known of each cell without the features.

    Returns
    -------
    found : float
        Spearman's correlation of the values with the mean of the ten most similar cells of other
        fields, the mean over fields.
    shuffled : float
        The largest of 20 that are found so after the values of each field are shuffled.

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> features, field = random.normal(size=(200, 3)), np.repeat([1, 2], 100)
    >>> found, shuffled = neighbor_agreement(features, field, features[:, 0])
    >>> found > 0.5 > shuffled
    True
    """
    directions = standardized(features)
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    directions = directions / np.where(lengths > 0, lengths, 1)
    similarity = directions @ directions.T
    similarity[field[:, np.newaxis] == field] = -np.inf
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :NEAREST]
    random = np.random.default_rng(0)
    placebo = [
        _agreement(nearest, field, _shuffled(values, field, random)) for _ in range(SHUFFLES)
    ]
    return _agreement(nearest, field, values), max(placebo)


def _agreement(nearest: np.ndarray, field: np.ndarray, values: np.ndarray) -> float:
    from scipy.stats import spearmanr

    told = values[nearest].mean(axis=1)
    each = [
        spearmanr(told[field == one], values[field == one]).statistic for one in np.unique(field)
    ]
    return float(np.mean(each))


def _shuffled(values: np.ndarray, field: np.ndarray, random: np.random.Generator) -> np.ndarray:
    result = values.copy()
    for one in np.unique(field):
        result[field == one] = random.permutation(values[field == one])
    return result
