"""The learning rate: of each epoch (docs/method.md#optimiser), or of each step."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cpcnn_core.errors import TrainingError

BY_EPOCH = ("constant", "cosine", "step")
ONE_CYCLE = "one-cycle"
SCHEDULES = (*BY_EPOCH, ONE_CYCLE)
WARM_UP_EPOCHS = 5


def learning_rate(
    schedule: str,
    base: float,
    epoch: int,
    epochs: int,
    steps: Sequence[tuple[int, float]] = (),
) -> float:
    """Return the learning rate of an epoch.

    Parameters
    ----------
    schedule : str
        ``constant``: `base` throughout, as in the paper. ``cosine``: base / 5, / 4, / 3, / 2,
        / 1 in the first five epochs, then 0.5 (1 + cos(pi epoch / epochs)) base. ``step``: as
        `steps` says.
    base : float
        The learning rate that is scheduled.
    epoch : int
        From 0 to epochs - 1.
    epochs : int
        How many there are.
    steps : sequence of (epoch, rate), for ``step`` only
        From this epoch on, the rate is this; `base` before the first.

    Returns
    -------
    float

    Raises
    ------
    TrainingError
        An unknown schedule, an epoch that there is not, ``step`` without steps.

    Examples
    --------
    >>> [learning_rate("cosine", 1.0, epoch, 30) for epoch in (0, 3, 4)]
    [0.2, 0.5, 1.0]
    >>> [learning_rate("step", 0.005, epoch, 30, [(10, 0.001)]) for epoch in (9, 10, 29)]
    [0.005, 0.001, 0.001]
    """
    if schedule not in BY_EPOCH:
        raise TrainingError(
            f"expected a learning rate schedule of {', '.join(BY_EPOCH)}, got {schedule!r}"
        )
    if not 0 <= epoch < epochs:
        raise TrainingError(f"expected an epoch from 0 to {epochs - 1}, got {epoch}")
    if schedule == "step":
        return _step(base, epoch, steps)
    if schedule == "constant":
        return base
    if epoch < WARM_UP_EPOCHS:
        return base / (WARM_UP_EPOCHS - epoch)
    return 0.5 * (1 + math.cos(math.pi * epoch / epochs)) * base


# PyTorch's defaults: how much smaller the rate is at the start, and at the end than there.
START_DIVISOR, END_DIVISOR = 25.0, 1e4


def one_cycle_rate(base: float, step: int, steps: int, warm_up: float) -> float:
    """Return the learning rate of a step: it rises to `base`, then falls to almost nothing.

    Parameters
    ----------
    base : float
        The greatest.
    step : int
        From 0 to steps - 1, of the whole training.
    steps : int
    warm_up : float, from 0 to below 1
        The fraction of the steps in which it rises; 0: it only falls.

    Returns
    -------
    float

    Notes
    -----
    Half a cosine up, half a cosine down, as of PyTorch's ``OneCycleLR`` with its defaults
    (Smith and Topin, https://arxiv.org/abs/1708.07120). The warm-up has as many steps as fit the
    training, however short it is.

    Examples
    --------
    >>> [round(one_cycle_rate(1.0, step, 11, 0.2), 2) for step in (0, 1, 5, 10)]
    [0.04, 0.94, 0.61, 0.0]
    """
    top = max(warm_up * steps - 1, 0)
    if step <= top and top > 0:
        return _half_cosine(base / START_DIVISOR, base, step / top)
    end = base / START_DIVISOR / END_DIVISOR
    return _half_cosine(base, end, (step - top) / max(steps - 1 - top, 1))


def _half_cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * done))


def _step(base: float, epoch: int, steps: Sequence[tuple[int, float]]) -> float:
    starts = [start for start, _ in steps]
    if not starts or starts != sorted(set(starts)) or starts[0] < 0:
        raise TrainingError(
            "the schedule step needs pairs of an epoch (from 0) and its learning rate, the "
            f"earliest first, got {list(steps)}; write them like [[10, 0.001], [20, 0.0001]]"
        )
    return next((rate for start, rate in reversed(steps) if start <= epoch), base)
