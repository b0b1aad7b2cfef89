"""Read the Keras checkpoint of the published network; write nothing.

Layout of the file (docs/method.md#checkpoints), weights-only flavour; a full
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
from typing import TYPE_CHECKING, NamedTuple

import h5py
import numpy as np

from cpcnn_core.errors import ChannelError, WeightsError
from cpcnn_core.io.archives import open_archive, read_array
from cpcnn_core.io.hdf5 import check_dataset, has_member, member
from cpcnn_core.io.untrusted_files import ReadingError, read_elsewhere

if TYPE_CHECKING:
    from cpcnn_core.io.untrusted_files import Allow

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
_CLASSIFIER = "ClassProb"
_STAGE_WIDTHS = (16, 24, 40, 80, 112, 192, 320)
_STAGE_SIDES = (3, 3, 5, 3, 5, 5, 3)
_EXPANSION, _SQUEEZE, _TOP_WIDTH = 6, 4, 1280
_WEIGHTS = "weights.npz"


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
        with (
            read_elsewhere(__name__, path, str(channels)) as folder,
            open_archive(folder / _WEIGHTS) as archive,
        ):
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            return {name: read_array(archive, name) for name in names}
    except ReadingError as error:
        raise WeightsError(
            f"{path} cannot be read to its end, so it is truncated or damaged ({error}); "
            "download or copy it again"
        ) from error


def read_here(path: Path, folder: Path, allow: Allow, channels: str) -> None:
    """Read a file as `read_keras_weights` returns it, and write that to a folder.

    Every weight is looked at before the first is read.

    Parameters
    ----------
    path, folder : Path
    allow : callable (int)
        See `cpcnn_core.io.untrusted_files`.
    channels : str
        How many.
    """
    with h5py.File(path, "r") as file:
        root = member(file, "model_weights") if has_member(file, "model_weights") else file
        found = _find_all(root)
        wanted = _wanted(path, found)
        _check_shapes(path, found, wanted, int(channels))
        for one in wanted:
            check_dataset(found[one.layer, one.weight])
        allow(sum(found[one.layer, one.weight].nbytes for one in wanted))
        weights = {
            one.name: _to_timm(np.asarray(found[one.layer, one.weight], np.float32), one.weight)
            for one in wanted
        }
    np.savez(folder / _WEIGHTS, **weights)  # type: ignore[arg-type]  # as in archives.py


def _find_all(root: h5py.Group) -> dict[tuple[str, str], h5py.Dataset]:
    found = {}
    for layer in _text_attribute(root, "layer_names") or list(root):
        group = member(root, layer) if has_member(root, layer) else None
        if isinstance(group, h5py.Group):
            for name in _text_attribute(group, "weight_names"):
                found[layer, _last_part(name)] = member(group, name)
    return found


def _wanted(path: Path, found: Mapping[tuple[str, str], h5py.Dataset]) -> list[_Weight]:
    layout = _layout()
    trunk = _until(layout, _LAST_TRUNK_LAYER)
    beyond = [one for one in layout if one not in trunk and one.layer != _CLASSIFIER]
    head = [one for one in layout if one.layer == _CLASSIFIER]
    wanted = list(trunk)
    # A trunk-only file is complete for its tap; half a remainder is damage.
    for part in (beyond, head):
        if any((one.layer, one.weight) in found for one in part):
            wanted += part
    missing = [one for one in wanted if (one.layer, one.weight) not in found]
    if missing:
        raise WeightsError(
            f"{path} is not a complete EfficientNet-B0 checkpoint of Keras: "
            f"{missing[0].layer}/{missing[0].weight} is missing"
            + (f", and {len(missing) - 1} more of its {len(wanted)} weights" if missing[1:] else "")
        )
    # Larger EfficientNets have all the layers of B0, and more of them.
    known = {one.layer for one in layout}
    more = sorted({layer for layer, _ in found if _BLOCK.match(layer)} - known)
    if more:
        raise WeightsError(f"{path} is not an EfficientNet-B0 but a larger one: it has {more[0]}")
    return wanted


def _check_shapes(
    path: Path,
    found: Mapping[tuple[str, str], h5py.Dataset],
    wanted: list[_Weight],
    channels: int,
) -> None:
    """Compare every weight with the network it is meant for, before any is read."""
    for one in wanted:
        dataset = found[one.layer, one.weight]
        if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind != "f":
            raise ValueError(f"its {one.layer}/{one.weight} holds no floating-point numbers")
        if len(dataset.shape) != len(one.shape):
            raise WeightsError(
                f"{path} is not an EfficientNet-B0 checkpoint: {one.layer}/{one.weight} has shape "
                f"{dataset.shape}, expected {len(one.shape)} axes"
            )
    taken = found["stem_conv", "kernel"].shape[2]
    if taken != channels:
        raise ChannelError(
            f"the network in {path} takes {taken} channels, expected {channels}; name its "
            "channels in the order of training with --channels"
        )
    classes = found[_CLASSIFIER, "bias"].shape[0] if (_CLASSIFIER, "bias") in found else 0
    sides: dict[int | str, int] = {"channels": channels, "classes": classes}
    for one in wanted:
        expected = tuple(sides.get(n, n) for n in one.shape)
        shape = _timm_axes(found[one.layer, one.weight].shape, one.weight)
        if shape != expected:
            raise WeightsError(
                f"{path} is not an EfficientNet-B0 checkpoint: {one.layer}/{one.weight} has shape "
                f"{shape} (in PyTorch's axis order), expected {expected}"
            )


def keras_name(timm_name: str) -> str:
    """Return what Keras calls a weight, as layer/weight.

    Examples
    --------
    >>> keras_name("conv_stem.weight")
    'stem_conv/kernel'
    """
    return {one.name: f"{one.layer}/{one.weight}" for one in _layout()}[timm_name]


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


class _Weight(NamedTuple):
    """A weight's names in Keras and in timm, and its shape in timm."""

    layer: str
    weight: str
    name: str
    shape: tuple[int | str, ...]


