"""Find nuclei in one click, for those who have no labels yet."""

from __future__ import annotations

import numpy as np

from cpcnn_core.errors import ImageError

SMOOTH_PX, SMALLEST_AREA_PX, SMALLEST_DISTANCE_PX = 1.5, 60, 7


def find_nuclei(image: np.ndarray) -> np.ndarray:
    """Label the nuclei of a DNA image: smoothed, thresholded (Otsu), split by their shape.

    Parameters
    ----------
    image : ndarray of shape (h, w), any real dtype

    Returns
    -------
    ndarray of shape (h, w), int32
        1 to n; 0 is background.

    Raises
    ------
    ImageError
        Not a flat image, the same value everywhere, or nothing that looks like a nucleus.

    Examples
    --------
    >>> image = np.zeros((60, 60))
    >>> image[10:25, 10:25] = image[30:50, 30:50] = 9
    >>> find_nuclei(image).max()
    np.int32(2)
    """
    from scipy import ndimage
    from skimage.feature import peak_local_max
    from skimage.filters import gaussian, threshold_otsu
    from skimage.segmentation import watershed

    image = np.asarray(image, np.float32)
    if image.ndim != 2:
        raise ImageError(f"nuclei are found in flat images, this one has the shape {image.shape}")
    if not np.ptp(image) > 0:
        raise ImageError("the image has the same value everywhere; choose the DNA channel")
    smooth = gaussian(image, SMOOTH_PX, preserve_range=True)
    # Of the square root: nuclei differ in brightness, and the dim ones must be found too.
    smooth = np.sqrt(smooth - smooth.min())
    regions = ndimage.label(ndimage.binary_fill_holes(smooth > threshold_otsu(smooth)))[0]
    regions[np.bincount(regions.ravel())[regions] < SMALLEST_AREA_PX] = 0
    if not regions.any():
        raise ImageError("nothing in this image looks like a nucleus; choose the DNA channel")
    distance = gaussian(ndimage.distance_transform_edt(regions > 0), SMOOTH_PX)
    peaks = peak_local_max(
        distance, min_distance=SMALLEST_DISTANCE_PX, labels=regions, exclude_border=False
    )
    seeds = np.zeros(image.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    result: np.ndarray = watershed(-distance, seeds, mask=regions > 0).astype(np.int32)
    return result
