"""Two simulated fields of cells in five channels, for a first try without images."""

from __future__ import annotations

import numpy as np

from cpcnn_core.models.registry import CELL_PAINTING_CHANNELS
from cpcnn_core.simulation.design import ScreenDesign
from cpcnn_core.simulation.field import SimulatedField, simulate_field
from cpcnn_core.simulation.mechanisms import MECHANISMS

COLORS = {"DNA": "blue", "RNA": "green", "ER": "yellow", "AGP": "magenta", "Mito": "red"}
DESIGN = ScreenDesign(plates=1, wells=6, sites=2, treatments=1, seed=7)
MECHANISM = "Aurora kinase inhibitor"


def made_up_fields() -> list[tuple[np.ndarray, dict, str]]:
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
        (
            plane,
            {
                "name": name,
                "colormap": COLORS[name],
                "blending": "additive",
                "contrast_limits": tuple(np.percentile(plane, (1, 99.8)).tolist()),
            },
            "image",
        )
        for name, plane in zip(CELL_PAINTING_CHANNELS, images, strict=True)
    ]
    return [*layers, (labels, {"name": "nuclei", "opacity": 0.4}, "labels")]


def _field(site: int, effects: dict[str, float]) -> SimulatedField:
    """Make a field of the same well, so that only the treatment differs."""
    return simulate_field(DESIGN, "S1P1", "A01", site, effects=effects)
