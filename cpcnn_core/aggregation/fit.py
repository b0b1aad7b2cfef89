"""Train an aggregation: the profiles of replicates should be alike, on whatever plate."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from cpcnn_core.aggregation.scored_sets import ScoredSets
from cpcnn_core.aggregation.set_aggregation import SetAggregation
from cpcnn_core.errors import TrainingError
from cpcnn_core.evaluation.replicates import replicate_pairs

if TYPE_CHECKING:
    import torch

_MAY_BE_0 = ("decay", "strength", "seed")


@dataclass(frozen=True)
class AggregationSettings:
    """How an aggregation is trained.

    Attributes
    ----------
    steps : int
        Updates of the network.
    view : int
        Cells that are drawn, with replacement, from a well in every step.
    treatments, wells : int
        Treatments in a step, and wells of each of them, at most.
    components, hidden : int
        Of the cells, at most; units of the network.
    temperature, rate, decay : float
        Of the contrastive loss; of AdamW.
    strength : float
        Factor of what is added to the mean; 0 is the mean.
    seed : int

    Raises
    ------
    TrainingError
        A number that is not above 0, or a negative seed.
    """

    steps: int = 400
    view: int = 32
    treatments: int = 32
    wells: int = 8
    components: int = 64
    hidden: int = 64
    temperature: float = 0.1
    rate: float = 1e-2
    decay: float = 1e-2
    strength: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for one in fields(self):
            value, may_be_0 = getattr(self, one.name), one.name in _MAY_BE_0
            if not (0 < value < np.inf or (may_be_0 and value == 0)):
                expected = "a number from 0" if may_be_0 else "a number above 0"
                raise TrainingError(f"expected {expected} as {one.name}, got {value}")


def fit_aggregation(
    sets: ScoredSets, names: np.ndarray, settings: AggregationSettings
) -> SetAggregation:
    """Train on wells with replicates, from the mean on.

    The loss is that of supervised contrastive learning between wells, each a random draw of its
    cells. What a well is to find, and among which wells, is what
    `cpcnn_core.evaluation.replicates.find_replicates` asks: the wells of its treatment on other
    plates among the wells there, or, for a treatment on a single plate, those there.

    Parameters
    ----------
    sets : ScoredSets
    names : ndarray of shape (wells,), str
        The treatment of the wells that are learned from; empty for all others. Controls are not
        learned from.
    settings : AggregationSettings

    Returns
    -------
    SetAggregation
        The same bits from the same input, on the same processor.

    Raises
    ------
    TrainingError
        Fewer than two treatments, or none with replicates.

    References
    ----------
    Khosla et al., "Supervised contrastive learning", NeurIPS 2020. Zaheer et al., "Deep sets",
    NeurIPS 2017.
    """
    space = sets.space
    learned = np.flatnonzero((names != "") & ~sets.controls)
    treatments = names[learned]
    positives, searched, _ = replicate_pairs(treatments, sets.plates[learned])
    if len(set(treatments)) < 2 or not positives.any():
        raise TrainingError(
            f"expected at least 2 treatments, and one with replicates, got {len(learned)} treated "
            f"wells of {len(set(treatments))} treatments; an aggregation learns from replicates"
        )
    with _one_thread():
        weights = _train(sets, learned, treatments, positives, searched, settings)
    return SetAggregation(space, *weights, settings.strength)


def _train(
    sets: ScoredSets,
    learned: np.ndarray,
    treatments: np.ndarray,
    positives: np.ndarray,
    searched: np.ndarray,
    settings: AggregationSettings,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the weights of the network: hidden, bias, output."""
    import torch

    space = sets.space
    random = np.random.default_rng([settings.seed, 1])
    count = len(space.components)
    start = random.normal(size=(count, settings.hidden)) / np.sqrt(count)
    hidden = torch.tensor(start.astype(np.float32), requires_grad=True)
    shift = random.uniform(-1, 1, settings.hidden)
    bias = torch.tensor(shift.astype(np.float32), requires_grad=True)
    output = torch.zeros(settings.hidden, count, requires_grad=True)
    spread = torch.from_numpy(space.spread)
    weights = [hidden, bias, output]
    optimizer = torch.optim.AdamW(weights, lr=settings.rate, weight_decay=settings.decay)
    for _ in range(settings.steps):
        rows = _draw_wells(treatments, settings, random)
        wells = learned[rows]
        cells = torch.from_numpy(sets.draw(wells, settings.view, random))
        controls, plate = sets.draw_controls(wells, settings.view, random)
        pooled = torch.tanh(cells @ hidden + bias).mean(dim=1)
        usual = torch.tanh(torch.from_numpy(controls) @ hidden + bias).mean(dim=1)
        moved = (pooled - usual[torch.from_numpy(plate)]) @ output
        inside = (cells.mean(dim=1) + moved) * spread
        outside = torch.from_numpy(sets.outside(wells))
        products = inside @ inside.T + outside
        lengths = products.diagonal().clamp_min(1e-12).sqrt()
        loss = _contrast(
            products / lengths[:, None] / lengths / settings.temperature,
            torch.from_numpy(positives[np.ix_(rows, rows)]),
            torch.from_numpy(searched[np.ix_(rows, rows)]),
        )
        if loss is not None:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return hidden.detach().numpy(), bias.detach().numpy(), output.detach().numpy()


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Have torch add up in one order, whatever the number of cores; its matrices are small."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _draw_wells(
    names: np.ndarray, settings: AggregationSettings, random: np.random.Generator
) -> np.ndarray:
    """Choose treatments at random, and some wells of each: none counts for its many wells."""
    chosen = random.permutation(np.unique(names))[: settings.treatments]
    return np.concatenate(
        [random.permutation(np.flatnonzero(names == name))[: settings.wells] for name in chosen]
    )


def _contrast(
    similarity: torch.Tensor, positives: torch.Tensor, searched: torch.Tensor
) -> torch.Tensor | None:
    """Return how unlikely it is that each well picks its replicates; None without any."""
    asking = positives.any(dim=1)
    if not asking.any():
        return None
    among = similarity.masked_fill(~searched, -float("inf"))[asking]
    chance = similarity[asking] - among.logsumexp(dim=1, keepdim=True)
    hits = positives[asking]
    return -((chance * hits).sum(dim=1) / hits.sum(dim=1)).mean()
