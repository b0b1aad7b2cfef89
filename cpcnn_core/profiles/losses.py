"""Rows and features that cannot be used because values are missing: counted, named, left out."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from cpcnn_core.errors import ProfileError
from cpcnn_core.schema.columns import PLATE, WELL
from cpcnn_core.schema.profiles import Profiles
from cpcnn_core.user_messages import Tell, counted, listed, some, warn

# Of more, what is left would no longer be the screen.
LARGEST_LOSS = 0.5


@dataclass
class Losses:
    """How many rows there were, and how many of them are left out, and why.

    Attributes
    ----------
    what : str
        What a row is: ``cell``, ``site``, ``well`` or ``row``.
    total, lost : Counter
        Rows by plate and well.
    features : Counter
        How many of the lost rows lack a feature, by its name.

    Examples
    --------
    >>> losses = Losses("cell")
    >>> values = np.array([[1.0, np.nan], [1.0, 2.0]])
    >>> losses.count(np.array(["P1/A01", "P1/A01"]), values, ["Cells_A", "Cells_B"])
    array([False,  True])
    >>> losses.text()
    '1 of 2 cells is left out, for missing or infinite values of Cells_B (1): P1/A01 (1 of 2)'
    """

    what: str = "row"
    total: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    features: Counter[str] = field(default_factory=Counter)

    def count(
        self,
        wells: np.ndarray,
        values: np.ndarray,
        names: Sequence[str],
        weights: np.ndarray | None = None,
    ) -> np.ndarray:
        """Count rows (n,), and return which can be used, (n,) bool.

        Parameters
        ----------
        wells : ndarray of shape (n,), str
        values : ndarray of shape (n, d)
        names : sequence of d str
        weights : ndarray of shape (n,), int, optional
            How many cells each row is made of, which have been counted in `total` before.
        """
        finite = np.isfinite(values)
        usable = np.asarray(finite.all(axis=1))
        if weights is None:
            self.total.update(wells.tolist())
            weights = np.ones(len(wells), int)
        for well, weight in zip(wells[~usable], weights[~usable], strict=True):
            self.lost[str(well)] += int(weight)
        missing = weights @ ~finite
        self.features.update({names[i]: int(missing[i]) for i in np.flatnonzero(missing).tolist()})
        return usable

    def add(self, other: Losses) -> None:
        """Count what another table has lost."""
        for mine, theirs in ((self.total, other.total), (self.lost, other.lost)):
            mine.update(theirs)
        self.features.update(other.features)

    def text(self) -> str:
        """Say what is left out, and where; empty where nothing is."""
        lost, total = self.lost.total(), self.total.total()
        if not lost:
            return ""
        one_each = max(self.total.values()) == 1
        where = [
            name if one_each else f"{name} ({count} of {self.total[name]})"
            for name, count in self.lost.items()
        ]
        text = (
            f"{lost} of {some(total, self.what)} {'is' if lost == 1 else 'are'} left out, for "
            f"missing or infinite values of {counted(self.features)}: {listed(where)}"
        )
        gone = [name for name, count in self.lost.items() if count == self.total[name]]
        if gone and not one_each:
            text += f"; nothing is left of {listed(gone)}"
        return text

    def refuse_most(self) -> None:
        """Raise where most rows would be left out.

        Raises
        ------
        ProfileError
            Names the features that are missing most often.
        """
        lost, total = self.lost.total(), self.total.total()
        if lost > LARGEST_LOSS * total:
            worst = " ".join(name for name, _ in self.features.most_common(2))
            raise ProfileError(
                f"{lost} of {some(total, self.what)} would be left out, for missing or infinite "
                f"values of {counted(self.features)}; leave out such features instead, with "
                f"--drop-features, e.g. --drop-features {worst}, or measure them again"
            )


def complete(
    profiles: Profiles,
    tell: Tell = warn,
    losses: Losses | None = None,
    weights: np.ndarray | None = None,
) -> Profiles:
    """Leave out the features that no row has, then the rows that lack one.

    Parameters
    ----------
    profiles : Profiles
    tell : callable
        Takes a sentence for what is left out: which features, which rows.
    losses : Losses, optional
    weights : ndarray of shape (n,), int, optional
        What has been lost before these rows were made, and of how many each is made.

    Returns
    -------
    Profiles
        Without missing and infinite values.

    Raises
    ------
    ProfileError
        No feature is left, or less than half of the rows.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"Metadata_Plate": ["P1"] * 3, "Metadata_Well": ["A1", "A2", "A3"]})
    >>> values = np.array([[1.0, np.nan, np.nan], [1, 2, np.nan], [3, 4, np.nan]])
    >>> complete(Profiles(values, rows, ["a", "b", "c"]), tell=print).features
    1 of 3 features is left out, as no well has it: c
    1 of 3 wells is left out, for missing or infinite values of b (1): P1/A1
    array([[1., 2.],
           [3., 4.]])
    """
    if losses is None:
        losses = Losses("well" if WELL in profiles.metadata.columns else "row")
    profiles = _known(profiles, tell, losses.what)
    usable = losses.count(row_names(profiles), profiles.features, profiles.feature_names, weights)
    losses.refuse_most()
    if losses.lost:
        tell(losses.text())
    return profiles if usable.all() else profiles.select(usable)


def without_features(profiles: Profiles, patterns: Sequence[str]) -> Profiles:
    """Leave out features by name.

    Parameters
    ----------
    profiles : Profiles
    patterns : sequence of str
        Names, or patterns such as ``*_RWC_*``.

    Raises
    ------
    ProfileError
        There is no such feature, or none is left.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"Metadata_Well": ["A01"]})
    >>> table = Profiles(np.ones((1, 2)), rows, ["Cells_Area", "Cells_RWC_1"])
    >>> without_features(table, ["*_RWC_*"]).feature_names
    ['Cells_Area']
    """
    names = profiles.feature_names
    dropped: set[str] = set()
    for pattern in patterns:
        found = fnmatch.filter(names, pattern)
        if not found:
            raise ProfileError(
                f"no feature is called {pattern}, so it cannot be left out; there are "
                f"{listed(names)}"
            )
        dropped.update(found)
    kept = np.array([name not in dropped for name in names], bool)
    if not kept.any():
        raise ProfileError(f"no feature is left without {', '.join(patterns)}; leave out fewer")
    return _features(profiles, kept) if dropped else profiles


def row_names(profiles: Profiles) -> np.ndarray:
    """Name rows (n,), str: by plate and well where they are known, else by number.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"Metadata_Plate": ["P1"], "Metadata_Well": ["A01"]})
    >>> row_names(Profiles(np.ones((1, 1)), rows, ["x"])).tolist()
    ['P1/A01']
    """
    keys = [name for name in (PLATE, WELL) if name in profiles.metadata.columns]
    if WELL not in keys:
        return np.array([f"row {row + 1}" for row in range(len(profiles.metadata))], str)
    texts = [profiles.texts(name).tolist() for name in keys]
    return np.array(["/".join(parts) for parts in zip(*texts, strict=True)], str)


def _known(profiles: Profiles, tell: Tell, what: str) -> Profiles:
    """Leave out the features that no row has."""
    known = np.isfinite(profiles.features).any(axis=0)
    if known.all():
        return profiles
    names = [
        name for name, is_known in zip(profiles.feature_names, known, strict=True) if not is_known
    ]
    total = len(profiles.feature_names)
    if not known.any():
        raise ProfileError(
            f"none of the {total} features has a value in any {what}: {listed(names)}; measure "
            "them again"
        )
    verb, it = ("is", "it") if len(names) == 1 else ("are", "them")
    tell(
        f"{len(names)} of {total} features {verb} left out, as no {what} has {it}: {listed(names)}"
    )
    return _features(profiles, known)


def _features(profiles: Profiles, kept: np.ndarray) -> Profiles:
    names = [name for name, keep in zip(profiles.feature_names, kept, strict=True) if keep]
    return replace(profiles, features=profiles.features[:, kept], feature_names=names)
