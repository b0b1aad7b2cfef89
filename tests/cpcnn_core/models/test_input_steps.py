"""Crops to network: every card's preparation as its authors say, and what a channel alone gives."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn

from cpcnn_core.errors import WeightsError
from cpcnn_core.models.card import ModelCard
from cpcnn_core.models.network_builder import WithInput
from cpcnn_core.models.registry import known_cards
from cpcnn_core.models.timm_network import TimmNetwork

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CELLPAINTSSL_MEAN = (0.12528631, 0.17596765, 0.14736995, 0.13445823, 0.08349566)
CELLPAINTSSL_STD = (0.12594905, 0.15605405, 0.16031352, 0.15751939, 0.15773378)


class Means(nn.Module):
    """Take a network's place: the means of what it sees, channel by channel, and their squares."""

    tap = "pooled"
    embed_dim = 2

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, crops):
        self.seen.append(crops)
        mean = crops.float().mean((1, 2, 3))
        return torch.stack((mean, mean**2), dim=1)


def card_of(mode, **changes):
    dim = 6 if mode in ("bag", "rgb") else 2
    return ModelCard("x", "An example.", ("A", "B", "C"), dim, channel_mode=mode, **changes)


@pytest.fixture(scope="module")
def crops():
    return torch.rand((4, 3, 24, 24), generator=torch.Generator().manual_seed(2))


def resized(image, px, kernel):
    """An image made larger: for every place the weighted mean of the pixels around it."""
    for _ in range(2):
        size = len(image)
        at = (np.arange(px) + 0.5) * size / px - 0.5
        weights = kernel(np.abs(at[:, None] - np.arange(size)))
        image = (weights / weights.sum(1, keepdims=True) @ image).T
    return image


def triangle(x):
    return np.maximum(0, 1 - x)


def keys(x):
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def natural_picture(crop, kernel):
    """DINOv2, DINOv3: each channel as a grey picture of 224 px, ImageNet's mean, deviation."""
    pictures = []
    for channel in crop:
        grey = resized(channel, 224, kernel)
        colours = zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)
        pictures.append([(grey - mean) / std for mean, std in colours])
    return pictures


def morphem(crop):
    """Each channel, 0 to 255: noise of its place, 200 to 255, for every 255; z-score; 224 px."""
    seen, px = [], crop.shape[-1]
    drawn = torch.rand((px, px), generator=torch.Generator().manual_seed(0)).tolist()
    for channel in crop.tolist():
        noisy = [
            200 + 55 * drawn[row][column] if value == 1 else 255 * value
            for row, values in enumerate(channel)
            for column, value in enumerate(values)
        ]
        mean = math.fsum(noisy) / len(noisy)
        variance = math.fsum((value - mean) ** 2 for value in noisy) / len(noisy)
        z = [(value - mean) / math.sqrt(variance + 1e-7) for value in noisy]
        seen.append([resized(np.reshape(z, (px, px)), 224, triangle)])
    return seen


def subcell(crop):
    """All channels 3.74 times larger, then each from 0 to 1."""
    larger = [resized(channel, int(128 * 3.74), triangle) for channel in crop]
    return [[(c - c.min()) / (c.max() - c.min() + 1e-6) for c in larger]]


def open_phenom(crop):
    """Each channel's z-score as of an instance norm."""
    return [[(c - c.mean()) / np.sqrt(c.var() + 1e-5) for c in crop]]


def cellpaintssl(crop):
    """Fixed mean and deviation of each channel."""
    numbers = zip(crop, CELLPAINTSSL_MEAN, CELLPAINTSSL_STD, strict=True)
    return [[(channel - mean) / std for channel, mean, std in numbers]]


def unidino(crop):
    """Each channel as it is."""
    return [[channel] for channel in crop]


AUTHORS = {
    "dinov2-vits14": (128, lambda crop: natural_picture(crop, keys)),
    "dinov2-vitb14": (128, lambda crop: natural_picture(crop, keys)),
    "dinov3-vits16": (128, lambda crop: natural_picture(crop, triangle)),
    "dinov3-vitb16": (128, lambda crop: natural_picture(crop, triangle)),
    "morphem": (128, morphem),
    "subcell-mae": (128, subcell),
    "subcell-vit": (128, subcell),
    "openphenom": (256, open_phenom),
    "cellpaintssl-dino": (224, cellpaintssl),
    "unidino": (224, unidino),
}


