"""``cpcnn evaluate``: how well profiles find what belongs together."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from cpcnn_core.cli.parsers import add_command

if TYPE_CHECKING:
    from cpcnn_core.tables.profiles import Profiles


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Add the verb to the command line."""
    parser = add_command(
        verbs,
        "evaluate",
        "Measure how well replicates, and treatments of one mechanism, find each other.",
        "cpcnn evaluate profiles.parquet --truth moa.csv --label moa --out report",
        _evaluate,
    )
    parser.add_argument("profiles", help="wells, made by cpcnn profile")
    parser.add_argument(
        "--by", default="Metadata_Treatment", help="names the treatment (default: %(default)s)"
    )
    parser.add_argument(
        "--controls", metavar="EXPR", help="control wells (default: those of cpcnn profile)"
    )
    parser.add_argument(
        "--truth", help="CSV (or .tsv): the treatment, under the name of --by, and its label"
    )
    parser.add_argument(
        "--label", default="moa", help="the label's column; several parted by | (default: moa)"
    )
    parser.add_argument(
        "--paper", action="store_true", help="also the paper's measures, as it computed them"
    )
    parser.add_argument(
        "--sweep", action="store_true", help="try sphering with several lambdas on replicates"
    )
    parser.add_argument(
        "--relative", action="store_true", help="lambdas are parts of the mean eigenvalue"
    )
    parser.add_argument("--out", help="folder for evaluation.json and report.html")


def _evaluate(options: argparse.Namespace) -> None:
    import json
    from pathlib import Path

    import numpy as np

    from cpcnn_core.atomic import write_atomically
    from cpcnn_core.errors import ProfileError
    from cpcnn_core.profiles.aggregate import aggregate
    from cpcnn_core.profiles.confounders import confounders
    from cpcnn_core.profiles.evaluation import (
        evaluate_as_in_the_paper,
        evaluate_treatments,
        replicate_precision,
        sweep_lambda,
    )
    from cpcnn_core.profiles.files import read_profiles
    from cpcnn_core.profiles.wells import choose_rows
    from cpcnn_core.tables.columns import metadata_column

    wells = read_profiles(options.profiles)
    by = metadata_column(options.by)
    wells.require([by])
    expression = options.controls or wells.provenance.get("controls")
    controls = np.zeros(len(wells.metadata), bool)
    if expression:
        controls = choose_rows(wells, expression)
    treated = wells.select((np.char.strip(wells.texts(by)) != "") & ~controls)
    found = replicate_precision(treated, by)
    report = {
        "profiles": str(options.profiles),
        "made_by": wells.provenance,
        "wells": len(wells.metadata),
        "controls": int(controls.sum()),
        "replicates": {
            "wells": int((~np.isnan(found)).sum()),
            "mean_average_precision": float(np.nanmean(found)),
        },
    }
    if controls.any():
        report["confounders"] = confounders(wells, controls, by)
    if options.sweep:
        if not controls.any():
            raise ProfileError("sphering learns from control wells; name them with --controls")
        if wells.provenance.get("correction"):
            raise ProfileError(
                f"{options.profiles} is corrected already ({wells.provenance['correction']}); "
                "make profiles without --correction for the sweep"
            )
        table = sweep_lambda(wells, controls, by, relative=options.relative)
        name = "lambda_relative" if options.relative else "lambda"
        report["sweep"] = [
            {name: None if np.isnan(value) else value, "replicate_map": score}
            for value, score in table.itertuples(index=False, name=None)
        ]
    treatments = aggregate(treated, [by], "mean")
    labels = None
    if options.truth:
        labels = _labels(options, treatments, by)
        report["treatments"] = evaluate_treatments(treatments.features, labels)
        if options.paper:
            with_label = np.array([label != "" for label in labels])
            report["paper"] = evaluate_as_in_the_paper(
                treatments.features[with_label], [label for label in labels if label]
            )
    text = json.dumps(report, indent=2)
    print(text)
    if options.out:
        # Not before: it draws, and loads what draws.
        from cpcnn_core.profiles.report import write_report

        path = Path(options.out) / "evaluation.json"
        write_atomically(path, lambda place: place.write_text(text))
        print(f"wrote {path}")
        path = path.with_name("report.html")
        write_report(path, report, wells, controls, treatments, by, labels)
        print(f"wrote {path}")


def _labels(options: argparse.Namespace, treatments: Profiles, by: str) -> list[str]:
    from cpcnn_core.errors import ProfileError
    from cpcnn_core.readers.tables import read_text_table
    from cpcnn_core.tables.columns import metadata_column

    truth = read_text_table(options.truth)
    truth.columns = [metadata_column(name) for name in truth.columns]
    label = metadata_column(options.label)
    missing = [name for name in (by, label) if name not in truth.columns]
    if missing:
        raise ProfileError(
            f"{options.truth} has no column {' or '.join(missing)}; it has "
            f"{', '.join(truth.columns)}; see --by and --label"
        )
    known = truth.groupby(by)[label].agg(lambda values: "|".join(sorted(set(values) - {""})))
    names = treatments.metadata[by].astype(str)
    if not names.isin(known.index).any():
        raise ProfileError(f"none of the {len(names)} treatments is in {options.truth}")
    return [known.get(name, "") for name in names]
