"""Authors' checkpoints: their wrappers, names and leftovers; nothing in a file is run."""

import argparse
import math
import sys
import zipfile

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from cpcnn_core.errors import ModelNotFoundError, WeightsError
from cpcnn_core.models.conversion import convert_checkpoint, read_tensors, resample_positions
from cpcnn_core.models.open_phenom import OpenPhenomNetwork, sine_positions
from cpcnn_core.models.timm_network import TimmNetwork

DINO = "timm/vit_small_patch16_224"
DINOV3 = "timm/vit_small_patch16_dinov3"
SHAPES = {
    "cls_token": (1, 1, 4),
    "pos_embed": (1, 5, 4),
    "patch_embed.proj.weight": (4, 1, 2, 2),
    "blocks.0.attn.qkv.weight": (12, 4),
    "blocks.0.attn.qkv.bias": (12,),
    "norm.bias": (4,),
}
DINOV3_SHAPES = {
    "cls_token": (1, 1, 4),
    "reg_token": (1, 2, 4),
    "patch_embed.proj.weight": (4, 3, 2, 2),
    "patch_embed.proj.bias": (4,),
    "blocks.0.norm1.weight": (4,),
    "blocks.0.attn.qkv.weight": (12, 4),
    "blocks.0.attn.proj.weight": (4, 4),
    "blocks.0.attn.proj.bias": (4,),
    "blocks.0.gamma_1": (4,),
    "blocks.0.mlp.fc1.weight": (16, 4),
    "blocks.0.mlp.fc2.weight": (4, 16),
    "blocks.0.gamma_2": (4,),
    "norm.weight": (4,),
}


def tensors_of(shapes):
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def same(found, tensors):
    return found.keys() == tensors.keys() and all(
        np.array_equal(found[name], value.numpy()) for name, value in tensors.items()
    )


def test_a_training_state_of_dino_gives_its_teachers_backbone(tmp_path):
    tensors = tensors_of(SHAPES)
    teacher = {f"module.backbone.{name}": value for name, value in tensors.items()}
    teacher |= {
        "module.head.mlp.0.weight": torch.zeros(2),
        "module.head.last_layer.weight_g": torch.zeros(1),
    }
    student = {name: torch.zeros_like(value) for name, value in teacher.items()}
    state = {
        "student": student,
        "teacher": teacher,
        "epoch": 200,
        "args": argparse.Namespace(arch="vit_small", lr=0.004),
    }
    torch.save(state, tmp_path / "checkpoint0200.pth")
    assert same(convert_checkpoint(tmp_path / "checkpoint0200.pth", DINO, SHAPES), tensors)


def test_a_file_of_timm_passes_as_it_is(tmp_path):
    tensors = tensors_of(SHAPES)
    save_file(tensors, tmp_path / "model.safetensors")
    assert same(convert_checkpoint(tmp_path / "model.safetensors", DINO, SHAPES), tensors)


@pytest.mark.parametrize(
    "backbone", ["test_resnet", "test_efficientnet", "test_convnext", "test_vit", "test_mambaout"]
)
def test_a_file_with_a_classifier_gives_what_timm_feeds_it(tmp_path, backbone):
    torch.manual_seed(0)
    theirs = timm.create_model(backbone, num_classes=10).eval()
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    ours = TimmNetwork(backbone, 3, 160).eval()
    ours.load_weights(
        convert_checkpoint(tmp_path / "model.safetensors", f"timm/{backbone}", ours.weight_shapes())
    )
    crops = torch.rand(2, 3, 160, 160)
    with torch.inference_mode():
        expected = theirs.forward_head(theirs.forward_features(crops), pre_logits=True)
        np.testing.assert_allclose(ours(crops), expected, rtol=0, atol=1e-6)


def test_half_precision_becomes_single(tmp_path):
    tensors = {name: value.bfloat16() for name, value in tensors_of(SHAPES).items()}
    save_file(tensors, tmp_path / "model.safetensors")
    found = convert_checkpoint(tmp_path / "model.safetensors", DINO, SHAPES)
    assert {value.dtype for value in found.values()} == {np.dtype(np.float32)}
    assert same(found, {name: value.float() for name, value in tensors.items()})


