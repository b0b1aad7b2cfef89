"""Train a network: from a recipe to a model file."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from cpcnn_core.io.disk import require_room
from cpcnn_core.training.cells import gather_cells
from cpcnn_core.training.config_files import checked, write_config
from cpcnn_core.training.processes import start_accelerator
from cpcnn_core.training.reports import (
    EpochReport,
    Report,
    StartReport,
    StepReport,
    TensorBoardLog,
    start_report,
    writing,
)
from cpcnn_core.training.result import claim_name, model_path, write_result
from cpcnn_core.training.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from accelerate import Accelerator

    from cpcnn_core.training.config import TrainingConfig

    Progress = Callable[[Report], None]
    Cancel = Callable[[], bool]

CONFIG_FILE, TENSORBOARD = "config.toml", "tensorboard"


def train_model(
    config: TrainingConfig, progress: Progress | None = None, cancel: Cancel | None = None
) -> Path:
    """Train a network on the crops of a screen, or resume a training that was stopped.

    Parameters
    ----------
    config : TrainingConfig
    progress : callable (StartReport, StepReport or EpochReport), optional
        Called by the first of several processes.
    cancel : callable () -> bool, optional
        Asked after every step; with several processes all have to say the same.

    Returns
    -------
    Path
        The model's file. Beside it are ``config.toml`` (every entry), ``log.csv`` (one row per
        epoch), ``tensorboard`` and ``checkpoints``.

    Raises
    ------
    CancelledError
        `cancel` said so; a checkpoint of this step was written.
    TrainingError
        Entries that make no sense, cells that cannot be learned from, a folder that holds
        another training, a loss that is not finite, a file that cannot be written.
    CPCNNError
        What the stores, the models and the profiles raise.

    Notes
    -----
    The defaults are the recipe of the reference (docs/method.md#training). On a CPU, a training
    that was stopped and resumed ends with the same bits as one that was not. PyTorch's global
    random generator is left as it was.

    Examples
    --------
    >>> from cpcnn_core.training.config import DataConfig, NetworkConfig, OptimizationConfig
    >>> from cpcnn_core.training.config import RunConfig, TrainingConfig
    >>> len(store)  # what cpcnn crops wrote to the folder crops
    17
    >>> config = TrainingConfig(
    ...     data=DataConfig(label="Site"),
    ...     network=NetworkConfig(backbone="test_resnet"),
    ...     training=OptimizationConfig(epochs=1, batch=4),
    ...     run=RunConfig(out="training", device="cpu", workers=0),
    ... )
    >>> train_model(config).as_posix()
    'training/model.safetensors'
    """
    config = checked(config)
    accelerator = start_accelerator(config.run)
    on_gpu = accelerator.device.type == "cuda"
    try:
        with torch.random.fork_rng(devices=[accelerator.device] if on_gpu else []):
            return _train(config, accelerator, progress or _ignore, cancel)
    finally:
        accelerator.end_training()


def _train(
    config: TrainingConfig, accelerator: Accelerator, progress: Progress, cancel: Cancel | None
) -> Path:
    is_first = accelerator.is_main_process
    tell = progress if is_first else _ignore
    cells = gather_cells(config)
    claim_name(config, cells.store.sha256)
    require_room(config.run.out)
    session = Session(config, cells, accelerator)
    notices = session.go_on()
    if notices:
        tell(StartReport(tuple(notices)))
    tell(start_report(config, cells, accelerator, session.epoch, session.step))
    epochs = config.training.epochs
    with contextlib.ExitStack() as stack:
        board = None
        if is_first:
            with writing(config.run.out):
                write_config(Path(config.run.out) / CONFIG_FILE, config)
            folder = Path(config.run.out) / TENSORBOARD
            board = stack.enter_context(TensorBoardLog(folder, session.epoch))
        row = session.look_at_start()
        if row is not None:
            if board is not None:
                board.add(row)
            tell(EpochReport(row, epochs))
        while not session.is_done:
            epoch = session.epoch + 1

            def note(step: int, steps: int, loss: float, epoch: int = epoch) -> None:
                tell(StepReport(epoch, epochs, step, steps, loss))

            row = session.run_epoch(note, cancel)
            if board is not None:
                board.add(row)
            tell(EpochReport(row, epochs))
    path = model_path(config)
    row = session.take_model()
    if is_first:
        with writing(path):
            write_result(session.network, cells, config, session.start, row)
    accelerator.wait_for_everyone()
    return path


def _ignore(_: Report) -> None:
    """Ignore a report."""
