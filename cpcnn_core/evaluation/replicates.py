"""How well the wells of a treatment find each other, and what a random order would find.

They are looked for among all wells, or among control wells: treatments whose wells are more alike
than control wells are do something.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.retrieval import average_precision, chance_average_precision
from cpcnn_core.profiles.significance import Significance
from cpcnn_core.profiles.similarity import cosine_similarity, same_value
from cpcnn_core.schema.columns import PLATE
from cpcnn_core.schema.profiles import Profiles

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class ReplicateRetrieval:
    """Result of `find_replicates`, for each of n wells.

    Attributes
    ----------
    names : ndarray of shape (n,), str
        The treatment of every well.
    precision : ndarray of shape (n,), float64
        Average precision; NaN where there is nothing to find, or nothing else to find it among.
    chance : ndarray of shape (n,), float64
        What a random order of the same wells is expected to reach; NaN like `precision`.
    on_other_plates : ndarray of shape (n,), bool
        Whether replicates on other plates were looked for, among the wells of other plates.
    """

    names: np.ndarray
    precision: np.ndarray
    chance: np.ndarray
    on_other_plates: np.ndarray

    def queries(self, among: np.ndarray | None = None) -> np.ndarray:
        """Tell which wells had replicates to find, of those `among` (n,) bool, (n,) bool."""
        found = ~np.isnan(self.precision)
        result: np.ndarray = found if among is None else found & np.asarray(among, bool)
        return result


def find_replicates(wells: Profiles, by: str) -> ReplicateRetrieval:
    """Measure how well every well finds the wells of its treatment.

    Decided for each treatment. If it is on several plates, a well looks for its replicates on the
    other plates, among the wells there: on its own plate it would find what the plate has in
    common. If it is on a single plate, a well looks there, among the wells of that plate, which
    all share the plate alike.

    Parameters
    ----------
    wells : Profiles
        Treated wells, without controls.
    by : str
        The column that names the treatment.

    Returns
    -------
    ReplicateRetrieval

    Raises
    ------
    ProfileError
        No wells, no such column, NaN, a well without a plate where others have one, or no
        treatment has replicates.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"Metadata_Treatment": ["a", "b", "a", "b"]})
    >>> wells = Profiles(np.array([[1.0, 0], [0, 1], [1, 0.1], [0.1, 1]]), rows, ["x", "y"])
    >>> found = find_replicates(wells, "Metadata_Treatment")
    >>> found.precision, found.chance.round(3)
    (array([1., 1., 1., 1.]), array([0.611, 0.611, 0.611, 0.611]))
    """
    names = wells.texts(by)
    if not len(names):
        raise ProfileError(
            f"there is no well with a {by} that is none of the controls; keep some treated wells"
        )
    matches, searched, on_other_plates = replicate_pairs(names, _plates(wells))
    # Less alike than anything can be: never ahead of a replicate.
    similarity = np.where(searched, cosine_similarity(wells.features), -2)
    precision = average_precision(similarity, matches)
    if np.isnan(precision).all():
        raise ProfileError(
            f"no treatment in the column {by} has replicates to rank among other wells"
        )
    chance = chance_average_precision(matches.sum(axis=1), searched.sum(axis=1))
    return ReplicateRetrieval(names, precision, chance, on_other_plates)


def replicate_pairs(
    names: np.ndarray, plates: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tell which wells are to be found, and among which they are looked for.

    Parameters
    ----------
    names, plates : ndarray of shape (n,), str
        The treatment and the plate of every well.

    Returns
    -------
    matches, searched : ndarray of shape (n, n), bool
        A row for every well that looks; see `find_replicates`.
    on_other_plates : ndarray of shape (n,), bool
        Whether it looks on the other plates.

    Examples
    --------
    >>> names, plates = np.array(["a", "b", "a"]), np.array(["P1", "P2", "P2"])
    >>> matches, searched, _ = replicate_pairs(names, plates)
    >>> matches.astype(int).tolist(), searched.astype(int).tolist()
    ([[0, 0, 1], [0, 0, 0], [0, 0, 0]], [[0, 1, 1], [0, 0, 1], [1, 0, 0]])
    """
    matches = same_value(names)
    np.fill_diagonal(matches, False)
    elsewhere = plates[:, None] != plates
    on_other_plates = (matches & elsewhere).any(axis=1)
    searched = elsewhere == on_other_plates[:, None]
    np.fill_diagonal(searched, False)
    matches &= searched
    # Where all that is searched matches, any order is right.
    matches[(matches == searched).all(axis=1)] = False
    return matches, searched, on_other_plates


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


def _plates(wells: Profiles) -> np.ndarray:
    if PLATE not in wells.metadata.columns:
        return np.full(len(wells.metadata), "")
    plates = wells.texts(PLATE)
    without = np.flatnonzero(plates == "")
    if len(without) and len(without) < len(plates):
        raise ProfileError(
            f"{len(without)} of {len(plates)} wells have no plate, the first in row "
            f"{without[0] + 1}; replicates are looked for plate by plate: fill {PLATE} in, or "
            "leave these wells out"
        )
    return plates


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
