"""How much of the profiles tells the plate, the place or the batch rather than the treatment.

The paper's point: a network, or a correction, that tells plates apart answers the wrong
question. Everything here has a chance level beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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
from cpcnn_core.schema.columns import PLATE, WELL
from cpcnn_core.schema.profiles import Profiles

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
    queries = matches.any(axis=1)
    if matches.sum() == len(names) * (len(names) - 1) or not queries.any():
        return None
    found = average_precision(cosine_similarity(profiles.features), matches)
    chance = chance_average_precision(matches.sum(axis=1), np.full(len(names), len(names) - 1))
    return {
        "mean_average_precision": float(np.nanmean(found)),
        "chance": float(np.nanmean(chance)),
    }


def linear_probe(
    profiles: Profiles, column: str, *, apart: str | None = None, least: int = FOLDS
) -> dict[str, float] | None:
    """Return how well a linear classifier reads a column from profiles it has not seen.

    Standardised features, ridge regression to the classes; five folds, or as many as there are
    of the rarest class.

    Parameters
    ----------
    profiles : Profiles
    column : str
        What is to be read. Empty values, and those there less than `least` times, are left out.
    apart : str, optional
        Profiles with the same value of this column, e.g. ``Metadata_Plate``, are never in
        both the fitted and the tested part.
    least : int
        Two at least.

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
    used = (count >= least)[place] & (names != "")
    if apart is None:
        splits = min(FOLDS, count[count >= least].min(initial=FOLDS))
        folds, groups = StratifiedKFold(splits, shuffle=True, random_state=0), None
    else:
        values = profiles.texts(apart)
        # Of a class with one value nothing is left to learn from when that is held out.
        used &= _on_several(names, values)
        groups = values[used]
        folds = GroupKFold(max(2, min(FOLDS, len(np.unique(groups)))))
    if len(np.unique(names[used])) < 2:
        return None
    features, labels = check_features(profiles.features[used]), names[used]
    read, right = np.zeros(len(labels), bool), np.zeros(len(labels), bool)
    for fitted, tested in folds.split(features, labels, groups):
        if len(np.unique(labels[fitted])) > 1:
            found = _probe().fit(features[fitted], labels[fitted]).predict(features[tested])
            right[tested] = found == labels[tested]
            read[tested] = np.isin(labels[tested], labels[fitted])
    accuracies = [np.mean(right[read & (labels == name)]) for name in np.unique(labels[read])]
    if len(accuracies) < 2:
        return None
    return {"balanced_accuracy": float(np.mean(accuracies)), "chance": 1 / len(accuracies)}


def _on_several(names: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Tell which rows have a name that goes with several values, (n,) bool."""
    pairs = np.unique(np.column_stack([names, values]), axis=0)
    several, count = np.unique(pairs[:, 0], return_counts=True)
    return np.isin(names, several[count > 1])


def confounders(
    wells: Profiles,
    controls: np.ndarray,
    by: str,
    *,
    held_out: Sequence[Profiles] | None = None,
    columns: Sequence[str] = (),
) -> dict[str, object]:
    """Measure what the profiles tell of plates and places, and of treatments across plates.

    A correction makes the very controls alike that it is fitted on, whatever else it leaves.
    What is told of controls is therefore measured on such as it was not fitted on.

    Parameters
    ----------
    wells : Profiles
    controls : ndarray of shape (n,), bool
    by : str
        The column that names the treatment.
    held_out : sequence of Profiles, optional
        Controls, each table corrected by a fit without them, see
        `cpcnn_core.profiles.cross_fitting`; the means over the tables are told. None of them:
        controls cannot be asked. Default: the controls among the wells, right where nothing was
        fitted on them.
    columns : sequence of str
        Other columns that controls may share, such as ``Metadata_Batch``.

    Returns
    -------
    dict
        ``controls_by_plate``, ``controls_by_well``, ``controls_by_`` and the name of every other
        column: `confounder_retrieval`;
        ``plate_from_controls``: `linear_probe`; ``treatment_leave_wells_out`` and
        ``treatment_leave_plates_out``: `linear_probe` of the treatments, whose difference is
        what is read from the plate. None where it cannot be measured.

    Raises
    ------
    ProfileError
        No controls, no such column, NaN.

    Examples
    --------
    >>> found = confounders(wells, controls, "Metadata_Treatment")
    >>> found["plate_from_controls"]
    {'balanced_accuracy': 0.875, 'chance': 0.5}
    """
    controls = np.asarray(controls, bool)
    if not controls.any():
        raise ProfileError("confounders are read from control wells; say which wells they are")
    treated, tables = wells.select(~controls), held_out
    # Of few controls, held out together, each still takes its turn.
    least = FOLDS if tables is None else 2
    tables = [wells.select(controls)] if tables is None else tables
    shared = dict.fromkeys((PLATE, WELL, *columns))
    return {
        **{
            f"controls_by_{column.removeprefix('Metadata_').lower()}": _mean(
                confounder_retrieval(table, column) for table in tables
            )
            for column in shared
        },
        "plate_from_controls": _mean(linear_probe(table, PLATE, least=least) for table in tables),
        "treatment_leave_wells_out": linear_probe(treated, by),
        "treatment_leave_plates_out": linear_probe(treated, by, apart=PLATE),
    }


def _mean(measured: Iterable[dict[str, float] | None]) -> dict[str, float] | None:
    known = [found for found in measured if found is not None]
    if not known:
        return None
    return {name: float(np.mean([found[name] for found in known])) for name in known[0]}


def _probe() -> ClassifierMixin:
    return make_pipeline(StandardScaler(), RidgeClassifier(alpha=1.0))
