"""Crops cut by PyTorch, on the device where the field already is: for GPUs.

The arithmetic is that of `cpcnn_core.imaging.crops`, operation by operation in float32, and so
are the values, to the bit; only all crops are cut at once.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from cpcnn_core.imaging.normalization import MINMAX_EPSILON
from cpcnn_core.imaging.sampling import Axis, sample_axis


def cut_crops_on_device(
    image: torch.Tensor,
    centers: np.ndarray,
    crop_px: int,
    labels: torch.Tensor | None,
    label_ids: np.ndarray | None,
    normalizer: str,
) -> torch.Tensor:
    """Do what `cpcnn_core.imaging.crops.cut_crops` does, on the image's device.

    Parameters
    ----------
    image : Tensor of shape (c, h, w), float32
    centers : ndarray of shape (n, 2), float64, (row, col) in pixels
    crop_px : int
    labels : Tensor of shape (h, w), float32, or None
        On the same device.
    label_ids : ndarray of shape (n,), or None
    normalizer : str

    Returns
    -------
    Tensor of shape (n, c, crop_px, crop_px), float32, range [0, 1]

    Examples
    --------
    >>> image = torch.eye(64)[None]
    >>> centers = np.array([[32.0, 32.0]])
    >>> cut_crops_on_device(image, centers, 32, None, None, "minmax-per-crop").shape
    torch.Size([1, 1, 32, 32])
    """
    rows = sample_axis(centers[:, 0], image.shape[1], crop_px)
    cols = sample_axis(centers[:, 1], image.shape[2], crop_px)
    crops = _resample(image, rows, cols)
    if labels is not None:
        ids = torch.from_numpy(np.asarray(label_ids, np.float32)).to(image.device)
        crops *= _resample(labels[None], rows, cols) == ids[:, None, None, None]
    return DEVICE_NORMALIZERS[normalizer](crops)


def _resample(image: torch.Tensor, rows: Axis, cols: Axis) -> torch.Tensor:
    def there(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values).to(image.device)

    # Rows vary along the last but one axis, columns along the last: (n, crop_px, crop_px).
    top, bottom = there(rows.low)[:, :, None], there(rows.high)[:, :, None]
    left, right = there(cols.low)[:, None, :], there(cols.high)[:, None, :]
    down, across = there(rows.weight)[:, :, None], there(cols.weight)[:, None, :]
    upper = image[:, top, left]
    upper += (image[:, top, right] - upper) * across
    lower = image[:, bottom, left]
    lower += (image[:, bottom, right] - lower) * across
    crops = upper + (lower - upper) * down
    inside = there(rows.inside)[:, :, None] & there(cols.inside)[:, None, :]
    return (crops * inside).transpose(0, 1)


def _minmax_per_crop(crops: torch.Tensor) -> torch.Tensor:
    low, high = crops.amin((2, 3), keepdim=True), crops.amax((2, 3), keepdim=True)
    return (crops - low) / (high - low + float(MINMAX_EPSILON))


def _leave(crops: torch.Tensor) -> torch.Tensor:
    return crops


# Those of `cpcnn_core.imaging.normalization.NORMALIZERS`, by the same names.
DEVICE_NORMALIZERS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "minmax-per-crop": _minmax_per_crop,
    "percentile-per-field": _leave,
}
