"""The paper's own measures, quirks included, to compare with its published numbers.

What differs from the textbook's (`cpcnn_core.profiles.retrieval`) is said in each function;
docs/method.md#the-papers-measures puts it together.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats

from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.checks import check_similarity

TOP_PERCENT = 1.0
POSITIONS = tuple(range(5, 51, 5))


@dataclass(frozen=True)
class Enrichment:
    """Folds of enrichment of one query.

    Attributes
    ----------
    threshold : float
        Similarity above which others are at the top.
    folds : float
        The odds ratio.
    p_value : float
        Of the one-sided Fisher exact test.
    """

    threshold: float
    folds: float
    p_value: float


def regex_matches(labels: Sequence[str]) -> np.ndarray:
    """Tell which profiles share a label, as the paper's notebooks for compounds do.

    Every label is used as a regular expression without being escaped, so one with
    brackets, "+" or the like matches nothing, not even itself.

    Parameters
    ----------
    labels : sequence of n str
        Several labels of one profile are separated by ``|``.

    Returns
    -------
    ndarray of shape (n, n), bool
        Row i: the profiles that have one of the labels of profile i.

    Examples
    --------
    >>> regex_matches(["kinase|mTOR", "mTOR", "tubulin (b)"]).astype(int)
    array([[1, 1, 0],
           [1, 1, 0],
           [0, 0, 0]])
    """
    texts = [text.replace("|", "___") for text in labels]
    rows = {}
    for text in texts:
        if text in rows:
            continue
        patterns = [re.compile(rf"(^|___){label}($|___)") for label in text.split("___")]
        found = {other: any(p.search(other) for p in patterns) for other in set(texts)}
        rows[text] = [found[other] for other in texts]
    return np.array([rows[text] for text in texts], bool).reshape(len(texts), len(texts))


def queries_with_a_match(matches: np.ndarray) -> np.ndarray:
    """Return the rows that match more than one profile, themselves included.

    Examples
    --------
    >>> queries_with_a_match(np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]], bool))
    array([0, 1])
    """
    return np.flatnonzero(np.asarray(matches, bool).sum(axis=1) > 1)


def enrichment(
    similarities: np.ndarray, matches: np.ndarray, top_percent: float = TOP_PERCENT
) -> Enrichment:
    """Return the folds of enrichment among the most similar.

    The odds ratio a d / (b c) of matches against others, above against below the
    percentile of the similarities; an infinite one (no match below) is replaced by d, the
    number of others below. Similarities equal to the threshold count as below.

    Parameters
    ----------
    similarities : ndarray of shape (n,)
        To all but the query itself.
    matches : ndarray of shape (n,), bool
    top_percent : float

    Returns
    -------
    Enrichment

    Examples
    --------
    >>> result = enrichment(np.arange(200.0), np.arange(200) > 197)
    >>> result.threshold, result.folds
    (197.01, 198.0)
    """
    threshold = float(np.percentile(similarities, 100 - top_percent))
    above = similarities > threshold
    table = [
        [(above & matches).sum(), (above & ~matches).sum()],
        [(~above & matches).sum(), (~above & ~matches).sum()],
    ]
    with warnings.catch_warnings():
        # A table with an empty row or column has an odds ratio of NaN, which SciPy announces.
        warnings.simplefilter("ignore", RuntimeWarning)
        folds, p_value = scipy.stats.fisher_exact(table, alternative="greater")
    if np.isinf(folds):
        folds = table[1][1]
    return Enrichment(threshold, float(folds), float(p_value))


def enrichments(
    similarity: np.ndarray, matches: np.ndarray, top_percent: float = TOP_PERCENT
) -> dict[int, Enrichment]:
    """Return the enrichment of every query with a match; the paper's score is the mean.

    Parameters
    ----------
    similarity, matches : ndarray of shape (n, n)

    Returns
    -------
    dict of int to Enrichment
        By row.

    Examples
    --------
    >>> similarity = np.array([[1, 0.9, 0.8], [0.9, 1, 0.1], [0.8, 0.1, 1]])
    >>> found = enrichments(similarity, np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]], bool))
    >>> {query: result.folds for query, result in found.items()}
    {0: 1.0, 1: 1.0}
    """
    similarity, matches = check_similarity(similarity, matches)
    everything = np.arange(len(similarity))
    return {
        int(query): enrichment(
            similarity[query, everything != query], matches[query, everything != query], top_percent
        )
        for query in queries_with_a_match(matches)
    }


def precision_recall_curve(
    similarity: np.ndarray, matches: np.ndarray, *, stop_at_full_recall: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Return the interpolated precision, averaged over queries; its mean is the paper's mAP.

    Queries have at least two matches besides themselves. Each stays in its own list as the
    last, a profile that does not match. Precision is the running maximum from the highest
    recall down; at n equally spaced recalls from 1 to 0 the value of the recall before is
    taken.

    Parameters
    ----------
    similarity, matches : ndarray of shape (n, n)
    stop_at_full_recall : bool
        A query's curve begins where its last match is found, as in scikit-learn up to 1.0,
        with which the published numbers were made; otherwise at the end of the list.

    Returns
    -------
    recall : ndarray of shape (n,)
        From 1 to 0.
    precision : ndarray of shape (n,)

    Raises
    ------
    ProfileError
        Another shape, NaN, or no query with two matches.

    Examples
    --------
    >>> similarity = np.array([[1, 0.9, 0.8], [0.9, 1, 0.1], [0.8, 0.1, 1]])
    >>> recall, precision = precision_recall_curve(similarity, np.ones((3, 3), bool))
    >>> recall, precision
    (array([1. , 0.5, 0. ]), array([1., 1., 1.]))
    """
    similarity, matches = check_similarity(similarity, matches)
    np.fill_diagonal(similarity, -1)
    np.fill_diagonal(matches, False)
    queries = queries_with_a_match(matches)
    if not len(queries):
        raise ProfileError("no query has two matches besides itself; the paper's mAP needs them")
    # From 0 to 1 and turned round: its rounding decides where a recall is passed.
    axis = np.linspace(0, 1, len(similarity))[::-1]
    curves = []
    for query in queries:
        precision, recall = _curve(similarity[query], matches[query])
        first = np.flatnonzero(recall == 1)[-1] if stop_at_full_recall else 0
        curves.append(_interpolated(precision[first:], recall[first:], axis))
    return axis, np.mean(curves, axis=0)


