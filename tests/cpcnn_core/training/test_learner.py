"""A step is what can be worked out by hand, however the batch is shared."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from cpcnn_core.errors import TrainingError
from cpcnn_core.training.config import ContrastConfig, OptimizationConfig, RunConfig
from cpcnn_core.training.learner import Learner, random_seed
from cpcnn_core.training.processes import start_accelerator

CROPS = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (8, 2, 6, 6), np.uint8))
CLASSES = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])


def tiny(seed=0):
    """A convolution, batch norm, and a classifier of three classes."""
    torch.manual_seed(seed)
    layers = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4, momentum=0.01), nn.ReLU()
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64, 3))


def learner_of(
    network, parts=1, seed=0, precision="float32", contrast=None, fresh=None, **training
):
    training = {"augmentation": False, "learning_rate": 0.1} | training
    run = RunConfig(device="cpu", parts=parts, seed=seed, precision=precision)
    accelerator = start_accelerator(run)
    return Learner(network, OptimizationConfig(**training), run, accelerator, contrast, fresh)


def by_hand(network, steps, parts, rate, targets=None, decay=2e-5, smoothing=0.0):
    """Batch norm, the loss and the optimiser written out; gradients are PyTorch's."""
    velocity = {name: torch.zeros_like(p) for name, p in network.named_parameters()}
    kernels = {"0.weight", "4.weight"}
    losses = []
    size = 8 // parts
    for _ in range(steps):
        network.zero_grad()
        loss, means, variances = 0.0, [], []
        for first in range(0, 8, size):
            maps = network[0](CROPS[first : first + size].float() / 255)
            mean = maps.mean(dim=(0, 2, 3), keepdim=True)
            variance = ((maps - mean) ** 2).mean(dim=(0, 2, 3), keepdim=True)
            scale, shift = (network[1].get_parameter(n) for n in ("weight", "bias"))
            maps = (maps - mean) / torch.sqrt(variance + 1e-5)
            maps = torch.relu(maps * scale[:, None, None] + shift[:, None, None])
            for row, values in enumerate(maps, first):
                scores = network[4].weight @ values.flatten() + network[4].bias
                shares = torch.full((3,), smoothing / 3)
                shares[CLASSES[row]] += 1 - smoothing
                shares = shares if targets is None else targets[row]
                loss = loss - (shares * (scores - torch.log(torch.exp(scores).sum()))).sum() / 8
            count = size * 16
            means.append(mean.detach().flatten())
            variances.append(variance.detach().flatten() * count / (count - 1))
        loss.backward()
        losses.append(loss.item())
        with torch.no_grad():
            norm = network[1]
            norm.running_mean.copy_(0.99 * norm.running_mean + 0.01 * sum(means) / parts)
            norm.running_var.copy_(0.99 * norm.running_var + 0.01 * sum(variances) / parts)
            for name, p in network.named_parameters():
                gradient = p.grad + (decay * p if name in kernels else 0)
                velocity[name] = 0.9 * velocity[name] + gradient
                p.sub_(rate * (gradient + 0.9 * velocity[name]))
    return losses


def assert_equal(one, other, tolerance=1e-6):
    for (name, mine), theirs in zip(
        one.state_dict().items(), other.state_dict().values(), strict=True
    ):
        if mine.is_floating_point():
            assert (mine - theirs).abs().max().item() <= tolerance, name


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_steps_are_those_worked_out_by_hand(parts):
    network = tiny()
    expected = copy.deepcopy(network)
    losses = by_hand(expected, 3, parts, 0.1)
    learner = learner_of(network, parts)
    found = [learner.step(CROPS, CLASSES, 0, step, 0.1).loss for step in range(3)]
    assert found == pytest.approx(losses, abs=1e-6)
    assert_equal(network, expected)


def test_a_large_decay_is_seen():
    """So that the test above would notice none, or one of everything."""
    network = tiny()
    expected = copy.deepcopy(network)
    by_hand(expected, 2, 1, 0.1, decay=0.5)
    learner = learner_of(network, weight_decay=0.5)
    for step in range(2):
        learner.step(CROPS, CLASSES, 0, step, 0.1)
    assert_equal(network, expected)


def test_labels_may_be_smoothed_or_soft():
    soft = torch.from_numpy(np.random.default_rng(1).dirichlet([1, 1, 1], 8)).float()
    for targets, smoothing in ((None, 0.2), (soft, 0.0)):
        network = tiny()
        expected = copy.deepcopy(network)
        losses = by_hand(expected, 1, 1, 0.1, targets, smoothing=smoothing)
        learner = learner_of(network, label_smoothing=smoothing)
        found = learner.step(CROPS, CLASSES if targets is None else targets, 0, 0, 0.1)
        assert found.loss == pytest.approx(losses[0], abs=1e-6)
        assert_equal(network, expected)


