"""Networks of timm as models: built from a card, run by PyTorch, refused where they do not fit."""

import dataclasses

import numpy as np
import pytest
import timm
import torch

from cpcnn_core import load_model
from cpcnn_core.embedding.embedder import Embedder
from cpcnn_core.errors import DependencyError, WeightsError
from cpcnn_core.models.card import ModelCard
from cpcnn_core.models.network_builder import build_network
from cpcnn_core.models.timm_network import TimmNetwork, create_backbone
from cpcnn_core.models.weights import save_model

CHANNELS = ("DNA", "ER", "AGP", "Mito")
NAMES = ["test_resnet", "test_vit"]


def model_of(backbone):
    """A card, weights as training leaves them (classifier included), and timm's own network."""
    torch.manual_seed(0)
    size = {"img_size": 32} if backbone == "test_vit" else {}
    network = timm.create_model(backbone, in_chans=4, num_classes=3, **size).eval()
    state = network.state_dict()
    weights = {k: v.numpy() for k, v in state.items() if v.is_floating_point()}
    card = ModelCard(
        "mine",
        "An example.",
        CHANNELS,
        network.head_hidden_size,
        architecture=f"timm/{backbone}",
        tap="pooled",
        crop_px=32,
    )
    network.reset_classifier(0)
    return card, weights, network


@pytest.fixture(scope="module")
def crops():
    return np.random.default_rng(0).random((5, 4, 32, 32), np.float32)


@pytest.mark.parametrize("backbone", NAMES)
def test_features_are_timms_own(tmp_path, backbone, crops):
    card, weights, network = model_of(backbone)
    save_model(tmp_path / "mine.safetensors", card, weights)
    model = load_model(tmp_path / "mine.safetensors", device="cpu")
    with torch.inference_mode():
        expected = network(torch.from_numpy(crops)).numpy()
    assert model.card.architecture == f"timm/{backbone}"
    assert np.abs(model.embed(crops) - expected).max() <= 1e-5


def test_pytorch_runs_them_without_a_word(crops):
    card, weights, _ = model_of("test_resnet")
    # Warnings are errors here.
    assert Embedder(card, weights, device="cpu").engine == "torch"
    with pytest.raises(DependencyError, match=r"runs EfficientNet-B0 only.* use the engine torch"):
        Embedder(card, weights, device="cpu", engine="litert")


def test_making_one_leaves_the_callers_random_numbers_alone():
    torch.manual_seed(3)
    expected = torch.rand(4).tolist()
    torch.manual_seed(3)
    TimmNetwork("test_resnet", 4, 32)
    assert torch.rand(4).tolist() == expected


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"architecture": "timm/test_resmet"}, "no network 'test_resmet'; did you mean"),
        ({"architecture": "keras/x"}, r"this cpcnn builds efficientnet_b0, .* and timm/"),
        ({"tap": "pool5"}, "asks for the layer pool5, this cpcnn knows pooled"),
        ({"embed_dim": 7}, "promises 7 features, pooled gives 96"),
        ({"channels": ("DNA",)}, r"expected conv1.0.weight of shape \(16, 1, 3, 3\), got"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(changes, said):
    card, weights, _ = model_of("test_resnet")
    with pytest.raises(WeightsError, match=said):
        build_network(dataclasses.replace(card, **changes), weights)


@pytest.mark.parametrize("backbone", ["test_vit", "xcit_nano_12_p8_224"])
def test_crops_that_a_network_cannot_take_are_named(backbone):
    with pytest.raises(WeightsError, match=f"{backbone} cannot take crops of 4 x 50 x 50") as error:
        create_backbone(backbone, 4, 3, 50)
    assert "\n" not in str(error.value)


def test_options_reach_timm():
    tokens = TimmNetwork("test_vit", 4, 32, {"global_pool": "token"}).eval()
    means = TimmNetwork("test_vit", 4, 32, {"global_pool": "avg", "fc_norm": False}).eval()
    shapes = tokens.weight_shapes()
    assert shapes == means.weight_shapes()
    rng = np.random.default_rng(1)
    weights = {name: rng.standard_normal(shape).astype("f4") for name, shape in shapes.items()}
    crops = torch.rand(2, 4, 32, 32)
    for network in (tokens, means):
        network.load_weights(weights)
    with torch.inference_mode():
        after = tokens.net.forward_features(crops)
        assert torch.equal(tokens(crops), after[:, 0])
        assert (means(crops) - after[:, 1:].mean(1)).abs().max() <= 1e-5


def test_options_that_a_network_does_not_have_are_named():
    with pytest.raises(WeightsError, match=r"32 x 32 with \{'colour': 'red'\} \(.*'colour'"):
        TimmNetwork("test_resnet", 4, 32, {"colour": "red"})
