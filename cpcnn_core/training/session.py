"""A training on its way: how far it is, epoch by epoch, and how it continues."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from cpcnn_core.errors import CancelledError, DamageError, TrainingError
from cpcnn_core.io.damaged_files import set_aside
from cpcnn_core.training.batches import CropReader, epoch_batches
from cpcnn_core.training.checkpoint import (
    Checkpoint,
    last_checkpoint,
    moment_of,
    read_checkpoint,
    remove_old,
    save_checkpoint,
    soft_labels_file,
)
from cpcnn_core.training.config import TrainingConfig, config_from, differences
from cpcnn_core.training.label_refinement import SoftLabels
from cpcnn_core.training.learner import Learner
from cpcnn_core.training.monitoring import watch
from cpcnn_core.training.network import predict
from cpcnn_core.training.reports import write_log, writing
from cpcnn_core.training.schedules import learning_rate
from cpcnn_core.training.starting_weights import make_network

if TYPE_CHECKING:
    from collections.abc import Callable

    from accelerate import Accelerator

    from cpcnn_core.training.cells import Cells

    # Step from 1, steps of the epoch, mean loss since it began.
    Note = Callable[[int, int, float], None]

CHECKPOINTS, LOG_FILE = "checkpoints", "log.csv"


class Session:
    """A training between its start and its end.

    Parameters
    ----------
    config : TrainingConfig
    cells : Cells
    accelerator : Accelerator

    Attributes
    ----------
    network : TrainableNetwork
    start : str
        What its weights were at the start.
    epoch, step : int
        Epochs that are done, and steps of the next one.
    rows : list of dict
        What was found after each epoch.

    Raises
    ------
    CPCNNError
        A schedule that makes no sense, a network that cannot be made.
    """

    def __init__(self, config: TrainingConfig, cells: Cells, accelerator: Accelerator) -> None:
        self._config, self._cells, self._accelerator = config, cells, accelerator
        # Now, not when the epoch comes.
        self._rates = [self._rate(epoch) for epoch in range(config.training.epochs)]
        store, seed = cells.store, config.run.seed
        self.network, self.start = make_network(
            config.network, store.channels, store.crop_px, cells.classes, seed
        )
        self._learner = Learner(self.network, config.training, config.run, accelerator)
        pin = accelerator.device.type == "cuda"
        self._reader = CropReader(store, config.run.workers, pin=pin)
        self._labels = None
        if config.refinement.enabled:
            smoothing = config.refinement.smoothing
            self._labels = SoftLabels.start(cells.training_classes, len(cells.classes), smoothing)
        self._folder = Path(config.run.out) / CHECKPOINTS
        self.epoch, self.step = 0, 0
        self.rows: list[dict[str, float | str | None]] = []
        # Of the steps of this epoch: loss, accuracy, top 5.
        self._sums = np.zeros(3)

    def go_on(self) -> list[str]:
        """Take up the last checkpoint that is whole, if there is one.

        Returns
        -------
        list of str
            Sentences: which were damaged, and what was done with them.

        Raises
        ------
        TrainingError
            It is of a training with other entries or other crops.
        """
        notices = []
        while (path := last_checkpoint(self._folder)) is not None:
            try:
                self._take_up(path)
            except DamageError:
                notices += self._set_aside(path)
            else:
                break
        return notices

    def _set_aside(self, path: Path) -> list[str]:
        """Set a checkpoint aside, with its labels where there are any: one is damaged."""
        # Every process has found the same; none may read it any more.
        self._accelerator.wait_for_everyone()
        places = []
        if self._accelerator.is_main_process:
            labels = soft_labels_file(self._folder, moment_of(path)[0])
            places = [place for place in (path, labels) if place.is_file()]
        said = [f"{place} was damaged: it is kept as {set_aside(place).name}" for place in places]
        self._accelerator.wait_for_everyone()
        return said

    def _take_up(self, path: Path) -> None:
        checkpoint = read_checkpoint(path)
        labels, facts = self._labels, checkpoint.facts
        if labels is not None and checkpoint.epoch:
            shape = labels.table.shape
            labels = SoftLabels.load(soft_labels_file(self._folder, checkpoint.epoch), shape)
        self._refuse_another(config_from(facts["config"]), facts["crops_sha256"])
        self._learner.restore(checkpoint.tensors)
        self._learner.restore_scaler(facts["scaler"])
        self.epoch, self.step = checkpoint.epoch, checkpoint.step
        self.rows, self._sums = facts["rows"], np.array(facts["sums"])
        self._labels = labels
        if self._accelerator.is_main_process:
            # What was killed between a checkpoint and its row.
            self._write_log()

    def run_epoch(
        self, note: Note | None = None, cancel: Callable[[], bool] | None = None
    ) -> dict[str, float | str | None]:
        """Do what is left of an epoch, look at the network where that is due, and keep it.

        Parameters
        ----------
        note : callable (step, steps, loss), optional
            Called after every step.
        cancel : callable () -> bool, optional

        Returns
        -------
        dict
            A row of the log.

        Raises
        ------
        CancelledError, TrainingError
            See `cpcnn_core.training.fit.train_model`.
        """
        speed = self._run_steps(note, cancel)
        row: dict[str, float | str | None] = {
            "epoch": self.epoch + 1,
            "learning_rate": self._rates[self.epoch],
        }
        means = (self._sums / self.step).tolist()
        row |= dict(zip(("loss", "accuracy", "top_5"), means, strict=True))
        if self._labels is not None:
            self._refine()
        self.epoch, self.step, self._sums = self.epoch + 1, 0, np.zeros(3)
        last = self.epoch == self._config.training.epochs
        if last or self.epoch % self._config.evaluation.every == 0:
            row |= watch(
                self.network,
                self._accelerator,
                self._reader,
                self._cells,
                self._config.evaluation,
                self._config.run.seed,
            )
        row |= speed
        self.rows.append(row)
        self._save()
        return row

    def _run_steps(
        self, note: Note | None, cancel: Callable[[], bool] | None
    ) -> dict[str, float | None]:
        run, training, cells = self._config.run, self._config.training, self._cells
        batches = epoch_batches(cells.training_classes, run.seed, self.epoch, training.batch)
        own, steps = self._learner.own_rows(batches), len(batches)
        first, waited, started = self.step, self._reader.waited, time.perf_counter()
        reading = self._reader.read(cells.training[own[first:]])
        for step, crops in zip(range(first, steps), reading, strict=True):
            targets = self._targets(own[step])
            rate = self._rates[self.epoch]
            self._sums += self._learner.step(crops, targets, self.epoch, step, rate)
            self.step = step + 1
            if note is not None:
                note(self.step, steps, self._sums[0] / self.step)
            if cancel is not None and cancel():
                self._save()
                raise CancelledError("cancelled; start the same training again to resume it")
            is_due = run.checkpoint_steps and self.step % run.checkpoint_steps == 0
            if is_due and self.step < steps:
                self._save()
        seconds = time.perf_counter() - started
        seen = (steps - first) * training.batch
        return {
            "cells": seen,
            "seconds": seconds,
            "cells_per_second": seen / seconds,
            "waiting": (self._reader.waited - waited) / seconds,
        }

    def _targets(self, positions: np.ndarray) -> torch.Tensor:
        if self._labels is not None:
            return torch.from_numpy(self._labels.of(positions))
        return torch.from_numpy(self._cells.training_classes[positions])

    def _refine(self) -> None:
        """Let the labels of all training cells learn from this epoch's network."""
        rate, rows = self._config.refinement.rate, self._cells.training
        for part, _, logits in predict(self.network, self._accelerator, self._reader, rows):
            answers = torch.from_numpy(logits).softmax(dim=1).numpy()
            cast("SoftLabels", self._labels).update(np.arange(part.start, part.stop), answers, rate)

    def _save(self) -> None:
        if self._accelerator.is_main_process:
            if self._labels is not None and self.step == 0:
                path = soft_labels_file(self._folder, self.epoch)
                with writing(path):
                    self._labels.save(path)
            facts = {
                "config": dataclasses.asdict(self._config),
                "crops_sha256": self._cells.store.sha256,
                "scaler": self._learner.scaler_state(),
                "sums": self._sums.tolist(),
                "rows": self.rows,
            }
            state = self._learner.state()
            save_checkpoint(self._folder, Checkpoint(self.epoch, self.step, state, facts))
            remove_old(self._folder, self._config.evaluation.every)
            self._write_log()

    def _write_log(self) -> None:
        log = Path(self._config.run.out) / LOG_FILE
        with writing(log):
            write_log(log, self.rows)

    def _rate(self, epoch: int) -> float:
        training = self._config.training
        return learning_rate(
            training.schedule, training.learning_rate, epoch, training.epochs, training.steps
        )

    def _refuse_another(self, config: TrainingConfig, crops_sha256: str) -> None:
        out = self._config.run.out
        different = differences(self._config, config)
        if different:
            raise TrainingError(
                f"{out} holds another training: {'; '.join(different)} there; set the same, or "
                "choose another run.out"
            )
        if crops_sha256 != self._cells.store.sha256:
            raise TrainingError(
                f"{out} holds a training on other crops: their index has changed since; choose "
                "another run.out"
            )
