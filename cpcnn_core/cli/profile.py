"""``cpcnn profile``: cells to corrected profiles of wells and treatments."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cpcnn_core.cli.options import add_command
from cpcnn_core.cli.terminal import say_once, show
from cpcnn_core.cli.well_options import add_wells, platemap_of, read_wells

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

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
    add_wells(parser)
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
        "--cells", help="cells to sites: median, mean (default: median; mean with --aggregation)"
    )
    parser.add_argument("--sites", default="mean", help="sites to wells: mean, median")
    parser.add_argument(
        "--aggregation",
        metavar="MODEL",
        help="add to the mean of the cells what cpcnn aggregation train learned",
    )
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
    from cpcnn_core.io.disk import require_room
    from cpcnn_core.io.profile_files import require_format
    from cpcnn_core.profiles.correction import fit_correction
    from cpcnn_core.profiles.library_files import consensus_file, write_corrected
    from cpcnn_core.schema.columns import metadata_column

    if options.correction != "none" and not options.controls:
        raise ProfileError(
            f"the correction {options.correction} learns from control wells; name them, e.g. "
            "--controls \"Treatment == 'DMSO'\""
        )
    if options.aggregation and not options.controls:
        raise ProfileError(
            "a learned aggregation compares cells with the controls of their plate; name them, "
            "e.g. --controls \"Treatment == 'DMSO'\""
        )
    out, say = Path(options.out), say_once()
    # Now, not after the work.
    require_format(out)
    require_room(out.parent)
    aside = [out, consensus_file(out)]
    wells, controls = read_wells(
        options, aside, say, cells=_cells_method(options), sites=options.sites
    )
    wells.require([metadata_column(name) for name in options.consensus or ()])
    if options.aggregation:
        wells = _aggregate(options, wells, controls, aside, say)
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


def _cells_method(options: argparse.Namespace) -> str:
    from cpcnn_core.errors import ProfileError

    if not options.aggregation:
        return str(options.cells or "median")
    if options.cells not in (None, "mean") or options.sites != "mean":
        raise ProfileError(
            "a learned aggregation adds to the mean of the cells; leave out --cells and --sites, "
            "or --aggregation"
        )
    return "mean"


def _aggregate(
    options: argparse.Namespace,
    wells: Profiles,
    controls: np.ndarray,
    aside: Sequence[Path],
    say: Callable[[str], None],
) -> Profiles:
    from cpcnn_core.aggregation.apply import aggregate_learned
    from cpcnn_core.aggregation.files import fit_features, read_aggregation, told_if_learned_from
    from cpcnn_core.profiles.wells import find_tables
    from cpcnn_core.schema.origin import AGGREGATION

    card, aggregation = read_aggregation(options.aggregation)
    wells = fit_features(card, wells)
    for text in told_if_learned_from(card, wells):
        say(text)
    tables = find_tables(options.tables, leave_out=[*aside, *platemap_of(options)])
    how = {"drop_features": options.drop_features, "keep_labels": options.keep_label}
    wells = aggregate_learned(wells, controls, aggregation, tables, **how)
    wells.provenance[AGGREGATION] = card.sha256
    return wells


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
