"""Options that say which wells are meant, and the wells that they mean."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from cpcnn_core.cli.options import add_keep_label
from cpcnn_core.cli.terminal import show

if TYPE_CHECKING:
    import numpy as np

    from cpcnn_core.schema.profiles import Profiles


def add_wells(parser: argparse.ArgumentParser) -> None:
    """Add tables, what is known of their wells, and which of them are kept.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_wells(parser)
    >>> parser.parse_args(["embedded", "--where", "Dose == 10"]).where
    'Dose == 10'
    """
    parser.add_argument(
        "tables",
        nargs="+",
        help="folders of cpcnn embed or of other plates, tables of cells, sites or wells, or a "
        "pattern of such files: 'profiles/**/*_augmented.csv.gz'",
    )
    parser.add_argument("--platemap", help="table: Well, Plate where plates differ, Treatment, ...")
    add_keep_label(parser)
    parser.add_argument("--controls", metavar="EXPR", help="which wells are negative controls")
    parser.add_argument(
        "--where", metavar="EXPR", help="keep these wells only, e.g. controls and the highest dose"
    )
    parser.add_argument(
        "--drop-features",
        nargs="+",
        default=[],
        metavar="NAME",
        help="leave these out, e.g. those that many wells lack; patterns such as '*_RWC_*'",
    )


def read_wells(
    options: argparse.Namespace,
    leave_out: Collection[Path],
    say: Callable[[str], None],
    *,
    cells: str,
    sites: str = "mean",
) -> tuple[Profiles, np.ndarray]:
    """Return the wells that the options mean, and which of them are controls, (n,) bool.

    Parameters
    ----------
    options : argparse.Namespace
        Of `add_wells`.
    leave_out : collection of Path
        Files in the folders that are no tables of plates; the plate map is none.
    say : callable
        Takes notices.
    cells, sites : str
        See `cpcnn_core.profiles.wells.well_profiles`.
    """
    import numpy as np

    from cpcnn_core.expressions import choose_rows
    from cpcnn_core.profiles.wells import join_platemap, well_profiles

    wells = well_profiles(
        options.tables,
        cells=cells,
        sites=sites,
        drop_features=options.drop_features,
        keep_labels=options.keep_label,
        leave_out=[*leave_out, *platemap_of(options)],
        tell=say,
    )
    if options.platemap:
        wells = join_platemap(wells, options.platemap, keep_labels=options.keep_label, tell=say)
    if options.where:
        kept = choose_rows(wells, options.where)
        wells = wells.select(kept)
        wells.provenance["where"] = options.where
        show(f"{kept.sum()} of {len(kept)} wells kept")
    if not options.controls:
        return wells, np.zeros(len(wells.metadata), bool)
    controls = choose_rows(wells, options.controls)
    wells.provenance["controls"] = options.controls
    show(f"{len(controls)} wells, {controls.sum()} of them controls")
    return wells, controls


def platemap_of(options: argparse.Namespace) -> list[Path]:
    """Return the plate map, if there is one, as a list.

    Examples
    --------
    >>> platemap_of(argparse.Namespace(platemap=None))
    []
    """
    return [Path(options.platemap)] if options.platemap else []