@pytest.mark.parametrize("name", AUTHORS)
def test_what_the_network_sees_is_what_its_authors_say(name):
    card = known_cards()[name]
    px, authors = AUTHORS[name]
    crops = np.random.default_rng(4).random((2, 5, px, px)).astype(np.float32)
    # As crops are: of every channel the brightest pixel is 1; of some many are.
    crops /= crops.max((2, 3), keepdims=True)
    crops[1, :3, 5:25, 30:70] = 1
    found = WithInput(Means(), card).prepare(torch.from_numpy(crops)).numpy()
    expected = np.array([seen for crop in crops.astype(float) for seen in authors(crop)])
    assert card.crop_px == px
    assert found.shape == expected.shape
    # Of what is some units large, single precision rounds more.
    assert np.abs(found - expected).max() <= 1e-6 * max(1, np.abs(expected).max())


@pytest.mark.parametrize("mode", ["bag", "rgb"])
def test_channels_that_go_alone_lie_side_by_side(crops, mode):
    network = Means()
    found = WithInput(network, card_of(mode))(crops)
    expected = [
        [m for channel in crop for m in (channel.mean(), channel.mean() ** 2)] for crop in crops
    ]
    assert found.shape == (4, 6)
    assert np.abs(found.numpy() - np.array(expected)).max() <= 1e-6
    assert network.seen[0].shape == (12, 1 if mode == "bag" else 3, 24, 24)


def test_a_channel_alone_in_a_network_of_timm_is_that_channel_of_the_bag(crops):
    network = TimmNetwork("test_resnet", 1, 32).eval()
    card = card_of("bag", input_px=32, standardizer="per-channel", architecture="timm/test_resnet")
    model = WithInput(network, dataclasses.replace(card, embed_dim=288)).eval()
    with torch.inference_mode():
        found = model(crops)
        alone = torch.cat([network(model.prepare(crops[:, c : c + 1])) for c in range(3)], dim=1)
    assert found.shape == (4, model.embed_dim) == (4, 288)
    assert (found - alone).abs().max() <= 1e-5


@pytest.mark.parametrize("mode", ["fixed", "any"])
def test_channels_that_go_together_stay_together(crops, mode):
    network = Means()
    model = WithInput(network, card_of(mode))
    assert model(crops).shape == (4, model.embed_dim) == (4, 2)
    assert torch.equal(network.seen[0], crops)


def test_range_then_size_then_standardizing(crops):
    card = card_of(
        "fixed", input_range=(-1, 3), input_px=30, standardizer="mean-std", mean=(0.5,), std=(2,)
    )
    larger = np.array([[resized(c, 30, triangle) for c in crop] for crop in crops.double().numpy()])
    expected = (larger * 4 - 1 - 0.5) / 2
    assert np.abs(WithInput(Means(), card).prepare(crops).numpy() - expected).max() <= 1e-6


def test_authors_who_standardize_first_have_it_so(crops):
    card = card_of("fixed", input_range=(0, 255), input_px=12, standardizer="saturation-noise")
    seen = WithInput(Means(), card).prepare(crops)
    # A z-score of the small image would have deviation 1; averaging after it makes it smaller.
    assert seen.std((2, 3)).max() < 0.8
    last = dataclasses.replace(card, standardizer="per-channel")
    assert (WithInput(Means(), last).prepare(crops).std((2, 3)) - 1).abs().max() < 0.01


def test_preparing_is_single_precision_for_networks_of_half(crops):
    card = card_of("fixed", standardizer="mean-std", mean=(0.5,), std=(2,))
    network = Means()
    WithInput(network, card)(crops.bfloat16())
    exact = (crops.bfloat16().float() - 0.5) / 2
    assert torch.equal(network.seen[0], exact.bfloat16())


def test_the_network_is_reached_through_it():
    network = TimmNetwork("test_resnet", 1, 32)
    model = WithInput(network, card_of("bag", input_px=32))
    assert model.tap == "pooled"
    shapes = model.weight_shapes()
    assert shapes == network.weight_shapes()
    rng = np.random.default_rng(0)
    weights = {name: rng.random(shape, np.float32) for name, shape in shapes.items()}
    model.load_weights(weights)
    assert np.array_equal(network.net.conv1[0].weight.detach().numpy(), weights["conv1.0.weight"])


def test_an_unknown_standardizer_is_refused():
    with pytest.raises(WeightsError, match=r"the standardizer zscore, this cpcnn knows none, mean"):
        WithInput(Means(), card_of("fixed", standardizer="zscore"))


def layer_norm(x, w, name, epsilon):
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + epsilon) * w[f"{name}.weight"] + w[f"{name}.bias"]


def gelu(x):
    return torch.nn.functional.gelu(torch.from_numpy(x)).numpy()


