"""Authors' checkpoints to our weights: their names, their layouts, their leftovers.

A checkpoint is a safetensors file or a file of PyTorch, of which only tensors are read:
nothing in it is ever run. Files of PyTorch are read by another Python with limits, see
`cpcnn_core.io.untrusted_files`.
"""

from __future__ import annotations

import argparse
import math
import pickle
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.nn import functional

from cpcnn_core.errors import ModelNotFoundError, WeightsError, some_of
from cpcnn_core.io.untrusted_files import ReadingError, is_believable, read_elsewhere, refuse_claim
from cpcnn_core.models.card_schema import OPEN_PHENOM, SUBCELL, TIMM_PREFIX
from cpcnn_core.models.open_phenom import sine_positions

if TYPE_CHECKING:
    from cpcnn_core.io.untrusted_files import Allow

# DINO and DINOv2 resample their positions by this much more than the grids' ratio.
GRID_OFFSET = 0.1
# Channels for which OpenPhenom's file holds positions, the same for each.
OPEN_PHENOM_CHANNELS = 11
POSITION_TOLERANCE = 1e-5
# Names in an error; more of them say no more.
NAMES_SHOWN = 3
LITE0 = f"{TIMM_PREFIX}tf_efficientnet_lite0"
# What no features come from: classifiers, heads of DINO's training, counts of batches.
_LEFTOVERS = r"(head|fc|classifier)\.|mask_token$|.*num_batches_tracked$"
_TENSORS = "tensors.safetensors"

Tensors = dict[str, torch.Tensor]
Shapes = Mapping[str, tuple[int, ...]]


def convert_checkpoint(
    file: str | Path, architecture: str, shapes: Shapes
) -> dict[str, np.ndarray]:
    """Read an author's checkpoint as weights of one of our networks.

    Parameters
    ----------
    file : str or Path
        ``*.safetensors``, else a file of PyTorch.
    architecture : str
        As in a model's card.
    shapes : mapping of str to tuple of int
        The ``weight_shapes`` of the network that the weights are for.

    Returns
    -------
    dict of str to ndarray, float32
        All that `shapes` names, in those shapes.

    Raises
    ------
    ModelNotFoundError
        No such file.
    WeightsError
        Not a checkpoint, or weights that are missing, not known or of another shape; it
        names them.

    Examples
    --------
    >>> convert_checkpoint("nowhere.pth", "subcell", {})
    Traceback (most recent call last):
    cpcnn_core.errors.ModelNotFoundError: there is no file nowhere.pth
    """
    file = Path(file)
    tensors = _conversion(architecture)(read_tensors(file), shapes)
    _check(file, architecture, tensors, shapes)
    return {name: tensors[name].float().contiguous().numpy() for name in shapes}


def read_tensors(file: str | Path) -> Tensors:
    """Read the tensors of a checkpoint; of a training state, those of the teacher or model.

    Raises
    ------
    ModelNotFoundError, WeightsError
        As `convert_checkpoint`.

    Examples
    --------
    >>> read_tensors("nowhere.pth")
    Traceback (most recent call last):
    cpcnn_core.errors.ModelNotFoundError: there is no file nowhere.pth
    """
    file = Path(file)
    if not file.is_file():
        raise ModelNotFoundError(f"there is no file {file}")
    tensors = _read_safetensors(file) if file.suffix == ".safetensors" else _read_torch(file)
    if not tensors:
        raise WeightsError(
            f"{file} holds no named tensors; expected the checkpoint that the authors publish"
        )
    return tensors


def read_here(path: Path, folder: Path, allow: Allow) -> None:
    """Read a file of PyTorch as `read_tensors` returns it, and write that to a folder.

    Parameters
    ----------
    path, folder : Path
    allow : callable (int)
        See `cpcnn_core.io.untrusted_files`.
    """
    size = path.stat().st_size
    # PyTorch itself writes them without compression.
    allow(size)
    tensors = _named_tensors(_load(path))
    claimed = sum(value.nbytes for value in tensors.values())
    if not is_believable(claimed, size):
        raise WeightsError(refuse_claim(path, "its tensors", claimed, size))
    allow(claimed)
    # Copies, for those that share their numbers.
    save_file(
        {
            name: value.clone(memory_format=torch.contiguous_format)
            for name, value in tensors.items()
        },
        folder / _TENSORS,
    )


