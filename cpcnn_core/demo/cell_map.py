"""The map: where cells are that look alike to a network."""

from __future__ import annotations

import numpy as np


def cell_map(features: np.ndarray) -> np.ndarray:
    """Place cells on a plane: principal components of their directions.

    Parameters
    ----------
    features : ndarray of shape (n, d), float

    Returns
    -------
    ndarray of shape (n, 2), float64
        Profiles are compared by cosine, so every cell is scaled to length one
        first; then every feature is standardised. A constant one counts for nothing.

    Examples
    --------
    >>> cells = np.array([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0]])
    >>> first, same, other = cell_map(cells)[:, 0].round(6).tolist()
    >>> first == same, first == other
    (True, False)
    """
    left, scales, _ = np.linalg.svd(standardized(features), full_matrices=False)
    result: np.ndarray = left[:, :2] * scales[:2]
    return result


def standardized(features: np.ndarray) -> np.ndarray:
    """Return the directions of cells, every feature with mean 0 and deviation 1.

    Examples
    --------
    >>> standardized(np.array([[1.0, 0.0], [0.0, 5.0]])).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    directions = features / np.where(lengths > 0, lengths, 1)
    centred = directions - directions.mean(axis=0)
    spread = centred.std(axis=0)
    result: np.ndarray = centred / np.where(spread > 0, spread, 1)
    return result
