"""``cpcnn prepare``: the compressed images of a DeepProfiler project."""

from __future__ import annotations

import argparse

from cpcnn_core.cli.options import add_check, add_command, add_force
from cpcnn_core.cli.terminal import progress_bar, show


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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
    add_force(parser)
    add_check(parser)


def _prepare(options: argparse.Namespace) -> None:
    from cpcnn_core.io.deepprofiler import read_project
    from cpcnn_core.screen.compressed_images import check_channels, examine_project, images_folder
    from cpcnn_core.screen.prepare import prepare_project

    project = read_project(options.project, options.config)
    if options.check:
        show(check_channels(examine_project(project, force=options.force)))
        return
    said: list[str] = []
    with progress_bar(None, "image") as bar:
        written = prepare_project(
            project, lambda _path: bar.update(), force=options.force, tell=said.append
        )
    show(*said, f"{len(written)} images were made; all are in {images_folder(project)}")
