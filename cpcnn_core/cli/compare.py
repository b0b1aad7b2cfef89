"""``cpcnn compare``: models, classical measurements and the number of cells, side by side."""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING

from cpcnn_core.cli.embed import check_job
from cpcnn_core.cli.messages import message_words, told_error
from cpcnn_core.cli.options import (
    add_check,
    add_command,
    add_engine,
    add_force,
    add_question,
    annotations_of,
)
from cpcnn_core.cli.screen_options import add_scale, add_screen, screen_of
from cpcnn_core.cli.terminal import as_text, notice, print_out, say_once, show
from cpcnn_core.errors import CPCNNError

if TYPE_CHECKING:
    from pathlib import Path

    from cpcnn_core.evaluation.comparison import Comparison
    from cpcnn_core.evaluation.comparison_scores import ComparisonTask
    from cpcnn_core.screen.job import Job

LOGGER = logging.getLogger(__name__)


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = add_command(
        verbs,
        "compare",
        "Compare models on the same cells: cost, retrieval, confounders.",
        "cpcnn compare untrained-efficientnet-b0 mine.safetensors --load-data load_data.csv "
        "--labels labels --platemap platemap.csv --controls \"Treatment == 'DMSO'\" --out compared",
        _compare,
    )
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="names or files; NAME=FILE where the file's own name does not tell",
    )
    add_screen(parser)
    add_scale(parser, "resampled for every model that was trained at another scale")
    _add_question(parser)
    _add_network(parser)


def _add_question(parser: argparse.ArgumentParser) -> None:
    task = parser.add_argument_group("what is measured")
    task.add_argument("--platemap", help="CSV: Well, Plate where plates differ, Treatment, ...")
    task.add_argument(
        "--controls", metavar="EXPR", required=True, help="which wells are negative controls"
    )
    add_question(task)
    task.add_argument("--where", metavar="EXPR", help="look at these wells only")
    task.add_argument(
        "--confounder",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="columns that controls should not find each other by, besides plate and well",
    )


def _add_network(parser: argparse.ArgumentParser) -> None:
    how = parser.add_argument_group("how")
    how.add_argument(
        "--classical", action="store_true", help="also measure all cells with cp_measure"
    )
    how.add_argument(
        "--masked-too",
        action="store_true",
        help="every model also on crops that are masked as with --mask, as NAME-masked",
    )
    add_engine(how)
    how.add_argument("--out", metavar="DIR", required=True, help="folder to write")
    add_force(how)
    add_check(how)


def _compare(options: argparse.Namespace) -> int:
    from pathlib import Path

    from cpcnn_core.evaluation.comparison import compare, find_compared_models

    job = _job(options)
    if options.check:
        return _check(options, job)
    comparison = compare(
        find_compared_models(options.models, masked_too=options.masked_too),
        job,
        _task(options),
        ["cpcnn_core.cli.run_job", *message_words(options)],
        classical=options.classical,
        tell=notice,
    )
    _write(comparison, Path(options.out))
    troubled = [result for result in comparison.results if result.run and result.reason]
    for result in troubled:
        show(f"{result.name}: {result.reason}")
    return 1 if troubled else 0


def _check(options: argparse.Namespace, job: Job) -> int:
    from cpcnn_core.evaluation.classical import examine_screen
    from cpcnn_core.evaluation.comparison import (
        CLASSICAL,
        classical_job_of,
        find_compared_models,
        job_of,
        require_answers,
    )

    compared_models = find_compared_models(options.models, masked_too=options.masked_too)
    require_answers(compared_models, job, _task(options), classical=options.classical)
    code = 0
    for one in compared_models:
        show(f"{one.name}:")
        try:
            check_job(job_of(job, one))
        except CPCNNError as error:
            # The others can be looked at all the same.
            text = told_error(error, options)
            LOGGER.exception("%s", text)
            code = 1
    if options.classical:
        show(f"{CLASSICAL}:")
        show(*examine_screen(classical_job_of(job)))
    return code


def _job(options: argparse.Namespace) -> Job:
    from cpcnn_core.screen.job import Job

    return Job(
        screen_of(options),
        options.out,
        device=options.device,
        engine=options.engine,
        precision=options.precision,
        force=options.force,
    )


def _task(options: argparse.Namespace) -> ComparisonTask:
    from cpcnn_core.evaluation.comparison_scores import ComparisonTask
    from cpcnn_core.schema.columns import metadata_column

    say, by = say_once(), metadata_column(options.by)
    return ComparisonTask(
        by,
        options.controls,
        options.platemap,
        options.where,
        options.query,
        annotations_of(options, say),
        tuple(options.confounder),
        tuple(options.keep_label),
        say,
    )


def _write(comparison: Comparison, out: Path) -> None:
    from cpcnn_core.evaluation.comparison_report import rows_of, shown_rows, write_comparison
    from cpcnn_core.io.atomic import write_atomically
    from cpcnn_core.io.spreadsheets import write_csv

    print_out(as_text(*shown_rows(comparison)))
    path = out / "compare.csv"
    table = rows_of(comparison)
    write_atomically(path, lambda place: write_csv(table, place))
    show(f"wrote {path}")
    path = out / "compare.html"
    write_comparison(path, comparison)
    show(f"wrote {path}")
