"""Random numbers that depend on what they are for, and on nothing drawn before."""

from __future__ import annotations

import hashlib

import numpy as np


def stream(*key: object) -> np.random.RandomState:
    """Return the random numbers that belong to a key.

    Parameters
    ----------
    *key : int, float or str
        Such as the seed, the plate, the well and what the numbers are for.

    Returns
    -------
    numpy.random.RandomState
        Seeded by the SHA-256 of the key. NumPy has frozen its distributions, PCG64 and
        SeedSequence: the same numbers on every machine and with every later version.

    Examples
    --------
    >>> stream(1, "P1", "A01").randint(1000) == stream(1, "P1", "A01").randint(1000)
    True
    >>> stream(1, "P1", "A01").randint(1000) == stream(1, "P1", "A02").randint(1000)
    False
    """
    text = "\x1f".join(repr(part) for part in key)
    words = np.frombuffer(hashlib.sha256(text.encode()).digest(), "<u4")
    return np.random.RandomState(np.random.PCG64(np.random.SeedSequence(words.tolist())))
