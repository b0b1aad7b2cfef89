"""The reference's optimiser (docs/method.md#optimiser), and slower learning of taken weights."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import nn

LEARNING_RATE = 0.005
MOMENTUM = 0.9
# Keras adds L2 * sum(w^2) to the loss, which pulls with 2 * L2 * w: L2 is 1e-5.
WEIGHT_DECAY = 2e-5


def parameter_groups(
    network: nn.Module, weight_decay: float = WEIGHT_DECAY
) -> list[dict[str, object]]:
    """Part a network's parameters into those that decay and those that do not.

    Parameters
    ----------
    network : nn.Module
    weight_decay : float
        In PyTorch's sense: twice the factor of Keras's L2.

    Returns
    -------
    list of two dicts, for a torch optimiser
        First the kernels of dense convolutions, those of squeeze-and-excite among them, and
        of linear layers, with `weight_decay`. Then depthwise kernels, biases, batch norm and
        whatever else there is, with 0.

    Notes
    -----
    docs/method.md#optimiser: 66 kernels of EfficientNet-B0 decay.

    Examples
    --------
    >>> network = nn.Sequential(nn.Conv2d(5, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, groups=8))
    >>> [(len(group["params"]), group["weight_decay"]) for group in parameter_groups(network)]
    [(1, 2e-05), (5, 0.0)]
    """
    kernels = {id(layer.weight) for layer in network.modules() if _has_decaying_kernel(layer)}
    parameters = list(network.parameters())
    return [
        {"params": [p for p in parameters if id(p) in kernels], "weight_decay": weight_decay},
        {"params": [p for p in parameters if id(p) not in kernels], "weight_decay": 0.0},
    ]


def make_optimizer(
    network: nn.Module,
    learning_rate: float = LEARNING_RATE,
    momentum: float = MOMENTUM,
    weight_decay: float = WEIGHT_DECAY,
) -> torch.optim.SGD:
    """Make the reference's optimiser for a network.

    Parameters
    ----------
    network : nn.Module
    learning_rate, momentum : float
    weight_decay : float
        See `parameter_groups`.

    Returns
    -------
    torch.optim.SGD

    Notes
    -----
    With gradient g (weight decay included), velocity v <- momentum * v + g, and
    w <- w - rate * (g + momentum * v). Keras keeps rate * v instead of v: the same as long as
    the rate stays, as it does in the reference; where a schedule changes it, Keras's step
    still carries some of the old rate.

    Examples
    --------
    >>> optimizer = make_optimizer(nn.Linear(3, 2))
    >>> optimizer.defaults["lr"], optimizer.defaults["momentum"], optimizer.defaults["nesterov"]
    (0.005, 0.9, True)
    """
    groups = parameter_groups(network, weight_decay)
    return torch.optim.SGD(groups, lr=learning_rate, momentum=momentum, nesterov=True)


def slow_down(
    optimizer: torch.optim.Optimizer, taken: Collection[nn.Parameter], rate: float
) -> None:
    """Give some parameters of an optimiser another fraction of the learning rate.

    Parameters
    ----------
    optimizer : Optimizer
        Its groups are split; each gets an entry ``fraction``: `rate`, or 1 for all others.
    taken : collection of Parameter
    rate : float

    Examples
    --------
    >>> layer = nn.Linear(3, 2)
    >>> optimizer = make_optimizer(layer)
    >>> slow_down(optimizer, [layer.weight], 0.1)
    >>> [(len(group["params"]), group["fraction"]) for group in optimizer.param_groups]
    [(1, 0.1), (1, 1.0)]
    """
    slow = {id(parameter) for parameter in taken}
    groups = []
    for group in optimizer.param_groups:
        for fraction, is_slow in ((1.0, False), (rate, True)):
            own = [p for p in group["params"] if (id(p) in slow) == is_slow]
            if own:
                groups.append({**group, "params": own, "fraction": fraction})
    optimizer.param_groups[:] = groups


def _has_decaying_kernel(layer: nn.Module) -> bool:
    if isinstance(layer, nn.Conv2d):
        return not (layer.groups > 1 and layer.groups == layer.in_channels)
    return isinstance(layer, nn.Linear)
