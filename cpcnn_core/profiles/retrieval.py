"""Does a profile find those that it ought to? Textbook measures of a ranking.

All take similarities (n, n) between profiles and which of them match (n, n). Row i is a
query, its own column is left out. Rows that have nothing to find are NaN in the result;
take the mean with `numpy.nanmean`. Where similarities are equal no order is made up,
except at the edge of the first k, where the order of the columns decides.
"""

from __future__ import annotations

import numpy as np
import scipy.stats

from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.checks import check_similarity


def average_precision(similarity: np.ndarray, matches: np.ndarray) -> np.ndarray:
    """Return the average precision of every query.

    The mean, over the matches of a query, of the precision among all that are at least as
    similar as that match: what scikit-learn's ``average_precision_score`` computes.

    Parameters
    ----------
    similarity : ndarray of shape (n, n)
    matches : ndarray of shape (n, n), bool

    Returns
    -------
    ndarray of shape (n,), float64, 0 to 1, NaN where there is nothing to find

    Raises
    ------
    ProfileError
        Another shape, or NaN.

    Examples
    --------
    >>> similarity = np.array([[1, 0.9, 0.8], [0.9, 1, 0.1], [0.8, 0.1, 1]])
    >>> matches = np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]], bool)
    >>> average_precision(similarity, matches)
    array([0.5, nan, 1. ])
    """
    similarity, matches = _without_self(similarity, matches)
    found = np.full(len(similarity), np.nan)
    for query, (row, match) in enumerate(zip(similarity, matches, strict=True)):
        hits = np.sort(row[match])
        if len(hits):
            # A rank counts all that are at least as similar: those from the left edge on.
            among_hits = len(hits) - np.searchsorted(hits, hits, "left")
            among_all = len(row) - np.searchsorted(np.sort(row), hits, "left")
            found[query] = np.mean(among_hits / among_all)
    return found


def chance_average_precision(matches: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the average precision to be expected of a random order.

    It is not the share of matches, but more: with M matches among N others, by the mean over all
    orders, ((M - 1) / (N - 1) (N - H) + H) / N, where H is the N-th harmonic number.

    Parameters
    ----------
    matches : ndarray of shape (n,), int
        How many of the others match each query.
    others : ndarray of shape (n,), int
        How many others are ranked for each query.

    Returns
    -------
    ndarray of shape (n,), float64, NaN where there is nothing to find

    Raises
    ------
    ProfileError
        More matches than others.

    References
    ----------
    Bestgen, "Exact expected average precision of the random baseline for system evaluation",
    The Prague Bulletin of Mathematical Linguistics 103, 2015.

    Examples
    --------
    >>> chance_average_precision(np.array([1, 2, 0]), np.array([2, 2, 2]))
    array([0.75, 1.  ,  nan])
    """
    matches, others = np.asarray(matches, int), np.asarray(others, int)
    if (matches > others).any():
        raise ProfileError("there are more matches than others to be ranked")
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, others.max(initial=0) + 1))])
    h = harmonic[others]
    # Of a single other the second factor is 0, whatever the first one is.
    more = (matches - 1) / np.maximum(others - 1, 1)
    found = (more * (others - h) + h) / np.maximum(others, 1)
    return np.where(matches > 0, found, np.nan)


def precision_at(similarity: np.ndarray, matches: np.ndarray, k: int) -> np.ndarray:
    """Return the fraction of the k most similar that match, (n,).

    Raises
    ------
    ProfileError
        Another shape, NaN, or k that is not among 1 to n - 1.

    Examples
    --------
    >>> similarity = np.array([[1, 0.9, 0.8], [0.9, 1, 0.1], [0.8, 0.1, 1]])
    >>> precision_at(similarity, np.ones((3, 3), bool), 1)
    array([1., 1., 1.])
    """
    return _hits_at(similarity, matches, k) / k


def recall_at(similarity: np.ndarray, matches: np.ndarray, k: int) -> np.ndarray:
    """Return the fraction of the matches that is among the k most similar, (n,).

    Raises
    ------
    ProfileError
        As `precision_at`.

    Examples
    --------
    >>> similarity = np.array([[1, 0.9, 0.8], [0.9, 1, 0.1], [0.8, 0.1, 1]])
    >>> recall_at(similarity, np.ones((3, 3), bool), 1)
    array([0.5, 0.5, 0.5])
    """
    there = _without_self(similarity, matches)[1].sum(axis=1)
    result: np.ndarray = _hits_at(similarity, matches, k) / there
    return result


def first_hit(similarity: np.ndarray, matches: np.ndarray) -> np.ndarray:
    """Return the rank of the nearest match, 1 for the very nearest, (n,).

    One that is as similar and does not match counts as nearer.

    Examples
    --------
    >>> similarity = np.array([[1, 0.9, 0.8], [0.9, 1, 0.1], [0.8, 0.1, 1]])
    >>> matches = np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]], bool)
    >>> first_hit(similarity, matches)
    array([ 2., nan,  1.])
    """
    similarity, matches = _without_self(similarity, matches)
    best = np.where(matches, similarity, -np.inf).max(axis=1)
    ahead = ((similarity >= best[:, None]) & ~matches).sum(axis=1)
    return np.where(matches.any(axis=1), 1.0 + ahead, np.nan)


def fold_enrichment(
    similarity: np.ndarray, matches: np.ndarray, top: float = 0.01
) -> tuple[np.ndarray, np.ndarray]:
    """Return how many times more matches are at the top than chance would put there.

    Parameters
    ----------
    similarity, matches : ndarray of shape (n, n)
    top : float
        The fraction of the n - 1 others that is the top, rounded up to whole profiles.

    Returns
    -------
    folds : ndarray of shape (n,)
        (matches in the top k / k) / (all matches / (n - 1)).
    p_values : ndarray of shape (n,)
        Of as many matches or more (hypergeometric, one-sided Fisher test).

    Examples
    --------
    >>> similarity = np.array([[1, 0.9, 0.8], [0.9, 1, 0.1], [0.8, 0.1, 1]])
    >>> matches = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]], bool)
    >>> folds, p_values = fold_enrichment(similarity, matches)
    >>> folds, p_values
    (array([ 2.,  2., nan]), array([0.5, 0.5, nan]))
    """
    if not 0 < top <= 1:
        raise ProfileError(f"expected the top as a fraction from 0 to 1, got {top}")
    others = len(similarity) - 1
    k = int(np.ceil(top * others))
    hits = _hits_at(similarity, matches, k)
    total = _without_self(similarity, matches)[1].sum(axis=1)
    folds = (hits / k) / np.where(total, total / others, np.nan)
    p_values = scipy.stats.hypergeom.sf(hits - 1, others, total, k)
    return folds, np.where(total, p_values, np.nan)


def _hits_at(similarity: np.ndarray, matches: np.ndarray, k: int) -> np.ndarray:
    similarity, matches = _without_self(similarity, matches)
    if not 1 <= k < len(similarity):
        raise ProfileError(f"expected k from 1 to {len(similarity) - 1}, got {k}")
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    hits = np.take_along_axis(matches, nearest, axis=1).sum(axis=1)
    return np.where(matches.any(axis=1), hits, np.nan)


def _without_self(similarity: np.ndarray, matches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    similarity, matches = check_similarity(similarity, matches)
    np.fill_diagonal(similarity, -np.inf)
    np.fill_diagonal(matches, False)
    return similarity, matches
