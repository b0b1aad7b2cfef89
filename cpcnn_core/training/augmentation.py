"""Crops as they could have been seen: cut closer, flipped, turned, brighter, flatter.

See docs/method.md#augmentation. What is random is drawn first, for the whole batch, on the CPU;
applying it is arithmetic. So any slice of a batch, on any device, comes out as it does within
the whole.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch

from cpcnn_core.errors import CropError

CROP_PROBABILITY = FLIP_PROBABILITY = 0.5
# Smallest side of what is cut out, as a fraction of the crop: 102 of 128 pixels.
MIN_FRACTION = (4, 5)
BRIGHTNESS = 0.1
CONTRAST = 0.2


@dataclass(frozen=True)
class AugmentationDraws:
    """Random values for each crop of a batch, on the CPU; ``draws[a:b]`` is a slice of them.

    Attributes
    ----------
    side : Tensor of shape (n,), int64, in pixels
        Of the square that is cut out; the whole crop where none is.
    top, left : Tensor of shape (n,), int64, in pixels
        Its first row and column.
    flip : Tensor of shape (n,), bool
        Left becomes right.
    quarter_turns : Tensor of shape (n,), int64, 0 to 3
        Counter-clockwise, after the flip.
    brightness, contrast : Tensor of shape (n, c), float32
        What is added to each channel; what its distance from the channel's mean is
        multiplied by.

    Examples
    --------
    >>> draws = draw_augmentation(32, 5, 128, torch.Generator().manual_seed(0))
    >>> len(draws), len(draws[8:16]), tuple(draws[8:16].contrast.shape)
    (32, 8, (8, 5))
    """

    side: torch.Tensor
    top: torch.Tensor
    left: torch.Tensor
    flip: torch.Tensor
    quarter_turns: torch.Tensor
    brightness: torch.Tensor
    contrast: torch.Tensor

    def __len__(self) -> int:
        return len(self.side)

    def __getitem__(self, part: slice) -> AugmentationDraws:
        return AugmentationDraws(*(getattr(self, field.name)[part] for field in fields(self)))


def draw_augmentation(n: int, c: int, p: int, generator: torch.Generator) -> AugmentationDraws:
    """Draw how the crops of a batch are changed.

    Parameters
    ----------
    n, c, p : int
        Crops, channels, and the crops' side in pixels, at least 2.
    generator : torch.Generator
        On the CPU. Drawn from in this order, each for all crops: whether a square is cut
        out, its side, its row, its column, the flip, the turn, brightness, contrast. All
        are drawn for every crop, needed or not.

    Returns
    -------
    AugmentationDraws

    Raises
    ------
    CropError
        Crops of less than 2 pixels.

    Notes
    -----
    With probability 0.5 a square is cut out, with a side that is uniform among the integers
    from floor(0.8 p) to p - 1 (102 to 127 for 128 pixels), at a place that is uniform among
    those where it fits; flipped with probability 0.5; 0 to 3 quarter turns alike; for each
    channel U(-0.1, 0.1) is added and contrast multiplied by U(0.8, 1.2), see
    docs/method.md#augmentation.

    Examples
    --------
    >>> draws = draw_augmentation(1000, 5, 128, torch.Generator().manual_seed(0))
    >>> draws.side.min().item(), draws.side.max().item()
    (102, 128)
    """
    if p < 2:
        raise CropError(f"augmentation needs crops of at least 2 x 2 pixels, got {p} x {p}")
    numerator, denominator = MIN_FRACTION
    is_cut = torch.rand(n, generator=generator) < CROP_PROBABILITY
    side = torch.randint(numerator * p // denominator, p, (n,), generator=generator)
    side = torch.where(is_cut, side, p)
    top, left = (torch.randint(2**40, (n,), generator=generator) % (p - side + 1) for _ in "yx")
    return AugmentationDraws(
        side=side,
        top=top,
        left=left,
        flip=torch.rand(n, generator=generator) < FLIP_PROBABILITY,
        quarter_turns=torch.randint(4, (n,), generator=generator),
        brightness=(2 * torch.rand(n, c, generator=generator) - 1) * BRIGHTNESS,
        contrast=1 + (2 * torch.rand(n, c, generator=generator) - 1) * CONTRAST,
    )


def apply_augmentation(crops: torch.Tensor, draws: AugmentationDraws) -> torch.Tensor:
    """Change crops as was drawn for them.

    Parameters
    ----------
    crops : Tensor of shape (n, c, p, p), float32, any device
        Left as it is.
    draws : AugmentationDraws
        Of the same crops.

    Returns
    -------
    Tensor of shape (n, c, p, p), float32
        Nothing is clipped: values may leave the range [0, 1].

    Raises
    ------
    CropError
        Crops that are not square or not float32, or draws of another number of crops.

    Notes
    -----
    The square is brought back to p x p pixels by bilinear interpolation, half-pixel
    centres, without antialiasing, never looking outside the square; flips and turns move
    pixels. The mean that contrast keeps is that of the channel of the changed crop.

    Examples
    --------
    >>> random = torch.Generator().manual_seed(0)
    >>> crops = torch.rand(4, 5, 32, 32, generator=random)
    >>> draws = draw_augmentation(4, 5, 32, random)
    >>> part = apply_augmentation(crops[2:], draws[2:])
    >>> torch.equal(apply_augmentation(crops, draws)[2:], part)
    True
    """
    _check(crops, draws)
    device, p, turns = crops.device, crops.shape[-1], draws.quarter_turns
    # A flip and a half turn are the same samples in the opposite order; what is left of the
    # quarter turns is a transposition.
    upwards, leftwards = turns >= 2, draws.flip ^ ((turns == 1) | (turns == 2))
    rows = _sample_positions(draws.top, draws.side, p, upwards)
    cols = _sample_positions(draws.left, draws.side, p, leftwards)
    # Copying whole rows is several times faster than picking pixels: columns as rows.
    crops = _resample_rows(crops, *(values.to(device) for values in rows)).transpose(2, 3)
    crops = _resample_rows(crops, *(values.to(device) for values in cols))
    is_turned = (turns % 2 == 1).to(device)[:, None, None, None]
    crops = torch.where(is_turned, crops, crops.transpose(2, 3))
    mean = crops.mean(dim=(2, 3), keepdim=True)
    # Brightness moves the mean along, so it may be added with it.
    brighter = mean + draws.brightness.to(device)[:, :, None, None]
    return crops.sub_(mean).mul_(draws.contrast.to(device)[:, :, None, None]).add_(brighter)


def augment(crops: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Draw and apply in one: `draw_augmentation`, `apply_augmentation`.

    Parameters
    ----------
    crops : Tensor of shape (n, c, p, p), float32, any device
    generator : torch.Generator
        On the CPU.

    Returns
    -------
    Tensor of shape (n, c, p, p), float32

    Raises
    ------
    CropError

    Examples
    --------
    >>> augment(torch.zeros(2, 5, 64, 64), torch.Generator().manual_seed(0)).shape
    torch.Size([2, 5, 64, 64])
    """
    n, c, _, p = crops.shape
    return apply_augmentation(crops, draw_augmentation(n, c, p, generator))


