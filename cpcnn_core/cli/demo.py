"""``cpcnn demo``: the main job on real images, start to end."""

from __future__ import annotations

import argparse

from cpcnn_core.cli.options import add_command
from cpcnn_core.cli.terminal import notice, show


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = add_command(
        verbs,
        "demo",
        "Measure real cells in real CellProfiler, and show what came out.",
        "cpcnn demo --out demo_output",
        _demo,
    )
    parser.add_argument(
        "--out", default="demo_output", metavar="DIR", help="folder to write (default: %(default)s)"
    )
    parser.add_argument(
        "--cellprofiler-python",
        metavar="PYTHON",
        help="a Python with CellProfiler 4.2.8 (default: one that cpcnn makes, once)",
    )


def _demo(options: argparse.Namespace) -> None:
    from cpcnn_core.demo.run import run_demo

    show(*run_demo(options.out, options.cellprofiler_python, notice).splitlines())
