"""``cpcnn simulate``: a virtual screen whose causes are known."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from cpcnn_core.cli.options import add_command
from cpcnn_core.cli.terminal import progress_bar, show
from cpcnn_core.simulation.design import FAMILIES, ScreenDesign

# By the design's own names and defaults.
_HELP = {
    "studies": "studies, each with treatments and a style of its own",
    "plates": "plates of every study",
    "wells": "wells of every plate",
    "sites": "fields of every well",
    "treatments": "treatments of every study",
    "mechanisms": "mechanisms of all treatments (default: half as many as treatments)",
    "shared": "treatments that all studies have (default: half of them)",
    "doses": "doses of every treatment",
    "replicates": "wells of a treatment and dose on a plate; the rest are DMSO "
    "(default: what fits into three quarters of the plate)",
    "seed": "another seed, another screen",
    "size": "side of a field in pixels",
    "cells": "cells in an untreated field, about",
    "pixel_size": "micrometres per pixel",
    "effect_strength": "factor on all that treatments do",
    "batch_strength": "factor on all that tells studies, plates and wells apart",
    "causes": "families of causes that mechanisms are taken from in turn",
}
_FRACTIONS = ("cells", "pixel_size", "effect_strength", "batch_strength")


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = add_command(
        verbs,
        "simulate",
        "Make a virtual screen: images of cells, with the truth about them.",
        "cpcnn simulate --out screen --plates 4 --wells 96 --treatments 24",
        _simulate,
    )
    parser.add_argument("--out", metavar="DIR", required=True, help="folder to write")
    for field in dataclasses.fields(ScreenDesign):
        default = "" if field.default is None else " (default: %(default)s)"
        how: dict[str, Any] = {"type": int, "metavar": "N", "default": field.default}
        if field.name in _FRACTIONS:
            how |= {"type": float, "metavar": "X"}
        elif field.name == "causes":
            how = {"nargs": "+", "choices": list(FAMILIES), "default": list(ScreenDesign.causes)}
            default = f" (default: {' '.join(ScreenDesign.causes)})"
        parser.add_argument(
            f"--{field.name.replace('_', '-')}", **how, help=_HELP[field.name] + default
        )
    parser.add_argument("--shard", metavar="I/N", help="only the I-th of N parts of the fields")


def _simulate(options: argparse.Namespace) -> None:
    from pathlib import Path

    from cpcnn_core.screen.plan import parse_shard
    from cpcnn_core.simulation.screen import simulate_screen

    names = [field.name for field in dataclasses.fields(ScreenDesign)]
    design = ScreenDesign(**{name: getattr(options, name) for name in names})
    shard = parse_shard(options.shard or "1/1")
    out = Path(options.out)
    with progress_bar(None, "field") as bar:

        def count(_done: int, total: int) -> None:
            bar.total = total
            bar.update()

        counts = simulate_screen(design, out, count, shard=shard)
    show(f"{counts.made} fields made, {counts.found} were there")
    if counts.missing:
        show(f"{counts.missing} fields of the other shards are still missing")
        return
    show(f"wrote {out / 'load_data.csv'} and {out / 'platemap.csv'}; the truth is beside them")
    show(
        f"continue with: cpcnn embed --load-data {out / 'load_data.csv'} --labels {out / 'labels'} "
        "--out embedded"
    )
