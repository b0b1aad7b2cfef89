"""A whole field as one crop, for those who have no objects."""

from __future__ import annotations

import numpy as np


def shrink_field(image: np.ndarray, crop_px: int) -> np.ndarray:
    """Shrink a field so that its longer side is as long as a crop.

    Every new pixel is the mean of those it replaces.

    Parameters
    ----------
    image : ndarray of shape (c, h, w), any real dtype
    crop_px : int
        Side of the crop in pixels; a field that is smaller is enlarged.

    Returns
    -------
    ndarray of shape (c, crop_px, crop_px), float32
        The field in the middle, zeros beside its shorter side, as a crop has them beyond
        the border.

    Examples
    --------
    >>> shrink_field(np.arange(16.0).reshape(1, 4, 4), 2)
    array([[[ 2.5,  4.5],
            [10.5, 12.5]]], dtype=float32)
    >>> shrink_field(np.ones((1, 4, 2)), 2)[0]
    array([[1., 0.],
           [1., 0.]], dtype=float32)
    """
    from skimage.transform import resize_local_mean

    channels, height, width = image.shape
    scale = crop_px / max(height, width)
    rows, cols = (max(1, round(length * scale)) for length in (height, width))
    small = resize_local_mean(
        image.astype(np.float32), (rows, cols), channel_axis=0, preserve_range=True
    )
    shrunk = np.zeros((channels, crop_px, crop_px), np.float32)
    top, left = (crop_px - rows) // 2, (crop_px - cols) // 2
    shrunk[:, top : top + rows, left : left + cols] = small
    return shrunk
