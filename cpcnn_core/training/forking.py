"""Signals wait while processes are forked off.

Python runs functions of libraries before and after a fork, and lets no exception out of them:
Ctrl-C in that moment would be lost, and the program would continue.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

_NUMBERS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
# A process that is forked off has a copy of both.
_handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}
_arrived: list[tuple[int, int]] = []


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Have signals that end the program arrive after this.

    Processes that are started meanwhile hold them too: see `let_signals_through`.

    Examples
    --------
    >>> with signals_held():
    ...     pass  # start processes
    """
    # Python answers signals in its main thread, whichever thread the system gave them to: so
    # blocking them in one thread would hold nothing, and other threads have nothing to hold.
    if threading.current_thread() is threading.main_thread():
        for number in _NUMBERS:
            handler = signal.getsignal(number)
            # What is ignored, or ends the process at once, is not lost.
            if callable(handler):
                _handlers[number] = handler
                signal.signal(number, _hold)
    try:
        yield
    finally:
        let_signals_through()


def let_signals_through(_: int = 0) -> None:
    """Have signals arrive in a process that was started while they were held.

    Examples
    --------
    >>> let_signals_through()
    """
    while _handlers:
        number, handler = _handlers.popitem()
        signal.signal(number, handler)
    arrived = {number for process, number in _arrived if process == os.getpid()}
    _arrived.clear()
    for number in arrived:
        signal.raise_signal(number)


def _hold(number: int, _: FrameType | None) -> None:
    _arrived.append((os.getpid(), number))
