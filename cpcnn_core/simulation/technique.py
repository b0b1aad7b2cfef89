"""What has no biological cause: differences between studies, plates and wells, and the camera.

The camera turns light into gray values: blur, haze, bleed-through, background, vignetting, noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from cpcnn_core.simulation.design import ScreenDesign
from cpcnn_core.simulation.layout import Well
from cpcnn_core.simulation.seeds import stream
from cpcnn_core.simulation.textures import smooth_noise, stretch

CHANNELS = ("DNA", "RNA", "ER", "AGP", "Mito")
# Counts above the camera's offset where there is no cell, as in the example of CPJUMP1.
BACKGROUNDS = {"DNA": 530.0, "RNA": 560.0, "ER": 330.0, "AGP": 680.0, "Mito": 1030.0}
# Of the logarithm, for a plate as a whole: wells of the outer rows and columns have fewer
# cells and are brighter; brightness drifts from the first column to the last.
EDGE_SPREAD, DRIFT_SPREAD = 0.12, 0.12
EDGE_BRIGHTNESS = 0.5


@dataclass(frozen=True)
class Factor:
    """One technical value.

    Attributes
    ----------
    typical : float
    study, plate, well : float
        Standard deviations that these add, at batch strength 1: of the logarithm, or of
        the value itself where it is a `place`.
    place : bool
        It may be negative.
    """

    typical: float
    study: float
    plate: float
    well: float
    place: bool = False


FACTORS = {
    **{f"gain_{channel}": Factor(1.0, 0.3, 0.15, 0.05) for channel in CHANNELS},
    **{f"background_{name}": Factor(BACKGROUNDS[name], 0.3, 0.15, 0.05) for name in CHANNELS},
    "focus_um": Factor(0.25, 0.3, 0.35, 0.35),
    "vignetting": Factor(0.4, 0.3, 0.3, 0.0),
    "vignetting_row": Factor(0.0, 0.12, 0.05, 0.0, place=True),
    "vignetting_column": Factor(0.0, 0.12, 0.05, 0.0, place=True),
    "bleed_through": Factor(1.0, 0.3, 0.1, 0.0),
    "noise": Factor(0.25, 0.3, 0.1, 0.0),
    "density": Factor(1.0, 0.15, 0.12, 0.1),
}


def technique_of_plate(design: ScreenDesign, well: Well) -> dict[str, float]:
    """Return the technical values of a well's plate: its study's style and its own.

    Parameters
    ----------
    design : ScreenDesign
    well : Well
        Any of the plate.

    Returns
    -------
    dict of str to float
        A value for each of `FACTORS`: ``gain_*`` (factor on all light of a channel),
        ``background_*`` (counts), ``focus_um`` (standard deviation of the blur beyond the
        microscope's own, in micrometres), ``vignetting`` (light lost at the corners, relative)
        and its centre (relative to the field's side, from its middle), ``bleed_through``
        (factor), ``noise`` (variance per count), ``density`` (factor on the number of cells).

    Examples
    --------
    >>> from cpcnn_core.simulation.layout import find_well
    >>> design = ScreenDesign(batch_strength=0.0)
    >>> technique_of_plate(design, find_well(design, "S1P1", "A01"))["background_ER"]
    330.0
    """
    return _typical_but_for(_of_plate(design, well))


def technique_of_well(design: ScreenDesign, well: Well) -> dict[str, float]:
    """Return the technical values of a well: the plate's, its own, and those of its place.

    Parameters
    ----------
    design : ScreenDesign
    well : Well

    Returns
    -------
    dict of str to float
        As `technique_of_plate`.

    Examples
    --------
    >>> from cpcnn_core.simulation.layout import find_well
    >>> design = ScreenDesign(batch_strength=0.0)
    >>> technique_of_well(design, find_well(design, "S1P1", "A01"))["density"]
    1.0
    """
    moved = _of_plate(design, well)
    for name, deviation in _deviations(design, "well", well.plate, well.name).items():
        moved[name] += deviation
    edge, drift = _of_place(design, well)
    moved["density"] -= edge
    for channel in CHANNELS:
        moved[f"gain_{channel}"] += EDGE_BRIGHTNESS * edge + drift
    return _typical_but_for(moved)


def _of_plate(design: ScreenDesign, well: Well) -> dict[str, float]:
    study = _deviations(design, "study", well.study_name)
    plate = _deviations(design, "plate", well.plate)
    return {name: study[name] + plate[name] for name in FACTORS}


def _deviations(design: ScreenDesign, level: str, *name: str) -> dict[str, float]:
    drawn = stream(design.seed, level, *name).standard_normal(len(FACTORS))
    return {
        key: float(design.batch_strength * getattr(factor, level) * deviation)
        for (key, factor), deviation in zip(FACTORS.items(), drawn, strict=True)
    }


def _of_place(design: ScreenDesign, well: Well) -> tuple[float, float]:
    """Return what the plate's edge and the drift over its columns add to logarithms."""
    drawn = stream(design.seed, "places", well.plate).standard_normal(2) * design.batch_strength
    rows, columns = design.plate_format
    on_edge = well.row in (0, rows - 1) or well.column in (0, columns - 1)
    edge = EDGE_SPREAD * abs(drawn[0]) if on_edge else 0.0
    return edge, float(DRIFT_SPREAD * drawn[1] * (well.column / (columns - 1) - 0.5))


def _typical_but_for(moved: Mapping[str, float]) -> dict[str, float]:
    return {
        name: factor.typical + moved[name]
        if factor.place
        else factor.typical * math.exp(moved[name])
        for name, factor in FACTORS.items()
    }


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
