"""How well replicates, and treatments that share a label, find each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cpcnn_core.errors import ProfileError
from cpcnn_core.evaluation.annotations import label_of
from cpcnn_core.evaluation.replicates import find_replicates
from cpcnn_core.evaluation.scores import evaluate_treatments, retrieval_scores
from cpcnn_core.profiles.aggregate import aggregate
from cpcnn_core.profiles.checks import refuse_wells_twice
from cpcnn_core.profiles.retrieval import average_precision
from cpcnn_core.profiles.similarity import cosine_similarity, same_label
from cpcnn_core.schema.profiles import Profiles


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
