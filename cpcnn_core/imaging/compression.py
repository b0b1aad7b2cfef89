"""DeepProfiler's 8-bit compression: illumination correction and stretching, plate by plate.

The published configurations embed images that went through it (docs/method.md#compression), so a
project that has it switched on needs the same bytes.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from cpcnn_core.errors import ImageError

DOWN_SCALE = 4
MEDIAN_PX = 24
# Percentages of the darkest and brightest pixels cut off: of an image, of a plate.
IMAGE_PERCENTILES = (0.05, 99.95)
PLATE_UPPER = 0.9999
_ILLUMINATION_PERCENTILE = 2


class ChannelStatistics:
    """The statistics that compression needs of all images of one channel of one plate.

    Parameters
    ----------
    bits : int
        Bits of the pixel values.
    down_scale : int
        Factor between an image and its thumbnail.

    Examples
    --------
    >>> statistics = ChannelStatistics(bits=8)
    >>> statistics.add(np.full((64, 64), 9, np.uint8))
    >>> statistics.upper()
    9
    """

    def __init__(self, bits: int = 16, down_scale: int = DOWN_SCALE) -> None:
        self.down_scale = down_scale
        self._histogram = np.zeros(2**bits, np.int64)
        self._thumbnails: np.ndarray | None = None
        self._shape: tuple[int, ...] = ()
        self._count = 0

    def add(self, plane: np.ndarray) -> None:
        """Take one image (h, w) of whole numbers into account.

        Raises
        ------
        ImageError
            Another size than the first image's, or values beyond the bits.
        """
        from skimage.transform import resize

        if self._count and plane.shape != self._shape:
            raise ImageError(
                f"expected images of {self._shape} as the plate's first, got {plane.shape}"
            )
        if plane.dtype.kind not in "iu" or plane.min() < 0 or plane.max() >= len(self._histogram):
            raise ImageError(
                f"expected whole numbers below {len(self._histogram)}, got {plane.dtype} up to "
                f"{plane.max()}; correct the bits in the configuration"
            )
        self._shape = plane.shape
        self._histogram += np.bincount(plane.ravel(), minlength=len(self._histogram))
        thumbnail = resize(
            plane.astype(np.float64),
            tuple(side // self.down_scale for side in plane.shape),
            order=1,
            mode="reflect",
            anti_aliasing=True,
            anti_aliasing_sigma=1.5,
            preserve_range=True,
        )
        self._thumbnails = thumbnail if self._thumbnails is None else self._thumbnails + thumbnail
        self._count += 1

    def upper(self) -> int:
        """Return the value that 99.99 % of the plate's pixels do not exceed."""
        shares = np.cumsum(self._histogram / self._histogram.sum())
        return int(np.argmax(shares > PLATE_UPPER))

    def mean_thumbnail(self) -> np.ndarray:
        """Return the mean of the thumbnails, (h / 4, w / 4) float64."""
        return cast("np.ndarray", self._thumbnails) / self._count

    def illumination(self, median_px: int = MEDIAN_PX) -> np.ndarray:
        """Return the illumination function (h, w) float64, nowhere below 1."""
        return illumination_function(self.mean_thumbnail(), self._shape, median_px)


def illumination_function(
    mean_thumbnail: np.ndarray, shape: tuple[int, ...], median_px: int = MEDIAN_PX
) -> np.ndarray:
    """Smooth the mean image of a plate into what its images are divided by.

    Parameters
    ----------
    mean_thumbnail : ndarray of shape (h, w), float64
    shape : (height, width) of the images in pixels
    median_px : int
        Diameter of the median filter's disk, in pixels of the thumbnail.

    Returns
    -------
    ndarray of the given shape, float64
        ``max(smooth, r) / r`` with r the 2nd percentile of the smooth image.

    Notes
    -----
    docs/method.md#compression. The mean is cut to whole numbers before the median, as there.

    Examples
    --------
    >>> float(illumination_function(np.full((8, 8), 100.0), (32, 32)).max())
    1.0
    """
    from skimage.filters import median
    from skimage.morphology import disk
    from skimage.transform import resize

    smooth = median(mean_thumbnail.astype(np.uint16), disk(median_px / 2))
    smooth = resize(smooth, shape, order=1, mode="reflect", preserve_range=True)
    floor = np.percentile(smooth, _ILLUMINATION_PERCENTILE)
    if floor <= 0:
        raise ImageError("the plate's images are black; their illumination cannot be corrected")
    result: np.ndarray = np.maximum(smooth, floor) / floor
    return result


def compress_plane(plane: np.ndarray, illumination: np.ndarray, upper: float) -> np.ndarray:
    """Correct one image and stretch it to 8 bits.

    Parameters
    ----------
    plane, illumination : ndarray of shape (h, w)
    upper : float
        The plate's upper percentile; see `ChannelStatistics.upper`.

    Returns
    -------
    ndarray of shape (h, w), uint8
        An image without contrast becomes zero.

    Notes
    -----
    docs/method.md#compression: the percentiles 0.05 and 99.95 of this image, the latter at most
    the plate's, become 0 and 255.

    Examples
    --------
    >>> plane = np.arange(10000).reshape(100, 100)
    >>> int(compress_plane(plane, np.ones((100, 100)), 65535).max())
    255
    """
    corrected = plane / illumination
    low, high = np.percentile(corrected, IMAGE_PERCENTILES)
    high = min(high, upper)
    if high <= low:
        return np.zeros(plane.shape, np.uint8)
    result: np.ndarray = np.round(
        255 * ((np.clip(corrected, low, high) - low) / (high - low))
    ).astype(np.uint8)
    return result
