"""``cpcnn worker``: spoken to by the CellProfiler module."""

from __future__ import annotations

import argparse

from cpcnn_core.cli.options import add_command


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = add_command(
        verbs,
        "worker",
        "Answer a program of another Python on stdin and stdout; not for typing.",
        "cpcnn worker --device cpu",
        _work,
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda (default: %(default)s)")


def _work(options: argparse.Namespace) -> None:
    from cpcnn_core.worker.server import main

    main(options.device)
