"""Keep PyTorch's threads from spinning on a busy machine."""

from __future__ import annotations

import os

# OpenMP's own switch, Intel's, and what GNU's understands beside it.
_PASSIVE = {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0", "GOMP_SPINCOUNT": "0"}


def let_threads_wait() -> None:
    """Ask OpenMP's idle threads to sleep; call before torch is imported.

    With several programs on the machine, threads that spin while they wait cost
    four fifths of the speed (docs/method.md#speed). What the user has set stays.

    Examples
    --------
    >>> let_threads_wait()
    >>> "OMP_WAIT_POLICY" in os.environ
    True
    """
    for name, value in _PASSIVE.items():
        os.environ.setdefault(name, value)
