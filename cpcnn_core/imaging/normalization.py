"""Named normalisers: what happens to pixel values between crop and network.

A model card names its normaliser, so that a host cannot feed a model wrongly.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# Keeps a constant channel at zero, see docs/method.md#normalisation.
MINMAX_EPSILON = np.float32(1e-7)
FIELD_PERCENTILES, FIELD_EPSILON = (0.1, 99.9), np.finfo(np.float32).eps


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
    docs/method.md#normalisation, that of DeepProfiler's profiling step. Where a
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


def percentile_per_field(image: np.ndarray) -> np.ndarray:
    """Stretch every channel of a field to [0, 1] between two of its percentiles.

    Parameters
    ----------
    image : ndarray of shape (c, h, w), float32

    Returns
    -------
    ndarray of shape (c, h, w), float32, range [0, 1]
        ``(v - low) / (high - low + 2^-23)``, clipped, with the 0.1st and the 99.9th
        percentile as low and high; a constant channel becomes zero.

    Notes
    -----
    As CellPaintSSL's and uniDINO's makers prepare fields (github.com/Bayer-Group).

    Examples
    --------
    >>> import numpy as np
    >>> image = np.arange(9, dtype=np.float32).reshape(1, 3, 3)
    >>> percentile_per_field(image).min().item()
    0.0
    """
    percentiles = np.percentile(image, FIELD_PERCENTILES, axis=(1, 2), keepdims=True)
    low, high = percentiles.astype(np.float32)
    result: np.ndarray = ((image - low) / (high - low + FIELD_EPSILON)).clip(0, 1)
    return result


def normalize_field(image: np.ndarray, normalizer: str) -> np.ndarray:
    """Do to a whole field what a normaliser does before cells are cut; most do nothing.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.full((1, 2, 2), 7, np.float32)
    >>> normalize_field(image, "minmax-per-crop") is image
    True
    """
    of_field = FIELD_NORMALIZERS.get(normalizer)
    return image if of_field is None else of_field(image)


def leave_crops(crops: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Leave crops as they are: their field was normalised.

    Examples
    --------
    >>> import numpy as np
    >>> leave_crops(np.ones((1, 1, 1, 1), np.float32)).item()
    1.0
    """
    result: np.ndarray = np.add(crops, 0, out=out)
    return result


# What is done to a field before cells are cut; then the crops stay as they are.
FIELD_NORMALIZERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "percentile-per-field": percentile_per_field,
}
# What is done to every crop.
NORMALIZERS: dict[str, Callable[..., np.ndarray]] = {
    "minmax-per-crop": minmax_per_crop,
    "percentile-per-field": leave_crops,
}
