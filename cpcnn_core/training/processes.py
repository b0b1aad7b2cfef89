"""The processes and devices of a training, by Hugging Face Accelerate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from cpcnn_core.errors import DependencyError, TrainingError

if TYPE_CHECKING:
    from accelerate import Accelerator

    from cpcnn_core.training.config import RunConfig

_PRECISIONS = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


def start_accelerator(run: RunConfig) -> Accelerator:
    """Find the device, and the other processes when ``accelerate launch`` started several.

    Parameters
    ----------
    run : RunConfig

    Returns
    -------
    Accelerator

    Raises
    ------
    DependencyError
        Accelerate is not installed.
    TrainingError
        Processes that cannot share the parts of a batch, or a precision that the device
        does not have.

    Examples
    --------
    >>> from cpcnn_core.training.config import RunConfig
    >>> start_accelerator(RunConfig(device="cpu")).device
    device(type='cpu')
    """
    try:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState
    except ImportError as error:
        raise DependencyError(
            "training needs Accelerate and TensorBoard; install them with: "
            "pip install 'cpcnn[train]'"
        ) from error
    # Accelerate refuses another precision than that of the training before in this process.
    alone = not torch.distributed.is_initialized()
    AcceleratorState._reset_state(reset_partial_state=alone)  # noqa: SLF001
    try:
        accelerator = Accelerator(
            cpu=run.device == "cpu",
            mixed_precision=_PRECISIONS[run.precision],
        )
    except (ValueError, RuntimeError) as error:
        raise TrainingError(
            f"run.device {run.device} with run.precision {run.precision} is not available here "
            f"({' '.join(str(error).split())})"
        ) from error
    if run.precision == "float16" and accelerator.device.type == "cpu":
        # Accelerate would train in float32, and say nothing.
        raise TrainingError(
            "run.precision float16 needs a GPU; use float32, or bfloat16 where the CPU has it"
        )
    parts_of_each(run.parts, accelerator.num_processes)
    return accelerator


def parts_of_each(parts: int, processes: int) -> int:
    """Return how many parts of a batch each process has.

    Raises
    ------
    TrainingError
        They cannot be shared equally.

    Examples
    --------
    >>> parts_of_each(4, 2)
    2
    >>> parts_of_each(1, 2)
    Traceback (most recent call last):
    cpcnn_core.errors.TrainingError: 2 processes cannot share a batch of 1 part; set run.parts = ...
    """
    if parts % processes:
        raise TrainingError(
            f"{processes} processes cannot share a batch of {parts} "
            f"{'part' if parts == 1 else 'parts'}; set run.parts = {processes}, or a multiple of it"
        )
    return parts // processes
