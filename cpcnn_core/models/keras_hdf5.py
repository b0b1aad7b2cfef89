"""Read the Keras checkpoint of the published network; write nothing.

Layout of the file (REFERENCE a, "HDF5 checkpoint"), weights-only flavour; a full
model has the same tree under ``model_weights``::

    /                      attributes layer_names, backend, keras_version
    /stem_conv             attribute weight_names = ["stem_conv_1/kernel:0"]
    /stem_conv/stem_conv_1/kernel:0        float32 (3, 3, channels, 32)
    /block1a_bn/.../gamma:0, beta:0, moving_mean:0, moving_variance:0
    ...
    /ClassProb/.../kernel:0, bias:0        (1280, classes), (classes,)

A weight is known by its group and the last part of its name: in between the
reference repeats the layer's name with a suffix. Groups of other names (input,
optimiser, augmentation) are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from cpcnn_core.errors import ChannelError, WeightsError

# Blocks in each stage of EfficientNet-B0; stage 1 has no expansion.
STAGE_REPEATS = (1, 2, 2, 3, 3, 4, 1)
_BATCH_NORM = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_LAST_TRUNK_LAYER = "block6a_bn"
_BLOCK = re.compile(r"block\d+[a-z]_")
# Axes of convolutions (4) and dense layers (2); everything else has one.
_AXES = {"depthwise_kernel": (4,), "kernel": (4, 2)}


def read_keras_weights(path: str | Path, channels: int) -> dict[str, np.ndarray]:
    """Read a Keras EfficientNet-B0 and name its weights as timm does.

    Parameters
    ----------
    path : str or Path
        HDF5 file, weights only or full model.
    channels : int
        Number of channels that the network is expected to take.

    Returns
    -------
    dict of str to ndarray, float32
        timm's parameter names (``conv_stem.weight`` ...) in timm's axis order. A
        file that ends at block6a gives the trunk alone; a file without
        ``ClassProb`` gives no classifier.

    Raises
    ------
    WeightsError
        Not HDF5, truncated, or another architecture; names the first weight
        that is missing or has another shape.
    ChannelError
        The stem takes another number of channels.

    Examples
    --------
    >>> read_keras_weights(__file__, 5)
    Traceback (most recent call last):
    cpcnn_core.errors.WeightsError: ...keras_hdf5.py is not an HDF5 file...
    """
    path = Path(path)
    found = _read_all(path)
    layout = _layout()
    trunk = _until(layout, _LAST_TRUNK_LAYER)
    beyond = [entry for entry in layout if entry not in trunk and entry[0] != "ClassProb"]
    head = [entry for entry in layout if entry[0] == "ClassProb"]
    wanted = list(trunk)
    # A trunk-only file is complete for its tap; half a remainder is damage.
    for part in (beyond, head):
        if any((layer, weight) in found for layer, weight, _ in part):
            wanted += part
    missing = [f"{layer}/{weight}" for layer, weight, _ in wanted if (layer, weight) not in found]
    if missing:
        raise WeightsError(
            f"{path} is not a complete EfficientNet-B0 checkpoint of Keras: {missing[0]} is missing"
            + (f", and {len(missing) - 1} more of its {len(wanted)} weights" if missing[1:] else "")
        )
    _refuse_other_architectures(path, found, layout)
    weights = {name: _to_timm(found[layer, weight], weight) for layer, weight, name in wanted}
    taken = weights["conv_stem.weight"].shape[1:2]
    if taken != (channels,):
        raise ChannelError(
            f"the network in {path} takes {taken[0] if taken else 0} channels, expected "
            f"{channels}; name its channels in the order of training with --channels"
        )
    return weights


def _refuse_other_architectures(
    path: Path,
    found: Mapping[tuple[str, str], np.ndarray],
    layout: list[tuple[str, str, str]],
) -> None:
    """Larger EfficientNets have all the layers of B0, and more of them."""
    known = {layer for layer, _, _ in layout}
    more = sorted({layer for layer, _ in found if _BLOCK.match(layer)} - known)
    if more:
        raise WeightsError(f"{path} is not an EfficientNet-B0 but a larger one: it has {more[0]}")
    for layer, weight, _ in layout:
        axes = _AXES.get(weight, (1,))
        if (layer, weight) in found and found[layer, weight].ndim not in axes:
            raise WeightsError(
                f"{path} is not an EfficientNet-B0 checkpoint: {layer}/{weight} has shape "
                f"{found[layer, weight].shape}, expected {axes[0]} axes"
            )


def keras_name(timm_name: str) -> str:
    """Return what Keras calls a weight, as layer/weight.

    Examples
    --------
    >>> keras_name("conv_stem.weight")
    'stem_conv/kernel'
    """
    return {name: f"{layer}/{weight}" for layer, weight, name in _layout()}[timm_name]


def _read_all(path: Path) -> dict[tuple[str, str], np.ndarray]:
    if not path.is_file():
        raise WeightsError(
            f"{path} does not exist or is not a file; give the path of the HDF5 file"
        )
    if not h5py.is_hdf5(path):
        with path.open("rb") as file:
            start = file.read(8)
        raise WeightsError(
            f"{path} is not an HDF5 file (it begins with {start!r}); "
            "expected the Keras checkpoint, e.g. Cell_Painting_CNN_v1.hdf5"
        )
    try:
        with h5py.File(path, "r") as file:
            root = file.get("model_weights", file)
            return {
                (layer, _last_part(name)): np.asarray(root[layer][name], np.float32)
                for layer in _text_attribute(root, "layer_names") or list(root)
                if isinstance(root.get(layer), h5py.Group)
                for name in _text_attribute(root[layer], "weight_names")
            }
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise WeightsError(
            f"{path} cannot be read to its end, so it is truncated or damaged ({error}); "
            "download or copy it again"
        ) from error


def _text_attribute(group: h5py.Group, name: str) -> list[str]:
    """Read a list of str; Keras splits long ones into name0, name1 and so on."""
    if name in group.attrs:
        chunks = [group.attrs[name]]
    else:
        chunks = []
        while f"{name}{len(chunks)}" in group.attrs:
            chunks.append(group.attrs[f"{name}{len(chunks)}"])
    return [v.decode() if isinstance(v, bytes) else str(v) for chunk in chunks for v in chunk]


def _last_part(name: str) -> str:
    return name.rsplit("/", 1)[-1].split(":", maxsplit=1)[0]


def _layout() -> list[tuple[str, str, str]]:
    """List (Keras layer, Keras weight, timm name) from input to output."""
    rows = [*_conv("stem_conv", "conv_stem"), *_bn("stem_bn", "bn1")]
    for stage, repeats in enumerate(STAGE_REPEATS):
        for repeat in range(repeats):
            keras, timm = f"block{stage + 1}{'abcd'[repeat]}_", f"blocks.{stage}.{repeat}."
            first = stage == 0
            if not first:
                rows += [
                    *_conv(keras + "expand_conv", timm + "conv_pw"),
                    *_bn(keras + "expand_bn", timm + "bn1"),
                ]
            rows.append((keras + "dwconv", "depthwise_kernel", timm + "conv_dw.weight"))
            rows += _bn(keras + "bn", timm + ("bn1" if first else "bn2"))
            for part in ("reduce", "expand"):
                rows += _conv(f"{keras}se_{part}", f"{timm}se.conv_{part}", bias=True)
            rows += _conv(keras + "project_conv", timm + ("conv_pw" if first else "conv_pwl"))
            rows += _bn(keras + "project_bn", timm + ("bn2" if first else "bn3"))
    rows += [*_conv("top_conv", "conv_head"), *_bn("top_bn", "bn2")]
    return rows + _conv("ClassProb", "classifier", bias=True)


def _conv(keras: str, timm: str, *, bias: bool = False) -> list[tuple[str, str, str]]:
    rows = [(keras, "kernel", f"{timm}.weight")]
    return [*rows, (keras, "bias", f"{timm}.bias")] if bias else rows


def _bn(keras: str, timm: str) -> list[tuple[str, str, str]]:
    return [(keras, weight, f"{timm}.{name}") for weight, name in _BATCH_NORM.items()]


def _until(layout: list[tuple[str, str, str]], layer: str) -> list[tuple[str, str, str]]:
    return layout[: max(i for i, row in enumerate(layout) if row[0] == layer) + 1]


def _to_timm(value: np.ndarray, weight: str) -> np.ndarray:
    if weight == "depthwise_kernel":  # (kh, kw, c, 1) -> (c, 1, kh, kw)
        value = value.transpose(2, 3, 0, 1)
    elif weight == "kernel" and value.ndim == 4:  # (kh, kw, in, out) -> (out, in, kh, kw)
        value = value.transpose(3, 2, 0, 1)
    elif weight == "kernel":
        value = value.T
    return np.ascontiguousarray(value)
