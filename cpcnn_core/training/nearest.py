"""How often a well looks like its treatment on other plates."""

from __future__ import annotations

import numpy as np

from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.aggregate import aggregate
from cpcnn_core.profiles.similarity import cosine_similarity
from cpcnn_core.tables.columns import PLATE
from cpcnn_core.tables.profiles import Profiles


def nearest_treatment_accuracy(wells: Profiles, by: str) -> dict[str, float]:
    """Return for which part of the wells the nearest treatment is their own.

    Parameters
    ----------
    wells : Profiles
        Treated wells, without controls.
    by : str
        The column that names the treatment.

    Returns
    -------
    dict
        ``accuracy``; ``chance``: the mean of 1 / number of treatments to choose from;
        ``wells``: how many were asked about.

    Raises
    ------
    ProfileError
        No such column, NaN, or no treatment has replicates.

    Notes
    -----
    A treatment is the mean of its wells on other plates than the well that is asked about,
    or, where no treatment is on several plates, of its other wells. Wells whose treatment is
    not there are not asked about. Cosine similarity.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"Metadata_Treatment": ["a", "b", "a", "b"]})
    >>> wells = Profiles(np.array([[1.0, 0], [0, 1], [1, 0.1], [0.1, 1]]), rows, ["x", "y"])
    >>> nearest_treatment_accuracy(wells, "Metadata_Treatment")
    {'accuracy': 1.0, 'chance': 0.5, 'wells': 4}
    """
    names = wells.texts(by)
    groups = _apart(wells, names)
    hits, chances = [], []
    for group in np.unique(groups):
        inside = groups == group
        if inside.all():
            continue
        treatments = aggregate(wells.select(~inside), [by], "mean")
        known = treatments.texts(by)
        asked = inside & np.isin(names, known)
        if asked.any():
            similarity = cosine_similarity(wells.features[asked], treatments.features)
            hits += (known[similarity.argmax(axis=1)] == names[asked]).tolist()
            chances += [1 / len(known)] * int(asked.sum())
    if not hits:
        raise ProfileError(f"no treatment in the column {by} has replicates")
    return {"accuracy": float(np.mean(hits)), "chance": float(np.mean(chances)), "wells": len(hits)}


def _apart(wells: Profiles, names: np.ndarray) -> np.ndarray:
    """Tell which wells are not compared with each other: those of a plate, or each with itself."""
    if PLATE in wells.metadata.columns:
        _, plates = np.unique(wells.texts(PLATE), return_inverse=True)
        pairs = np.unique(np.stack([np.unique(names, return_inverse=True)[1], plates]), axis=1)
        if pairs.shape[1] > len(np.unique(names)):
            return plates
    return np.arange(len(names))
