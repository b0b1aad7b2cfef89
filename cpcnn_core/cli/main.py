"""``cpcnn VERB``: find the verb, run it, and turn errors into one clear line."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Sequence

import cpcnn_core
from cpcnn_core.cli import (
    cellprofiler,
    compare,
    crops,
    demo,
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
from cpcnn_core.cli.signals import (
    exit_status,
    flush_or_let_go,
    open_streams,
    stop_on_signals,
)
from cpcnn_core.disk import told_if_full
from cpcnn_core.errors import CPCNNError
from cpcnn_core.threads import let_threads_wait

VERBS = (
    demo,
    embed,
    crops,
    train,
    profile,
    nearest,
    evaluate,
    compare,
    prepare,
    simulate,
    models,
    cellprofiler,
    worker,
)


def run() -> None:
    """Run the command line of this process and exit."""
    open_streams()
    stop_on_signals()
    sys.exit(main(sys.argv[1:]))


def main(arguments: Sequence[str]) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str
        What follows ``cpcnn``.

    Returns
    -------
    int
        0 only when everything asked for is done; 1 after an error, which stands on
        stderr; 130 after Ctrl-C, 143 and 129 after SIGTERM and SIGHUP.

    Examples
    --------
    >>> main(["models", "show", "untrained-efficientnet-b0"])  # doctest: +ELLIPSIS
    name         untrained-efficientnet-b0
    ...
    0
    """
    options = _parser().parse_args(arguments)
    let_threads_wait()
    try:
        return _do(options)
    except KeyboardInterrupt as stop:
        print("cpcnn: stopped", file=sys.stderr)
        return exit_status(stop)
    except BrokenPipeError:
        # The reader of our output, such as head, has seen enough.
        flush_or_let_go()
        return 1
    except Exception as error:  # noqa: BLE001  (the last resort, for a user)
        if options.debug:
            traceback.print_exception(error)
        flush_or_let_go()
        text = str(error) if isinstance(error, CPCNNError) else f"{type(error).__name__}: {error}"
        hint = (
            ""
            if isinstance(error, CPCNNError) or options.debug
            else " (cpcnn --debug ... shows where)"
        )
        print(f"cpcnn: error: {text}{hint}", file=sys.stderr)
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
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for verb in VERBS:
        verb.add_parser(verbs)
    return parser
