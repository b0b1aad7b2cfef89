"""How well wells find their replicates, and what a random order would find."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.retrieval import average_precision, chance_average_precision
from cpcnn_core.profiles.similarity import cosine_similarity, same_value
from cpcnn_core.schema.columns import PLATE
from cpcnn_core.schema.profiles import Profiles


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
