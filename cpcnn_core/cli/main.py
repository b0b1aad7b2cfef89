"""``cpcnn VERB``: find the verb, run it, and turn errors into one clear line."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Sequence

import cpcnn_core
from cpcnn_core.cli import (
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
from cpcnn_core.cli.messages import add_message_options, messages, open_log
from cpcnn_core.cli.signals import (
    exit_status,
    flush_or_let_go,
    open_streams,
    stop_on_signals,
)
from cpcnn_core.disk import told_if_full
from cpcnn_core.errors import CPCNNError
from cpcnn_core.logs import TOLD
from cpcnn_core.threads import let_threads_wait

LOGGER = logging.getLogger(__name__)
VERBS = (
    demo,
    embed,
    crops,
    train,
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


def run() -> None:
    """Run the command line of this process and exit."""
    if "_ARGCOMPLETE" in os.environ:
        _complete()
    open_streams()
    stop_on_signals()
    sys.exit(main(sys.argv[1:]))


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
    let_threads_wait()
    started = time.monotonic()
    with messages(options):
        code = _code(options, arguments)
        seconds = time.monotonic() - started
        LOGGER.debug("ended with exit status %d after %.1f s", code, seconds, extra=TOLD)
    return code


def _code(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    try:
        open_log(options, arguments)
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
        own = isinstance(error, CPCNNError)
        text = str(error) if own else f"{type(error).__name__}: {error}"
        hint = "" if own or options.debug else " (cpcnn --debug ... shows where)"
        LOGGER.exception("%s%s", text, hint)
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
