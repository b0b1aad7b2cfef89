"""Noise of several grain sizes over a whole field, from which cells take their texture."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

SIZES_UM = (0.35, 0.7, 1.4, 2.8, 5.6)
BEND_UM = {2.8: 0.3, 5.6: 0.9}


class Textures:
    """Noise fields of mean 0 and variance 1, one for each grain size.

    Parameters
    ----------
    random : numpy.random.RandomState
    shape : (int, int)
        Height and width in pixels.
    pixel_size : float
        Micrometres per pixel.

    Examples
    --------
    >>> from cpcnn_core.simulation.seeds import stream
    >>> textures = Textures(stream(1), (64, 64), 0.6)
    >>> everywhere = np.indices((64, 64)).reshape(2, -1)
    >>> round(float(textures.at(*everywhere, 1.4).std()), 2)
    1.0
    """

    def __init__(
        self, random: np.random.RandomState, shape: tuple[int, int], pixel_size: float
    ) -> None:
        self._fields = [smooth_noise(random, shape, size / pixel_size) for size in SIZES_UM]
        rows, cols = np.indices(shape, np.float32)
        bends = [
            sum(
                smooth_noise(random, shape, size / pixel_size) * np.float32(far / pixel_size)
                for size, far in BEND_UM.items()
            )
            for _ in "rc"
        ]
        self.bent = rows + bends[0], cols + bends[1]

    def at(self, rows: np.ndarray, cols: np.ndarray, size_um: float) -> np.ndarray:
        """Return noise of about this grain size at pixels, (n,) float32."""
        place = np.interp(math.log(size_um), np.log(SIZES_UM), np.arange(len(SIZES_UM)))
        low = min(int(place), len(SIZES_UM) - 2)
        part = float(place) - low
        mixed = (1 - part) * self._fields[low][rows, cols] + part * self._fields[low + 1][
            rows, cols
        ]
        result: np.ndarray = mixed / np.float32(math.hypot(part, 1 - part))
        return result


def smooth_noise(
    random: np.random.RandomState, shape: tuple[int, int], sigma_px: float
) -> np.ndarray:
    """Make Gaussian noise smoothed by a Gaussian, of mean 0 and variance 1.

    Parameters
    ----------
    random : numpy.random.RandomState
    shape : (int, int)
    sigma_px : float
        Standard deviation of the Gaussian in pixels.

    Returns
    -------
    ndarray of that shape, float32

    Examples
    --------
    >>> from cpcnn_core.simulation.seeds import stream
    >>> noise = smooth_noise(stream(1), (50, 60), 3.0)
    >>> noise.shape, round(float(noise.std()), 3)
    ((50, 60), 1.0)
    """
    # What is smooth can be made coarse and be stretched, which is many times as fast.
    step = max(1, int(sigma_px / 2))
    coarse = tuple(-(-side // step) + 3 for side in shape)
    noise = random.standard_normal(coarse).astype(np.float32)
    noise = ndimage.gaussian_filter(noise, sigma_px / step, truncate=3.0)
    noise = stretch(noise, step, shape)
    noise = noise - noise.mean()
    result: np.ndarray = noise / max(float(noise.std()), 1e-6)
    return result


def stretch(coarse: np.ndarray, step: int, shape: tuple[int, int]) -> np.ndarray:
    """Enlarge an image by linear interpolation between the middles of its pixels.

    Parameters
    ----------
    coarse : ndarray of shape (r, c), float32
    step : int
        Pixels of the result for one of its own, along both axes.
    shape : (int, int)
        Of the result, at most ``(r * step, c * step)``.

    Examples
    --------
    >>> stretch(np.float32([[0, 4]]), 2, (1, 4))
    array([[0., 1., 3., 4.]], dtype=float32)
    """
    if step == 1:
        return coarse[: shape[0], : shape[1]]
    for axis in (0, 1):
        place = (np.arange(shape[axis], dtype=np.float32) + 0.5) / step - 0.5
        place = place.clip(0, coarse.shape[axis] - 1)
        low = np.minimum(place.astype(int), max(coarse.shape[axis] - 2, 0))
        part = np.expand_dims(place - low.astype(np.float32), 1 - axis)
        high = np.minimum(low + 1, coarse.shape[axis] - 1)
        coarse = coarse.take(low, axis) * (1 - part) + coarse.take(high, axis) * part
    return coarse