def test_the_rate_of_the_step_is_used():
    network = tiny()
    expected = copy.deepcopy(network)
    by_hand(expected, 1, 1, 0.001)
    learner_of(network, learning_rate=0.1).step(CROPS, CLASSES, 0, 0, 0.001)
    assert_equal(network, expected)


def test_it_tells_how_often_it_was_right():
    network = tiny()
    with torch.no_grad():
        logits = copy.deepcopy(network).train()(CROPS.float() / 255)
    found = learner_of(network, parts=1).step(CROPS, CLASSES, 0, 0, 0.1)
    right = (logits.argmax(dim=1) == CLASSES).float().mean().item()
    assert (found.accuracy, found.top_5) == (pytest.approx(right), 1.0)


def test_chance_depends_on_seed_epoch_and_step_alone():
    def loss(seed, epoch, step):
        network = nn.Sequential(tiny(), nn.Dropout(0.5))
        learner = learner_of(network, augmentation=True, seed=seed)
        torch.rand(epoch + 3 * step)
        return learner.step(CROPS, CLASSES, epoch, step, 0.1).loss

    moments = [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)]
    losses = [loss(*moment) for moment in moments]
    assert len(set(losses)) == 4
    assert [loss(*moment) for moment in moments] == losses


def test_parts_are_augmented_as_the_whole_batch_is():
    """Without batch norm and dropout nothing else tells parts from the whole."""
    losses = []
    for parts in (1, 4):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(72, 3))
        learner = learner_of(network, parts, augmentation=True)
        losses.append([learner.step(CROPS, CLASSES, 0, step, 0.1).loss for step in range(4)])
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def test_seeds_of_several_numbers_differ():
    seeds = {random_seed(a, b, c) for a in range(8) for b in range(8) for c in range(8)}
    assert len(seeds) == 512
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_state_goes_back_to_the_last_bit():
    network = tiny()
    learner = learner_of(network, augmentation=True)
    for step in range(3):
        learner.step(CROPS, CLASSES, 0, step, 0.1)
    state = learner.state()
    expected = [learner.step(CROPS, CLASSES, 0, step, 0.1).loss for step in (3, 4)]
    after = {name: value.numpy().tobytes() for name, value in learner.state().items()}
    other = learner_of(tiny(seed=9), augmentation=True)
    other.restore(state)
    assert [other.step(CROPS, CLASSES, 0, step, 0.1).loss for step in (3, 4)] == expected
    assert {name: value.numpy().tobytes() for name, value in other.state().items()} == after
    assert {name.split(".")[0] for name in after} == {"network", "momentum"}


def test_taken_weights_move_by_a_fraction():
    network = tiny()
    full, part = copy.deepcopy(network), copy.deepcopy(network)
    learner_of(full).step(CROPS, CLASSES, 0, 0, 0.1)
    fresh = {"4.weight", "4.bias"}
    learner_of(part, taken_rate=0.1, fresh=fresh).step(CROPS, CLASSES, 0, 0, 0.1)
    before = dict(network.named_parameters())
    moved = {name: value - before[name] for name, value in full.named_parameters()}
    for name, value in part.named_parameters():
        fraction = 1.0 if name in fresh else 0.1
        difference = (value - before[name] - fraction * moved[name]).abs().max().item()
        assert difference < 1e-7, name
        # A bias before batch norm moves nothing, and is not moved.
        assert name == "0.bias" or moved[name].abs().max() > 1e-5, name


def test_the_average_is_that_worked_out_by_hand():
    network = tiny()
    learner = learner_of(network, averaging=0.6)
    seen = []
    for step in range(6):
        learner.step(CROPS, CLASSES, 0, step, 0.1)
        seen.append({k: v.clone() for k, v in network.state_dict().items()})
    for name, value in learner.averaged.module.state_dict().items():
        if not value.is_floating_point():
            continue
        expected = seen[0][name].double()
        for count, later in enumerate(seen[1:], 1):
            kept = min(0.6, (1 + count) / (10 + count))
            expected = kept * expected + (1 - kept) * later[name].double()
        assert (value - expected).abs().max().item() < 1e-6, name
        assert not torch.equal(value, seen[-1][name]), name


