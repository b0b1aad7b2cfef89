"""The network that is trained is the reference's, and its features are those of the model file."""

import numpy as np
import pytest
import timm
import torch

from cpcnn_core.errors import TrainingError, WeightsError
from cpcnn_core.models.efficientnet import TappedEfficientNet
from cpcnn_core.training.network import TrainableNetwork


def weights_of(network):
    return {name: value.detach().numpy() for name, value in network.net.state_dict().items()}


@pytest.fixture(scope="module")
def reference():
    """The whole network, its running statistics no longer those of the start."""
    torch.manual_seed(0)
    network = TrainableNetwork("efficientnet_b0", 5, 64, 7)
    for norm in network.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.5, 1.5)
    return network.eval()


@pytest.fixture(scope="module")
def crops():
    return torch.from_numpy(np.random.default_rng(0).random((3, 5, 64, 64), np.float32))


def test_it_has_the_references_size():
    with torch.device("meta"):
        network = TrainableNetwork("efficientnet_b0", 5, 128, 490)
    # See docs/method.md#network.
    assert sum(value.numel() for value in network.parameters()) == 4_635_814
    norms = [layer for layer in network.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}


def test_paths_are_dropped_at_the_references_rates():
    """Measured: how often a block with a skip lets its input through unchanged."""
    with torch.device("meta"):
        network = TrainableNetwork("efficientnet_b0", 5, 128, 2)
    # A rate of 0.2 * block / 16, counted from 0, where there is a skip: docs/method.md#network.
    repeats = (1, 2, 2, 3, 3, 4, 1)
    place, expected, found = 0, [], []
    torch.manual_seed(0)
    for stage, count in enumerate(repeats):
        for repeat in range(count):
            block = network.net.blocks[stage][repeat]
            if repeat:
                expected.append(0.2 * place / 16)
                kept = block.drop_path.train()(torch.ones(20_000, 1, 1, 1))
                found.append((kept == 0).float().mean().item())
                scaled = kept[kept > 0]
                assert torch.allclose(scaled, torch.tensor(1 / (1 - expected[-1])))
            else:
                assert not block.has_skip
            place += 1
    assert expected == pytest.approx(
        [0.025, 0.05, 0.075, 0.0875, 0.1125, 0.125, 0.15, 0.1625, 0.175]
    )
    assert found == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("tap", ["block6a_activation", "pool5", "ClassProb"])
def test_features_are_those_of_the_tapped_network(reference, crops, tap):
    tapped = TappedEfficientNet(5, tap, classes=7)
    tapped.load_weights(weights_of(reference))
    network = TrainableNetwork("efficientnet_b0", 5, 64, 7, tap).eval()
    network.load_state_dict(reference.state_dict())
    with torch.inference_mode():
        features, logits = network.embed(crops)
        expected = tapped.eval()(crops)
        assert torch.allclose(logits, reference(crops), atol=1e-6)
    assert features.shape == expected.shape == (3, network.embed_dim)
    assert (features - expected).abs().max().item() <= 1e-5


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit", "mobilenetv3_small_050"])
def test_any_network_of_timm_gives_what_feeds_its_classifier(backbone, crops):
    torch.manual_seed(0)
    network = TrainableNetwork(backbone, 5, 64, 4).eval()
    size = {"img_size": 64} if backbone == "test_vit" else {}
    bare = timm.create_model(backbone, in_chans=5, num_classes=0, **size).eval()
    bare.load_state_dict(
        {name: network.net.state_dict()[name] for name in bare.state_dict()}, strict=True
    )
    with torch.inference_mode():
        features, logits = network.embed(crops)
        assert torch.allclose(features, bare(crops), atol=1e-6)
        assert torch.allclose(logits, network(crops), atol=1e-6)
    assert features.shape == (3, network.embed_dim)
    assert (network.tap, network.architecture) == ("pooled", f"timm/{backbone}")


def test_a_layer_that_is_not_there_is_refused():
    with pytest.raises(TrainingError, match="efficientnet_b0 has the layers block6a_activation"):
        TrainableNetwork("efficientnet_b0", 5, 64, 2, "pooled")
    with pytest.raises(TrainingError, match="test_resnet has the layers pooled, got 'pool5'"):
        TrainableNetwork("test_resnet", 5, 64, 2, "pool5")


def test_a_network_that_timm_does_not_know_is_named():
    with pytest.raises(WeightsError, match="no network 'resnet81'; did you mean resnet18"):
        TrainableNetwork("resnet81", 5, 64, 2)


def test_a_network_that_cannot_take_such_crops_says_so():
    with pytest.raises(WeightsError, match="test_vit cannot take crops of 5 x 50 x 50"):
        TrainableNetwork("test_vit", 5, 50, 2)
