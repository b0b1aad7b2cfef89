"""How much of the profiles tells the plate, the place or the batch rather than the treatment.

The paper's point: a network, or a correction, that tells plates apart answers the wrong
question. Everything here has a chance level beside it.
"""

from __future__ import annotations

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GroupKFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.checks import check_features
from cpcnn_core.profiles.retrieval import average_precision, chance_average_precision
from cpcnn_core.profiles.similarity import cosine_similarity, same_value
from cpcnn_core.tables.columns import PLATE, WELL
from cpcnn_core.tables.profiles import Profiles

FOLDS = 5


def confounder_retrieval(profiles: Profiles, column: str) -> dict[str, float] | None:
    """Return how well profiles find others with the same value of a column.

    Parameters
    ----------
    profiles : Profiles
        Of control wells: what they have in common is not the treatment.
    column : str
        E.g. ``Metadata_Plate``.

    Returns
    -------
    dict or None
        ``mean_average_precision``, and ``chance``, what a random order is expected to reach.
        None where the column has one value only, or none twice.

    Raises
    ------
    ProfileError
        No such column, NaN.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"Metadata_Plate": ["1", "1", "2", "2"]})
    >>> wells = Profiles(np.array([[1.0, 0], [1, 0.1], [0, 1], [0.1, 1]]), rows, ["x", "y"])
    >>> confounder_retrieval(wells, "Metadata_Plate")
    {'mean_average_precision': 1.0, 'chance': 0.611111111111111}
    """
    names = profiles.texts(column)
    matches = same_value(names)
    np.fill_diagonal(matches, False)
    asked = matches.any(axis=1)
    if matches.sum() == len(names) * (len(names) - 1) or not asked.any():
        return None
    found = average_precision(cosine_similarity(profiles.features), matches)
    chance = chance_average_precision(matches.sum(axis=1), np.full(len(names), len(names) - 1))
    return {
        "mean_average_precision": float(np.nanmean(found)),
        "chance": float(np.nanmean(chance)),
    }


def linear_probe(
    profiles: Profiles, column: str, *, apart: str | None = None
) -> dict[str, float] | None:
    """Return how well a linear classifier reads a column from profiles it has not seen.

    Standardised features, ridge regression to the classes, five folds.

    Parameters
    ----------
    profiles : Profiles
    column : str
        What is to be read. Empty values, and those there less than five times, are left out.
    apart : str, optional
        Profiles with the same value of this column, e.g. ``Metadata_Plate``, are never in
        both the fitted and the tested part.

    Returns
    -------
    dict or None
        ``balanced_accuracy``: the mean over the classes of the part that is read right, and
        ``chance``, 1 / number of classes. A profile whose class is in the tested part alone
        cannot be read, and is not counted. None where there are fewer than two classes left to
        tell apart, or fewer than two values to keep apart.

    Raises
    ------
    ProfileError
        No such column, NaN.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"Metadata_Plate": ["1"] * 10 + ["2"] * 10})
    >>> features = np.arange(20.0)[:, None] + np.repeat([0, 50], 10)[:, None]
    >>> linear_probe(Profiles(features, rows, ["x"]), "Metadata_Plate")
    {'balanced_accuracy': 1.0, 'chance': 0.5}
    """
    names = profiles.texts(column)
    _, place, count = np.unique(names, return_inverse=True, return_counts=True)
    used = (count >= FOLDS)[place] & (names != "")
    if apart is None:
        folds, groups = StratifiedKFold(FOLDS, shuffle=True, random_state=0), None
    else:
        values = profiles.texts(apart)
        # Of a class with one value nothing is left to learn from when that is held out.
        used &= _on_several(names, values)
        groups = values[used]
        folds = GroupKFold(max(2, min(FOLDS, len(np.unique(groups)))))
    if len(np.unique(names[used])) < 2:
        return None
    features, truth = check_features(profiles.features[used]), names[used]
    read, right = np.zeros(len(truth), bool), np.zeros(len(truth), bool)
    for fitted, tested in folds.split(features, truth, groups):
        if len(np.unique(truth[fitted])) > 1:
            found = _probe().fit(features[fitted], truth[fitted]).predict(features[tested])
            right[tested] = found == truth[tested]
            read[tested] = np.isin(truth[tested], truth[fitted])
    parts = [np.mean(right[read & (truth == name)]) for name in np.unique(truth[read])]
    if len(parts) < 2:
        return None
    return {"balanced_accuracy": float(np.mean(parts)), "chance": 1 / len(parts)}


def _on_several(names: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Tell which rows have a name that goes with several values, (n,) bool."""
    pairs = np.unique(np.column_stack([names, values]), axis=0)
    several, count = np.unique(pairs[:, 0], return_counts=True)
    return np.isin(names, several[count > 1])


def confounders(wells: Profiles, controls: np.ndarray, by: str) -> dict[str, object]:
    """Measure what the profiles tell of plates and places, and of treatments across plates.

    Parameters
    ----------
    wells : Profiles
    controls : ndarray of shape (n,), bool
    by : str
        The column that names the treatment.

    Returns
    -------
    dict
        ``controls_by_plate``, ``controls_by_well``: `confounder_retrieval`;
        ``plate_from_controls``: `linear_probe`; ``treatment_leave_wells_out`` and
        ``treatment_leave_plates_out``: `linear_probe` of the treatments, whose difference is
        what is read from the plate. None where it cannot be measured.

    Raises
    ------
    ProfileError
        No controls, no such column, NaN.

    Examples
    --------
    >>> confounders(wells, controls, "Metadata_Treatment")  # doctest: +SKIP
    """
    controls = np.asarray(controls, bool)
    if not controls.any():
        raise ProfileError("confounders are read from control wells; say which wells they are")
    neutral, treated = wells.select(controls), wells.select(~controls)
    return {
        "controls_by_plate": confounder_retrieval(neutral, PLATE),
        "controls_by_well": confounder_retrieval(neutral, WELL),
        "plate_from_controls": linear_probe(neutral, PLATE),
        "treatment_leave_wells_out": linear_probe(treated, by),
        "treatment_leave_plates_out": linear_probe(treated, by, apart=PLATE),
    }


def _probe() -> ClassifierMixin:
    return make_pipeline(StandardScaler(), RidgeClassifier(alpha=1.0))
