"""One step of training: a batch, in parts and processes, moves the weights once.

The loss tells classes apart, and with a `ContrastNetwork` brings together what belongs together.

The optimizer is the reference's: SGD with Nesterov momentum, weight decay on kernels only. Batch
norm's running statistics are those of the whole batch, also when it is cut into parts.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from cpcnn_core.errors import TrainingError
from cpcnn_core.models.timm_network import float_weights
from cpcnn_core.training.augmentation import (
    AugmentationDraws,
    apply_augmentation,
    draw_augmentation,
)
from cpcnn_core.training.batches import to_unit_range
from cpcnn_core.training.config import VIEWS, ContrastConfig
from cpcnn_core.training.contrast import supervised_contrast
from cpcnn_core.training.metrics import TOP
from cpcnn_core.training.optimizer import make_optimizer, slow_down
from cpcnn_core.training.processes import parts_of_each

if TYPE_CHECKING:
    from collections.abc import Collection

    from accelerate import Accelerator

    from cpcnn_core.training.config import OptimizationConfig, RunConfig

NETWORK_PREFIX, MOMENTUM_PREFIX, AVERAGE_PREFIX = "network.", "momentum.", "average."
# What is drawn for augmentation, and by the network itself, has streams of its own.
_AUGMENTATION, _NETWORK, _SECOND_VIEW = 1, 2, 3


class StepResult(NamedTuple):
    """Results of a step, over the whole batch, before it moved the weights."""

    loss: float
    accuracy: float
    top_5: float


class Learner:
    """A network and its optimiser, which learn batch by batch.

    Everything random is drawn from generators that are seeded by seed, epoch, step and part:
    so a training that resumes is the same as one that was not stopped, and processes that share
    the parts of a batch do what one process does with all of them.

    Parameters
    ----------
    network : Module
        From crops (n, c, p, p), float32, to logits (n, k); with contrast, to logits and points
        (n, d) of length 1.
    training : OptimizationConfig
    run : RunConfig
    accelerator : Accelerator
    contrast : ContrastConfig, optional
    fresh : collection of str, optional
        Parameters that learn at the full rate; all others at `training.taken_rate` of it.
        Default: all.
    fixed_statistics : bool
        Batch norms use the mean and variance that they have.

    Attributes
    ----------
    network : Module
        On its device, as it was given.
    averaged : Module
        The same with the moving average of the weights; without averaging it is `network`.
    """

    def __init__(
        self,
        network: nn.Module,
        training: OptimizationConfig,
        run: RunConfig,
        accelerator: Accelerator,
        contrast: ContrastConfig | None = None,
        fresh: Collection[str] | None = None,
        *,
        fixed_statistics: bool = False,
    ) -> None:
        self._training, self._run, self._accelerator = training, run, accelerator
        self._contrast = contrast or ContrastConfig()
        self._fixed_statistics = fixed_statistics
        self.network = network.to(accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch takes it
        self._optimizer = make_optimizer(
            self.network, training.learning_rate, training.momentum, training.weight_decay
        )
        taken = {
            parameter
            for name, parameter in self.network.named_parameters()
            if fresh is not None and name not in fresh
        }
        slow_down(self._optimizer, taken, training.taken_rate)
        self.averaged: nn.Module = self.network
        if training.averaging:
            self.averaged = AveragedModel(self.network, avg_fn=self._move_average, use_buffers=True)
        # Accelerate's are the same objects, wrapped; those above are for what is saved.
        self._model, self._wrapped = accelerator.prepare(self.network, self._optimizer)
        self._learn_mode()
        self._parts = parts_of_each(run.parts, accelerator.num_processes)
        self._statistics = RunningStatistics(self.network, self._parts, accelerator)

    def own_rows(self, batch: np.ndarray) -> np.ndarray:
        """Return the part of a batch (..., b) that this process reads, (..., b / processes)."""
        share = batch.shape[-1] // self._accelerator.num_processes
        start = self._accelerator.process_index * share
        return batch[..., start : start + share]

    def step(
        self,
        crops: torch.Tensor,
        targets: torch.Tensor,
        epoch: int,
        step: int,
        rate: float,
        wells: torch.Tensor | None = None,
    ) -> StepResult:
        """Learn from a batch.

        Parameters
        ----------
        crops : Tensor of shape (b / processes, c, p, p), uint8 or uint16
            This process's, see `own_rows`.
        targets : Tensor of shape (b / processes,), int64, or (b / processes, k), float32
            Their classes, or probabilities for each.
        epoch, step : int
            From 0; what is random depends on them.
        rate : float
            The learning rate.
        wells : Tensor of shape (b / processes,), int64, optional
            Their wells, as numbers; for contrast between wells.

        Returns
        -------
        StepResult
            Of all processes.

        Raises
        ------
        TrainingError
            The loss is NaN or infinite. What is learned stays as it is; running statistics of
            batch norms have followed the batch, and may be NaN.
        """
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group["fraction"]
        views = [self._draws(crops, epoch, step, _AUGMENTATION)]
        if self._contrast.weight and self._contrast.positives == VIEWS:
            views.append(self._draws(crops, epoch, step, _SECOND_VIEW))
        if wells is None:
            wells = torch.zeros(len(crops), dtype=torch.int64)
        size = len(crops) // self._parts
        first = self._accelerator.process_index * self._parts
        found = torch.zeros(3, dtype=torch.float64)
        self._network_learns()
        self._wrapped.zero_grad()
        self._statistics.before_parts()
        for part in range(self._parts):
            rows = slice(part * size, (part + 1) * size)
            batch = to_unit_range(crops[rows], self._accelerator.device)
            batch = torch.cat(
                [batch if one is None else apply_augmentation(batch, one[rows]) for one in views]
            )
            # For what the network itself draws, such as paths that are dropped.
            torch.manual_seed(random_seed(self._run.seed, _NETWORK, epoch, step, first + part))
            with self._shared_at_the_end(part):
                found += self._learn_part(
                    batch, *(one[rows].to(batch.device) for one in (targets, wells))
                )
            self._statistics.after_part()
        self._statistics.after_parts()
        found = (found / self._parts).to(self._accelerator.device, torch.float32)
        found = self._accelerator.reduce(found, "mean")
        result = StepResult(*found.tolist())
        if not np.isfinite(result.loss):
            raise TrainingError(
                f"the loss is {result.loss} in step {step + 1} of epoch {epoch + 1}; lower "
                "training.learning_rate, or continue with run.precision float32"
            )
        self._wrapped.step()
        if isinstance(self.averaged, AveragedModel):
            self.averaged.update_parameters(self.network)
        return result

    def state(self) -> dict[str, torch.Tensor]:
        """Return copies of the weights and of the optimiser's memory, by name."""
        momentum = {
            name: self._optimizer.state[parameter]["momentum_buffer"]
            for name, parameter in self.network.named_parameters()
            if self._optimizer.state.get(parameter)
        }
        weights = float_weights(self.network)
        average = {}
        if isinstance(self.averaged, AveragedModel):
            average = float_weights(self.averaged) | {"n_averaged": self.averaged.n_averaged}
        return {
            NETWORK_PREFIX + name: value.detach().clone() for name, value in weights.items()
        } | {
            prefix + name: value.clone()
            for prefix, values in ((MOMENTUM_PREFIX, momentum), (AVERAGE_PREFIX, average))
            for name, value in values.items()
        }

    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        """Go back to a state that `state` gave."""
        weights = {
            name.removeprefix(NETWORK_PREFIX): value
            for name, value in tensors.items()
            if name.startswith(NETWORK_PREFIX)
        }
        self.network.load_state_dict(weights, strict=False)
        if isinstance(self.averaged, AveragedModel):
            average = {
                name.removeprefix(AVERAGE_PREFIX): value
                for name, value in tensors.items()
                if name.startswith(AVERAGE_PREFIX)
            }
            self.averaged.load_state_dict(average, strict=False)
        for name, parameter in self.network.named_parameters():
            if MOMENTUM_PREFIX + name in tensors:
                momentum = tensors[MOMENTUM_PREFIX + name].to(parameter.device)
                # In the parameter's own layout, in which the optimiser made it.
                kept = torch.empty_like(parameter).copy_(momentum)
                self._optimizer.state[parameter]["momentum_buffer"] = kept

    def scaler_state(self) -> dict[str, float]:
        """Return what float16's loss scaling remembers; empty for other precisions."""
        scaler = self._accelerator.scaler
        return {} if scaler is None else scaler.state_dict()

    def restore_scaler(self, state: dict[str, float]) -> None:
        """Go back to what `scaler_state` gave."""
        if state and self._accelerator.scaler is not None:
            self._accelerator.scaler.load_state_dict(state)

    def _learn_part(
        self, batch: torch.Tensor, targets: torch.Tensor, wells: torch.Tensor
    ) -> torch.Tensor:
        found = self._model(batch.contiguous(memory_format=torch.channels_last))
        logits, points = found if self._contrast.weight else (found, None)
        views = len(batch) // len(targets)
        targets = targets.repeat(views, *(1 for _ in targets.shape[1:]))
        classes = targets if targets.ndim == 1 else targets.argmax(dim=1)
        loss = self._training.classification * nn.functional.cross_entropy(
            logits, targets, label_smoothing=self._training.label_smoothing
        )
        if points is not None:
            together, apart = classes, wells
            if self._contrast.positives == VIEWS:
                cells = torch.arange(len(batch), device=batch.device)
                together, apart = cells % len(wells), cells // len(wells)
            loss = loss + self._contrast.weight * supervised_contrast(
                points, together, apart, self._contrast.temperature
            )
        self._accelerator.backward(loss / self._parts)
        with torch.no_grad():
            own = logits.gather(1, classes[:, None])
            rank = (logits > own).sum(dim=1)
            means = [loss.detach(), (rank == 0).float().mean(), (rank < TOP).float().mean()]
            return torch.stack(means).double().cpu()

    def _draws(
        self, crops: torch.Tensor, epoch: int, step: int, stream: int
    ) -> AugmentationDraws | None:
        if not self._training.augmentation:
            return None
        n, c, p, _ = crops.shape
        seed = random_seed(self._run.seed, stream, epoch, step)
        generator = torch.Generator().manual_seed(seed)
        whole = n * self._accelerator.num_processes
        start = self._accelerator.process_index * n
        return draw_augmentation(whole, c, p, generator)[start : start + n]

    def _move_average(
        self, average: torch.Tensor, value: torch.Tensor, steps: torch.Tensor | int
    ) -> torch.Tensor:
        # At the start the average would be mostly of weights that have learned nothing.
        kept = min(self._training.averaging, (1 + int(steps)) / (10 + int(steps)))
        return average + (1 - kept) * (value - average)

    def _network_learns(self) -> None:
        # Looking at the network leaves it in evaluation mode, and Accelerate's wrapper not.
        if not self.network.training:
            self._learn_mode()

    def _learn_mode(self) -> None:
        self._model.train()
        if self._fixed_statistics:
            for layer in self.network.modules():
                if isinstance(layer, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001  (of all dimensions)
                    layer.eval()

    def _shared_at_the_end(self, part: int) -> contextlib.AbstractContextManager[None]:
        """Let processes share gradients once a step, after their last part."""
        if part == self._parts - 1:
            return contextlib.nullcontext()
        result: contextlib.AbstractContextManager[None] = self._accelerator.no_sync(self._model)
        return result


def random_seed(*numbers: int) -> int:
    """Make one seed of several numbers: other numbers, another stream.

    Examples
    --------
    >>> random_seed(0, 1, 2) == random_seed(0, 1, 2), random_seed(0, 1, 2) == random_seed(0, 2, 1)
    (True, False)
    """
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


class RunningStatistics:
    """Moves running statistics once a step, by the mean of what the parts say.

    So they are the same whether one process sees the parts one after the other or several
    processes see them at once, and momentum counts steps, as in the reference.

    Parameters
    ----------
    network : Module
    parts : int
        Of a batch, in this process.
    accelerator : Accelerator
        Joins the processes.
    """

    def __init__(self, network: nn.Module, parts: int, accelerator: Accelerator) -> None:
        self._buffers = [b for b in network.buffers() if b.is_floating_point()]
        self._parts, self._accelerator = parts, accelerator
        # One part is the whole batch: nothing to bring together.
        self._needed = bool(self._buffers) and parts * accelerator.num_processes > 1

    def before_parts(self) -> None:
        """Remember where the step starts."""
        if self._needed:
            self._start = self._values()
            self._sum = torch.zeros_like(self._start)

    def after_part(self) -> None:
        """Take what a part has made of them, and let the next start where this one did."""
        if self._needed:
            self._sum += self._values()
            self._put(self._start)

    def after_parts(self) -> None:
        """Set them to the mean over all parts of all processes."""
        if self._needed:
            self._put(self._accelerator.reduce(self._sum / self._parts, "mean"))

    def _values(self) -> torch.Tensor:
        return torch.cat([buffer.flatten() for buffer in self._buffers])

    def _put(self, values: torch.Tensor) -> None:
        sizes = [buffer.numel() for buffer in self._buffers]
        for buffer, part in zip(self._buffers, values.split(sizes), strict=True):
            buffer.copy_(part.view_as(buffer))