def _interpolated(precision: np.ndarray, recall: np.ndarray, axis: np.ndarray) -> np.ndarray:
    highest = np.maximum.accumulate(precision)
    values = np.empty(len(axis))
    j = 0
    for i, place in enumerate(axis):
        values[i] = highest[j]
        while j < len(recall) - 1 and place < recall[j]:
            j += 1
    return values


def _curve(scores: np.ndarray, matches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return precision and recall at every threshold, the lowest first, then 1 and 0."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits = np.cumsum(matches[order])[ends]
    precision = np.append((hits / (ends + 1))[::-1], 1.0)
    recall = np.append((hits / hits[-1])[::-1], 0.0)
    return precision, recall


def precision_at(similarity: np.ndarray, matches: np.ndarray, k: int) -> float:
    """Return the precision among the k most similar, as the notebooks compute it.

    They leave the last query's column out of every ranking, and take what is then at a
    place for the profile of that number, so profiles after that row are read one too far
    left. Only for comparison with the published numbers.

    Parameters
    ----------
    similarity, matches : ndarray of shape (n, n)
    k : int

    Returns
    -------
    float
        Mean over the queries with a match.

    Examples
    --------
    >>> similarity = np.array([[1, 0.9, 0.8], [0.9, 1, 0.1], [0.8, 0.1, 1]])
    >>> precision_at(similarity, np.ones((3, 3), bool), 1)
    1.0
    """
    similarity, matches = check_similarity(similarity, matches)
    queries = queries_with_a_match(matches)
    shown = np.delete(similarity, queries[-1], axis=1)
    ranked = np.argsort(-shown[queries], axis=1, kind="stable")[:, 1 : k + 1]
    return float(np.take_along_axis(matches[queries], ranked, axis=1).sum(axis=1).mean() / k)


def recall_at(similarity: np.ndarray, matches: np.ndarray, k: int) -> float:
    """Return the recall among the k most similar, as the notebooks compute it.

    The most similar, taken for the query itself, and then k - 1 others; divided by the
    matches with the query itself.

    Parameters
    ----------
    similarity, matches : ndarray of shape (n, n)
    k : int

    Returns
    -------
    float
        Mean over the queries with a match.

    Examples
    --------
    >>> similarity = np.array([[1, 0.9, 0.8], [0.9, 1, 0.1], [0.8, 0.1, 1]])
    >>> round(recall_at(similarity, np.ones((3, 3), bool), 2), 3)
    0.333
    """
    similarity, matches = check_similarity(similarity, matches)
    queries = queries_with_a_match(matches)
    ranked = np.argsort(-similarity[queries], axis=1, kind="stable")[:, 1:k]
    hits = np.take_along_axis(matches[queries], ranked, axis=1).sum(axis=1)
    return float(np.mean(hits / matches[queries].sum(axis=1)))


def top_k(profiles: int, top_percent: float = TOP_PERCENT) -> int:
    """Return how many profiles are the top.

    Examples
    --------
    >>> top_k(995), top_k(50)
    (9, 1)
    """
    return max(1, int(top_percent / 100 * profiles))


def precision_to_the_last_hit(hits: Sequence[int]) -> float:
    """Return what the reference calls R-precision: the precision up to the last hit.

    The textbook's is the precision among the first R, R being the number of matches.

    Parameters
    ----------
    hits : sequence of n numbers
        Whether each profile of a ranking matches, the nearest first.

    Returns
    -------
    float
        0 without a hit.

    Examples
    --------
    >>> precision_to_the_last_hit([0, 1, 0, 1, 0])
    0.5
    """
    found = np.asarray(hits) != 0
    if not found.any():
        return 0.0
    return float(found[: np.flatnonzero(found)[-1] + 1].mean())


def mean_reciprocal_rank(rankings: Sequence[Sequence[int]]) -> float:
    """Return the mean of 1 / rank of the first hit; a ranking without a hit counts as 0.

    Parameters
    ----------
    rankings : sequence of sequences
        See `precision_to_the_last_hit`.

    Examples
    --------
    >>> mean_reciprocal_rank([[0, 1], [1, 0], [0, 0]])
    0.5
    """
    first = [np.flatnonzero(np.asarray(hits))[:1] for hits in rankings]
    return float(np.mean([1 / (places[0] + 1) if len(places) else 0.0 for places in first]))


def replicate_correlation(features: np.ndarray) -> float:
    """Return the median correlation between a treatment's wells, as the notebooks compute it.

    Every well's correlation with itself is among those of which the median is taken.

    Parameters
    ----------
    features : ndarray of shape (wells, d)

    Returns
    -------
    float
        Pearson's, -1 to 1.

    Examples
    --------
    >>> replicate_correlation(np.array([[0.0, 1, 2], [2, 1, 0]]))
    0.0
    """
    return float(np.median(np.corrcoef(features)))


def fraction_strong(
    correlations: np.ndarray, null: np.ndarray, percentile: float = 95
) -> tuple[float, float]:
    """Return the fraction of the treatments whose replicates are more alike than chance.

    Parameters
    ----------
    correlations : ndarray of shape (treatments,)
        `replicate_correlation` of each.
    null : ndarray of shape (draws,)
        The same of wells drawn at random.
    percentile : float
        Of the null, that has to be passed.

    Returns
    -------
    fraction, threshold : float

    Examples
    --------
    >>> fraction_strong(np.array([0.1, 0.9]), np.linspace(0, 1, 101), 50)
    (0.5, 0.5)
    """
    # A value of the null itself, none between two.
    threshold = float(np.sort(null)[int(percentile / 100 * len(null))])
    return float(np.mean(correlations > threshold)), threshold