def test_positions_of_dinov2_are_fitted_to_the_grid(tmp_path):
    tensors = tensors_of(SHAPES | {"pos_embed": (1, 1 + 37 * 37, 4), "mask_token": (1, 4)})
    torch.save(tensors, tmp_path / "dinov2.pth")
    shapes = SHAPES | {"pos_embed": (1, 257, 4)}
    found = convert_checkpoint(tmp_path / "dinov2.pth", "timm/vit_small_patch14_dinov2", shapes)
    assert found["pos_embed"].shape == (1, 257, 4)
    assert np.array_equal(found["pos_embed"][:, 0], tensors["pos_embed"][:, 0].numpy())
    places = tensors["pos_embed"][0, 1:].reshape(37, 37, 4).double().numpy()

    def cubic(x):
        x = abs(x)
        if x <= 1:
            return 1.25 * x**3 - 2.25 * x**2 + 1
        return -0.75 * x**3 + 3.75 * x**2 - 6 * x + 3 if x < 2 else 0.0

    def at(values, i):
        # DINOv2 steps by 37 / 16.1, a little less than the grids' ratio.
        center = (i + 0.5) * 37 / 16.1 - 0.5
        first = math.floor(center) - 1
        near = range(first, first + 4)
        return sum(cubic(center - j) * values[min(max(j, 0), 36)] for j in near)

    for row, column in [(0, 0), (0, 15), (7, 3), (15, 15)]:
        expected = at([at(line, column) for line in places], row)
        assert np.abs(found["pos_embed"][0, 1 + 16 * row + column] - expected).max() <= 1e-5


def test_as_many_positions_are_left_alone():
    positions = torch.rand(1, 17, 3)
    assert resample_positions(positions, 17) is positions


def dinov3_of(maker):
    """The same tensors in the names of DINOv3's repository, of Hugging Face and of timm."""
    tensors = tensors_of(DINOV3_SHAPES)
    if maker == "timm":
        return tensors, tensors
    query, key, value = tensors["blocks.0.attn.qkv.weight"].chunk(3)
    own = {
        "reg_token": "storage_tokens",
        "blocks.0.gamma_1": "blocks.0.ls1.gamma",
        "blocks.0.gamma_2": "blocks.0.ls2.gamma",
    }
    if maker == "meta":
        theirs = {own.get(name, name): tensor for name, tensor in tensors.items()}
        bias = torch.zeros(12)
        bias[4:8] = 3  # masked in use
        theirs |= {
            "mask_token": torch.zeros(1, 4),
            "rope_embed.periods": torch.zeros(16),
            "blocks.0.attn.qkv.bias": bias,
            "blocks.0.attn.qkv.bias_mask": torch.ones(12),
        }
        return tensors, theirs
    names = {
        "cls_token": "embeddings.cls_token",
        "reg_token": "embeddings.register_tokens",
        "patch_embed.proj.weight": "embeddings.patch_embeddings.weight",
        "patch_embed.proj.bias": "embeddings.patch_embeddings.bias",
        "blocks.0.norm1.weight": "layer.0.norm1.weight",
        "blocks.0.attn.proj.weight": "layer.0.attention.o_proj.weight",
        "blocks.0.attn.proj.bias": "layer.0.attention.o_proj.bias",
        "blocks.0.gamma_1": "layer.0.layer_scale1.lambda1",
        "blocks.0.mlp.fc1.weight": "layer.0.mlp.up_proj.weight",
        "blocks.0.mlp.fc2.weight": "layer.0.mlp.down_proj.weight",
        "blocks.0.gamma_2": "layer.0.layer_scale2.lambda1",
        "norm.weight": "norm.weight",
    }
    theirs = {names[name]: t for name, t in tensors.items() if name in names}
    theirs |= {
        "embeddings.mask_token": torch.zeros(1, 1, 4),
        "layer.0.attention.q_proj.weight": query.clone(),
        "layer.0.attention.q_proj.bias": torch.zeros(4),
        "layer.0.attention.k_proj.weight": key.clone(),
        "layer.0.attention.v_proj.weight": value.clone(),
        "layer.0.attention.v_proj.bias": torch.zeros(4),
    }
    return tensors, theirs


@pytest.mark.parametrize("maker", ["meta", "hugging face", "timm"])
def test_dinov3_by_any_of_its_names(tmp_path, maker):
    tensors, theirs = dinov3_of(maker)
    save_file(theirs, tmp_path / "model.safetensors")
    found = convert_checkpoint(tmp_path / "model.safetensors", DINOV3, DINOV3_SHAPES)
    assert same(found, tensors)


def test_biases_that_would_be_lost_are_refused(tmp_path):
    _, theirs = dinov3_of("hugging face")
    theirs["layer.0.attention.v_proj.bias"][2] = 1e-3
    save_file(theirs, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=r"expected blocks.0.attn.qkv.bias to be all zero"):
        convert_checkpoint(tmp_path / "model.safetensors", DINOV3, DINOV3_SHAPES)


