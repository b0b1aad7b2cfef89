"""``cpcnn aggregation``: train, show; a learned aggregation from cells to wells."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from cpcnn_core.cli.options import add_by, add_command
from cpcnn_core.cli.terminal import progress_bar, say_once, show
from cpcnn_core.cli.well_options import add_wells, platemap_of, read_wells

if TYPE_CHECKING:
    from cpcnn_core.aggregation.files import AggregationCard


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = add_command(
        verbs,
        "aggregation",
        "Learn how cells become the profile of a well, and compare that with their mean.",
        "cpcnn aggregation train embedded --platemap platemap.csv "
        "--controls \"Treatment == 'DMSO'\" --out aggregation.safetensors",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    train = add_command(
        commands,
        "train",
        "Train on the replicates of embedded cells, and say whether it is better than the mean.",
        "cpcnn aggregation train embedded --platemap platemap.csv "
        "--controls \"Treatment == 'DMSO'\" --out aggregation.safetensors",
        _train,
    )
    add_wells(train)
    add_by(train)
    train.add_argument(
        "--steps", type=int, default=400, help="of every training (default: %(default)s)"
    )
    train.add_argument(
        "--cells-per-well",
        type=int,
        default=256,
        metavar="N",
        help="of more, so many are drawn at random (default: %(default)s)",
    )
    train.add_argument(
        "--folds",
        type=int,
        default=4,
        help="parts of plates, and of treatments, that are held out (default: %(default)s)",
    )
    train.add_argument(
        "--strength",
        type=float,
        default=1.0,
        help="factor of what is added to the mean of the cells (default: %(default)s)",
    )
    train.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    train.add_argument(
        "--out", metavar="MODEL", default="aggregation.safetensors", help="default: %(default)s"
    )
    shown = add_command(
        commands,
        "show",
        "Show what an aggregation was trained on, and how it compared with the mean.",
        "cpcnn aggregation show aggregation.safetensors",
        _show,
    )
    shown.add_argument("model", help="a file of cpcnn aggregation train")


def _train(options: argparse.Namespace) -> None:
    from pathlib import Path

    from cpcnn_core.aggregation.cell_sets import read_cell_sets
    from cpcnn_core.aggregation.fit import AggregationSettings
    from cpcnn_core.aggregation.train import Question, train_aggregation
    from cpcnn_core.errors import ProfileError
    from cpcnn_core.io.disk import require_room
    from cpcnn_core.profiles.wells import find_tables
    from cpcnn_core.schema.columns import metadata_column

    if not options.controls:
        raise ProfileError(
            "an aggregation compares cells with the controls of their plate; name them, e.g. "
            "--controls \"Treatment == 'DMSO'\""
        )
    settings = AggregationSettings(
        steps=options.steps, strength=options.strength, seed=options.seed
    )
    for name in ("cells_per_well", "folds"):
        least = 1 if name == "cells_per_well" else 2
        if getattr(options, name) < least:
            raise ProfileError(
                f"expected --{name.replace('_', '-')} from {least}, got {getattr(options, name)}"
            )
    out, say, by = Path(options.out), say_once(), metadata_column(options.by)
    # Now, not after the work.
    require_room(out.parent)
    wells, controls = read_wells(options, [out], say, cells="mean")
    wells.require([by])
    tables = find_tables(options.tables, leave_out=[out, *platemap_of(options)])
    how = {"drop_features": options.drop_features, "keep_labels": options.keep_label}
    sets = read_cell_sets(wells, tables, options.cells_per_well, seed=options.seed, **how)
    question = Question(by, options.controls, options.where or "", options.folds)
    with progress_bar(None, "training") as bar:
        card = train_aggregation(
            out,
            sets,
            controls,
            question,
            settings,
            inputs=[*tables, *platemap_of(options)],
            tell=bar.update,
        )
    _tell(card)
    show(f"wrote {out}")


def _show(options: argparse.Namespace) -> None:
    from cpcnn_core.aggregation.files import read_aggregation

    card, _ = read_aggregation(options.model)
    _tell(card)
    for name, value in dataclasses.asdict(card.settings).items():
        show(f"{name:<12} {value}")
    for name, text in {**card.origin, **card.versions, "sha256": card.sha256}.items():
        show(f"{name:<12} {', '.join(text) if isinstance(text, tuple) else text}")


def _tell(card: AggregationCard) -> None:
    from cpcnn_core.aggregation.judge import PLATES, describe, verdict
    from cpcnn_core.user_messages import some

    show(
        f"trained on {card.cells} cells of {some(card.wells, 'well')}: "
        f"{some(len(card.treatments), 'treatment')} on {some(len(card.plates), 'plate')}, "
        f"controls {card.controls}",
        "mean average precision of finding replicates:",
    )
    for one in card.judgements:
        show(f"  {describe(one)}")
    for one in card.placebo:
        show(f"  placebo (treatments shuffled), {describe(one)}")
    if PLATES not in {one.held_out for one in card.judgements}:
        show(
            "  no plates could be held out: that takes four plates, or two where treatments have "
            "several wells on a plate"
        )
    show(verdict(card.judgements, card.placebo))
