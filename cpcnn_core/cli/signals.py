"""How the program is asked to end, and what it can count on: its signals and its streams."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

from cpcnn_core.errors import origins

CTRL_C = 130
# Ctrl-C is Python's own.
_NAMES = ("SIGTERM", "SIGHUP")
_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


# After so long, what was raised and is not being answered has been lost.
_LOST_AFTER_S = 0.5


class Stopped(KeyboardInterrupt):
    """A signal asked the program to end; code that tidies up after Ctrl-C does so after this.

    Parameters
    ----------
    number : int
        The signal's.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def stop_on_signals() -> None:
    """Have SIGTERM and SIGHUP end the program as Ctrl-C does, unless they are ignored.

    ``nohup`` has SIGHUP ignored, and shells without job control have SIGINT ignored in the
    background: so it stays.

    Examples
    --------
    >>> stop_on_signals()  # doctest: +SKIP
    """
    mine = os.getpid()

    def stop(number: int, _: FrameType | None) -> None:
        if os.getpid() != mine:
            # A process that was forked off ends in the default way.
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
            return
        for one in numbers:
            # Once is enough, and tidying up should not be disturbed. Ctrl-C still may.
            signal.signal(one, signal.SIG_IGN)
        if hasattr(signal, "setitimer"):
            # Python lets no exception out of destructors, and of functions called before a fork.
            signal.signal(signal.SIGALRM, lambda *_: None if _is_answered() else _raise(number))
            signal.setitimer(signal.ITIMER_REAL, _LOST_AFTER_S, _LOST_AFTER_S)
        raise Stopped(number)

    found = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    numbers = [one for one in found if signal.getsignal(one) == signal.SIG_DFL]
    for one in numbers:
        signal.signal(one, stop)


def _raise(number: int) -> None:
    raise Stopped(number)


def _is_answered() -> bool:
    """Tell whether code of this thread is tidying up after `Stopped`."""
    return any(isinstance(one, Stopped) for one in origins(sys.exc_info()[1]))


def exit_status(stop: KeyboardInterrupt) -> int:
    """Return the exit status by which shells know what ended a program, which is ending now.

    Examples
    --------
    >>> exit_status(KeyboardInterrupt()), exit_status(Stopped(15))
    (130, 143)
    """
    if not isinstance(stop, Stopped):
        return CTRL_C
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)
    return 128 + stop.number


def open_streams() -> None:
    """Replace standard streams that were closed when the program was started by nothing.

    Otherwise the next file that is opened would get their place, and what is printed.

    Examples
    --------
    >>> open_streams()
    """
    for number, (name, mode) in enumerate(_STREAMS):
        if getattr(sys, name) is None:
            place = os.open(os.devnull, os.O_RDWR)
            # What other programs are started with.
            os.set_inheritable(place, place == number)
            setattr(sys, name, os.fdopen(place, mode, encoding="utf-8"))


def flush_or_let_go() -> None:
    """Flush what was printed; if standard output is closed, discard it.

    Examples
    --------
    >>> flush_or_let_go()
    """
    try:
        sys.stdout.flush()
    except OSError:
        # Python flushes once more at exit, and needs an open file for it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
