"""Weight decay on the reference's kernels, and Keras's step worked out by hand."""

import re

import numpy as np
import pytest
import timm
import torch
from torch import nn

from cpcnn_core.models.efficientnet import create_efficientnet_b0
from cpcnn_core.training.optimizer import make_optimizer, parameter_groups

# timm's names of the kernels that docs/method.md#optimiser counts: the stem, 15 expansions, two of
# squeeze-and-excite and one projection in each of 16 blocks, the head, the classifier.
DENSE = re.compile(
    r"^conv_stem\.weight$|^conv_head\.weight$|^classifier\.weight$"
    r"|^blocks\.\d\.\d\.(conv_pw|conv_pwl|se\.conv_reduce|se\.conv_expand)\.weight$"
)


def names_of(group, network):
    found = {id(parameter): name for name, parameter in network.named_parameters()}
    return {found[id(parameter)] for parameter in group["params"]}


@pytest.fixture(scope="module")
def b0():
    with torch.device("meta"):
        return create_efficientnet_b0(5, 490)


def test_66_kernels_of_the_whole_network_decay(b0):
    decayed, others = parameter_groups(b0, 2e-5)
    names = names_of(decayed, b0)
    assert len(names) == len(decayed["params"]) == 66
    assert names == {name for name, _ in b0.named_parameters() if DENSE.match(name)}
    assert (decayed["weight_decay"], others["weight_decay"]) == (2e-5, 0.0)
    assert names | names_of(others, b0) == {name for name, _ in b0.named_parameters()}
    assert len(decayed["params"]) + len(others["params"]) == len(list(b0.parameters()))


def test_what_does_not_decay_is_depthwise_or_a_vector(b0):
    for parameter in parameter_groups(b0)[1]["params"]:
        # A depthwise kernel has one input channel.
        assert parameter.ndim == 1 or (parameter.ndim == 4 and parameter.shape[1] == 1)


def test_one_channel_makes_no_kernel_depthwise():
    network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3, groups=4))
    assert names_of(parameter_groups(network)[0], network) == {"0.weight", "1.weight"}


def test_other_networks_of_timm_are_parted_by_the_same_rule():
    with torch.device("meta"):
        network = timm.create_model("vit_tiny_patch16_224", num_classes=3)
    decayed, others = (names_of(group, network) for group in parameter_groups(network))
    assert {"patch_embed.proj.weight", "blocks.0.attn.qkv.weight", "head.weight"} <= decayed
    assert {"pos_embed", "cls_token", "blocks.0.norm1.weight", "head.bias"} <= others


def test_a_network_of_two_parameters_steps_as_worked_out_by_hand():
    network = nn.Linear(1, 1)
    with torch.no_grad():
        network.weight.fill_(2.0)
        network.bias.fill_(-1.0)
    optimizer = make_optimizer(network.double(), learning_rate=0.1, weight_decay=0.02)
    # (2 x - 1 - y)^2 at x = 3, y = 1 is 16; its gradient 2 * 4 * (3, 1).
    loss = (network(torch.tensor([[3.0]], dtype=torch.float64)) - 1).square().sum()
    assert loss.item() == 16
    loss.backward()
    optimizer.step()
    # Weight: 24 + 0.02 * 2 = 24.04, times 1.9 = 45.676, times 0.1; bias: 8 * 1.9 * 0.1.
    assert network.weight.item() == pytest.approx(2 - 4.5676, abs=1e-12)
    assert network.bias.item() == pytest.approx(-1 - 1.52, abs=1e-12)


def test_it_steps_as_keras_does_with_l2_in_the_loss():
    """Keras's own formula, L2 added to the loss and differentiated numerically."""
    l2, rate, momentum = 1e-5, 0.005, 0.9
    x, y = np.array([0.5, -1.5, 2.0]), np.array([1.0, 0.0, 3.0])

    def loss(weight, bias):
        # A large factor, so that the decay is seen in these few steps.
        return np.mean((weight * x + bias - y) ** 2) + 1e4 * l2 * weight**2

    weight, bias, v_weight, v_bias, h = 1.5, 0.25, 0.0, 0.0, 1e-6
    network = nn.Linear(1, 1).double()
    with torch.no_grad():
        network.weight.fill_(weight)
        network.bias.fill_(bias)
    optimizer = make_optimizer(network, rate, momentum, 1e4 * 2e-5)
    for _ in range(8):
        # Central differences are exact for a square, but for rounding.
        g_weight = (loss(weight + h, bias) - loss(weight - h, bias)) / (2 * h)
        g_bias = (loss(weight, bias + h) - loss(weight, bias - h)) / (2 * h)
        v_weight, v_bias = (
            momentum * v_weight - rate * g_weight,
            momentum * v_bias - rate * g_bias,
        )
        weight += momentum * v_weight - rate * g_weight
        bias += momentum * v_bias - rate * g_bias
        optimizer.zero_grad()
        found = network(torch.from_numpy(x)[:, None])[:, 0] - torch.from_numpy(y)
        found.square().mean().backward()
        optimizer.step()
        assert network.weight.item() == pytest.approx(weight, abs=1e-9)
        assert network.bias.item() == pytest.approx(bias, abs=1e-9)


def test_the_defaults_are_the_reference_s():
    optimizer = make_optimizer(nn.Linear(2, 2))
    assert [group["weight_decay"] for group in optimizer.param_groups] == [2 * 1e-5, 0.0]
    for group in optimizer.param_groups:
        assert (group["lr"], group["momentum"], group["nesterov"]) == (0.005, 0.9, True)
        assert group["dampening"] == 0
