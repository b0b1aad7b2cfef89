"""A training on its way: how far it is, epoch by epoch, and how it continues."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel

from cpcnn_core.errors import CancelledError, DamageError, TrainingError
from cpcnn_core.io.damaged_files import set_aside
from cpcnn_core.training.batches import CropReader
from cpcnn_core.training.checkpoint import (
    Checkpoint,
    checkpoint_file,
    last_checkpoint,
    moment_of,
    read_checkpoint,
    remove_old,
    save_checkpoint,
    soft_labels_file,
)
from cpcnn_core.training.config import BEST, TrainingConfig
from cpcnn_core.training.config_files import config_from, differences
from cpcnn_core.training.label_refinement import SoftLabels
from cpcnn_core.training.learner import Learner
from cpcnn_core.training.monitoring import watch
from cpcnn_core.training.network import ContrastNetwork, Network, predict
from cpcnn_core.training.reports import write_log, writing
from cpcnn_core.training.sampling import epoch_batches, paired_batches, steps_per_epoch
from cpcnn_core.training.schedules import ONE_CYCLE, learning_rate, one_cycle_rate
from cpcnn_core.training.starting_weights import fresh_parameters, make_network
from cpcnn_core.training.treatment_search import search_treatments

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
        self._steps = steps_per_epoch(cells.training_classes, config.training.batch)
        # Now, not when the epoch comes.
        self._rates = [self._rate(epoch, 0) for epoch in range(config.training.epochs)]
        store, seed = cells.store, config.run.seed
        network, self.start = make_network(
            config.network, store.channels, store.crop_px, cells.classes, seed
        )
        learns = (
            ContrastNetwork(network, config.contrast.dimensions)
            if config.contrast.weight
            else network
        )
        fresh = fresh_parameters(learns, config.network)
        self._learner = Learner(
            learns,
            config.training,
            config.run,
            accelerator,
            config.contrast,
            fresh,
            fixed_statistics=config.network.fixed_statistics,
        )
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

    @property
    def network(self) -> Network:
        """The network as the model will be: of averaged weights, where they are averaged."""
        network = self._learner.averaged
        if isinstance(network, AveragedModel):
            network = network.module
        inner = network.network if isinstance(network, ContrastNetwork) else network
        return cast("Network", inner)

    @property
    def is_done(self) -> bool:
        """Whether all epochs are done, or the last ones were no better than one before them."""
        patience = self._config.evaluation.patience
        if self.epoch == self._config.training.epochs:
            return True
        measured = [row["validation_rank"] for row in self.rows if _is_measured(row)]
        return bool(patience) and len(measured) - 1 - _place_of_best(measured) >= patience

    def take_model(self) -> dict[str, float | str | None]:
        """Set the network to the epoch that is the model, by ``evaluation.keep``.

        Returns
        -------
        dict
            The row of its epoch.
        """
        if self._config.evaluation.keep != BEST:
            return self.rows[-1]
        measured = [row for row in self.rows if _is_measured(row)]
        row = measured[_place_of_best([row["validation_rank"] for row in measured])]
        epoch = cast("int", row["epoch"])
        if epoch != self.epoch:
            path = checkpoint_file(self._folder, epoch)
            self._learner.restore(read_checkpoint(path).tensors)
        return row

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

    def look_at_start(self) -> dict[str, float | str | None] | None:
        """Measure the network before it learns, where the best epoch is kept: it may be the best.

        Returns
        -------
        dict or None
            A row of the log, of epoch 0; None where it is there already or not needed.
        """
        if self.rows or self.step or self._config.evaluation.keep != BEST:
            return None
        row: dict[str, float | str | None] = {"epoch": 0} | self._watch()
        self.rows.append(row)
        self._save()
        return row

    def _watch(self) -> dict[str, float | str | None]:
        evaluation, cells = self._config.evaluation, self._cells
        how = self._accelerator, self._reader, cells
        row = watch(self.network, *how, evaluation, self._config.run.seed)
        if evaluation.keep == BEST:
            found = search_treatments(self.network, *how, cells.validation, evaluation)
            row["validation_rank"] = float(found.mean.mean())
        return row

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
            row |= self._watch()
        row |= speed
        self.rows.append(row)
        self._save()
        return row

    def _run_steps(
        self, note: Note | None, cancel: Callable[[], bool] | None
    ) -> dict[str, float | None]:
        run, training, cells = self._config.run, self._config.training, self._cells
        batches = self._batches()
        own, steps = self._learner.own_rows(batches), len(batches)
        first, waited, started = self.step, self._reader.waited, time.perf_counter()
        reading = self._reader.read(cells.training[own[first:]])
        for step, crops in zip(range(first, steps), reading, strict=True):
            targets = self._targets(own[step])
            rate = self._rate(self.epoch, step)
            wells = torch.from_numpy(cells.training_wells[own[step]])
            self._sums += self._learner.step(crops, targets, self.epoch, step, rate, wells)
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

    def _batches(self) -> np.ndarray:
        sampling, cells = self._config.sampling, self._cells
        seed, batch = self._config.run.seed, self._config.training.batch
        if not sampling.plates:
            return epoch_batches(cells.training_classes, seed, self.epoch, batch)
        return paired_batches(
            cells.training_classes,
            cells.training_plates,
            cells.training_wells,
            seed,
            self.epoch,
            batch,
            sampling.cells_per_class,
        )

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

    def _rate(self, epoch: int, step: int) -> float:
        training = self._config.training
        if training.schedule == ONE_CYCLE:
            done, steps = epoch * self._steps + step, training.epochs * self._steps
            return one_cycle_rate(training.learning_rate, done, steps, training.warm_up)
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


def _is_measured(row: dict[str, float | str | None]) -> bool:
    return row.get("validation_rank") is not None


def _place_of_best(values: Sequence[float | str | None]) -> int:
    """Return the place of the greatest, the first of equal ones."""
    return max(range(len(values)), key=lambda place: cast("float", values[place]))
