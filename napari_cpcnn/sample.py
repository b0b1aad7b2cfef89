"""Cells for a first try without images: simulated ones in five channels, real ones in two."""

from __future__ import annotations

from typing import Any

import numpy as np

from cpcnn_core.models.registry import CELL_PAINTING_CHANNELS
from cpcnn_core.simulation.design import ScreenDesign
from cpcnn_core.simulation.field import SimulatedField, simulate_field
from cpcnn_core.simulation.treatments import MECHANISMS

COLORS = {"DNA": "blue", "RNA": "green", "ER": "yellow", "AGP": "magenta", "Mito": "red"}
DESIGN = ScreenDesign(plates=1, wells=6, sites=2, treatments=1, seed=7)
MECHANISM = "Aurora kinase inhibitor"
# Of the tissue, in pixels: how far nuclei are smoothed, are apart, and reach.
SMOOTH, APART, REACH, SMALLEST_AREA = 3, 5, 41, 60


def made_up_fields() -> list[tuple[np.ndarray, dict[str, Any], str]]:
    """Simulate untreated cells (left half) and cells under an Aurora kinase inhibitor (right).

    Returns
    -------
    list of (data, options, kind)
        Layers as napari takes them; images (520, 1040) uint16, the nuclei's labels int32.

    Examples
    --------
    >>> layers = made_up_fields()
    >>> [options["name"] for _, options, _ in layers]
    ['DNA', 'RNA', 'ER', 'AGP', 'Mito', 'nuclei']
    """
    left, right = _field(1, {}), _field(2, MECHANISMS[MECHANISM])
    images = np.concatenate([left.image, right.image], axis=2)
    moved = np.where(right.nucleus_labels, right.nucleus_labels + left.nucleus_labels.max(), 0)
    labels = np.concatenate([left.nucleus_labels, moved], axis=1).astype(np.int32)
    layers = [
        _image(plane, name, COLORS[name])
        for name, plane in zip(CELL_PAINTING_CHANNELS, images, strict=True)
    ]
    return [*layers, _nuclei(labels)]


def tissue() -> list[tuple[np.ndarray, dict[str, Any], str]]:
    """Open glands of a colon: nuclei and the protein FHL2, scikit-image's `immunohistochemistry`.

    Returns
    -------
    list of (data, options, kind)
        Layers as napari takes them; how much of each stain there is, (512, 512) float32, the
        nuclei's labels int32.

    Notes
    -----
    The two stains are separated by the method of Ruifrok and Johnston (2001), with
    scikit-image. Nuclei are close to each other: a pixel is theirs where it is brighter than its
    surroundings.

    Examples
    --------
    >>> [options["name"] for _, options, _ in tissue()]
    ['DNA', 'FHL2 as AGP', 'nuclei']
    """
    from skimage.color import rgb2hed
    from skimage.data import immunohistochemistry

    stains = rgb2hed(immunohistochemistry()).astype(np.float32)
    dna, protein = stains[..., 0], stains[..., 2]
    return [
        _image(dna, "DNA", COLORS["DNA"]),
        _image(protein, "FHL2 as AGP", COLORS["AGP"]),
        _nuclei(_nuclei_of_tissue(dna)),
    ]


def _nuclei_of_tissue(dna: np.ndarray) -> np.ndarray:
    from scipy.ndimage import binary_opening
    from skimage.feature import peak_local_max
    from skimage.filters import gaussian, threshold_local, threshold_otsu
    from skimage.segmentation import relabel_sequential, watershed

    smooth = gaussian(dna, SMOOTH)
    threshold = np.maximum(threshold_local(smooth, REACH), 0.7 * threshold_otsu(smooth))
    peaks = peak_local_max(smooth, min_distance=APART, exclude_border=False)
    seeds = np.zeros(dna.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    labels = watershed(-smooth, seeds, mask=binary_opening(smooth > threshold, iterations=2))
    labels[np.bincount(labels.ravel())[labels] < SMALLEST_AREA] = 0
    result: np.ndarray = relabel_sequential(labels)[0].astype(np.int32)
    return result


def _image(plane: np.ndarray, name: str, color: str) -> tuple[np.ndarray, dict[str, Any], str]:
    contrast = tuple(np.percentile(plane, (1, 99.8)).tolist())
    options = {"name": name, "colormap": color, "blending": "additive", "contrast_limits": contrast}
    return plane, options, "image"


def _nuclei(labels: np.ndarray) -> tuple[np.ndarray, dict[str, Any], str]:
    return labels, {"name": "nuclei", "opacity": 0.4}, "labels"


def _field(site: int, effects: dict[str, float]) -> SimulatedField:
    """Make a field of the same well, so that only the treatment differs."""
    return simulate_field(DESIGN, "S1P1", "A01", site, effects=effects)
