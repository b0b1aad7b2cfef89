"""Signals wait while processes are forked off.

Python runs functions of libraries before and after a fork, and lets no exception out of them:
Ctrl-C in that moment would be lost, and the program go on.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

_NUMBERS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Have signals that end the program arrive after this, in this thread.

    Processes that are started meanwhile hold them too: see `let_signals_through`.

    Examples
    --------
    >>> with signals_held():
    ...     pass  # start processes
    """
    if not hasattr(signal, "pthread_sigmask"):
        # Windows, which forks nothing.
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _NUMBERS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_signals_through(_: int = 0) -> None:
    """Have signals arrive in a process that was started while they were held.

    Examples
    --------
    >>> let_signals_through()
    """
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _NUMBERS)