def resample_positions(
    positions: torch.Tensor, count: int, offset: float = GRID_OFFSET
) -> torch.Tensor:
    """Fit a network's positions to another number of patches, as DINO and DINOv2 do.

    Parameters
    ----------
    positions : Tensor of shape (1, 1 + s * s, d)
        Of the class token, then of patches row by row.
    count : int
        Positions wanted, 1 + t * t.
    offset : float
        Patches are taken at steps of ``s / (t + offset)``.

    Returns
    -------
    Tensor of shape (1, count, d)
        Bicubic, not antialiased; as many as before are returned unchanged.

    Examples
    --------
    >>> tuple(resample_positions(torch.zeros(1, 1 + 37 * 37, 8), 1 + 16 * 16).shape)
    (1, 257, 8)
    """
    if positions.shape[1] == count:
        return positions
    side, wanted = math.isqrt(positions.shape[1] - 1), math.isqrt(count - 1)
    patches = positions[:, 1:].float().unflatten(1, (side, side)).permute(0, 3, 1, 2)
    scale = (wanted + offset) / side
    patches = functional.interpolate(patches, scale_factor=(scale, scale), mode="bicubic")
    patches = patches.permute(0, 2, 3, 1).flatten(1, 2)
    return torch.cat((positions[:, :1].float(), patches), dim=1)


def _read_safetensors(file: Path) -> Tensors:
    try:
        return load_file(file)
    except SafetensorError as error:
        raise WeightsError(
            f"{file} is not a complete safetensors file ({error}); download it again"
        ) from error


def _read_torch(file: Path) -> Tensors:
    try:
        with read_elsewhere(__name__, file) as folder:
            return load_file(folder / _TENSORS)
    except ReadingError as error:
        raise WeightsError(
            f"{file} cannot be read as a file of PyTorch ({error}); download it again, or get the "
            "authors' weights as safetensors"
        ) from error


def _load(file: Path) -> object:
    try:
        # DINO's training states hold the settings of the run, which are plain values.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise WeightsError(
            f"{file} is not a file of PyTorch that holds tensors only ({reason}); cpcnn runs no "
            "code from a file: get the authors' weights as safetensors"
        ) from error


def _named_tensors(state: object) -> Tensors:
    """Return the tensors of a training state's teacher or model, or of the state itself."""
    for part in ("teacher", "model", "state_dict"):
        if isinstance(state, dict) and isinstance(state.get(part), dict):
            state = state[part]
    named = state.items() if isinstance(state, dict) else ()
    return {str(name): value for name, value in named if isinstance(value, torch.Tensor)}


def _conversion(architecture: str) -> Callable[[Tensors, Shapes], Tensors]:
    if architecture in _CONVERSIONS:
        return _CONVERSIONS[architecture]
    if architecture == LITE0:
        return _from_efficientnet_lite
    if architecture.startswith(TIMM_PREFIX):
        return _from_dinov3 if "dinov3" in architecture else _from_timm
    raise WeightsError(
        f"no authors' checkpoint is known for {architecture}; known are {TIMM_PREFIX}..., "
        f"{', '.join(_CONVERSIONS)}"
    )


def _from_timm(tensors: Tensors, shapes: Shapes) -> Tensors:
    """Take timm's names, which are DINO's and DINOv2's, without wrappers and leftovers."""
    named = {re.sub(r"^(module\.|model\.|backbone\.)+", "", name): v for name, v in tensors.items()}
    # Some networks have layers below "head" that are no classifier.
    kept = {n: v for n, v in named.items() if n in shapes or not re.match(_LEFTOVERS, n)}
    if "pos_embed" in kept and "pos_embed" in shapes:
        kept["pos_embed"] = resample_positions(kept["pos_embed"], shapes["pos_embed"][1])
    return kept


