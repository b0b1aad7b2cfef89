"""``cpcnn train``: a network of your own, from the crops of your screens."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Self

from cpcnn_core.cli.options import add_command
from cpcnn_core.cli.terminal import notice, progress_bar, show

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
        "  accelerate launch -m cpcnn_core.cli train train.toml   (several GPUs)",
        _train,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("config", nargs="?", metavar="CONFIG.toml", help="what to train with")
    what.add_argument(
        "--write-config", metavar="FILE", help="write every entry with its default, and stop"
    )


def _train(options: argparse.Namespace) -> None:
    if options.write_config:
        _write_config(options.write_config)
        return
    from cpcnn_core.training.config import read_config
    from cpcnn_core.training.fit import train_model

    config = read_config(options.config)
    with TrainingBar() as bar:
        path = train_model(config, bar.show)
    if bar.was_told:
        _tell(config, str(path))


def _write_config(file: str) -> None:
    from pathlib import Path

    from cpcnn_core.errors import TrainingError
    from cpcnn_core.training.config import TrainingConfig, write_config

    if Path(file).exists():
        raise TrainingError(f"{file} is there already; choose another name, or remove it")
    write_config(file, TrainingConfig())
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
