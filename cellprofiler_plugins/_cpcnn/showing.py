"""Data of an image set for the module's window, small enough to be sent to it."""

import numpy as np

from . import models, names
from .settings import FIELD, NO_TREATMENT, OBJECTS

EXAMPLES = 5
GAP_PX = 4
COLUMN_TITLES = {
    "treatment": "Nearest treatment",
    "similarity": "Similarity",
    "p_value": "p-value",
    "q_value": "q-value",
}


def keep_for_display(module, workspace, card, image, centers, values, library, likeness):
    """Keep what `display` draws; the window may be that of another process."""
    data = workspace.display_data
    measured = np.flatnonzero(np.isfinite(values).all(axis=1))
    data.image_set = int(workspace.measurements.image_set_number)
    data.what = {OBJECTS: names.owner(module), FIELD: "whole image"}.get(module.unit.value, "tiles")
    data.channels = list(card["channels"])
    data.rows = [
        ["Measured", "%d %s" % (len(measured), data.what)],
        ["Features", "%d" % len(card["features"])],
        ["Model", models.identity(card)[:60]],
        ["Weights", card["weights"]],
    ]
    if "image_like_controls" in likeness:
        data.rows.append(["Like the controls", "%.3f" % likeness["image_like_controls"][0]])
    data.features = values[measured].astype(np.float32)
    data.likeness_title, data.likeness = _likeness(module, likeness, measured)
    data.nearest_columns, data.nearest = [], []
    if library is not None:
        told = names.told(library)
        data.nearest_columns = [COLUMN_TITLES[what] for what in told]
        data.nearest = [[_as_text(one[what]) for what in told] for one in library["nearest"]]
    shown = measured[np.linspace(0, len(measured) - 1, min(EXAMPLES, len(measured))).astype(int)]
    data.shown = [str(row + 1) for row in shown]
    data.crops = np.zeros((0, 0), np.float32)
    if len(shown):
        side = models.crop_side(module, card)
        cut = [crop(image, center, side) for center in centers[shown]]
        if module.unit == FIELD:
            step = -(-max(image.shape[1:]) // card["crop_px"])
            cut = [image[:, ::step, ::step]]
        data.crops = sheet(cut)


def crop(image, center, side):
    """Cut a square around a centre (row, col); pixels outside the image are zero."""
    top, left = (round(value) - side // 2 for value in center.tolist())
    cut = np.zeros((len(image), side, side), np.float32)
    rows = slice(max(top, 0), min(top + side, image.shape[1]))
    cols = slice(max(left, 0), min(left + side, image.shape[2]))
    inside = image[:, rows, cols]
    cut[:, rows.start - top :, cols.start - left :][:, : inside.shape[1], : inside.shape[2]] = (
        inside
    )
    return cut


def sheet(crops):
    """Arrange crops (c, h, w) below each other, their channels side by side, from 0 to 1.

    Every channel of a crop is stretched by itself, as the model sees it.
    """
    lines = []
    for cut in crops:
        low = cut.min(axis=(1, 2), keepdims=True)
        high = cut.max(axis=(1, 2), keepdims=True)
        stretched = (cut - low) / np.maximum(high - low, 1e-7)
        framed = np.pad(stretched, ((0, 0), (0, GAP_PX), (0, GAP_PX)), constant_values=1)
        lines.append(np.hstack(list(framed)))
    return np.vstack(lines).astype(np.float32)


def _as_text(value):
    return value if isinstance(value, str) else "%.3g" % value


def _likeness(module, likeness, measured):
    """Return what the map is coloured by: its title and a value for each object."""
    if module.unit == OBJECTS:
        if "like_treatment" in likeness and module.treatment != NO_TREATMENT:
            return "like %s" % module.treatment.value, likeness["like_treatment"][measured]
        if "like_controls" in likeness:
            return "like the negative controls", likeness["like_controls"][measured]
    return "", np.zeros(0)
