"""Pure functions for what an author does to pixels first: range, size, standardizing.

A model card names its standardizer, so that crops cut in one way for all models reach each
network as its own authors prepared them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from cpcnn_core.errors import WeightsError

# PyTorch's own of an instance norm, which OpenPhenom's authors left as it is.
INSTANCE_EPSILON = 1e-5
MORPHEM_EPSILON = 1e-7
SUBCELL_EPSILON = 1e-6
# MorphEm: a pixel of 255 counts as saturated and becomes noise between these two.
SATURATED, NOISE_LOW, NOISE_HIGH = 255.0, 200.0, 255.0


def stretch(crops: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Map crops from 0 to 1 to another range.

    Parameters
    ----------
    crops : Tensor, any shape, float
        Range 0 to 1.
    low, high : float

    Returns
    -------
    Tensor
        ``low + crops * (high - low)``; 0 to 1 leaves crops as they are, not copied.

    Examples
    --------
    >>> stretch(torch.tensor([0.0, 0.5, 1.0]), 0, 255).tolist()
    [0.0, 127.5, 255.0]
    """
    return crops if (low, high) == (0, 1) else low + crops * (high - low)


def resize(crops: torch.Tensor, px: int | None, how: str) -> torch.Tensor:
    """Resize crops to a square, antialiased where they shrink; pixel centres at half pixels.

    Parameters
    ----------
    crops : Tensor of shape (n, c, h, w), float
    px : int or None
        Side of the result; None leaves crops as they are.
    how : str
        ``bilinear`` or ``bicubic``.

    Returns
    -------
    Tensor of shape (n, c, px, px)

    Notes
    -----
    What torchvision's ``Resize(antialias=True)`` computes. PyTorch places pixels in single
    precision, which costs it 1e-5 of the range at 224 px; here the weights are exact.

    Examples
    --------
    >>> resize(torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]]), 1, "bilinear").tolist()
    [[[[1.5]]]]
    """
    if px is None or crops.shape[-2:] == (px, px):
        return crops
    down, right = (resize_weights(size, px, how).to(crops) for size in crops.shape[-2:])
    return down @ crops @ right.T


@functools.lru_cache(maxsize=16)
# Kept between calls, so it must not be a tensor that only inference may use.
@torch.inference_mode(mode=False)
def resize_weights(size: int, px: int, how: str) -> torch.Tensor:
    """Return how much each of a row's pixels adds to each pixel of the resized row.

    Parameters
    ----------
    size, px : int
        Pixels before and after.
    how : str
        ``bilinear``: a triangle; ``bicubic``: Keys' cubic with a = -1/2. Where a row
        shrinks, it is widened by as much.

    Returns
    -------
    Tensor of shape (px, size), float32
        Every row sums to 1.

    Examples
    --------
    >>> resize_weights(2, 4, "bilinear").tolist()
    [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    """
    step = size / px
    centers = (torch.arange(px, dtype=torch.float64) + 0.5) * step
    pixels = torch.arange(size, dtype=torch.float64) + 0.5
    x = (pixels - centers[:, None]).abs() / max(step, 1.0)
    if how == "bilinear":
        weights = (1 - x).clamp(min=0)
    else:
        near = (1.5 * x - 2.5) * x**2 + 1
        far = ((-0.5 * x + 2.5) * x - 4) * x + 2
        weights = torch.where(x < 1, near, torch.where(x < 2, far, 0))
    return (weights / weights.sum(1, keepdim=True)).float()