def _layout() -> list[_Weight]:
    """List all weights from input to output."""
    rows = [*_conv("stem_conv", "conv_stem", 32, "channels", 3), *_bn("stem_bn", "bn1", 32)]
    before = 32
    for stage, (repeats, after, side) in enumerate(
        zip(STAGE_REPEATS, _STAGE_WIDTHS, _STAGE_SIDES, strict=True)
    ):
        for repeat in range(repeats):
            keras, timm = f"block{stage + 1}{'abcd'[repeat]}_", f"blocks.{stage}.{repeat}."
            first = stage == 0
            wide, squeezed = before * (1 if first else _EXPANSION), before // _SQUEEZE
            if not first:
                rows += _conv(keras + "expand_conv", timm + "conv_pw", wide, before)
                rows += _bn(keras + "expand_bn", timm + "bn1", wide)
            shape = (wide, 1, side, side)
            rows.append(
                _Weight(keras + "dwconv", "depthwise_kernel", timm + "conv_dw.weight", shape)
            )
            rows += _bn(keras + "bn", timm + ("bn1" if first else "bn2"), wide)
            reduce, expand = (f"{timm}se.conv_{part}" for part in ("reduce", "expand"))
            rows += _conv(keras + "se_reduce", reduce, squeezed, wide, bias=True)
            rows += _conv(keras + "se_expand", expand, wide, squeezed, bias=True)
            project = timm + ("conv_pw" if first else "conv_pwl")
            rows += _conv(keras + "project_conv", project, after, wide)
            rows += _bn(keras + "project_bn", timm + ("bn2" if first else "bn3"), after)
            before = after
    rows += _conv("top_conv", "conv_head", _TOP_WIDTH, before)
    rows += _bn("top_bn", "bn2", _TOP_WIDTH)
    kernel = _Weight(_CLASSIFIER, "kernel", "classifier.weight", ("classes", _TOP_WIDTH))
    return [*rows, kernel, _Weight(_CLASSIFIER, "bias", "classifier.bias", ("classes",))]


def _conv(
    keras: str, timm: str, after: int, before: int | str, side: int = 1, *, bias: bool = False
) -> list[_Weight]:
    rows = [_Weight(keras, "kernel", f"{timm}.weight", (after, before, side, side))]
    return [*rows, _Weight(keras, "bias", f"{timm}.bias", (after,))] if bias else rows


def _bn(keras: str, timm: str, width: int) -> list[_Weight]:
    return [_Weight(keras, w, f"{timm}.{name}", (width,)) for w, name in _BATCH_NORM.items()]


def _until(layout: list[_Weight], layer: str) -> list[_Weight]:
    return layout[: max(i for i, row in enumerate(layout) if row.layer == layer) + 1]


def _timm_axes(shape: tuple[int, ...], weight: str) -> tuple[int, ...]:
    return tuple(shape[axis] for axis in _order(len(shape), weight))


def _to_timm(value: np.ndarray, weight: str) -> np.ndarray:
    return np.ascontiguousarray(value.transpose(_order(value.ndim, weight)))


def _order(axes: int, weight: str) -> tuple[int, ...]:
    if weight == "depthwise_kernel":  # (kh, kw, c, 1) -> (c, 1, kh, kw)
        return 2, 3, 0, 1
    if weight == "kernel" and axes == 4:  # (kh, kw, in, out) -> (out, in, kh, kw)
        return 3, 2, 0, 1
    return (1, 0) if weight == "kernel" else tuple(range(axes))
