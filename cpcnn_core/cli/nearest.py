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
from cpcnn_core.user_messages import printable

if TYPE_CHECKING:
    import pandas as pd

    from cpcnn_core.profiles.open_library import OpenLibrary
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
        "--query",
        required=True,
        metavar="EXPR",
        help="the wells whose nearest treatments are wanted",
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

    from cpcnn_core.expressions import choose_rows
    from cpcnn_core.io.atomic import write_atomically
    from cpcnn_core.io.disk import require_room
    from cpcnn_core.io.spreadsheets import write_csv
    from cpcnn_core.schema.columns import metadata_column
    from cpcnn_core.schema.values import texts_of

    if options.out:
        # Now, not after the work.
        require_room(Path(options.out).parent)
    wells, opened = _read(options)
    library = opened.library
    unnamed = ~library.wells.named(library.by)
    if unnamed.any():
        notice(f"{unnamed.sum()} of {len(unnamed)} wells have no {library.by}: left out")
    chosen = choose_rows(wells, options.query)
    query = wells.select(chosen)
    columns = [library.by] if options.exclude_same is None else options.exclude_same
    columns = [metadata_column(name) for name in columns]
    query.require(columns)
    exclude = library.same_as(columns, query.metadata)
    count = len(query.metadata)
    notice(
        f"{count} {'well' if count == 1 else 'wells'} in the query, {len(library.directions)} "
        f"treatments searched, {exclude.sum()} left out; "
        f"correction: {wells.provenance.get('correction', 'none')}"
    )
    significance = _has_significance(opened)
    own = significance and not options.library
    # Where there is significance, what was not corrected is known.
    uncorrected = cast("Profiles", library.corrected.uncorrected).select(chosen) if own else None
    found = library.nearest(
        query.features,
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
            "No p-values: of the controls none are left to compare with, as the wells in the query "
            "are some of them, or the plates have too few"
        )
    elif significance and len(found):
        notice(library.significance.describe(texts_of(found[library.by])))
        notice("q-values: corrected for all treatments searched, those not shown too")
    if options.out:
        write_atomically(options.out, lambda place: write_csv(found, place))
        notice(f"wrote {options.out}")


def _read(options: argparse.Namespace) -> tuple[Profiles, OpenLibrary]:
    """Return the table of the query, and the library, which may be the same table."""
    from cpcnn_core.profiles.library_files import read_marked
    from cpcnn_core.profiles.losses import complete
    from cpcnn_core.profiles.open_library import open_library
    from cpcnn_core.schema.origin import CORRECTION_SHA256, aligned, require_same_origin

    say, keep = say_once(), options.keep_label
    wells = None
    if options.library:
        wells = complete(read_marked(options.profiles, keep_labels=keep, tell=say), say)
    opened = open_library(
        options.library or options.profiles,
        options.by,
        options.controls,
        null=options.null,
        doses_of=options.doses_of,
        for_cells=False,
        keep_labels=keep,
        tell=say,
    )
    if wells is None:
        return opened.library.wells, opened
    require_same_origin(wells, opened.library.wells)
    wells, note = aligned(wells, opened.library.wells)
    if note:
        notice(f"features have other names in the library: {note}")
    tables = (wells, opened.library.wells)
    fits = {str(table.provenance.get(CORRECTION_SHA256, "")) for table in tables}
    if len(fits - {""}) > 1:
        notice("the two tables were corrected alike, each by controls of its own")
    return wells, opened


def _has_significance(opened: OpenLibrary) -> bool:
    """Tell whether there can be p-values; say why not."""
    if opened.significance is not None:
        return True
    if not opened.library.controls.any():
        notice("Say which wells are controls (--controls) for p-values.")
    else:
        notice(opened.p_values[0].upper() + opened.p_values[1:])
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
