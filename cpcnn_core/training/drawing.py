"""Draw a part by names, so that neither the order of a table nor new rows change much."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np


def draw_part(names: Iterable[str], groups: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Draw a fraction of every group.

    Parameters
    ----------
    names : iterable of n str, each different
        What is drawn from.
    groups : ndarray of shape (n,), int
        From 0 on.
    fraction : float, above 0 and below 1
    seed : int

    Returns
    -------
    ndarray of shape (n,), bool
        True for round(fraction * size) of each group, for one at least and never for all: a
        group of one gives none.

    Notes
    -----
    Those whose BLAKE2b of ``seed/name`` (8 bytes, a little-endian number) is the smallest of
    their group. A threshold on the hash would draw the fraction on average only, and nothing
    of some small groups; a permutation would be another one with every name that is added.

    Examples
    --------
    >>> draw_part(["a", "b", "c", "d"], np.array([0, 0, 0, 1]), 0.4, seed=0)
    array([ True, False, False, False])
    """
    counts = np.bincount(groups)
    sizes = np.minimum(np.maximum(np.round(fraction * counts), 1), counts - 1)
    hashes = np.fromiter((_hash(f"{seed}/{name}") for name in names), np.uint64)
    order = np.lexsort((hashes, groups))
    in_order = groups[order]
    rank = np.arange(len(order)) - (np.cumsum(counts) - counts)[in_order]
    drawn = np.empty(len(order), bool)
    drawn[order] = rank < sizes[in_order]
    return drawn


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
