"""Scores of whole tables: how well replicates, and treatments of one mechanism, find each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cpcnn_core.errors import ProfileError
from cpcnn_core.evaluation import paper
from cpcnn_core.evaluation.intervals import bootstrap_interval
from cpcnn_core.profiles.retrieval import (
    average_precision,
    chance_average_precision,
    first_hit,
    fold_enrichment,
    precision_at,
    recall_at,
)
from cpcnn_core.profiles.similarity import cosine_similarity, same_label

TOP = 0.01
POSITIONS = (1, 5, 10, 20, 50)


def retrieval_scores(precision: np.ndarray, names: np.ndarray, chance: float) -> dict[str, object]:
    """Return the mean of average precisions with its interval, beside chance.

    Parameters
    ----------
    precision : ndarray of shape (n,)
    names : ndarray of shape (n,), str
        What is resampled for the interval: treatments.
    chance : float
        The mean that a random order is expected to have.

    Returns
    -------
    dict
        ``mean_average_precision``; ``interval``, None where one treatment is all there is;
        ``chance_average_precision``; ``above_chance``, whether the whole interval is above it.

    Examples
    --------
    >>> retrieval_scores(np.array([0.5, 0.7]), np.array(["a", "b"]), 0.4)["above_chance"]
    True
    """
    found = bootstrap_interval(precision, names)
    low = found["low"]
    interval = None if low is None else [low, found["high"]]
    return {
        "mean_average_precision": float(np.nanmean(precision)),
        "chance_average_precision": chance,
        "interval": interval,
        "above_chance": None if low is None else low > chance,
    }


def evaluate_treatments(
    features: np.ndarray, labels: Sequence[str], positions: Sequence[int] = POSITIONS
) -> dict[str, object]:
    """Score how well treatments that share a label find each other.

    Parameters
    ----------
    features : ndarray of shape (n, d)
        Treatments' profiles.
    labels : sequence of n str
        E.g. mechanisms of action; several are separated by ``|``. Treatments without one
        are searched and ask nothing.
    positions : sequence of int
        The k of precision and recall; those beyond n - 1 are left out.

    Returns
    -------
    dict
        JSON's types only: ``treatments``, ``queries`` (those with another of their label),
        ``mean_average_precision``, ``chance_average_precision`` (of a random order),
        ``fold_enrichment``, ``significant_queries`` (Fisher, Bonferroni, 5 %),
        ``precision_at`` and ``recall_at`` by k, ``first_hit_in_top`` (part of the queries),
        ``mean_reciprocal_rank`` of the first hit.

    Raises
    ------
    ProfileError
        No label is shared, NaN.

    Examples
    --------
    >>> features = np.array([[1.0, 0], [1, 0.1], [0, 1], [0.1, 1]])
    >>> scores = evaluate_treatments(features, ["a", "a", "b", "b"])
    >>> scores["mean_average_precision"], scores["queries"]
    (1.0, 4)
    """
    similarity, matches = cosine_similarity(features), same_label(labels)
    precision = average_precision(similarity, matches)
    with_match = ~np.isnan(precision)
    if not with_match.any():
        raise ProfileError(f"none of the {len(with_match)} treatments shares a label with another")
    folds, p_values = fold_enrichment(similarity, matches, TOP)
    first = first_hit(similarity, matches)
    others = len(with_match) - 1
    hits = matches.sum(axis=1)[with_match] - 1
    chance = chance_average_precision(hits, np.full(len(hits), others))
    positions = [k for k in positions if k <= others]
    return {
        "treatments": len(with_match),
        "queries": int(with_match.sum()),
        "mean_average_precision": float(np.nanmean(precision)),
        "chance_average_precision": float(chance.mean()),
        "fold_enrichment": float(np.nanmean(folds)),
        "significant_queries": int((p_values[with_match] < 0.05 / with_match.sum()).sum()),
        "precision_at": {
            str(k): float(np.nanmean(precision_at(similarity, matches, k))) for k in positions
        },
        "recall_at": {
            str(k): float(np.nanmean(recall_at(similarity, matches, k))) for k in positions
        },
        "first_hit_in_top": float((first[with_match] <= np.ceil(TOP * others)).mean()),
        "mean_reciprocal_rank": float(np.nanmean(1 / first)),
    }


def evaluate_as_in_the_paper(features: np.ndarray, labels: Sequence[str]) -> dict[str, object]:
    """Score treatments as the paper does, to compare with its published numbers.

    Parameters and errors are those of `evaluate_treatments`; what differs from it is told
    in `cpcnn_core.evaluation.paper`.

    Returns
    -------
    dict
        ``queries``, ``folds_of_enrichment``, ``mean_average_precision``, ``precision_at_top``,
        ``recall_at_top_10``.

    Examples
    --------
    >>> features = np.array([[1.0, 0], [1, 0.1], [0.9, 0], [0.1, 1]])
    >>> evaluate_as_in_the_paper(features, ["a", "a", "a", "b"])["mean_average_precision"]
    1.0
    """
    similarity = cosine_similarity(features)
    matches = paper.regex_matches([str(label) for label in labels])
    found = paper.enrichments(similarity, matches)
    if not found:
        raise ProfileError(f"none of the {len(matches)} treatments shares a label with another")
    _, precision = paper.precision_recall_curve(similarity, matches)
    k = paper.top_k(len(matches))
    return {
        "queries": len(found),
        "folds_of_enrichment": float(np.mean([one.folds for one in found.values()])),
        "mean_average_precision": float(precision.mean()),
        "precision_at_top": paper.precision_at(similarity, matches, k),
        "recall_at_top_10": paper.recall_at(similarity, matches, 10 * k),
    }
