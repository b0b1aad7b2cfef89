"""Named normalisers: what happens to pixel values between crop and network.

A model card names its normaliser, so that a host cannot feed a model wrongly.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# REFERENCE b.6: keeps a constant channel at zero instead of dividing by zero.
MINMAX_EPSILON = np.float32(1e-7)


def minmax_per_crop(crops: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Stretch every channel of every crop to [0, 1] by its own minimum and maximum.

    Parameters
    ----------
    crops : ndarray of shape (n, c, h, w), float32
        Pixel values in any unit.
    out : ndarray of the same shape, float32, optional
        Where the result goes; `crops` itself will do.

    Returns
    -------
    ndarray of shape (n, c, h, w), float32, range [0, 1]
        ``(v - min) / (max - min + 1e-7)``; a constant channel becomes zero.

    Notes
    -----
    REFERENCE b.6, the normalisation of DeepProfiler's profiling step. Where a
    crop reaches over the border its zero fill takes part in the minimum.

    Examples
    --------
    >>> import numpy as np
    >>> crops = np.array([[[[1, 3], [5, 3]], [[7, 7], [7, 7]]]], np.float32)
    >>> minmax_per_crop(crops)[0].tolist()
    [[[0.0, 0.5], [1.0, 0.5]], [[0.0, 0.0], [0.0, 0.0]]]
    """
    low = crops.min(axis=(2, 3), keepdims=True)
    high = crops.max(axis=(2, 3), keepdims=True)
    out = np.subtract(crops, low, out=out)
    out /= high - low + MINMAX_EPSILON
    return out


NORMALIZERS: dict[str, Callable[..., np.ndarray]] = {
    "minmax-per-crop": minmax_per_crop,
}