def test_positions_of_another_open_phenom_are_refused(tmp_path):
    net = OpenPhenomNetwork(32, 16, 1, 2)
    table = torch.cat((torch.zeros(1, 16), sine_positions(2, 16).repeat(11, 1)))[None]
    save_file({"encoder.vit_backbone.pos_embed": table + 0.01}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=r"expected the positions of OpenPhenom.* 11 channels"):
        convert_checkpoint(tmp_path / "model.safetensors", "open-phenom", net.weight_shapes())
    save_file({"encoder.vit_backbone.pos_embed": table}, tmp_path / "model.safetensors")
    with pytest.raises(
        WeightsError, match=r"does not hold the network open-phenom: .*cls_token.* missing"
    ):
        convert_checkpoint(tmp_path / "model.safetensors", "open-phenom", net.weight_shapes())


def test_a_part_of_subcells_attention_that_is_missing_is_named(tmp_path):
    layer = "encoder.encoder.layer.0.attention.attention"
    tensors = {f"{layer}.{part}.weight": torch.zeros(4, 4) for part in ("query", "value")}
    torch.save(tensors, tmp_path / "subcell.pth")
    said = r"blocks.0.attn.qkv.weight missing; blocks.0.attn.q.weight, blocks.0.attn.v.weight not"
    with pytest.raises(WeightsError, match=said):
        convert_checkpoint(
            tmp_path / "subcell.pth", "subcell", {"blocks.0.attn.qkv.weight": (12, 4)}
        )


def test_missing_and_unknown_tensors_are_named(tmp_path):
    tensors = tensors_of(SHAPES)
    tensors["layer1.weight"] = tensors.pop("norm.bias")
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=r"norm.bias missing; layer1.weight not known; choose"):
        convert_checkpoint(tmp_path / "model.safetensors", DINO, SHAPES)


def test_a_long_list_of_names_is_cut(tmp_path):
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    said = r"cls_token, pos_embed, patch_embed.proj.weight and 3 more missing; x not known"
    with pytest.raises(WeightsError, match=said):
        convert_checkpoint(tmp_path / "model.safetensors", DINO, SHAPES)


def test_another_shape_is_named(tmp_path):
    save_file(tensors_of(SHAPES | {"norm.bias": (5,)}), tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=r"expected norm.bias of shape \(4,\), got \(5,\)"):
        convert_checkpoint(tmp_path / "model.safetensors", DINO, SHAPES)


class Runs:
    """Something that a file of PyTorch may hold: it is run when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_code_in_a_file_is_not_run(tmp_path):
    torch.save({"x": torch.zeros(1), "y": Runs(tmp_path / "was_here")}, tmp_path / "bad.pth")
    with pytest.raises(WeightsError, match=r"holds tensors only .* cpcnn runs no code from a file"):
        read_tensors(tmp_path / "bad.pth")
    assert not (tmp_path / "was_here").exists()


@pytest.mark.parametrize("name", ["broken.pth", "broken.safetensors"])
def test_broken_files_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"not a checkpoint at all")
    with pytest.raises(WeightsError, match=r"broken\.(pth|safetensors) is not a"):
        read_tensors(tmp_path / name)


@pytest.mark.parametrize("state", [{}, {"epoch": 3}, [torch.zeros(2)]])
def test_a_file_without_named_tensors_is_refused(tmp_path, state):
    torch.save(state, tmp_path / "empty.pth")
    with pytest.raises(WeightsError, match="holds no named tensors"):
        read_tensors(tmp_path / "empty.pth")


def test_missing_files_and_unknown_architectures(tmp_path):
    with pytest.raises(ModelNotFoundError, match="there is no file"):
        convert_checkpoint(tmp_path / "nowhere.pth", DINO, SHAPES)
    with pytest.raises(WeightsError, match=r"no authors' checkpoint is known for efficientnet_b0"):
        convert_checkpoint(tmp_path / "nowhere.pth", "efficientnet_b0", SHAPES)


def test_tensors_larger_than_their_file_are_refused(tmp_path):
    torch.save({"x": torch.zeros(1).expand(2**30, 4)}, tmp_path / "wide.pth")
    with pytest.raises(WeightsError, match=r"wide\.pth cannot be read: its tensors would take"):
        read_tensors(tmp_path / "wide.pth")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps to such limits")
def test_a_part_that_unpacks_to_more_than_the_file_can_need_is_not_unpacked(tmp_path):
    torch.save({"x": torch.zeros(16)}, tmp_path / "whole.pth")
    with (
        zipfile.ZipFile(tmp_path / "whole.pth") as whole,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as bomb,
    ):
        for name in whole.namelist():
            with bomb.open(name, "w") as member:
                member.write(whole.read(name))
                for _ in range(120 if name.endswith("data/0") else 0):
                    member.write(bytes(2**24))
    assert (tmp_path / "bomb.pth").stat().st_size < 2**24
    with pytest.raises(WeightsError, match=r"bomb\.pth is not a file of PyTorch .* memory"):
        read_tensors(tmp_path / "bomb.pth")
