"""``cpcnn profile``: cells to corrected profiles of wells and treatments."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cpcnn_core.cli.options import add_command, add_keep_label
from cpcnn_core.cli.terminal import say_once, show

if TYPE_CHECKING:
    from pathlib import Path

    from cpcnn_core.schema.profiles import Profiles


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = add_command(
        verbs,
        "profile",
        "Make profiles of wells and treatments, and remove batch effects.",
        "cpcnn profile embedded --platemap platemap.csv --controls \"Treatment == 'DMSO'\" "
        "--correction sphering --out profiles.parquet",
        _profile,
    )
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
        "--correction",
        default="none",
        help="none, sphering, centred-sphering, plate-mad, pca-mad (default: %(default)s)",
    )
    parser.add_argument(
        "--lambda",
        dest="regularization",
        type=float,
        default=1e-2,
        help="of sphering (default: %(default)s)",
    )
    parser.add_argument(
        "--relative", action="store_true", help="lambda is a fraction of the mean eigenvalue"
    )
    parser.add_argument(
        "--drop-features",
        nargs="+",
        default=[],
        metavar="NAME",
        help="leave these out, e.g. those that many wells lack; patterns such as '*_RWC_*'",
    )
    parser.add_argument("--cells", default="median", help="cells to sites: median, mean")
    parser.add_argument("--sites", default="mean", help="sites to wells: mean, median")
    parser.add_argument(
        "--consensus",
        nargs="+",
        metavar="COLUMN",
        help="also write profiles of these, e.g. Metadata_Treatment, beside the wells",
    )
    parser.add_argument("--out", default="profiles.parquet", help="default: %(default)s")


def _profile(options: argparse.Namespace) -> None:
    from pathlib import Path

    from cpcnn_core.errors import ProfileError
    from cpcnn_core.expressions import choose_rows
    from cpcnn_core.io.disk import require_room
    from cpcnn_core.io.profile_files import require_format
    from cpcnn_core.profiles.correction import fit_correction
    from cpcnn_core.profiles.library_files import consensus_file, write_corrected
    from cpcnn_core.profiles.wells import join_platemap, well_profiles
    from cpcnn_core.schema.columns import metadata_column

    if options.correction != "none" and not options.controls:
        raise ProfileError(
            f"the correction {options.correction} learns from control wells; name them, e.g. "
            "--controls \"Treatment == 'DMSO'\""
        )
    out, say = Path(options.out), say_once()
    # Now, not after the work.
    require_format(out)
    require_room(out.parent)
    wells = well_profiles(
        options.tables,
        cells=options.cells,
        sites=options.sites,
        drop_features=options.drop_features,
        keep_labels=options.keep_label,
        leave_out=[out, consensus_file(out), *([options.platemap] if options.platemap else ())],
        tell=say,
    )
    if options.platemap:
        wells = join_platemap(wells, options.platemap, keep_labels=options.keep_label, tell=say)
    wells.require([metadata_column(name) for name in options.consensus or ()])
    if options.where:
        kept = choose_rows(wells, options.where)
        wells = wells.select(kept)
        wells.provenance["where"] = options.where
        show(f"{kept.sum()} of {len(kept)} wells kept")
    controls = None
    if options.controls:
        controls = choose_rows(wells, options.controls)
        wells.provenance["controls"] = options.controls
        show(f"{len(controls)} wells, {controls.sum()} of them controls")
    correction = fit_correction(
        wells,
        controls,
        options.correction,
        regularization=options.regularization,
        relative=options.relative,
        tell=say,
    )
    # Treatments of the table that was there before are none of the new one's.
    consensus = consensus_file(out)
    old = [] if options.consensus or not consensus.is_file() else [consensus]
    for file in old:
        file.unlink()
    written = write_corrected(correction.transform(wells), correction, out, wells)
    wells = written.wells
    show(f"wrote {out}: {len(wells.metadata)} wells x {len(wells.feature_names)} features")
    if written.correction:
        show(f"wrote {written.correction}: {correction.method}")
    for file in [*old, *written.removed]:
        show(f"removed {file}: it belonged to the table that was there before")
    if options.consensus:
        _write_consensus(wells, options.consensus, consensus, say)


def _write_consensus(
    wells: Profiles, columns: Sequence[str], path: Path, say: Callable[[str], None]
) -> None:
    import numpy as np

    from cpcnn_core.errors import ProfileError
    from cpcnn_core.io.profile_files import write_profiles
    from cpcnn_core.profiles.aggregate import aggregate
    from cpcnn_core.schema.columns import metadata_column

    by = [metadata_column(name) for name in columns]
    named = np.logical_and.reduce([wells.named(name) for name in by])
    if not named.any():
        raise ProfileError(f"no well has a label in {' and '.join(by)}")
    if not named.all():
        say(f"{(~named).sum()} of {len(named)} wells have no {' or '.join(by)}: left out")
    treatments = aggregate(wells.select(named), by, "mean", tell=say)
    write_profiles(treatments, path)
    show(f"wrote {path}: {len(treatments.metadata)} x {len(treatments.feature_names)}")
