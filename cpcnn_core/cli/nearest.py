"""``cpcnn nearest``: the treatments that look like some wells."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, cast

from cpcnn_core.cli.options import (
    add_by,
    add_command,
    add_controls,
    add_keep_label,
    add_significance,
)
from cpcnn_core.cli.terminal import notice, print_out, say_once
from cpcnn_core.printable import printable

if TYPE_CHECKING:
    import pandas as pd

    from cpcnn_core.profiles.library import TreatmentLibrary
    from cpcnn_core.schema.profiles import Profiles


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = add_command(
        verbs,
        "nearest",
        "Find the treatments whose profiles are most like those of some wells; printed as a "
        "table, or as CSV where the output is no terminal.",
        "cpcnn nearest profiles.parquet --query \"Treatment == 'taxol'\"",
        _nearest,
    )
    parser.add_argument("profiles", help="wells, made by cpcnn profile")
    parser.add_argument(
        "--query", required=True, metavar="EXPR", help="the wells that are asked about"
    )
    parser.add_argument("--library", help="wells to search (default: the same table)")
    add_by(parser)
    add_controls(parser)
    add_significance(parser)
    add_keep_label(parser)
    parser.add_argument("--count", type=int, default=10, help="how many (default: %(default)s)")
    parser.add_argument(
        "--exclude-same",
        nargs="*",
        metavar="COLUMN",
        help="leave out treatments that share these with the query, e.g. Metadata_Plate "
        "(default: the treatment itself; nothing after it: leave out none)",
    )
    parser.add_argument("--out", help="also write the table, CSV")


def _nearest(options: argparse.Namespace) -> None:
    from pathlib import Path

    import numpy as np

    from cpcnn_core.io.atomic import write_atomically
    from cpcnn_core.io.disk import require_room
    from cpcnn_core.io.spreadsheets import write_csv
    from cpcnn_core.profiles.library import build_library
    from cpcnn_core.profiles.library_files import read_marked, with_uncorrected
    from cpcnn_core.profiles.losses import complete
    from cpcnn_core.profiles.wells import choose_rows
    from cpcnn_core.schema.columns import metadata_column
    from cpcnn_core.schema.origin import CORRECTION_SHA256, aligned, require_same_origin
    from cpcnn_core.schema.values import texts_of

    if options.out:
        # Now, not after the work.
        require_room(Path(options.out).parent)
    say = say_once()

    def read(path: str) -> Profiles:
        return complete(read_marked(path, keep_labels=options.keep_label, tell=say), say)

    asked = read(options.profiles)
    wells = read(options.library) if options.library else asked
    require_same_origin(asked, wells)
    asked, note = aligned(asked, wells)
    if note:
        notice(f"features have other names in the library: {note}")
    fits = {str(table.provenance.get(CORRECTION_SHA256, "")) for table in (asked, wells)}
    if len(fits - {""}) > 1:
        notice("the two tables were corrected alike, each by controls of its own")
    expression = options.controls or wells.provenance.get("controls")
    controls = choose_rows(wells, expression) if expression else None
    corrected = with_uncorrected(options.library or options.profiles, wells)
    library = build_library(
        corrected,
        metadata_column(options.by),
        controls,
        null=choose_rows(wells, options.null) if options.null else None,
        doses_of=metadata_column(options.doses_of) if options.doses_of else None,
    )
    unnamed = ~wells.named(library.by)
    if unnamed.any():
        notice(f"{unnamed.sum()} of {len(unnamed)} wells have no {library.by}: left out")
    chosen = choose_rows(asked, options.query)
    rows = asked.select(chosen)
    columns = [library.by] if options.exclude_same is None else options.exclude_same
    columns = [metadata_column(name) for name in columns]
    rows.require(columns)
    exclude = library.same_as(columns, rows.metadata)
    notice(
        f"{len(rows.metadata)} wells asked about, {len(library.directions)} treatments searched, "
        f"{exclude.sum()} left out; correction: {asked.provenance.get('correction', 'none')}"
    )
    significance = _has_significance(library)
    own = significance and not options.library
    # Where there is significance, what was not corrected is known.
    uncorrected = cast("Profiles", corrected.uncorrected).select(chosen) if own else None
    found = library.nearest(
        rows.features,
        options.count,
        exclude=exclude,
        significance=significance,
        uncorrected=uncorrected,
        rows=np.flatnonzero(chosen) if own else None,
    )
    # Genes that are numbers, say, as they are written.
    facts = [name for name in found.columns if name.startswith("Metadata_")]
    found = found.assign(**{name: texts_of(found[name]) for name in facts})
    _print(found)
    if not len(found):
        notice(f"No treatment is left: all share {' and '.join(columns)} with the query.")
    if significance and len(found) and found["p_value"].isna().all():
        notice(
            "No p-values: of the controls none are left to compare with, as the wells asked about "
            "are some of them, or the plates have too few"
        )
    elif significance and len(found):
        notice(library.significance.describe(texts_of(found[library.by])))
        notice("q-values: corrected for all treatments searched, those not shown too")
    if options.out:
        write_atomically(options.out, lambda place: write_csv(found, place))
        notice(f"wrote {options.out}")


def _has_significance(library: TreatmentLibrary) -> bool:
    """Tell whether there can be p-values; say why not."""
    from cpcnn_core.errors import ProfileError

    if not library.controls.any():
        notice("Say which wells are controls (--controls) for p-values.")
        return False
    try:
        return bool(library.significance)
    except ProfileError as error:
        notice(f"No p-values: {error}")
        return False


def _print(found: pd.DataFrame) -> None:
    """Print the table for people, or, where standard output is no terminal, as CSV."""
    from cpcnn_core.io.spreadsheets import harmless_table

    if not sys.stdout.isatty():
        print_out(harmless_table(found).to_csv(index=False, lineterminator="\n").rstrip("\n"))
    elif len(found):
        texts = found.select_dtypes(object)
        shown = found.assign(**{name: list(map(printable, texts[name])) for name in texts})
        shown = shown.rename(columns=lambda name: name.removeprefix("Metadata_"))
        print_out(shown.to_string(index=False, float_format="{:.3f}".format, max_colwidth=40))
