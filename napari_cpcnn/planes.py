"""napari's layers to the planes that a model takes, channel by channel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
from napari.layers import Image, Labels, Layer
from pint import DimensionalityError

from cpcnn_core.channel_names import guess_images
from cpcnn_core.errors import ChannelError, ImageError


def guess_channels(channels: Sequence[str], layers: Sequence[str]) -> dict[str, str | None]:
    """Guess which image layer shows which channel, by its name.

    Parameters
    ----------
    channels : sequence of str
        The model's, e.g. ``("DNA", "RNA", "ER", "AGP", "Mito")``.
    layers : sequence of str
        Names of image layers.

    Returns
    -------
    dict of str to str or None
        The layer of every channel; None where the names leave a doubt, see
        `cpcnn_core.channel_names`.

    Examples
    --------
    >>> guess_channels(("DNA", "ER"), ["site1 OrigDNA", "ConA", "Bright"])
    {'DNA': 'site1 OrigDNA', 'ER': 'ConA'}
    """
    return dict.fromkeys(channels) | guess_images(channels, layers)


def channel_planes(images: Sequence[Image], labels: Labels, index: tuple[int, ...]) -> np.ndarray:
    """Return the planes of one field, (c, h, w), in the order of the layers.

    Parameters
    ----------
    images : sequence of Image
        One for every channel; or one whose first axis is the channel.
    labels : Labels
    index : tuple of int
        Which plane of the labels' leading axes (time, z); empty for flat images.

    Raises
    ------
    ImageError
        A layer of colours, or of another shape than the labels.

    Examples
    --------
    >>> labels = Labels(np.zeros((4, 5), int))
    >>> channel_planes([Image(np.ones((4, 5)))] * 2, labels, ()).shape
    (2, 4, 5)
    """
    shape = pixels(labels).shape
    if len(images) == 1 and pixels(images[0]).ndim == len(shape) + 1:
        _check(images[0], pixels(images[0]).shape[1:], labels)
        return np.stack([np.asarray(channel[index]) for channel in pixels(images[0])])
    for layer in images:
        _check(layer, pixels(layer).shape, labels)
    return np.stack([np.asarray(pixels(layer)[index]) for layer in images])


def plane_indices(labels: Labels, current: Sequence[int], *, every: bool) -> list[tuple[int, ...]]:
    """Name the planes of a labels layer: the one that is shown, or all.

    Parameters
    ----------
    labels : Labels
    current : sequence of int
        The viewer's ``dims.current_step``.
    every : bool

    Returns
    -------
    list of tuple of int
        One index for each of the leading axes; one empty tuple for flat labels.

    Examples
    --------
    >>> plane_indices(Labels(np.zeros((2, 4, 5), int)), (1, 0, 0), every=False)
    [(1,)]
    """
    leading = pixels(labels).shape[:-2]
    if every:
        return list(product(*map(range, leading)))
    # The viewer may have more axes than the layer: the layer's are the last.
    steps = tuple(current)[-len(leading) - 2 : -2] if leading else ()
    return [tuple(min(max(step, 0), size - 1) for step, size in zip(steps, leading, strict=True))]


def plane_name(index: tuple[int, ...]) -> str:
    """Write a plane's index as a text, empty for flat images.

    Examples
    --------
    >>> plane_name((3, 0)), plane_name(())
    ('3,0', '')
    """
    return ",".join(map(str, index))


def pixels(layer: Image | Labels) -> np.ndarray:
    """Return a layer's data in full resolution; may be lazy.

    Examples
    --------
    >>> pixels(Image(np.ones((4, 5)))).shape
    (4, 5)
    """
    result: np.ndarray = layer.data[0] if layer.multiscale else layer.data
    return result


def um_per_px_of(layer: Layer) -> float | None:
    """Return micrometres per pixel, from a layer's scale and its unit of length.

    Returns
    -------
    float or None
        None where the unit is not one of length, or pixels are not square.

    Examples
    --------
    >>> layer = Labels(np.zeros((4, 4), int), scale=(500, 500), units=("nm", "nm"))
    >>> um_per_px_of(layer), um_per_px_of(Labels(np.zeros((4, 4), int)))
    (0.5, None)
    """
    try:
        sides = [
            float((length * unit).to("micrometer").magnitude)
            for length, unit in zip(layer.scale[-2:], layer.units[-2:], strict=True)
        ]
    except DimensionalityError:
        return None
    return sides[0] if math.isclose(*sides, rel_tol=0.01) else None


def check_channels(channels: Sequence[str], chosen: Sequence[Image | None]) -> None:
    """Say which channels have no layer.

    Raises
    ------
    ChannelError

    Examples
    --------
    >>> check_channels(("DNA", "ER"), [None, None])
    Traceback (most recent call last):
    cpcnn_core.errors.ChannelError: choose an image layer for DNA, ER
    """
    missing = [name for name, layer in zip(channels, chosen, strict=True) if layer is None]
    if missing:
        raise ChannelError(f"choose an image layer for {', '.join(missing)}")


def _check(layer: Image, shape: tuple[int, ...], labels: Labels) -> None:
    if layer.rgb:
        raise ImageError(f"the layer {layer.name} shows colours; choose one with grey values")
    expected = pixels(labels).shape
    if tuple(shape) != tuple(expected):
        raise ImageError(
            f"the layer {layer.name} has {' x '.join(map(str, shape))} pixels, the labels "
            f"{labels.name} {' x '.join(map(str, expected))}; choose layers of the same field"
        )