def turned(x, side):
    """DINOv3's rotary positions: queries or keys of patches (patches, 64), turned by place."""
    quarter = x.shape[1] // 4
    turned = np.empty_like(x)
    for patch in range(side * side):
        row, column = divmod(patch, side)
        places = [2 * (place + 0.5) / side - 1 for place in (row, column)]
        angles = [2 * math.pi * p / 100 ** (k / quarter) for p in places for k in range(quarter)]
        cos, sin = np.cos(angles), np.sin(angles)
        first, second = np.split(x[patch], 2)
        turned[patch] = np.concatenate((first * cos - second * sin, second * cos + first * sin))
    return turned


def slow_vit(weights, crop, heads, patch_px, epsilon, rotary=False):
    """The class token of a vision transformer, one crop (c, h, w), in double precision."""
    w = {name: value.astype(float) for name, value in weights.items()}
    width = w["cls_token"].shape[-1]
    side = crop.shape[-1] // patch_px
    kernel = w["patch_embed.proj.weight"].reshape(width, -1)
    patches = []
    for row in range(side):
        for column in range(side):
            rows = slice(row * patch_px, (row + 1) * patch_px)
            columns = slice(column * patch_px, (column + 1) * patch_px)
            square = crop[:, rows, columns].astype(float).reshape(-1)
            patches.append(kernel @ square + w["patch_embed.proj.bias"])
    first = [w["cls_token"][0], *([w["reg_token"][0]] if rotary else [])]
    x = np.concatenate([*first, patches])
    if not rotary:
        x = x + w["pos_embed"][0]
    before = len(x) - side * side
    depth = sum(name.endswith("norm1.bias") for name in w)
    ones = np.ones(width)
    for i in range(depth):
        b = f"blocks.{i}"
        y = layer_norm(x, w, f"{b}.norm1", epsilon) @ w[f"{b}.attn.qkv.weight"].T
        q, k, v = np.split(y + w.get(f"{b}.attn.qkv.bias", 0), 3, axis=1)
        out, size = np.empty_like(x), width // heads
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            query, key = q[:, part].copy(), k[:, part].copy()
            if rotary:
                query[before:] = turned(query[before:], side)
                key[before:] = turned(key[before:], side)
            scores = query @ key.T / math.sqrt(size)
            scores = np.exp(scores - scores.max(1, keepdims=True))
            out[:, part] = scores / scores.sum(1, keepdims=True) @ v[:, part]
        out = out @ w[f"{b}.attn.proj.weight"].T + w[f"{b}.attn.proj.bias"]
        x = x + w.get(f"{b}.gamma_1", w.get(f"{b}.ls1.gamma", ones)) * out
        y = layer_norm(x, w, f"{b}.norm2", epsilon) @ w[f"{b}.mlp.fc1.weight"].T
        y = gelu(y + w[f"{b}.mlp.fc1.bias"]) @ w[f"{b}.mlp.fc2.weight"].T + w[f"{b}.mlp.fc2.bias"]
        x = x + w.get(f"{b}.gamma_2", w.get(f"{b}.ls2.gamma", ones)) * y
    return layer_norm(x[:1], w, "norm", epsilon)[0]


def seeded(shapes):
    """Weights of a size that keeps every layer's values around 1."""
    rng = np.random.default_rng(5)
    weights = {}
    for name, shape in shapes.items():
        value = rng.standard_normal(shape)
        if len(shape) > 1 and name not in ("cls_token", "reg_token", "pos_embed"):
            value /= math.sqrt(math.prod(shape[1:]))
        elif "norm" in name and name.endswith("weight"):
            value = 1 + 0.1 * value
        elif len(shape) == 1:
            value *= 0.3
        weights[name] = value.astype(np.float32)
    return weights


@pytest.mark.parametrize(
    ("name", "patch_px", "epsilon"),
    [("dinov2-vits14", 14, 1e-6), ("dinov3-vits16", 16, 1e-5), ("cellpaintssl-dino", 16, 1e-6)],
)
def test_timms_networks_are_the_authors_at_their_real_size(name, patch_px, epsilon):
    card = known_cards()[name]
    channels = 3 if card.channel_mode == "rgb" else 5
    backbone = card.architecture.removeprefix("timm/")
    network = TimmNetwork(backbone, channels, 224, card.architecture_options).eval()
    weights = seeded(network.weight_shapes())
    network.load_weights(weights)
    crop = np.random.default_rng(6).standard_normal((channels, 224, 224)).astype(np.float32)
    with torch.inference_mode():
        found = network(torch.from_numpy(crop[None]))[0].numpy()
    expected = slow_vit(weights, crop, 6, patch_px, epsilon, rotary="dinov3" in name)
    assert np.abs(found - expected).max() <= 1e-5
