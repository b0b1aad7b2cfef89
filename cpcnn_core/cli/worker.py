"""``cpcnn worker``: spoken to by the CellProfiler module."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from cpcnn_core.cli.options import add_command

if TYPE_CHECKING:
    from cpcnn_core.profiles.correction import Correction
    from cpcnn_core.profiles.library import TreatmentLibrary


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

    main(options.device, _read_library)


def _read_library(path: str, by: str) -> tuple[TreatmentLibrary, Correction | None]:
    # Loaded when a library is asked for: most pipelines have none.
    from cpcnn_core.profiles.library_files import read_library

    return read_library(path, by)
