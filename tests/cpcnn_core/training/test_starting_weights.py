"""Starting weights of a network."""

import json

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from cpcnn_core.errors import TrainingError, WeightsError
from cpcnn_core.models.card import ModelCard
from cpcnn_core.models.weights import save_model
from cpcnn_core.training.config import NetworkConfig
from cpcnn_core.training.starting_weights import make_network

CLASSES = ("DMSO", "taxol")


def start(**how):
    config = NetworkConfig(**({"backbone": "test_resnet"} | how))
    return make_network(config, ("DNA", "ER", "Mito"), 32, CLASSES, 4)


def weights_of(network):
    return {name: value.numpy().copy() for name, value in network.net.state_dict().items()}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of other channels in another order, of the same classes."""
    config = NetworkConfig(backbone="test_resnet")
    network, _ = make_network(config, ("Mito", "RNA", "DNA", "ER"), 32, CLASSES, 9)
    weights = {k: v for k, v in weights_of(network).items() if v.dtype == np.float32}
    card = ModelCard(
        "mine",
        "An example.",
        ("Mito", "RNA", "DNA", "ER"),
        network.embed_dim,
        architecture="timm/test_resnet",
        tap="pooled",
        crop_px=32,
        provenance={"classes": json.dumps(CLASSES)},
    )
    path = tmp_path_factory.mktemp("model") / "mine.safetensors"
    save_model(path, card, weights)
    return path, weights


@pytest.mark.parametrize("backbone", ["efficientnet_b0", "test_resnet"])
def test_chance_is_the_seeds(backbone):
    one, other = (start(backbone=backbone) for _ in range(2))
    assert one[1] == other[1] == "random, seed 4"
    for name, value in weights_of(one[0]).items():
        assert np.array_equal(value, weights_of(other[0])[name]), name


def test_efficientnet_begins_as_keras_does():
    network, _ = start(backbone="efficientnet_b0")
    head = network.net.conv_head.weight
    # Variance 2 / fan out; PyTorch's and timm's own are others.
    assert head.var().item() == pytest.approx(2 / 1280, rel=0.02)
    assert network.net.classifier.bias.abs().max() == 0


def test_imagenet_weights_come_from_a_file_where_there_is_no_connection(tmp_path):
    rgb = timm.create_model("tf_efficientnet_b0").state_dict()
    save_file(rgb, tmp_path / "model.safetensors")
    network, told = start(
        backbone="efficientnet_b0",
        initialization="imagenet",
        imagenet_file=str(tmp_path / "model.safetensors"),
    )
    assert told == "ImageNet, tf_efficientnet_b0.aa_in1k"
    assert torch.equal(network.net.conv_head.weight, rgb["conv_head.weight"])
    assert network.net.classifier.weight.shape == (2, 1280)


def test_a_model_is_gone_on_from_channel_by_channel(model):
    path, theirs = model
    network, told = start(initialization=str(path))
    mine = weights_of(network)
    assert told.startswith("the model mine, sha256 ")
    assert np.array_equal(mine["conv1.0.weight"], theirs["conv1.0.weight"][:, [2, 3, 0]])
    for name in set(theirs) - {"conv1.0.weight"}:
        assert np.array_equal(mine[name], theirs[name]), name


def test_other_classes_get_another_classifier(model):
    path, theirs = model
    config = NetworkConfig(backbone="test_resnet", initialization=str(path))
    network, _ = make_network(config, ("DNA", "ER"), 32, ("DMSO", "colchicine"), 4)
    mine = weights_of(network)
    assert not np.array_equal(mine["fc.weight"], theirs["fc.weight"])
    assert np.array_equal(mine["layer1.0.conv1.weight"], theirs["layer1.0.conv1.weight"])


def test_a_model_that_stops_early_is_gone_on_from():
    network, told = make_network(
        NetworkConfig(initialization="untrained-efficientnet-b0"), ("DNA", "RNA"), 32, CLASSES, 4
    )
    assert "untrained-efficientnet-b0" in told
    assert network.net.conv_stem.weight.shape == (32, 2, 3, 3)


def test_a_channel_it_has_not_seen_is_named(model):
    config = NetworkConfig(backbone="test_resnet", initialization=str(model[0]))
    with pytest.raises(TrainingError, match="has not seen Actin; say in data"):
        make_network(config, ("DNA", "Actin"), 32, CLASSES, 4)


def test_a_model_of_another_network_is_refused(model):
    with pytest.raises(WeightsError, match="mine is a timm/test_resnet, and the network to be"):
        start(backbone="efficientnet_b0", initialization=str(model[0]))
