"""Noise of several grain sizes over a whole field, from which cells take their texture.

Beside Gaussian noise there are spots and filaments of the same mean, variance and expected power
spectrum: what differs is the phases, which means and spectra do not see.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from scipy import fft, ndimage

from cpcnn_core.simulation.seeds import stream

SIZES_UM = (0.35, 0.7, 1.4, 2.8, 5.6)
BEND_UM = {2.8: 0.3, 5.6: 0.9}
Form = Literal["noise", "spots", "filaments"]
# Mean distances between spots, and length of filaments and distances between them, in grain sizes.
SPOT_DISTANCE, FILAMENT_LENGTH, FILAMENT_DISTANCE = 7.0, 14.0, 7.0


class Textures:
    """Fields of mean 0 and variance 1, one for each form and grain size.

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
        self._seed = random.randint(2**31)
        self._shape, self._pixel_size = shape, pixel_size
        self._made: dict[tuple[Form, int], np.ndarray] = {}

    def at(
        self, rows: np.ndarray, cols: np.ndarray, size_um: float, form: Form = "noise"
    ) -> np.ndarray:
        """Return texture of a form and of about this grain size at pixels, (n,) float32."""
        place = np.interp(math.log(size_um), np.log(SIZES_UM), np.arange(len(SIZES_UM)))
        low = min(int(place), len(SIZES_UM) - 2)
        part = float(place) - low
        fine, coarse = (self._field(form, step)[rows, cols] for step in (low, low + 1))
        mixed = (1 - part) * fine + part * coarse
        result: np.ndarray = mixed / np.float32(math.hypot(part, 1 - part))
        return result

    def _field(self, form: Form, step: int) -> np.ndarray:
        if form == "noise":
            return self._fields[step]
        if (form, step) not in self._made:
            random = stream(self._seed, form, step)
            make = spots if form == "spots" else filaments
            sigma_px = SIZES_UM[step] / self._pixel_size
            self._made[form, step] = make(random, self._shape, sigma_px)
        return self._made[form, step]


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
    return _standardized(stretch(noise, step, shape))


def spots(random: np.random.RandomState, shape: tuple[int, int], sigma_px: float) -> np.ndarray:
    """Make bright spots at random places, each a Gaussian.

    Parameters and result are those of `smooth_noise`. Shot noise has the power spectrum of one
    spot, which is that of the smoothed noise.

    Examples
    --------
    >>> from cpcnn_core.simulation.seeds import stream
    >>> made = spots(stream(1), (200, 200), 2.0)
    >>> bool((made**3).mean() > 1), round(float(made.std()), 3)  # skewed to the bright side
    (True, 1.0)
    """
    height, width, margin = _with_margin(shape, sigma_px)
    number = max(1, round(height * width / (SPOT_DISTANCE * sigma_px) ** 2))
    places = random.randint(height, size=number), random.randint(width, size=number)
    light = np.zeros((height, width), np.float32)
    np.add.at(light, places, random.uniform(0.6, 1.4, number))
    return _standardized(_smoothed(light, sigma_px, margin, shape))


def filaments(random: np.random.RandomState, shape: tuple[int, int], sigma_px: float) -> np.ndarray:
    """Make lines of random places and directions.

    Parameters and result are those of `smooth_noise`. Every frequency keeps its phase, which
    makes the lines, and gets the power that smoothed noise has there.

    Examples
    --------
    >>> from cpcnn_core.simulation.seeds import stream
    >>> made = filaments(stream(1), (200, 200), 2.0)
    >>> bool((made**4).mean() > 3.2), round(float(made.std()), 3)  # heavier tails than noise
    (True, 1.0)
    """
    height, width, margin = _with_margin(shape, sigma_px)
    length = FILAMENT_LENGTH * sigma_px
    number = max(1, round(height * width / (length * FILAMENT_DISTANCE * sigma_px)))
    steps = np.arange(-length / 2, length / 2, 0.5)
    angles = random.uniform(0, math.pi, (number, 1))
    rows = random.uniform(0, height, (number, 1)) + steps * np.sin(angles)
    cols = random.uniform(0, width, (number, 1)) + steps * np.cos(angles)
    lines = np.zeros((height, width), np.float32)
    places = rows.astype(int) % height, cols.astype(int) % width
    np.add.at(lines, places, np.broadcast_to(random.uniform(0.6, 1.4, (number, 1)), rows.shape))
    spectrum = fft.rfft2(lines)
    spectrum /= np.maximum(np.abs(spectrum), 1e-9)
    even = fft.irfft2(spectrum, (height, width)).astype(np.float32)
    return _standardized(_smoothed(even, sigma_px, margin, shape))


def _with_margin(shape: tuple[int, int], sigma_px: float) -> tuple[int, int, int]:
    margin = math.ceil(3 * sigma_px)
    height, width = (side + 2 * margin for side in shape)
    return height, width, margin


def _smoothed(
    field: np.ndarray, sigma_px: float, margin: int, shape: tuple[int, int]
) -> np.ndarray:
    smooth: np.ndarray = ndimage.gaussian_filter(field, sigma_px, truncate=3.0)
    return smooth[margin : margin + shape[0], margin : margin + shape[1]]


def _standardized(field: np.ndarray) -> np.ndarray:
    field = field - field.mean()
    result: np.ndarray = field / max(float(field.std()), 1e-6)
    return result


def blend(usual: np.ndarray, other: np.ndarray, degree: float) -> np.ndarray:
    """Replace a part of a texture by another of the same variance, and keep the variance.

    Parameters
    ----------
    usual, other : ndarray of shape (n,)
        Independent of each other, of mean 0.
    degree : float, range [-1, 1]
        Weight of the other; below 0 its bright and dark places are exchanged.

    Returns
    -------
    ndarray of shape (n,)

    Examples
    --------
    >>> blend(np.array([5.0, 0.0]), np.array([0.0, 5.0]), -0.6)
    array([ 4., -3.])
    """
    result: np.ndarray = math.sqrt(1 - degree**2) * usual + degree * other
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