def _check(crops: torch.Tensor, draws: AugmentationDraws) -> None:
    if crops.ndim != 4 or crops.shape[2] != crops.shape[3] or crops.dtype != torch.float32:
        raise CropError(
            "expected float32 crops of shape (n, channels, p, p), got "
            f"{crops.dtype} of shape {tuple(crops.shape)}"
        )
    if draws.brightness.shape != crops.shape[:2]:
        raise CropError(
            f"expected draws for {tuple(crops.shape[:2])} crops and channels, got some for "
            f"{tuple(draws.brightness.shape)}"
        )


def _sample_positions(
    start: torch.Tensor, side: torch.Tensor, p: int, backwards: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Say between which pixels (n, p) of the crop the samples of a square are, and where."""
    # On the CPU, where draws are, and in float64: not every accelerator has it.
    step = side[:, None].double() / p
    position = (step * (torch.arange(p) + 0.5) - 0.5).clamp_(min=0)
    position = torch.where(backwards[:, None], position.flip(1), position)
    low = position.long()
    high = torch.minimum(low + 1, side[:, None] - 1)
    return low + start[:, None], high + start[:, None], (position - low).float()


def _resample_rows(
    crops: torch.Tensor, low: torch.Tensor, high: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    n, c, p, _ = crops.shape
    # The rows of all crops and channels, one below the other.
    rows = crops.reshape(n * c * p, p)
    first = torch.arange(n * c, device=crops.device).view(n, c, 1) * p
    above = rows.index_select(0, (first + low[:, None]).flatten()).view(crops.shape)
    below = rows.index_select(0, (first + high[:, None]).flatten()).view(crops.shape)
    return above.lerp_(below, weight[:, None, :, None])
