"""``cpcnn VERB``: find the verb, run it, and turn errors into one clear line.

Signals end the program in order, and its streams are closed before it ends.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType

import cpcnn_core
from cpcnn_core.cli import (
    aggregation,
    cellprofiler,
    compare,
    crops,
    demo,
    design,
    embed,
    evaluate,
    models,
    nearest,
    prepare,
    profile,
    simulate,
    train,
    worker,
)
from cpcnn_core.cli.messages import add_message_options, messages, open_log, told_error
from cpcnn_core.errors import origins
from cpcnn_core.io.disk import told_if_full
from cpcnn_core.threads import let_threads_wait
from cpcnn_core.user_messages import TOLD

LOGGER = logging.getLogger(__name__)
VERBS = (
    demo,
    embed,
    crops,
    train,
    aggregation,
    profile,
    nearest,
    evaluate,
    design,
    compare,
    prepare,
    simulate,
    models,
    cellprofiler,
    worker,
)


def run(program: Callable[[Sequence[str]], int] | None = None) -> None:
    """Run the command line of this process and exit.

    Parameters
    ----------
    program : callable (sequence of str) -> int, optional
        Takes the arguments and returns the exit status. Default: `main`.
    """
    if "_ARGCOMPLETE" in os.environ:
        _complete()
    open_streams()
    stop_on_signals()
    sys.exit((program or main)(sys.argv[1:]))


def _complete() -> None:
    """Tell the shell, which asks for it, how to complete a half-written command, and exit."""
    import argcomplete

    argcomplete.autocomplete(_parser())


def main(arguments: Sequence[str]) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str
        What follows ``cpcnn``.

    Returns
    -------
    int
        0 only when everything asked for is done; 1 after an error, which is written to
        stderr; 130 after Ctrl-C, 143 and 129 after SIGTERM and SIGHUP.

    Examples
    --------
    >>> main(["models", "show", "untrained-efficientnet-b0"])  # doctest: +ELLIPSIS
    name         untrained-efficientnet-b0
    ...
    0
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.verbose and options.quiet:
        parser.error("--verbose and --quiet say the contrary: leave one out")
    return follow(options, ["cpcnn", *arguments])


def follow(options: argparse.Namespace, command: Sequence[str]) -> int:
    """Do what the options say, and turn errors into one clear line.

    Parameters
    ----------
    options : argparse.Namespace
        With those of messages, and `do`.
    command : sequence of str
        The whole command line, for the log.

    Returns
    -------
    int
        As of `main`.
    """
    let_threads_wait()
    started = time.monotonic()
    with messages(options):
        code = _code(options, command)
        seconds = time.monotonic() - started
        LOGGER.debug("ended with exit status %d after %.1f s", code, seconds, extra=TOLD)
    return code


def _code(options: argparse.Namespace, command: Sequence[str]) -> int:
    try:
        open_log(options, command)
        return _do(options)
    except KeyboardInterrupt as stop:
        LOGGER.critical("stopped")
        return exit_status(stop)
    except BrokenPipeError:
        # The reader of our output, such as head, has seen enough.
        flush_or_let_go()
        LOGGER.debug("the reader of the output is gone", extra=TOLD)
        return 1
    except Exception as error:  # the last resort, for a user
        flush_or_let_go()
        text = told_error(error, options)
        LOGGER.exception("%s", text)
        return 1


def _do(options: argparse.Namespace) -> int:
    with told_if_full("what it prints"):
        code = options.do(options) or 0
        # Now, while an error of the reader's can still be told from one of ours.
        sys.stdout.flush()
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cpcnn", description="Deep-learning features of cells: crop, embed, profile."
    )
    parser.add_argument("--version", action="version", version=f"cpcnn {cpcnn_core.__version__}")
    add_message_options(parser, again=False)
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for verb in VERBS:
        verb.add_parser(verbs)
    return parser


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
