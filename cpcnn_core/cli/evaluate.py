"""``cpcnn evaluate``: how well profiles find what belongs together."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from cpcnn_core.cli.options import (
    add_command,
    add_controls,
    add_question,
    add_significance,
    annotations_of,
)
from cpcnn_core.cli.terminal import notice, print_out, say_once

if TYPE_CHECKING:
    import numpy as np

    from cpcnn_core.profiles.corrected_wells import CorrectedWells
    from cpcnn_core.schema.profiles import Profiles


# Treatments, in a terminal.
MAX_SHOWN = 10


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = add_command(
        verbs,
        "evaluate",
        "Measure how well replicates, and treatments of one mechanism, find each other.",
        "cpcnn evaluate profiles.parquet --annotations moa.csv --label moa --out report",
        _evaluate,
    )
    parser.add_argument("profiles", help="wells, made by cpcnn profile")
    add_question(parser)
    add_controls(parser)
    parser.add_argument(
        "--positive-controls",
        metavar="EXPR",
        help="wells of strong treatments that every plate has: what they find is told apart",
    )
    add_significance(parser)
    parser.add_argument(
        "--paper", action="store_true", help="also the paper's measures, as it computed them"
    )
    parser.add_argument(
        "--strong",
        type=int,
        metavar="WELLS",
        help="also choose the treatments that are worth learning from, as the paper did: those "
        "with so many wells far from the controls (there: 3 of 4 or 5, 5 of 8)",
    )
    parser.add_argument(
        "--sweep", action="store_true", help="try sphering with several lambdas on replicates"
    )
    parser.add_argument(
        "--relative", action="store_true", help="lambdas are fractions of the mean eigenvalue"
    )
    parser.add_argument(
        "--baselines",
        nargs="+",
        default=[],
        metavar="NAME=TABLE",
        help="other profiles of the same wells, e.g. uncorrected ones or of an untrained network",
    )
    parser.add_argument("--out", help="folder for evaluation.json and report.html")


def _evaluate(options: argparse.Namespace) -> None:
    import json
    from pathlib import Path

    from cpcnn_core.evaluation.evaluation import evaluate_profiles
    from cpcnn_core.evaluation.strong_treatments import strong_in_profiles
    from cpcnn_core.io.atomic import write_atomically
    from cpcnn_core.io.disk import require_room
    from cpcnn_core.profiles.library_files import read_marked, with_uncorrected
    from cpcnn_core.profiles.losses import complete
    from cpcnn_core.schema.columns import metadata_column

    say, keep = say_once(), options.keep_label

    def read(path: str) -> CorrectedWells:
        return with_uncorrected(path, complete(read_marked(path, keep_labels=keep, tell=say), say))

    corrected = read(options.profiles)
    wells = corrected.wells
    by = metadata_column(options.by)
    unnamed = ~wells.named(by)
    if unnamed.any():
        say(f"{unnamed.sum()} of {len(unnamed)} wells have no {by}: left out")
    annotations = annotations_of(options, say)
    expression = options.controls or wells.provenance.get("controls")
    texts = (expression, options.positive_controls, options.query, options.null)
    controls, positive, queries, null = (_chosen(wells, text) for text in texts)
    baselines = {name: read(path) for name, path in _named(options.baselines)}
    if options.out:
        # Now, not after the work.
        require_room(options.out)
    strong = {}
    if options.strong is not None:
        # First: it may need what is not installed.
        strong = {"strong_treatments": strong_in_profiles(wells, by, controls, options.strong)}
    evaluation = evaluate_profiles(
        corrected,
        by,
        controls=controls,
        positive=positive,
        queries=queries,
        annotations=annotations,
        baselines=baselines,
        null=null,
        doses_of=metadata_column(options.doses_of) if options.doses_of else None,
        sweep=options.sweep,
        relative=options.relative,
        paper=options.paper,
    )
    scores = {"profiles": options.profiles, **evaluation.scores, **strong}
    text = json.dumps(scores, indent=2)
    print_out(json.dumps(_shortened(scores), indent=2) if sys.stdout.isatty() else text)
    if options.out:
        # Not before: it draws, and loads what draws.
        from cpcnn_core.evaluation.report import write_report

        path = Path(options.out) / "evaluation.json"
        write_atomically(path, lambda place: place.write_text(text))
        notice(f"wrote {path}")
        path = path.with_name("report.html")
        write_report(path, evaluation, options.profiles)
        notice(f"wrote {path}")


def _shortened(scores: dict[str, Any]) -> dict[str, object]:
    """Return what fits on a few screens of a terminal; say what is not shown."""
    from cpcnn_core.evaluation.placebo import without_p_values

    scores = dict(scores)
    table = scores.get("activity", {}).get("by_treatment", [])
    if len(table) > MAX_SHOWN:
        notice(
            f"by_treatment shows the {MAX_SHOWN} surest of {len(table)} treatments; all are in "
            "evaluation.json of --out, and in output that is redirected"
        )
        scores["activity"] = {**scores["activity"], "by_treatment": table[:MAX_SHOWN]}
    if "placebo" in scores:
        scores["placebo"] = without_p_values(scores["placebo"])
    return scores


def _chosen(wells: Profiles, expression: str | None) -> np.ndarray | None:
    from cpcnn_core.expressions import choose_rows

    return choose_rows(wells, expression) if expression else None


def _named(tables: list[str]) -> list[tuple[str, str]]:
    from cpcnn_core.errors import ProfileError

    named = [table.partition("=") for table in tables]
    if not all(name and path for name, _, path in named):
        raise ProfileError(f"expected --baselines NAME=TABLE, got {' '.join(tables)}")
    if len({name for name, _, _ in named}) < len(named):
        raise ProfileError(
            f"expected another name for every table --baselines, got {' '.join(tables)}"
        )
    return [(name, path) for name, _, path in named]
