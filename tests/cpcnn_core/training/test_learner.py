"""A step is what can be worked out by hand, however the batch is shared."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from cpcnn_core.errors import TrainingError
from cpcnn_core.training.config import OptimizationConfig, RunConfig
from cpcnn_core.training.learner import Learner, random_seed
from cpcnn_core.training.processes import start_accelerator

CROPS = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (8, 2, 6, 6), np.uint8))
CLASSES = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])


def tiny(seed=0):
    """A convolution, batch norm, and a classifier of three classes."""
    torch.manual_seed(seed)
    layers = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4, momentum=0.01), nn.ReLU()
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64, 3))


def learner_of(network, parts=1, seed=0, precision="float32", **training):
    training = {"augmentation": False, "learning_rate": 0.1} | training
    run = RunConfig(device="cpu", parts=parts, seed=seed, precision=precision)
    return Learner(network, OptimizationConfig(**training), run, start_accelerator(run))


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
