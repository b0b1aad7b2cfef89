"""Scores of whole tables: how well replicates, and treatments that share a label, are found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cpcnn_core.errors import ProfileError
from cpcnn_core.evaluation import paper
from cpcnn_core.evaluation.annotations import label_of
from cpcnn_core.evaluation.intervals import bootstrap_interval
from cpcnn_core.evaluation.replicates import find_replicates
from cpcnn_core.profiles.aggregate import aggregate
from cpcnn_core.profiles.checks import refuse_wells_twice
from cpcnn_core.profiles.retrieval import (
    average_precision,
    chance_average_precision,
    first_hit,
    fold_enrichment,
    precision_at,
    recall_at,
)
from cpcnn_core.profiles.similarity import cosine_similarity, same_label
from cpcnn_core.schema.profiles import Profiles

TOP = 0.01
POSITIONS = (1, 5, 10, 20, 50)


def measure_retrieval(
    wells: Profiles,
    controls: np.ndarray,
    by: str,
    *,
    queries: np.ndarray | None = None,
    annotations: Mapping[str, str] | None = None,
) -> dict[str, object]:
    """Measure how well replicates, and treatments that share a label, find each other.

    Parameters
    ----------
    wells : Profiles
    controls : ndarray of shape (n,), bool
        These are neither queries nor found.
    by : str
        The column that names the treatment; wells with an empty name are left out.
    queries : ndarray of shape (n,), bool, optional
        Of these wells only is told how well they find their replicates, among all; the
        treatments that search for those of their label are the means of these wells. So a
        network that has learned from the others is tested on what it has not seen.
    annotations : mapping of str to str, optional
        Labels of treatments, several separated by ``|``.

    Returns
    -------
    dict
        ``replicates`` and, with `annotations`, ``treatments``: JSON's types only. Both have
        ``mean_average_precision``; ``interval``, its 95 % interval, resampling treatments, None
        where one treatment is all that asks; ``chance_average_precision``, of a random order;
        and ``above_chance``, whether the whole interval is above it. ``replicates`` tells how
        many ``wells`` and ``treatments`` were queries, ``of_wells`` and ``of_treatments``, and how
        many of those searched ``on_other_plates``.

    Raises
    ------
    ProfileError
        No such column, NaN, a well twice, no query well has replicates, no label is shared.

    Examples
    --------
    >>> found = measure_retrieval(wells, controls, "Metadata_Treatment")["replicates"]
    >>> round(found["mean_average_precision"], 2), round(found["chance_average_precision"], 2)
    (0.94, 0.46)
    """
    refuse_wells_twice(wells, by)
    treated = wells.named(by) & ~controls
    among = None if queries is None else np.asarray(queries, bool)[treated]
    scores: dict[str, object] = {"replicates": _replicates(wells.select(treated), by, among)}
    if annotations is not None:
        treatments = means_of_treatments(wells, controls, by, queries)
        names = treatments.texts(by)
        labels = labels_of(annotations, names.tolist())
        precision = average_precision(cosine_similarity(treatments.features), same_label(labels))
        measured: dict[str, Any] = evaluate_treatments(treatments.features, labels)
        chance = measured["chance_average_precision"]
        scores["treatments"] = measured | retrieval_scores(precision, names, chance)
    return scores


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


def means_of_treatments(
    wells: Profiles, controls: np.ndarray, by: str, queries: np.ndarray | None
) -> Profiles:
    """Return the means of the treated query wells, one for every treatment.

    Parameters
    ----------
    wells, controls, by, queries
        As of `measure_retrieval`.

    Raises
    ------
    ProfileError
        There is no such well.

    Examples
    --------
    >>> len(means_of_treatments(wells, controls, "Metadata_Treatment", None).metadata)
    3
    """
    rows = wells.named(by) & ~controls
    if queries is not None:
        rows &= np.asarray(queries, bool)
    if not rows.any():
        raise ProfileError("none of the query wells is a treated one with a name")
    return aggregate(wells.select(rows), [by], "mean")


def labels_of(annotations: Mapping[str, str], names: list[str]) -> list[str]:
    """Return the labels of treatments, in their order; empty where the annotations have none.

    Raises
    ------
    ProfileError
        The annotations have none of them.

    Examples
    --------
    >>> labels_of({"taxol": "microtubules"}, ["taxol", "DMSO"])
    ['microtubules', '']
    """
    labels = label_of(annotations, names)
    if not any(labels) and not any(name in annotations for name in names):
        raise ProfileError(
            f"none of the {len(names)} treatments is in the annotations; the profiles have "
            f"{', '.join(names[:3])}, the annotations {', '.join(list(annotations)[:3])}"
        )
    return labels


def _replicates(treated: Profiles, by: str, among: np.ndarray | None) -> dict[str, object]:
    found = find_replicates(treated, by)
    queries = found.queries(among)
    if not queries.any():
        raise ProfileError(f"none of the query wells has replicates in the column {by}")
    of = np.ones(len(queries), bool) if among is None else among
    chance = float(found.chance[queries].mean())
    return {
        "wells": int(queries.sum()),
        "of_wells": int(of.sum()),
        "treatments": len(np.unique(found.names[queries])),
        "of_treatments": len(np.unique(found.names[of])),
        "on_other_plates": len(np.unique(found.names[queries & found.on_other_plates])),
        **retrieval_scores(found.precision[queries], found.names[queries], chance),
    }
