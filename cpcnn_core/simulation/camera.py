"""From light to grey values: blur, haze, bleed-through, background, vignetting, noise."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from cpcnn_core.simulation.technique import CHANNELS
from cpcnn_core.simulation.textures import smooth_noise, stretch

# Standard deviation of the microscope's own blur; red light is blurred more than blue.
PSF_UM = {"DNA": 0.55, "RNA": 0.44, "ER": 0.44, "AGP": 0.5, "Mito": 0.5}
# Part of the light that is spread widely, from above and below the focus.
HAZE, HAZE_UM = 0.16, 8.0
# Light of one channel that reaches another: (from, to, part), at bleed_through 1.
BLEED = (("RNA", "ER", 0.08), ("ER", "RNA", 0.06), ("RNA", "AGP", 0.03), ("AGP", "Mito", 0.03))
OFFSET, READ_NOISE = 100.0, 2.5
# The background is uneven by this part of it, over this distance.
UNEVEN, UNEVEN_UM = 0.05, 60.0
FULL_SCALE = 65535


def photograph(
    light: np.ndarray,
    floating: np.ndarray | None,
    technique: Mapping[str, float],
    pixel_size: float,
    random: np.random.RandomState,
) -> np.ndarray:
    """Take the pictures of a field.

    Parameters
    ----------
    light : ndarray of shape (5, h, w), float32
        In counts; channels as `CHANNELS`.
    floating : ndarray of shape (5, h, w), float32, optional
        Light of what is above the focus.
    technique : mapping of str to float
        See `cpcnn_core.simulation.technique.technique_of_plate`.
    pixel_size : float
        Micrometres per pixel.
    random : numpy.random.RandomState
        Of the noise and the uneven background.

    Returns
    -------
    ndarray of shape (5, h, w), uint16

    Examples
    --------
    >>> from cpcnn_core.simulation.seeds import stream
    >>> from cpcnn_core.simulation.technique import FACTORS
    >>> typical = {name: factor.typical for name, factor in FACTORS.items()}
    >>> typical["vignetting"] = 0.0
    >>> image = photograph(np.zeros((5, 64, 64), np.float32), None, typical, 0.6, stream(1))
    >>> image.dtype, bool(abs(image[0].mean() - 630) < 30)  # offset and background
    (dtype('uint16'), True)
    """
    blurred = np.stack(
        [
            _blur(plane, math.hypot(PSF_UM[name], technique["focus_um"]) / pixel_size)
            for name, plane in zip(CHANNELS, light, strict=True)
        ]
    )
    if floating is not None:
        blurred += np.stack([_blur(plane, 2.0 / pixel_size) for plane in floating])
    mixed = blurred.copy()
    for source, target, part in BLEED:
        amount = np.float32(part * technique["bleed_through"])
        mixed[CHANNELS.index(target)] += amount * blurred[CHANNELS.index(source)]
    vignette = _vignette(light.shape[1:], technique)
    taken = np.empty(light.shape, np.uint16)
    for index, channel in enumerate(CHANNELS):
        plane = (1 - HAZE) * mixed[index] + HAZE * _wide_blur(mixed[index], HAZE_UM / pixel_size)
        uneven = 1 + UNEVEN * smooth_noise(random, plane.shape, UNEVEN_UM / pixel_size)
        plane = technique[f"gain_{channel}"] * plane + technique[f"background_{channel}"] * uneven
        plane = plane * vignette
        noise = np.sqrt(technique["noise"] * np.maximum(plane, 0) + READ_NOISE**2)
        plane = OFFSET + plane + noise * random.standard_normal(plane.shape)
        taken[index] = np.rint(plane).clip(0, FULL_SCALE)
    return taken


def _blur(plane: np.ndarray, sigma: float) -> np.ndarray:
    result: np.ndarray = ndimage.gaussian_filter(plane, sigma, truncate=3.0, mode="nearest")
    return result


def _wide_blur(plane: np.ndarray, sigma: float) -> np.ndarray:
    """Blur on every fourth pixel, which is enough for what is smooth."""
    step = 4
    height, width = (-(-side // step) * step for side in plane.shape)
    padded = np.pad(plane, ((0, height - plane.shape[0]), (0, width - plane.shape[1])), "edge")
    coarse = padded.reshape(height // step, step, width // step, step).mean(axis=(1, 3))
    coarse = ndimage.gaussian_filter(coarse, sigma / step, truncate=3.0, mode="nearest")
    return stretch(coarse, step, plane.shape)


def _vignette(shape: tuple[int, int], technique: Mapping[str, float]) -> np.ndarray:
    """Return the light that reaches each place: 1 at the brightest, less towards corners."""
    rows, cols = (np.linspace(-0.5, 0.5, side, dtype=np.float32) for side in shape)
    far = (rows[:, None] - technique["vignetting_row"]) ** 2
    far = far + (cols - technique["vignetting_column"]) ** 2
    result: np.ndarray = np.clip(1 - technique["vignetting"] * far / 0.5, 0.1, 1).astype(np.float32)
    return result
