"""``cpcnn compare``: models, classical measurements and the number of cells, side by side."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from cpcnn_core.cli.messages import message_words
from cpcnn_core.cli.options import (
    add_check,
    add_command,
    add_force,
    add_question,
)
from cpcnn_core.cli.screen_options import add_scale, add_screen, image_of, screen_of
from cpcnn_core.cli.terminal import as_text, notice, print_out, say_once, show

if TYPE_CHECKING:
    from pathlib import Path

    from cpcnn_core.evaluation.comparison import ComparedModel, Comparison
    from cpcnn_core.evaluation.comparison_scores import ComparisonTask
    from cpcnn_core.models.card import ModelCard
    from cpcnn_core.screen.job import Job

# What is said of the screen and the network, as ``cpcnn embed`` understands it.
_OF_EMBED = (
    *("load_data", "objects", "object_name", "labels", "locations", "deepprofiler", "config"),
    *("exp", "um_per_px", "device", "engine", "precision"),
)


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
    task = parser.add_argument_group("what is asked")
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
    how.add_argument("--device", help="as for cpcnn embed")
    how.add_argument("--engine", help="as for cpcnn embed")
    how.add_argument("--precision", help="as for cpcnn embed")
    how.add_argument("--out", metavar="DIR", required=True, help="folder to write")
    add_force(how)
    add_check(how)


def _compare(options: argparse.Namespace) -> int:
    from pathlib import Path

    from cpcnn_core.evaluation.comparison import compare, find_compared_models

    job = _job(options)
    if options.check:
        return _check(options, job)

    def embed(compared_model: ComparedModel, folder: Path) -> list[str]:
        return ["cpcnn_core.cli", *_embed(options, compared_model, folder)]

    comparison = compare(
        find_compared_models(options.models),
        job,
        _task(options),
        embed,
        classical=options.classical,
        tell=notice,
    )
    _write(comparison, Path(options.out))
    troubled = [result for result in comparison.results if result.run and result.reason]
    for result in troubled:
        show(f"{result.name}: {result.reason}")
    return 1 if troubled else 0


def _check(options: argparse.Namespace, job: Job) -> int:
    from cpcnn_core.cli.main import main
    from cpcnn_core.evaluation.classical import classical_job, examine_screen
    from cpcnn_core.evaluation.comparison import (
        CLASSICAL,
        find_compared_models,
        folder_of,
        require_answers,
    )

    compared_models = find_compared_models(options.models)
    require_answers(job, _task(options), classical=options.classical)
    code = 0
    for one in compared_models:
        show(f"{one.name}:")
        code |= main([*_embed(options, one, folder_of(job.out, one.name)), "--check"])
    if options.classical:
        show(f"{CLASSICAL}:")
        own = dataclasses.replace(job, out=str(folder_of(job.out, CLASSICAL)))
        show(*examine_screen(classical_job(own)))
    return code


def _embed(options: argparse.Namespace, compared_model: ComparedModel, folder: Path) -> list[str]:
    """Return the words that embed the screen with a model."""
    words = ["embed", "--model", compared_model.model, "--out", str(folder), *_words(options)]
    return [*words, *_channels(options, compared_model.card), *message_words(options)]


def _words(options: argparse.Namespace) -> list[str]:
    """Say again to ``cpcnn embed`` what was said of the screen."""
    words = []
    for name in _OF_EMBED:
        value = getattr(options, name)
        if value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return words + [f"--{name}" for name in ("mask", "force") if getattr(options, name)]


def _channels(options: argparse.Namespace, card: ModelCard) -> list[str]:
    """Of the channels that were named, say to a model those that it can have."""
    chosen = [
        text
        for text in options.channels or ()
        if card.takes_any_channels or image_of(text)[0] in card.channels
    ]
    return ["--channels", *chosen] if chosen else []


def _job(options: argparse.Namespace) -> Job:
    from cpcnn_core.screen.job import Job

    return Job(screen_of(options), options.out, force=options.force)


def _task(options: argparse.Namespace) -> ComparisonTask:
    from cpcnn_core.evaluation.annotations import read_truth
    from cpcnn_core.evaluation.comparison_scores import ComparisonTask
    from cpcnn_core.schema.columns import metadata_column

    say, keep, by = say_once(), options.keep_label, metadata_column(options.by)
    truth = None
    if options.truth:
        truth = read_truth(options.truth, by, options.label, keep_labels=keep, tell=say)
    return ComparisonTask(
        by,
        options.controls,
        options.platemap,
        options.where,
        options.ask,
        truth,
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
