"""``cpcnn design``: how many plates, replicates and controls show an effect."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from cpcnn_core.cli.options import add_by, add_command, add_controls, add_keep_label
from cpcnn_core.cli.terminal import notice, print_out, say_once

if TYPE_CHECKING:
    import pandas as pd

MAX_PLATES = 8
WANTED = 0.8


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = add_command(
        verbs,
        "design",
        "Simulate, with the control wells of a screen, how many plates, replicates and controls "
        "the next one needs to find effects; printed as a table, or as CSV where the output is no "
        "terminal.",
        "cpcnn design profiles.parquet --plates 2 4 --replicates 1 2 --out design",
        _design,
    )
    parser.add_argument(
        "profiles", help="wells, made by cpcnn profile, with controls; corrected as they are"
    )
    add_by(parser)
    add_controls(parser)
    add_keep_label(parser)
    parser.add_argument(
        "--plates",
        type=int,
        nargs="+",
        help=f"how many (default: 1, 2, 4, {MAX_PLATES}, if there)",
    )
    parser.add_argument(
        "--replicates",
        type=int,
        nargs="+",
        default=[1, 2],
        help="wells of a treatment on every plate (default: 1 2)",
    )
    parser.add_argument(
        "--controls-per-plate",
        type=int,
        nargs="+",
        help="control wells on every plate (default: a quarter and a half of those here)",
    )
    parser.add_argument(
        "--effects",
        type=float,
        nargs="+",
        help="sizes, in standard deviations of control wells (default: such that a quarter, half "
        "and three quarters of the treatments here have less)",
    )
    parser.add_argument(
        "--rounds", type=int, default=20, help="simulated screens (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--out", help="folder for design.csv and design.html")


def _design(options: argparse.Namespace) -> None:
    import itertools
    from collections import Counter
    from pathlib import Path

    import numpy as np

    from cpcnn_core.errors import ProfileError
    from cpcnn_core.evaluation.power import (
        Design,
        measure_effects,
        simulate_power,
        smallest_designs,
    )
    from cpcnn_core.expressions import choose_rows
    from cpcnn_core.io.atomic import write_atomically
    from cpcnn_core.io.disk import require_room
    from cpcnn_core.io.spreadsheets import write_csv
    from cpcnn_core.profiles.cross_fitting import plates_of
    from cpcnn_core.profiles.library_files import read_marked, with_uncorrected
    from cpcnn_core.profiles.losses import complete
    from cpcnn_core.schema.columns import metadata_column
    from cpcnn_core.user_messages import some

    _require_counts(options)
    if options.out:
        # Now, not after the work.
        require_room(options.out)
    say = say_once()
    read = complete(read_marked(options.profiles, keep_labels=options.keep_label, tell=say), say)
    corrected, by = with_uncorrected(options.profiles, read), metadata_column(options.by)
    wells, correction = corrected.to_fit_again("a simulation needs")
    wells.require([by])
    expression = options.controls or read.provenance.get("controls")
    if not expression:
        raise ProfileError("screens are simulated with control wells: say which (--controls)")
    controls = choose_rows(wells, expression)
    counts = Counter(plates_of(wells)[controls].tolist())
    usual = sorted(counts.values())[len(counts) // 2] if counts else 0
    plates = options.plates or [n for n in (1, 2, 4, MAX_PLATES) if n <= len(counts)]
    per_plate = options.controls_per_plate or sorted({max(4, usual // 4), max(4, usual // 2)})
    own = measure_effects(wells, controls, by)
    quartiles = [round(float(size), 2) for size in np.percentile(own.sizes, (25, 50, 75))]
    notice(
        f"effects of the {len(own.sizes)} treatments here, in standard deviations of control "
        f"wells: a quarter below {quartiles[0]}, half below {quartiles[1]}, three quarters below "
        f"{quartiles[2]}"
    )
    # Without any effect: the placebo.
    effects = sorted({0.0, *(options.effects or quartiles)})
    asked = itertools.product(plates, options.replicates, per_plate)
    designs = [design for design in itertools.starmap(Design, asked) if design.is_replicated]
    notice(
        f"correction: {correction.method}; {len(designs)} designs, {options.rounds} simulated "
        "screens each, positions at random"
    )
    how = {"rounds": options.rounds, "seed": options.seed}
    table = simulate_power(wells, controls, by, correction, designs, effects, **how)
    _print(table)
    least = smallest_designs(table, WANTED)
    for row in least.itertuples():
        notice(
            f"effect {row.effect:g}: {WANTED:.0%} are found with {some(row.plates, 'plate')}, "
            f"{some(row.replicates, 'well')} and {row.controls} controls on each (found "
            f"{row.power:.2f}, {row.low:.2f} to {row.high:.2f})"
        )
    missed = sorted(set(effects) - {0.0} - set(least["effect"]))
    if missed:
        sizes = ", ".join(f"{one:g}" for one in missed)
        notice(f"no design that was asked about finds {WANTED:.0%} with an effect of {sizes}")
    if options.out:
        # Not before: it draws, and loads what draws.
        from cpcnn_core.evaluation.power import write_power_report

        path = Path(options.out) / "design.csv"
        write_atomically(path, lambda place: write_csv(table, place))
        notice(f"wrote {path}")
        path = path.with_name("design.html")
        write_power_report(path, table, own, options.profiles, correction.method)
        notice(f"wrote {path}")


def _require_counts(options: argparse.Namespace) -> None:
    from cpcnn_core.errors import ProfileError

    asked = {
        "--plates": options.plates or [1],
        "--replicates": options.replicates,
        "--controls-per-plate": options.controls_per_plate or [1],
        "--rounds": [options.rounds],
    }
    for name, values in asked.items():
        if min(values) < 1:
            raise ProfileError(f"expected {name} from 1, got {min(values)}")


def _print(table: pd.DataFrame) -> None:
    """Print the table for people, or, where standard output is no terminal, as CSV."""
    if sys.stdout.isatty():
        shown = table.to_string(index=False, float_format="{:.3g}".format, na_rep="")
    else:
        shown = table.to_csv(index=False, lineterminator="\n").rstrip("\n")
    print_out(shown)
