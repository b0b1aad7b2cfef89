"""Batch norm's running statistics, when a batch is cut into parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import nn


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

    Examples
    --------
    >>> statistics = RunningStatistics(network, 2, accelerator)  # doctest: +SKIP
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
