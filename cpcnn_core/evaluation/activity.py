"""Which treatments do anything: those whose wells are more alike than control wells are."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.retrieval import average_precision, chance_average_precision
from cpcnn_core.profiles.significance import Significance
from cpcnn_core.profiles.similarity import cosine_similarity
from cpcnn_core.schema.columns import PLATE
from cpcnn_core.schema.profiles import Profiles

SIGNIFICANT = 0.05


def phenotypic_activity(
    wells: Profiles, controls: np.ndarray, by: str, significance: Significance | None
) -> pd.DataFrame:
    """Measure, with p-values, how much the wells of a treatment are alike.

    Parameters
    ----------
    wells : Profiles
        Corrected.
    controls : ndarray of shape (n,), bool
    by : str
        The column that names the treatment; wells with an empty name are left out.
    significance : Significance or None
        Of the same wells before correction; None where there can be none.

    Returns
    -------
    pandas.DataFrame
        A row for every treatment with replicates, the surest first: the column `by`, ``wells``
        (how many had a replicate to look for); ``mean_average_precision``, how high they rank
        their replicates among control wells, those on other plates where there are some, and
        ``chance_average_precision``, that of a random order: effect sizes; ``mean_cosine``,
        ``p_value`` and ``q_value`` as of `Significance.activity`, NaN without it;
        ``compound_q_value`` where that knows which treatments are doses.

    Raises
    ------
    ProfileError
        No controls, no such column, no replicates, NaN.

    Examples
    --------
    >>> from cpcnn_core.profiles.correction import fit_correction
    >>> from cpcnn_core.profiles.cross_fitting import cross_fit
    >>> correction = fit_correction(wells, controls, "plate-mad")
    >>> tests = Significance(cross_fit(wells, controls, "Metadata_Treatment", correction))
    >>> corrected = correction.transform(wells)
    >>> found = phenotypic_activity(corrected, controls, "Metadata_Treatment", tests)
    >>> found[["Metadata_Treatment", "wells"]].values.tolist()
    [['nocodazole', 8], ['taxol', 8], ['JQ1', 8]]
    >>> found["q_value"].round(3).tolist()
    [0.014, 0.014, 0.024]
    """
    controls = np.asarray(controls, bool)
    if not controls.any():
        raise ProfileError("activity is measured against control wells; say which wells they are")
    table = _precision(wells, controls, by)
    if significance is None:
        table[["mean_cosine", "p_value", "q_value"]] = np.nan
    else:
        table = table.join(significance.activity(), how="left")
    table = table.sort_values(["p_value", "mean_cosine"], ascending=[True, False], kind="stable")
    return table.rename_axis(by).reset_index()


def _precision(wells: Profiles, controls: np.ndarray, by: str) -> pd.DataFrame:
    """Return, by treatment, how well its wells find each other among the controls."""
    names = wells.texts(by)
    plates = wells.texts(PLATE) if PLATE in wells.metadata.columns else np.full(len(names), "")
    treated = wells.named(by) & ~controls
    rows = {}
    for name in dict.fromkeys(names[treated].tolist()):
        mine = np.flatnonzero(treated & (names == name))
        others = np.concatenate([mine, np.flatnonzero(controls)])
        several = len(np.unique(plates[mine])) > 1
        searched = (plates[mine][:, None] != plates[others]) == several
        matches = np.zeros_like(searched)
        matches[:, : len(mine)] = searched[:, : len(mine)]
        own = np.arange(len(mine))
        matches[own, own] = searched[own, own] = False
        similarity = cosine_similarity(wells.features[mine], wells.features[others])
        # A square, as `average_precision` takes it: rows that do not ask find nothing.
        square = np.full((len(others), len(others)), -2.0)
        square[: len(mine)] = np.where(searched, similarity, -2)
        hits = np.zeros(square.shape, bool)
        hits[: len(mine)] = matches
        found = average_precision(square, hits)[: len(mine)]
        chance = chance_average_precision(matches.sum(axis=1), searched.sum(axis=1))
        with_match = ~np.isnan(found)
        if with_match.any():
            rows[name] = (
                int(with_match.sum()),
                found[with_match].mean(),
                chance[with_match].mean(),
            )
    if not rows:
        raise ProfileError(f"no treatment in the column {by} has replicates")
    columns = ["wells", "mean_average_precision", "chance_average_precision"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)
