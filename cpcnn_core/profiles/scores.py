"""Scores of whole tables: how well replicates, and treatments of one mechanism, find each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles import paper
from cpcnn_core.profiles.correction import fit_correction
from cpcnn_core.profiles.replicates import find_replicates
from cpcnn_core.profiles.retrieval import (
    average_precision,
    chance_average_precision,
    first_hit,
    fold_enrichment,
    precision_at,
    recall_at,
)
from cpcnn_core.profiles.similarity import cosine_similarity, same_label
from cpcnn_core.tables.profiles import Profiles

LAMBDAS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
TOP = 0.01
POSITIONS = (1, 5, 10, 20, 50)


def sweep_lambda(
    wells: Profiles,
    controls: np.ndarray,
    by: str,
    lambdas: Sequence[float] = LAMBDAS,
    *,
    asked: np.ndarray | None = None,
    relative: bool = False,
) -> pd.DataFrame:
    """Try sphering with several lambdas on replicates, which needs no annotation.

    Parameters
    ----------
    wells : Profiles
        Uncorrected.
    controls : ndarray of shape (n,), bool
    by : str
        The column that names the treatment; wells with an empty name are left out.
    lambdas : sequence of float
    asked : ndarray of shape (n,), bool, optional
        Only these wells count; they look for their replicates among all.
    relative : bool
        See `cpcnn_core.profiles.sphering.fit_sphering`.

    Returns
    -------
    pandas.DataFrame
        ``lambda`` (NaN: no sphering) and ``replicate_map``.

    Raises
    ------
    ProfileError
        No controls, no replicates of wells that ask, NaN.

    Examples
    --------
    >>> sweep_lambda(wells, controls, "Metadata_Treatment")  # doctest: +SKIP
    """
    controls = np.asarray(controls, bool)
    rows = ~controls & wells.named(by)
    treated = wells.select(rows)
    counted = np.ones(rows.sum(), bool) if asked is None else np.asarray(asked, bool)[rows]

    def score(features: np.ndarray) -> float:
        found = find_replicates(replace(treated, features=features), by)
        asked = found.asked(counted)
        if not asked.any():
            raise ProfileError(f"none of the wells that ask has replicates in the column {by}")
        return float(found.precision[asked].mean())

    scores = [(np.nan, score(treated.features))]
    # Lambda comes after the eigenvectors, which are the slow part and the same for all.
    how = {"regularization": 1.0, "tell": lambda _: None}
    fitted = fit_correction(wells, controls, "sphering", **how).steps[0]
    unit = float(fitted.eigenvalues.mean()) if relative else 1.0
    for value in lambdas:
        sphering = replace(fitted, regularization=value * unit)
        scores.append((float(value), score(sphering.transform(treated.features))))
    return pd.DataFrame(scores, columns=["lambda", "replicate_map"])


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
    asked = ~np.isnan(precision)
    if not asked.any():
        raise ProfileError(f"none of the {len(asked)} treatments shares a label with another")
    folds, p_values = fold_enrichment(similarity, matches, TOP)
    first = first_hit(similarity, matches)
    others = len(asked) - 1
    hits = matches.sum(axis=1)[asked] - 1
    chance = chance_average_precision(hits, np.full(len(hits), others))
    positions = [k for k in positions if k <= others]
    return {
        "treatments": len(asked),
        "queries": int(asked.sum()),
        "mean_average_precision": float(np.nanmean(precision)),
        "chance_average_precision": float(chance.mean()),
        "fold_enrichment": float(np.nanmean(folds)),
        "significant_queries": int((p_values[asked] < 0.05 / asked.sum()).sum()),
        "precision_at": {
            str(k): float(np.nanmean(precision_at(similarity, matches, k))) for k in positions
        },
        "recall_at": {
            str(k): float(np.nanmean(recall_at(similarity, matches, k))) for k in positions
        },
        "first_hit_in_top": float((first[asked] <= np.ceil(TOP * others)).mean()),
        "mean_reciprocal_rank": float(np.nanmean(1 / first)),
    }


def evaluate_as_in_the_paper(features: np.ndarray, labels: Sequence[str]) -> dict[str, object]:
    """Score treatments as the paper does, to compare with its published numbers.

    Parameters and errors are those of `evaluate_treatments`; what differs from it is told
    in `cpcnn_core.profiles.paper`.

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
