"""``cpcnn profile``: cells to corrected profiles of wells and treatments."""

from __future__ import annotations

import argparse

from cpcnn_core.cli.parsers import add_command


def add_parser(verbs: argparse._SubParsersAction) -> None:
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
        "tables", nargs="+", help="folders of cpcnn embed, or tables of cells, sites or wells"
    )
    parser.add_argument("--platemap", help="CSV: Well, Plate where plates differ, Treatment, ...")
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
        "--relative", action="store_true", help="lambda is a part of the mean eigenvalue"
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
    from cpcnn_core.profiles.aggregate import aggregate
    from cpcnn_core.profiles.correction import correction_file, fit_correction
    from cpcnn_core.profiles.files import write_profiles
    from cpcnn_core.profiles.wells import choose_rows, join_platemap, well_profiles
    from cpcnn_core.tables.columns import metadata_column

    if options.correction != "none" and not options.controls:
        raise ProfileError(
            f"the correction {options.correction} learns from control wells; name them, e.g. "
            "--controls \"Treatment == 'DMSO'\""
        )
    out = Path(options.out)
    wells = well_profiles(options.tables, cells=options.cells, sites=options.sites)
    if options.platemap:
        wells = join_platemap(wells, options.platemap)
    if options.where:
        kept = choose_rows(wells, options.where)
        wells = wells.select(kept)
        wells.provenance["where"] = options.where
        print(f"{kept.sum()} of {len(kept)} wells kept")
    controls = None
    if options.controls:
        controls = choose_rows(wells, options.controls)
        wells.provenance["controls"] = options.controls
        print(f"{len(controls)} wells, {controls.sum()} of them controls")
    correction = fit_correction(
        wells,
        controls,
        options.correction,
        regularization=options.regularization,
        relative=options.relative,
    )
    wells = correction.transform(wells)
    write_profiles(wells, out)
    print(f"wrote {out}: {len(wells.metadata)} wells x {len(wells.feature_names)} features")
    if correction.steps:
        beside = correction_file(out)
        correction.save(beside)
        print(f"wrote {beside}: {correction.method}")
    if options.consensus:
        by = [metadata_column(name) for name in options.consensus]
        treatments = aggregate(wells, by, "mean")
        beside = out.with_name(f"{out.name.split('.')[0]}.consensus.parquet")
        write_profiles(treatments, beside)
        print(f"wrote {beside}: {len(treatments.metadata)} x {len(treatments.feature_names)}")
