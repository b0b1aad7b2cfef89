"""SubCell against the same network written out in double precision, from its authors' names."""

import math

import numpy as np
import pytest
import torch

from cpcnn_core.errors import WeightsError
from cpcnn_core.models.conversion import convert_checkpoint
from cpcnn_core.models.subcell import SubCellNetwork

CHANNELS = ("DNA", "RNA", "ER", "AGP", "Mito")
PASSES = (("ER", "DNA", "Mito"), ("ER", "DNA", "AGP"), ("ER", "DNA", "RNA"))
SMALL = {"native_px": 64, "width": 24, "depth": 2, "heads": 3, "hidden": 8}


def authors_checkpoint(native_px=448, width=768, depth=12, heads=12, hidden=512, views=2):
    """Seeded tensors with the names and shapes of the authors' file."""
    del heads
    rng = np.random.default_rng(3)
    tokens = 1 + (native_px // 16) ** 2
    linear = {"pool_model.attention": (views, hidden)}
    linear |= {f"pool_model.attention_{part}.1": (hidden, width) for part in "uv"}
    norms = ["encoder.layernorm"]
    for i in range(depth):
        layer = f"encoder.encoder.layer.{i}"
        for part in ("query", "key", "value"):
            linear[f"{layer}.attention.attention.{part}"] = (width, width)
        linear[f"{layer}.attention.output.dense"] = (width, width)
        linear[f"{layer}.intermediate.dense"] = (4 * width, width)
        linear[f"{layer}.output.dense"] = (width, 4 * width)
        norms += [f"{layer}.layernorm_before", f"{layer}.layernorm_after"]
    linear["encoder.embeddings.patch_embeddings.projection"] = (width, 3, 16, 16)
    tensors = {
        "encoder.embeddings.cls_token": rng.standard_normal((1, 1, width)),
        "encoder.embeddings.position_embeddings": rng.standard_normal((1, tokens, width)),
    }
    for name, shape in linear.items():
        tensors[f"{name}.weight"] = rng.standard_normal(shape) / math.sqrt(math.prod(shape[1:]))
        tensors[f"{name}.bias"] = 0.3 * rng.standard_normal(shape[0])
    for name in norms:
        tensors[f"{name}.weight"] = 1 + 0.1 * rng.standard_normal(width)
        tensors[f"{name}.bias"] = 0.1 * rng.standard_normal(width)
    return {name: torch.from_numpy(value).float() for name, value in tensors.items()}


def cubic(x):
    """Keys' cubic with a = -3/4, PyTorch's where nothing is antialiased."""
    x = abs(x)
    if x <= 1:
        return 1.25 * x**3 - 2.25 * x**2 + 1
    return -0.75 * x**3 + 3.75 * x**2 - 6 * x + 3 if x < 2 else 0.0


def between(table, side):
    """Positions (s, s, d) at the centres of another grid; the border repeats outside."""
    for _ in range(2):
        size = len(table)
        rows = []
        for i in range(side):
            at = (i + 0.5) * size / side - 0.5
            first = math.floor(at) - 1
            taps = [(min(max(j, 0), size - 1), cubic(at - j)) for j in range(first, first + 4)]
            rows.append(sum(weight * table[j] for j, weight in taps))
        table = np.array(rows).swapaxes(0, 1)
    return table


def slow_pass(tensors, crop, heads):
    """The channels of one pass (3, h, w) through the authors' network."""
    w = {name: t.double().numpy() for name, t in tensors.items()}

    def linear(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(x, name):
        mean = x.mean(-1, keepdims=True)
        variance = ((x - mean) ** 2).mean(-1, keepdims=True)
        return (x - mean) / np.sqrt(variance + 1e-12) * w[f"{name}.weight"] + w[f"{name}.bias"]

    def gelu(x):
        return torch.nn.functional.gelu(torch.from_numpy(x)).numpy()

    patches = "encoder.embeddings.patch_embeddings.projection"
    width = len(w[f"{patches}.bias"])
    kernel = w[f"{patches}.weight"].reshape(width, -1)
    table = w["encoder.embeddings.position_embeddings"][0]
    native, side = math.isqrt(len(table) - 1), crop.shape[-1] // 16
    places = table[1:].reshape(native, native, width)
    places = places if native == side else between(places, side)
    tokens = [w["encoder.embeddings.cls_token"][0, 0] + table[0]]
    for row in range(side):
        for column in range(side):
            square = crop[:, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
            patch = kernel @ square.astype(float).reshape(-1) + w[f"{patches}.bias"]
            tokens.append(patch + places[row, column])
    x = np.array(tokens)
    depth = sum(name.endswith("layernorm_before.bias") for name in w)
    for i in range(depth):
        layer = f"encoder.encoder.layer.{i}"
        y = norm(x, f"{layer}.layernorm_before")
        q, k, v = (linear(y, f"{layer}.attention.attention.{p}") for p in ("query", "key", "value"))
        out, size = np.empty_like(x), width // heads
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            scores = q[:, part] @ k[:, part].T / math.sqrt(size)
            scores = np.exp(scores - scores.max(1, keepdims=True))
            out[:, part] = scores / scores.sum(1, keepdims=True) @ v[:, part]
        x = x + linear(out, f"{layer}.attention.output.dense")
        y = gelu(linear(norm(x, f"{layer}.layernorm_after"), f"{layer}.intermediate.dense"))
        x = x + linear(y, f"{layer}.output.dense")
    x = norm(x, "encoder.layernorm")
    gate = gelu(linear(x, "pool_model.attention_u.1"))
    scores = linear(np.tanh(linear(x, "pool_model.attention_v.1")) * gate, "pool_model.attention")
    means = []
    for view in scores.T:
        weights = np.exp(view - view.max())
        means.append((weights / weights.sum()) @ x)
    return np.concatenate(means)


def converted(tmp_path, channels, passes, **sizes):
    tensors = authors_checkpoint(**sizes)
    torch.save(tensors, tmp_path / "subcell.pth")
    net = SubCellNetwork(channels, passes, **sizes).eval()
    net.load_weights(convert_checkpoint(tmp_path / "subcell.pth", "subcell", net.weight_shapes()))
    return tensors, net


def test_the_real_size_gives_what_the_written_out_network_gives(tmp_path):
    tensors, net = converted(tmp_path, PASSES[0], PASSES[:1])
    # Fewer patches than the weights have positions for; the last ten rows make no patch.
    crop = np.random.default_rng(1).random((3, 106, 106)).astype(np.float32)
    with torch.inference_mode():
        found = net(torch.from_numpy(crop[None]))[0].numpy()
    expected = slow_pass(tensors, crop, 12)
    assert np.abs(expected).mean() > 0.1
    assert np.abs(found - expected).max() <= 1e-5
    assert sum(math.prod(shape) for shape in net.weight_shapes().values()) == 87_038_722


@pytest.mark.parametrize("px", [64, 70, 96])
def test_passes_take_their_channels_and_lie_side_by_side(tmp_path, px):
    tensors, net = converted(tmp_path, CHANNELS, PASSES, **SMALL)
    crops = np.random.default_rng(1).random((2, 5, px, px)).astype(np.float32)
    with torch.inference_mode():
        found = net(torch.from_numpy(crops)).numpy()
    er, dna = crops[:, 2], crops[:, 0]
    expected = [
        np.concatenate(
            [
                slow_pass(tensors, np.stack((er[i], dna[i], crops[i, stain])), 3)
                for stain in (4, 3, 1)
            ]
        )
        for i in range(2)
    ]
    assert found.shape == (2, net.embed_dim) == (2, 3 * 2 * 24)
    assert np.abs(found - expected).max() <= 1e-5


@pytest.mark.parametrize(
    "passes", [(), (("ER", "DNA"), ("ER", "DNA", "RNA")), (("ER", "DNA", "Actin"),)]
)
def test_passes_that_do_not_fit_are_refused(passes):
    with pytest.raises(WeightsError, match="passes take equally many of the channels DNA, RNA"):
        SubCellNetwork(CHANNELS, passes, **SMALL)


def test_making_one_leaves_the_callers_random_numbers_alone():
    torch.manual_seed(3)
    expected = torch.rand(4).tolist()
    torch.manual_seed(3)
    SubCellNetwork(CHANNELS, PASSES, **SMALL)
    assert torch.rand(4).tolist() == expected
