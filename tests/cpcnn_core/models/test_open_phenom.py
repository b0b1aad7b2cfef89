"""OpenPhenom against the same network written out in double precision, from its authors' names."""

import math

import numpy as np
import pytest
import torch

from cpcnn_core.errors import WeightsError
from cpcnn_core.models.conversion import convert_checkpoint
from cpcnn_core.models.open_phenom import OpenPhenomNetwork, sine_positions

BACKBONE = "encoder.vit_backbone."


def slow_positions(side, width):
    """Sine and cosine of row and column, a number at a time."""
    table = np.zeros((side * side, width))
    quarter = width // 4
    for row in range(side):
        for column in range(side):
            for k in range(quarter):
                frequency = 1 / 10000 ** (k / quarter)
                table[row * side + column, k] = math.sin(row * frequency)
                table[row * side + column, quarter + k] = math.cos(row * frequency)
                table[row * side + column, 2 * quarter + k] = math.sin(column * frequency)
                table[row * side + column, 3 * quarter + k] = math.cos(column * frequency)
    return table


def authors_checkpoint(px, width, depth, heads):
    """Seeded tensors with the names and shapes of the authors' file."""
    rng = np.random.default_rng(7)
    head = width // heads
    shapes = {"cls_token": (1, 1, width), "fc_norm.weight": (width,), "fc_norm.bias": (width,)}
    shapes |= {"patch_embed.proj.weight": (width, 1, 16, 16), "patch_embed.proj.bias": (width,)}
    for i in range(depth):
        shapes |= {
            f"blocks.{i}.mlp_bias": (4 * width,),
            f"blocks.{i}.in_norm.weight": (width,),
            f"blocks.{i}.in_norm.bias": (width,),
            f"blocks.{i}.in_proj.weight": (7 * width, width),
            f"blocks.{i}.q_norm.weight": (head,),
            f"blocks.{i}.q_norm.bias": (head,),
            f"blocks.{i}.k_norm.weight": (head,),
            f"blocks.{i}.k_norm.bias": (head,),
            f"blocks.{i}.attn_out_proj.weight": (width, width),
            f"blocks.{i}.attn_out_proj.bias": (width,),
            f"blocks.{i}.mlp_out_proj.weight": (width, 4 * width),
            f"blocks.{i}.mlp_out_proj.bias": (width,),
            f"blocks.{i}.ls.gamma": (width,),
        }
    tensors = {}
    for name, shape in shapes.items():
        value = rng.standard_normal(shape)
        if len(shape) > 1:
            value /= math.sqrt(math.prod(shape[1:]))
        elif name.endswith(("norm.weight", "gamma")):
            value = 0.5 + 0.1 * value
        tensors[BACKBONE + name] = torch.from_numpy(value).float()
    table = np.tile(slow_positions(px // 16, width), (11, 1))
    table = np.concatenate((np.zeros((1, width)), table))[None]
    tensors[BACKBONE + "pos_embed"] = torch.from_numpy(table).float()
    tensors["decoder.mask_token"] = torch.zeros(1, 1, 4)
    tensors["decoder_pred.weight"] = torch.zeros(4, 4)
    tensors["encoder_decoder_proj.bias"] = torch.zeros(4)
    return tensors


def norm(x, weight, bias):
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-6) * weight + bias


def gelu(x):
    return torch.nn.functional.gelu(torch.from_numpy(x)).numpy()


def slow_features(tensors, crop, heads):
    """One crop (c, h, w) through the authors' encoder, as their version of timm computes it."""
    w = {name.removeprefix(BACKBONE): t.double().numpy() for name, t in tensors.items()}
    width = w["cls_token"].shape[-1]
    kernel = w["patch_embed.proj.weight"].reshape(width, -1)
    tokens = [w["cls_token"][0, 0] + w["pos_embed"][0, 0]]
    for channel in crop.astype(float):
        for row in range(0, channel.shape[0], 16):
            for column in range(0, channel.shape[1], 16):
                patch = channel[row : row + 16, column : column + 16].reshape(-1)
                place = w["pos_embed"][0, len(tokens)]
                tokens.append(kernel @ patch + w["patch_embed.proj.bias"] + place)
    x = np.array(tokens)
    depth = sum(name.endswith("mlp_bias") for name in w)
    for i in range(depth):
        block = {n.removeprefix(f"blocks.{i}."): v for n, v in w.items()}
        y = norm(x, block["in_norm.weight"], block["in_norm.bias"]) @ block["in_proj.weight"].T
        # The zeros for queries, keys and values come first, though the mlp's outputs do.
        y = y + np.concatenate((np.zeros(3 * width), block["mlp_bias"]))
        mlp, q, k, v = np.split(y, [4 * width, 5 * width, 6 * width], axis=1)
        out = np.empty_like(x)
        size = width // heads
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            query = norm(q[:, part], block["q_norm.weight"], block["q_norm.bias"])
            key = norm(k[:, part], block["k_norm.weight"], block["k_norm.bias"])
            scores = query @ key.T / math.sqrt(size)
            scores = np.exp(scores - scores.max(1, keepdims=True))
            out[:, part] = scores / scores.sum(1, keepdims=True) @ v[:, part]
        attention = out @ block["attn_out_proj.weight"].T + block["attn_out_proj.bias"]
        mlp = gelu(mlp) @ block["mlp_out_proj.weight"].T + block["mlp_out_proj.bias"]
        x = x + block["ls.gamma"] * (attention + mlp)
    return x[1:].mean(0)


def converted(tmp_path, px, width, depth, heads):
    tensors = authors_checkpoint(px, width, depth, heads)
    torch.save(tensors, tmp_path / "open_phenom.pth")
    net = OpenPhenomNetwork(px, width, depth, heads).eval()
    shapes = net.weight_shapes()
    net.load_weights(convert_checkpoint(tmp_path / "open_phenom.pth", "open-phenom", shapes))
    return tensors, net


def test_the_real_size_gives_what_the_written_out_network_gives(tmp_path):
    tensors, net = converted(tmp_path, 256, 384, 12, 6)
    crop = np.random.default_rng(1).standard_normal((2, 256, 256)).astype(np.float32)
    with torch.inference_mode():
        found = net(torch.from_numpy(crop[None]))[0].numpy()
    expected = slow_features(tensors, crop, 6)
    assert np.abs(expected).mean() > 0.1
    assert np.abs(found - expected).max() <= 1e-5
    assert sum(math.prod(shape) for shape in net.weight_shapes().values()) == 21_391_104


@pytest.mark.parametrize("channels", [1, 5])
def test_any_number_of_channels(tmp_path, channels):
    tensors, net = converted(tmp_path, 48, 16, 2, 2)
    crops = np.random.default_rng(1).standard_normal((3, channels, 48, 48)).astype(np.float32)
    with torch.inference_mode():
        found = net(torch.from_numpy(crops)).numpy()
    expected = [slow_features(tensors, crop, 2) for crop in crops]
    assert found.shape == (3, net.embed_dim) == (3, 16)
    assert np.abs(found - expected).max() <= 1e-5


def test_positions_are_the_authors():
    assert np.abs(sine_positions(16, 384).numpy() - slow_positions(16, 384)).max() <= 1e-5


def test_a_side_that_is_not_cut_into_patches_is_refused():
    with pytest.raises(WeightsError, match="multiple of 16, got 250; correct the model's card"):
        OpenPhenomNetwork(250, 16, 1, 2)


def test_making_one_leaves_the_callers_random_numbers_alone():
    torch.manual_seed(3)
    expected = torch.rand(4).tolist()
    torch.manual_seed(3)
    OpenPhenomNetwork(32, 16, 1, 2)
    assert torch.rand(4).tolist() == expected
