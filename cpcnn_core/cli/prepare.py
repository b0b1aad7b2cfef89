"""``cpcnn prepare``: the compressed images of a DeepProfiler project."""

from __future__ import annotations

import argparse

from cpcnn_core.cli.parsers import add_command


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Add the verb to the command line."""
    parser = add_command(
        verbs,
        "prepare",
        "Make the 8-bit images of a DeepProfiler project that embeds compressed images.",
        "cpcnn prepare my_project",
        _prepare,
    )
    parser.add_argument("project", help="the project's folder")
    parser.add_argument("--config", help="its configuration (default: the only one)")


def _prepare(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from cpcnn_core.readers.deepprofiler import read_project
    from cpcnn_core.screen.prepare import prepare_project

    project = read_project(options.project, options.config)
    with tqdm(unit="image", disable=None) as bar:
        written = prepare_project(project, lambda _path: bar.update())
    folder = project.root / "outputs" / "compressed" / "images"
    print(f"{len(written)} images were made; all are in {folder}")