def _from_dinov3(tensors: Tensors, shapes: Shapes) -> Tensors:
    """Take DINOv3's names, of its own repository, of Hugging Face or of timm."""
    del shapes
    renamed = _renamed(tensors, _DINOV3_NAMES)
    kept = _without(renamed, r"mask_token$|rope|.*bias_mask$")
    kept = _joined(kept, keys_have_bias=False)
    for name in [name for name in kept if name.endswith("qkv.bias")]:
        # timm leaves them out; those of the keys are masked wherever they are kept.
        query, _, value = kept.pop(name).chunk(3)
        if query.any() or value.any():
            raise WeightsError(
                f"expected {name} to be all zero, as in the published weights of DINOv3, got "
                "others; use the file that timm publishes"
            )
    return kept


def _from_efficientnet_lite(tensors: Tensors, shapes: Shapes) -> Tensors:
    """Take EfficientNet-Lite's names of the package efficientnet-lite-pytorch, or timm's."""
    # timm numbers blocks within their stage, the others number them all.
    stages = dict.fromkeys(".".join(n.split(".")[:3]) for n in shapes if n.startswith("blocks."))
    renamed = _renamed(tensors, _LITE_NAMES)
    for number, stage in enumerate(stages):
        # The first block widens nothing, and counts its layers from what follows.
        first = f"_blocks.{number}._expand_conv.weight" not in tensors
        rules = _LITE_FIRST_BLOCK if first else _LITE_BLOCK
        block = _only(tensors, f"_blocks.{number}.")
        renamed |= {f"{stage}.{name}": value for name, value in _renamed(block, rules).items()}
    return _without(renamed, rf"_blocks\.|_fc\.|{_LEFTOVERS}")


def _from_open_phenom(tensors: Tensors, shapes: Shapes) -> Tensors:
    """Take the encoder of OpenPhenom, its biases where its authors' timm puts them."""
    encoder = _only(tensors, "encoder.vit_backbone.")
    table = encoder.pop("pos_embed", None)
    kept = _without(encoder, r"(fc_)?norm\.")
    if "patch_embed.proj.weight" in kept:
        kept["patch_embed.weight"] = kept.pop("patch_embed.proj.weight")
        kept["patch_embed.bias"] = kept.pop("patch_embed.proj.bias")
    for name in [name for name in kept if name.endswith(".mlp_bias")]:
        # The layer's outputs are (mlp, q, k, v). Until 2026 timm put three widths of zeros
        # first and this bias last, and so the network was trained (timm's issue 2653).
        bias = kept.pop(name)
        joint = name.replace("mlp_bias", "in_proj.bias")
        kept[joint] = torch.cat((bias.new_zeros(shapes[joint][0] - len(bias)), bias))
    if table is not None:
        _check_sines(table)
    return kept


def _from_subcell(tensors: Tensors, shapes: Shapes) -> Tensors:
    """Take SubCell's encoder, named as by Hugging Face, and its pooling."""
    del shapes
    return _joined(_renamed(tensors, _SUBCELL_NAMES))


_CONVERSIONS = {OPEN_PHENOM: _from_open_phenom, SUBCELL: _from_subcell}

_DINOV3_NAMES = (
    (r"^model\.", ""),
    (r"^storage_tokens$", "reg_token"),
    (r"\.ls([12])\.gamma$", r".gamma_\1"),
    (r"^embeddings\.register_tokens$", "reg_token"),
    (r"^embeddings\.patch_embeddings\.", "patch_embed.proj."),
    (r"^embeddings\.", ""),
    (r"^layer\.", "blocks."),
    (r"\.attention\.([qkv])_proj\.", r".attn.\1."),
    (r"\.attention\.o_proj\.", ".attn.proj."),
    (r"\.layer_scale([12])\.lambda1$", r".gamma_\1"),
    (r"\.mlp\.up_proj\.", ".mlp.fc1."),
    (r"\.mlp\.down_proj\.", ".mlp.fc2."),
)

