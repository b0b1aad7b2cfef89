"""How alike profiles are, and which of them ought to be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.checks import check_features

LABEL_SEPARATOR = "|"
_LARGE = 1e150


def cosine_similarity(queries: np.ndarray, library: np.ndarray | None = None) -> np.ndarray:
    """Return the cosine of the angle between every query and every library profile.

    Parameters
    ----------
    queries : ndarray of shape (q, d)
    library : ndarray of shape (n, d), optional
        Default: the queries themselves.

    Returns
    -------
    ndarray of shape (q, n), float64, from -1 to 1

    Raises
    ------
    ProfileError
        NaN, another number of features, or a profile of zeros, which has no direction.

    Examples
    --------
    >>> cosine_similarity(np.array([[1.0, 0.0]]), np.array([[2.0, 0.0], [0.0, 3.0]]))
    array([[1., 0.]])
    """
    queries = unit_length(queries)
    library = queries if library is None else unit_length(library)
    if queries.shape[1] != library.shape[1]:
        raise ProfileError(
            f"the queries have {queries.shape[1]} features, the library has {library.shape[1]}"
        )
    result: np.ndarray = np.clip(queries @ library.T, -1, 1)
    return result


def unit_length(features: np.ndarray) -> np.ndarray:
    """Divide every profile (n, d) by its length, float64.

    Raises
    ------
    ProfileError
        NaN, or a profile of zeros.

    Examples
    --------
    >>> unit_length(np.array([[3.0, 4.0]]))
    array([[0.6, 0.8]])
    """
    features = check_features(features)
    largest = np.abs(features).max(axis=1, initial=0, keepdims=True)
    if not largest.all():
        raise ProfileError(
            f"{(largest == 0).sum()} of {len(features)} profiles are zero in every feature; "
            "they are like nothing"
        )
    # Squares of these would be infinite, or vanish.
    extreme = (largest > _LARGE) | (largest < 1 / _LARGE)
    if extreme.any():
        features = np.where(extreme, features / largest, features)
    result: np.ndarray = features / np.linalg.norm(features, axis=1, keepdims=True)
    return result


def same_value(texts: np.ndarray) -> np.ndarray:
    """Tell which of n texts are equal, (n, n) bool; an empty one equals none.

    Examples
    --------
    >>> same_value(np.array(["a", "", "a"])).astype(int)
    array([[1, 0, 1],
           [0, 0, 0],
           [1, 0, 1]])
    """
    result: np.ndarray = (texts[:, None] == texts) & (texts != "")
    return result


def same_label(labels: Sequence[str]) -> np.ndarray:
    """Tell which profiles share at least one label.

    Parameters
    ----------
    labels : sequence of n str
        Several labels of one profile are separated by ``|``. Without a label (empty or
        missing) a profile matches nothing.

    Returns
    -------
    ndarray of shape (n, n), bool
        Symmetric; the diagonal is True where there is a label.

    Examples
    --------
    >>> same_label(["kinase|mTOR", "mTOR", "", "tubulin (b)"]).astype(int)
    array([[1, 1, 0, 0],
           [1, 1, 0, 0],
           [0, 0, 0, 0],
           [0, 0, 0, 1]])
    """
    sets = [_labels(text) for text in labels]
    numbers = {label: n for n, label in enumerate(sorted(set().union(*sets)))}
    has = np.zeros((len(sets), len(numbers)), np.float32)
    for row, own in enumerate(sets):
        has[row, [numbers[label] for label in own]] = 1
    return has @ has.T > 0


def _labels(text: object) -> set[str]:
    # What is no text is a missing value: NaN, None, pandas.NA.
    parts = text.split(LABEL_SEPARATOR) if isinstance(text, str) else ()
    return {part.strip() for part in parts} - {""}