class Pointed(nn.Module):
    """A network whose points are its logits, brought to length 1."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, crops):
        logits = self.inner(crops)
        return logits, nn.functional.normalize(logits, dim=1)


def linear():
    torch.manual_seed(1)
    return Pointed(nn.Sequential(nn.Flatten(), nn.Linear(72, 3)))


def pulled(points, together, apart, temperature):
    """The contrast of a batch as a loop over its cells; wells as in ``test_contrast``."""
    losses = []
    for i, one in enumerate(points):
        others = [
            j for j in range(len(points)) if (together[j], apart[j]) != (together[i], apart[i])
        ]
        scores = torch.stack([one @ points[j] / temperature for j in others])
        positive = [k for k, j in enumerate(others) if together[j] == together[i]]
        losses += [-(scores.log_softmax(0)[positive]).mean()] if positive else []
    return torch.stack(losses).mean()


@pytest.mark.parametrize("parts", [1, 2])
def test_contrast_of_wells_is_added_to_the_loss(parts):
    wells = torch.tensor([0, 1, 2, 3, 1, 2, 4, 5])
    network = linear()
    expected = copy.deepcopy(network)
    contrast = ContrastConfig(weight=0.7, temperature=0.4)
    learner = learner_of(network, parts, contrast=contrast, weight_decay=0.0, classification=0.5)
    found = learner.step(CROPS, CLASSES, 0, 0, 0.1, wells)
    logits, points = expected(CROPS.float() / 255)
    loss = 0.5 * nn.functional.cross_entropy(logits, CLASSES)
    size = 8 // parts
    for first in range(0, 8, size):
        rows = slice(first, first + size)
        pull = pulled(points[rows], CLASSES[rows].tolist(), wells[rows].tolist(), 0.4)
        loss = loss + 0.7 * pull / parts
    loss.backward()
    assert found.loss == pytest.approx(loss.item(), abs=1e-6)
    for (name, value), theirs in zip(
        network.named_parameters(), expected.parameters(), strict=True
    ):
        # Nesterov's first step is 1.9 gradients.
        moved = theirs.detach() - 0.1 * 1.9 * theirs.grad
        assert (value - moved).abs().max().item() < 1e-6, name


def test_contrast_of_views_needs_no_classes():
    contrast = ContrastConfig(weight=1.0, positives="views", temperature=0.4)
    losses = []
    for classes in (CLASSES, torch.zeros_like(CLASSES)):
        learner = learner_of(linear(), contrast=contrast, augmentation=True, classification=0.0)
        losses.append([learner.step(CROPS, classes, 0, step, 0.1).loss for step in range(3)])
    assert losses[0] == losses[1]
    # Two views of each cell, drawn apart from each other: 16 points, 8 pairs.
    seen = []
    network = linear()
    network.register_forward_hook(lambda _, given, made: seen.append((given[0], made[1])))
    learner_of(network, contrast=contrast, augmentation=True, classification=0.0).step(
        CROPS, CLASSES, 0, 0, 0.1
    )
    crops, points = seen[0]
    assert not torch.equal(crops[:8], crops[8:])
    together, apart = [*range(8)] * 2, [0] * 8 + [1] * 8
    assert losses[0][0] == pytest.approx(pulled(points, together, apart, 0.4).item(), abs=1e-6)


def test_a_state_with_an_average_goes_back_to_the_last_bit():
    contrast = ContrastConfig(weight=1.0)
    how = {"augmentation": True, "averaging": 0.9, "contrast": contrast}
    wells = torch.arange(8)

    def run(learner, steps):
        return [learner.step(CROPS, CLASSES, 0, step, 0.1, wells).loss for step in steps]

    learner = learner_of(linear(), **how)
    run(learner, range(3))
    state = learner.state()
    expected = run(learner, (3, 4))
    after = {name: value.numpy().tobytes() for name, value in learner.state().items()}
    torch.manual_seed(99)
    other = learner_of(Pointed(nn.Sequential(nn.Flatten(), nn.Linear(72, 3))), **how)
    other.restore(state)
    assert run(other, (3, 4)) == expected
    assert {name: value.numpy().tobytes() for name, value in other.state().items()} == after
    assert {name.split(".")[0] for name in after} == {"network", "momentum", "average"}


def test_a_loss_that_is_not_finite_stops_it():
    network = tiny()
    with torch.no_grad():
        network[4].bias[0] = math.inf
    before = network[0].weight.clone()
    with pytest.raises(TrainingError, match=r"loss is nan in step 3 of epoch 2; lower training"):
        learner_of(network).step(CROPS, CLASSES, 1, 2, 0.1)
    assert torch.equal(network[0].weight, before)


def test_mixed_precision_comes_near():
    losses = {}
    for precision in ("float32", "bfloat16"):
        learner = learner_of(tiny(), precision=precision)
        losses[precision] = [learner.step(CROPS, CLASSES, 0, s, 0.01).loss for s in range(3)]
    assert losses["bfloat16"] != losses["float32"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.05)