_LITE_NAMES = (
    (r"^_(conv_stem|conv_head)\.", r"\1."),
    (r"^_bn0\.", "bn1."),
    (r"^_bn1\.", "bn2."),
)
_LITE_BLOCK = (
    (r"^_expand_conv\.", "conv_pw."),
    (r"^_depthwise_conv\.", "conv_dw."),
    (r"^_project_conv\.", "conv_pwl."),
    (r"^_bn2\.", "bn3."),
    (r"^_bn1\.", "bn2."),
    (r"^_bn0\.", "bn1."),
)
_LITE_FIRST_BLOCK = (
    (r"^_depthwise_conv\.", "conv_dw."),
    (r"^_project_conv\.", "conv_pw."),
    (r"^_(bn[12])\.", r"\1."),
)

_SUBCELL_NAMES = (
    (r"^pool_model\.(attention_[uv])\.\d\.", r"pool.\1."),
    (r"^pool_model\.", "pool."),
    (r"^encoder\.embeddings\.patch_embeddings\.projection\.", "patch_embed."),
    (r"^encoder\.embeddings\.position_embeddings$", "pos_embed"),
    (r"^encoder\.embeddings\.cls_token$", "cls_token"),
    (r"^encoder\.layernorm\.", "norm."),
    (r"^encoder\.encoder\.layer\.", "blocks."),
    (r"\.attention\.attention\.(q)uery\.", r".attn.\1."),
    (r"\.attention\.attention\.(k)ey\.", r".attn.\1."),
    (r"\.attention\.attention\.(v)alue\.", r".attn.\1."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
)


def _renamed(tensors: Tensors, rules: Iterable[tuple[str, str]]) -> Tensors:
    def new(name: str) -> str:
        for old, replacement in rules:
            name = re.sub(old, replacement, name)
        return name

    return {new(name): value for name, value in tensors.items()}


def _without(tensors: Tensors, pattern: str) -> Tensors:
    return {name: value for name, value in tensors.items() if not re.match(pattern, name)}


def _only(tensors: Tensors, prefix: str) -> Tensors:
    start = len(prefix)
    return {name[start:]: value for name, value in tensors.items() if name.startswith(prefix)}


def _joined(tensors: Tensors, keys_have_bias: bool = True) -> Tensors:
    """Put queries, keys and values, each a layer of its own, into timm's one layer."""
    joined = dict(tensors)
    for name in [name for name in tensors if ".attn.q." in name]:
        parts = [name.replace(".q.", f".{part}.") for part in "qkv"]
        if name.endswith("bias") and not keys_have_bias:
            joined[parts[1]] = torch.zeros_like(tensors[name])
        # What lacks a part stays as it is and is named as not known.
        if all(part in joined for part in parts):
            joined[name.replace(".q.", ".qkv.")] = torch.cat([joined.pop(part) for part in parts])
    return joined


def _check_sines(table: torch.Tensor) -> None:
    """Compare the positions in OpenPhenom's file with those that we compute."""
    side = math.isqrt((table.shape[1] - 1) // OPEN_PHENOM_CHANNELS)
    ours = sine_positions(side, table.shape[2]).repeat(OPEN_PHENOM_CHANNELS, 1)
    same = table.shape[1] == 1 + len(ours) and not table[0, 0].any()
    if not same or (table[0, 1:] - ours).abs().max() > POSITION_TOLERANCE:
        raise WeightsError(
            "expected the positions of OpenPhenom's published checkpoint (sines and cosines for "
            f"{OPEN_PHENOM_CHANNELS} channels), got others; the file is of another model"
        )


def _check(file: Path, architecture: str, tensors: Tensors, shapes: Shapes) -> None:
    missing = [name for name in shapes if name not in tensors]
    unknown = [name for name in tensors if name not in shapes]
    if missing or unknown:
        said = [f"{some_of(missing, NAMES_SHOWN)} missing"] if missing else []
        said += [f"{some_of(unknown, NAMES_SHOWN)} not known"] if unknown else []
        raise WeightsError(
            f"{file} does not hold the network {architecture}: {'; '.join(said)}; choose the "
            "model that the file belongs to"
        )
    for name, shape in shapes.items():
        if tuple(tensors[name].shape) != shape:
            raise WeightsError(
                f"{file} does not hold the network {architecture}: expected {name} of shape "
                f"{shape}, got {tuple(tensors[name].shape)}; choose the model that the file "
                "belongs to"
            )
