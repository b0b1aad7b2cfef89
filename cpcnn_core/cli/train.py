"""``cpcnn train``: a network of your own, from the crops of your screens."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Self

from cpcnn_core.cli.options import add_command
from cpcnn_core.cli.terminal import notice, progress_bar, show
from cpcnn_core.schema.columns import TREATMENT

if TYPE_CHECKING:
    from tqdm import tqdm

    from cpcnn_core.training.config import TrainingConfig
    from cpcnn_core.training.reports import Report


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = add_command(
        verbs,
        "train",
        "Train a network on crops, or resume a training that was stopped.",
        "cpcnn train --write-config train.toml\n  cpcnn train train.toml\n"
        "  cpcnn train --from imagenet-efficientnet-lite0 --crops crops "
        "--controls \"Treatment == 'DMSO'\"\n"
        "  accelerate launch -m cpcnn_core.cli train train.toml   (several GPUs)",
        _train,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("config", nargs="?", metavar="CONFIG.toml", help="what to train with")
    what.add_argument(
        "--write-config", metavar="FILE", help="write every entry with its default, and stop"
    )
    what.add_argument(
        "--from",
        dest="start",
        metavar="MODEL",
        help="train this model further on --crops, and tell whether that was worth it",
    )
    parser.add_argument(
        "--recipe",
        choices=("paper", "cpcnn"),
        default="paper",
        help="of --write-config: whose defaults are written (default: paper)",
    )
    further = parser.add_argument_group("train a model further (--from)")
    further.add_argument("--crops", nargs="+", metavar="DIR", help="what cpcnn crops wrote")
    further.add_argument("--label", default=TREATMENT, help=f"its classes (default: {TREATMENT})")
    further.add_argument(
        "--controls", default="", metavar="EXPR", help="negative controls, for the evaluation"
    )
    further.add_argument(
        "--placebo",
        action="store_true",
        help="train once more on shuffled treatments: what the procedure gains from nothing",
    )
    further.add_argument("--out", default="training", metavar="DIR", help="(default: training)")
    further.add_argument("--name", default="", help="of the model, to be used by it")
    further.add_argument("--epochs", type=int, help="at most (default: the recipe's)")
    further.add_argument("--seed", type=int, default=0, help="(default: 0)")
    further.add_argument(
        "--device", choices=("auto", "cpu"), default="auto", help="(default: auto)"
    )


def _train(options: argparse.Namespace) -> None:
    if options.write_config:
        _write_config(options.write_config, options.recipe)
        return
    from cpcnn_core.training.config_files import read_config
    from cpcnn_core.training.fit import train_model

    config = _further(options) if options.start else read_config(options.config)
    with TrainingBar() as bar:
        path = train_model(config, bar.show)
    if not bar.was_told:
        return
    if options.start:
        from cpcnn_core.training.fine_tuning import compare_with_start, placebo_config

        placebo = None
        if options.placebo:
            shuffled = placebo_config(config)
            with TrainingBar() as bar:
                placebo = compare_with_start(shuffled, train_model(shuffled, bar.show))
        show(*compare_with_start(config, path, placebo).lines)
    _tell(config, str(path))


def _further(options: argparse.Namespace) -> TrainingConfig:
    from cpcnn_core.errors import TrainingError
    from cpcnn_core.training.fine_tuning import fine_tuning_config

    if not options.crops:
        raise TrainingError("--from needs crops to learn from; name a folder with --crops")
    epochs = {} if options.epochs is None else {"epochs": options.epochs}
    return fine_tuning_config(
        options.start,
        options.crops,
        label=options.label,
        controls=options.controls,
        out=options.out,
        training=epochs,
        run={"name": options.name, "seed": options.seed, "device": options.device},
    )


def _write_config(file: str, recipe: str) -> None:
    from pathlib import Path

    from cpcnn_core.errors import TrainingError
    from cpcnn_core.training.config_files import recipe_config, write_config

    if Path(file).exists():
        raise TrainingError(f"{file} is there already; choose another name, or remove it")
    write_config(file, recipe_config(recipe))
    show(f"wrote {file}: change what you like, and run: cpcnn train {file}")


def _tell(config: TrainingConfig, path: str) -> None:
    show(f"wrote {path}")
    show(f"log: {config.run.out}/log.csv; pictures: tensorboard --logdir {config.run.out}")
    show(f"use it as: {config.run.name or path}   (cpcnn embed --model ...)")


class TrainingBar:
    """A bar of the epoch's steps on a terminal, and a line for every epoch."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None
        # Only the first of several processes is told anything.
        self.was_told = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def show(self, report: Report) -> None:
        """Show what the training tells."""
        from cpcnn_core.training.reports import StartReport, StepReport

        self.was_told = True
        if not isinstance(report, StepReport):
            self._close()
            for line in report.lines if isinstance(report, StartReport) else [str(report)]:
                notice(line)
            return
        if self._bar is None:
            self._bar = progress_bar(
                report.steps,
                "step",
                initial=report.step - 1,
                desc=f"epoch {report.epoch}/{report.epochs}",
                leave=False,
            )
        self._bar.set_postfix_str(f"loss {report.loss:.4f}", refresh=False)
        self._bar.update()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
