"""Checks that every step makes of the features that it is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cpcnn_core.errors import ProfileError
from cpcnn_core.io.site_keys import normal_key
from cpcnn_core.schema.columns import PLATE, SITE, WELL

if TYPE_CHECKING:
    from cpcnn_core.schema.profiles import Profiles

# Far above what rounding makes of an orthogonal matrix.
LENGTH_TOLERANCE = 1e-6
FEW_FEATURES = 8


def check_features(features: np.ndarray, what: str = "profiles") -> np.ndarray:
    """Return features (n, d) as float64, or say why they cannot be used.

    Raises
    ------
    ProfileError
        Not a table, no rows, or values that are NaN or infinite.

    Examples
    --------
    >>> check_features(np.array([[1.0, np.nan]]))
    Traceback (most recent call last):
    cpcnn_core.errors.ProfileError: 1 of 1 profiles have features that are NaN or infinite; ...
    """
    features = np.asarray(features, np.float64)
    if features.ndim != 2 or not len(features):
        raise ProfileError(f"expected {what} of shape (n, d) with rows, got {features.shape}")
    bad = ~np.isfinite(features).all(axis=1)
    if bad.any():
        raise ProfileError(
            f"{bad.sum()} of {len(bad)} {what} have features that are NaN or infinite; leave "
            "these rows or these features out"
        )
    return features


def check_same_features(features: np.ndarray, fitted: int) -> np.ndarray:
    """Return features as `check_features` does, if there are as many as were fitted.

    Raises
    ------
    ProfileError

    Examples
    --------
    >>> check_same_features(np.ones((1, 3)), 2)
    Traceback (most recent call last):
    cpcnn_core.errors.ProfileError: this was fitted on 2 features, got 3
    """
    features = check_features(features)
    if features.shape[1] != fitted:
        raise ProfileError(f"this was fitted on {fitted} features, got {features.shape[1]}")
    return features


def refuse_wells_twice(wells: Profiles, by: str) -> None:
    """Refuse a table that has a well twice, which would find itself.

    Known by plate, well and site, however they are spelt, and by features of one treatment that
    are equal to the last digit, whatever the well is called; except where there are few
    features, or whole numbers, which wells may share.

    Parameters
    ----------
    wells : Profiles
    by : str
        The column that names the treatment.

    Raises
    ------
    ProfileError
        Names both rows.

    Examples
    --------
    >>> import pandas as pd
    >>> from cpcnn_core.schema.profiles import Profiles
    >>> rows = pd.DataFrame({"Metadata_Well": ["A01", "a1"], "Metadata_Treatment": ["x", "y"]})
    >>> refuse_wells_twice(Profiles(np.eye(2), rows, ["x", "y"]), "Metadata_Treatment")
    Traceback (most recent call last):
    cpcnn_core.errors.ProfileError: the well A01 is there twice, in rows 1 and 2; ...
    """
    columns = [name for name in (PLATE, WELL, SITE) if name in wells.metadata.columns]
    texts = [wells.texts(name).tolist() for name in columns]
    if WELL in columns:
        keys = [tuple(key) for key in zip(*texts, strict=True)]
        names = [name.removeprefix("Metadata_") for name in columns]
        if twice := _first_twice([normal_key(key, names) for key in keys]):
            raise ProfileError(
                f"the well {'/'.join(keys[twice[0]])} is there twice, in rows {twice[0] + 1} and "
                f"{twice[1] + 1}; leave one of them out, or tell them apart by {PLATE}"
            )
    values = np.ascontiguousarray(wells.features)
    whole = (values == np.round(values)).all(axis=1)
    if values.shape[1] >= FEW_FEATURES and not whole.all():
        own = whole | ~wells.named(by)
        rows = enumerate(zip(wells.texts(by), values, own, strict=True))
        told = [n if alone else (name, row.tobytes()) for n, (name, row, alone) in rows]
        if twice := _first_twice(told):
            raise ProfileError(
                f"rows {twice[0] + 1} and {twice[1] + 1} have the same {values.shape[1]} features "
                "to the last digit: the same well under two names; leave one of them out"
            )


def _first_twice(keys: Sequence[object]) -> tuple[int, int] | None:
    seen: dict[object, int] = {}
    for row, key in enumerate(keys):
        before = seen.setdefault(key, row)
        if before != row:
            return before, row
    return None


def check_fitted(what: str, values: np.ndarray, shape: tuple[int, ...]) -> None:
    """Refuse what a fit cannot have made: another shape, or values that are NaN or infinite.

    Raises
    ------
    ProfileError

    Examples
    --------
    >>> check_fitted("mean", np.array([1.0, np.inf]), (2,))
    Traceback (most recent call last):
    cpcnn_core.errors.ProfileError: expected mean of shape (2,) without NaN and infinity, got ...
    """
    right = isinstance(values, np.ndarray) and values.dtype.kind == "f" and values.shape == shape
    if not right or not np.isfinite(values).all():
        raise ProfileError(
            f"expected {what} of shape {shape} without NaN and infinity, got "
            f"{np.asarray(values).dtype} {np.shape(values)}"
        )


def check_lengths(what: str, rows: np.ndarray) -> None:
    """Refuse directions (k, d) that are not of length 1.

    Raises
    ------
    ProfileError

    Examples
    --------
    >>> check_lengths("components", np.array([[0.6, 0.8], [1, 1]]))
    Traceback (most recent call last):
    cpcnn_core.errors.ProfileError: expected components of length 1, number 1 has 1.414...
    """
    with np.errstate(over="ignore"):
        lengths = np.sqrt(np.einsum("kd,kd->k", rows, rows))
    # Written so that NaN fails too.
    wrong = ~(np.abs(lengths - 1) < LENGTH_TOLERANCE)
    if wrong.any():
        first = int(wrong.argmax())
        raise ProfileError(f"expected {what} of length 1, number {first} has {lengths[first]}")


def check_similarity(similarity: np.ndarray, matches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return copies of similarities (n, n), float64, and matches (n, n), bool.

    Raises
    ------
    ProfileError
        Another shape, or NaN.

    Examples
    --------
    >>> check_similarity(np.eye(3), np.eye(2))
    Traceback (most recent call last):
    cpcnn_core.errors.ProfileError: expected similarities and matches of one shape (n, n), ...
    """
    similarity, matches = np.array(similarity, np.float64), np.array(matches, bool)
    if similarity.ndim != 2 or not similarity.shape == similarity.shape[::-1] == matches.shape:
        raise ProfileError(
            f"expected similarities and matches of one shape (n, n), got {similarity.shape} and "
            f"{matches.shape}"
        )
    if np.isnan(similarity).any():
        raise ProfileError("there are NaN among the similarities")
    return similarity, matches