def leave(crops: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """Return crops as they are.

    Examples
    --------
    >>> leave(torch.ones(1, 1, 1, 1), (), ()).item()
    1.0
    """
    del mean, std
    return crops


def mean_std(crops: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """Subtract a fixed mean and divide by a fixed standard deviation, channel by channel.

    Parameters
    ----------
    crops : Tensor of shape (n, c, h, w), float
    mean, std : sequence of float
        One for every channel, or one for all.

    Raises
    ------
    WeightsError
        Neither as many numbers as channels nor one.

    Examples
    --------
    >>> mean_std(torch.full((1, 2, 1, 1), 3.0), (1, 2), (2, 1)).flatten().tolist()
    [1.0, 1.0]
    """
    channels = crops.shape[1]
    if len(mean) != len(std) or len(mean) not in (1, channels):
        raise WeightsError(
            f"expected 1 or {channels} means and standard deviations for {channels} channels, "
            f"got {len(mean)} and {len(std)}; correct the model's card"
        )
    shape = (1, -1, 1, 1)
    return (crops - crops.new_tensor(mean).view(shape)) / crops.new_tensor(std).view(shape)


def per_channel(crops: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """Make mean 0 and standard deviation 1 of every channel of every crop.

    Notes
    -----
    ``(v - mean) / sqrt(variance + 1e-5)``, the variance over all pixels (divided by their
    number): OpenPhenom's instance norm, on pixels of 0 to 1.

    Examples
    --------
    >>> crops = torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])
    >>> per_channel(crops, (), ()).flatten().round(decimals=4).tolist()
    [-1.0, 1.0, -1.0, 1.0]
    """
    del mean, std
    return _z_score(crops, INSTANCE_EPSILON)


def saturation_noise(
    crops: torch.Tensor, mean: Sequence[float], std: Sequence[float]
) -> torch.Tensor:
    """Put noise where pixels are saturated, then standardize every channel of every crop.

    Parameters
    ----------
    crops : Tensor of shape (n, c, h, w), float
        Range 0 to 255.
    mean, std : sequence of float
        Not used.

    Notes
    -----
    MorphEm's preparation: pixels of 255 become uniform noise of 200 to 255, then
    ``(v - mean) / sqrt(variance + 1e-7)`` for every channel of every crop. Its authors draw
    new noise each time; here the noise belongs to the pixel's place, the same for every
    channel and crop, so that a cell's features depend neither on the run nor on the batch.

    Examples
    --------
    >>> crops = torch.tensor([[[[255.0, 0.0], [10.0, 20.0]]]])
    >>> saturation_noise(crops, (), ()).argmax().item()
    0
    """
    del mean, std
    # Drawn on the CPU, so that every device gets the same numbers.
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(crops.shape[-2:], generator=generator).to(crops)
    noise = NOISE_LOW + noise * (NOISE_HIGH - NOISE_LOW)
    return _z_score(torch.where(crops == SATURATED, noise, crops), MORPHEM_EPSILON)


def minmax_per_channel(
    crops: torch.Tensor, mean: Sequence[float], std: Sequence[float]
) -> torch.Tensor:
    """Stretch every channel of every crop to 0 to 1 by its own minimum and maximum.

    Notes
    -----
    ``(v - min) / (max - min + 1e-6)``, as SubCell's authors run it on Cell Painting, after
    resizing.

    Examples
    --------
    >>> minmax_per_channel(torch.tensor([[[[1.0, 3.0, 5.0]]]]), (), ()).tolist()
    [[[[0.0, 0.499..., 0.999...]]]]
    """
    del mean, std
    low = crops.amin((-2, -1), keepdim=True)
    high = crops.amax((-2, -1), keepdim=True)
    return (crops - low) / (high - low + SUBCELL_EPSILON)


def _z_score(crops: torch.Tensor, epsilon: float) -> torch.Tensor:
    variance, mean = torch.var_mean(crops, (-2, -1), correction=0, keepdim=True)
    return (crops - mean) / torch.sqrt(variance + epsilon)


@dataclass(frozen=True)
class Standardizer:
    """One way to standardize, and whether its authors do it before they resize.

    Attributes
    ----------
    apply : callable
        Takes crops (n, c, h, w), the card's mean and std; returns crops of that shape.
    before_resize : bool

    Examples
    --------
    >>> STANDARDIZERS["mean-std"].before_resize
    False
    """

    apply: Callable[[torch.Tensor, Sequence[float], Sequence[float]], torch.Tensor]
    before_resize: bool = False


STANDARDIZERS = {
    "none": Standardizer(leave),
    "mean-std": Standardizer(mean_std),
    "per-channel": Standardizer(per_channel),
    "minmax-per-channel": Standardizer(minmax_per_channel),
    "saturation-noise": Standardizer(saturation_noise, before_resize=True),
}
