"""Networks begin as Keras begins them, or with ImageNet's weights channel by channel."""

import huggingface_hub
import numpy as np
import pytest
import scipy.stats
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from cpcnn_core.errors import DownloadError, ModelNotFoundError, TrainingError, WeightsError
from cpcnn_core.models.efficientnet import create_efficientnet_b0
from cpcnn_core.training.starting_weights import (
    initialize_from_imagenet,
    initialize_like_keras,
    read_imagenet_weights,
)


@pytest.fixture(scope="module")
def b0():
    network = create_efficientnet_b0(5, 11)
    with torch.no_grad():
        for value in (*network.parameters(), *network.buffers()):
            value.fill_(7)
    initialize_like_keras(network, seed=3)
    return network


def keras_fan_out(name, weight):
    """As Keras takes it from a kernel (h, w, in, out); of a depthwise one, (h, w, c, 1)."""
    outputs = 1 if name.endswith("conv_dw.weight") else weight.shape[0]
    return weight.shape[2] * weight.shape[3] * outputs


def test_kernels_are_normal_within_two_deviations(b0):
    draws, others = [], []
    for name, weight in b0.named_parameters():
        if weight.ndim != 4:
            continue
        own = (weight.detach() * (keras_fan_out(name, weight) / 2) ** 0.5).flatten()
        # All kernels have the variance 2 / fan out.
        draws.append(own.numpy())
        if own.numel() > 5000:
            assert own.std().item() == pytest.approx(1, abs=0.05), name
            assert abs(own.mean().item()) < 0.05, name
        others.append(own.abs().max().item())
    draws = np.concatenate(draws).astype(np.float64)
    # A normal distribution cut off at two deviations has this deviation.
    spread = 1 / scipy.stats.truncnorm(-2, 2).std()
    assert max(others) <= 2 * spread + 1e-5
    expected = scipy.stats.truncnorm(-2, 2, scale=spread)
    assert scipy.stats.kstest(draws[:: len(draws) // 20_000], expected.cdf).pvalue > 1e-3
    assert draws.var() == pytest.approx(1, abs=0.003)


def test_the_classifier_is_glorot_uniform(b0):
    limit = (6 / (1280 + 11)) ** 0.5
    weight = b0.classifier.weight.detach().numpy().ravel()
    assert 0.999 * limit < np.abs(weight).max() <= limit
    expected = scipy.stats.uniform(-limit, 2 * limit)
    assert scipy.stats.kstest(weight, expected.cdf).pvalue > 1e-3


def test_all_else_is_neutral(b0):
    for name, value in b0.state_dict().items():
        if value.ndim == 1:
            is_one = name.endswith((".weight", ".running_var"))
            assert (value == (1 if is_one else 0)).all(), name
        if name.endswith("num_batches_tracked"):
            assert value == 0


def test_equal_seeds_give_equal_weights_and_leave_torch_alone():
    networks = [nn.Sequential(nn.Conv2d(2, 3, 3), nn.Linear(3, 2)) for _ in range(3)]
    state = torch.random.get_rng_state()
    for network, seed in zip(networks, (1, 1, 2), strict=True):
        initialize_like_keras(network, seed)
    assert torch.equal(torch.random.get_rng_state(), state)
    one, same, other = (network.state_dict() for network in networks)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["0.weight"], other["0.weight"])


def test_the_signal_gets_through(b0):
    crops = torch.rand(8, 5, 64, 64, generator=torch.Generator().manual_seed(0))
    b0.train()
    spread = b0(crops).std(dim=0)
    assert 0.01 < spread.mean() < 10


def test_layers_of_other_kinds_are_refused():
    network = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    with pytest.raises(TrainingError, match="got 1, a LayerNorm; leave such a network to its own"):
        initialize_like_keras(network, 0)


@pytest.fixture(scope="module")
def rgb():
    """Any weights of the network for ImageNet's three channels and thousand classes."""
    torch.manual_seed(0)
    network = timm.create_model("tf_efficientnet_b0")
    for name, value in network.state_dict().items():
        if value.is_floating_point() and not name.endswith("running_var"):
            value.copy_(torch.randn_like(value))
    return {name: value.clone() for name, value in network.state_dict().items()}


@pytest.mark.parametrize("channels", [1, 3, 5, 8])
def test_imagenet_s_channels_go_round(rgb, channels):
    network = create_efficientnet_b0(channels, 4)
    initialize_from_imagenet(network, rgb, seed=0)
    found = network.state_dict()
    for channel in range(channels):
        colour = "RGBRGBRG"[channel]
        expected = rgb["conv_stem.weight"][:, "RGB".index(colour)]
        assert torch.equal(found["conv_stem.weight"][:, channel], expected)
    for name, value in found.items():
        if not name.startswith(("conv_stem", "classifier")) and value.is_floating_point():
            assert torch.equal(value, rgb[name]), name


def test_imagenet_s_classifier_is_drawn_anew(rgb):
    networks = [create_efficientnet_b0(5, 4) for _ in range(3)]
    for network, seed in zip(networks, (0, 0, 1), strict=True):
        initialize_from_imagenet(network, rgb, seed)
    one, same, other = (network.classifier for network in networks)
    assert torch.equal(one.weight, same.weight)
    assert not torch.equal(one.weight, other.weight)
    limit = (6 / (1280 + 4)) ** 0.5
    assert 0.99 * limit < one.weight.abs().max() <= limit
    assert not one.bias.any()


def test_networks_without_a_classifier_and_of_other_names():
    torch.manual_seed(0)
    weights = timm.create_model("test_resnet").state_dict()
    network = timm.create_model("test_resnet", in_chans=4, num_classes=0)
    initialize_from_imagenet(network, weights, seed=0)
    stem = f"{network.pretrained_cfg['first_conv']}.weight"
    assert torch.equal(network.state_dict()[stem][:, 3], weights[stem][:, 0])


def test_weights_of_another_network_are_refused(rgb):
    network = create_efficientnet_b0(5, 4)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    lacking = {name: value for name, value in rgb.items() if name != "bn1.weight"}
    with pytest.raises(WeightsError, match=r"expected bn1.weight of shape \(32,\), got nothing"):
        initialize_from_imagenet(network, lacking, 0)
    four = rgb | {"conv_stem.weight": torch.zeros(32, 4, 3, 3)}
    with pytest.raises(WeightsError, match=r"conv_stem.weight .* got \(32, 4, 3, 3\)"):
        initialize_from_imagenet(network, four, 0)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_file_is_read(rgb, tmp_path):
    file = tmp_path / "model.safetensors"
    save_file(rgb, file)
    found = read_imagenet_weights(file=file)
    assert all(torch.equal(found[name], value) for name, value in rgb.items())
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="is not a complete safetensors file"):
        read_imagenet_weights(file=file)


def test_unknown_weights_are_named():
    with pytest.raises(ModelNotFoundError, match="timm has no ImageNet weights 'no_network'"):
        read_imagenet_weights("no_network")


def test_no_connection_says_what_to_do(tmp_path, monkeypatch):
    # What the variables HF_HUB_OFFLINE and HF_HOME set, when the package is first loaded.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(DownloadError) as error:
        read_imagenet_weights()
    line = str(error.value)
    assert "ImageNet weights tf_efficientnet_b0.aa_in1k could not be downloaded" in line
    assert "get model.safetensors of timm/tf_efficientnet_b0.aa_in1k" in line
    assert "network.imagenet_file" in line
