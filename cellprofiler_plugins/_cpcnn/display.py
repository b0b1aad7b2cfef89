"""What the window shows: data of an image set, small enough to be sent to it, and its figure."""

from __future__ import annotations

import collections
import weakref
from typing import TYPE_CHECKING, Any, Iterable, NamedTuple, OrderedDict, Tuple

import numpy as np

from .measurement_columns import told
from .request import FIELD

if TYPE_CHECKING:
    from cellprofiler.gui.figure import Figure
    from cellprofiler_core.workspace import DisplayData, Workspace
    from matplotlib.axes import Axes

    from .request import MeasurementRequest

EXAMPLES = 5
GAP_PX = 4
# Of the newest image sets; more points than these only cover each other.
MAX_POINTS = 1500
COLUMN_TITLES = {
    "treatment": "Nearest treatment",
    "similarity": "Similarity",
    "p_value": "p-value",
    "q_value": "q-value",
}
# Features and similarities of every image set that a figure was drawn for.
Seen = OrderedDict[int, Tuple[np.ndarray, np.ndarray]]

_seen: weakref.WeakKeyDictionary[Figure, Seen] = weakref.WeakKeyDictionary()


class Shown(NamedTuple):
    """What was measured in one image set.

    Image (c, h, w), or None without objects; centres (n, 2) and features (n, d), NaN where an
    object has none; the side of a crop; and the answers about a library.
    """

    image: np.ndarray | None
    centers: np.ndarray
    features: np.ndarray
    crop_side: int
    library: dict[str, Any] | None
    similarities: dict[str, np.ndarray]


def keep_for_display(
    request: MeasurementRequest,
    workspace: Workspace,
    card: dict[str, Any],
    rows: list[list[str]],
    shown: Shown,
) -> None:
    """Keep what `draw` draws; the window may be that of another process.

    `rows` say where the features come from.
    """
    data = workspace.display_data
    measured = np.flatnonzero(np.isfinite(shown.features).all(axis=1))
    data.image_set = int(workspace.measurements.image_set_number)
    if request.of_objects:
        data.what = request.owner
    else:
        data.what = "whole image" if request.unit == FIELD else "tiles"
    data.channels = list(card["channels"])
    data.rows = [
        ["Measured", "%d %s" % (len(measured), data.what)],
        ["Features", "%d" % shown.features.shape[1]],
        *rows,
    ]
    if "image_like_controls" in shown.similarities:
        near = shown.similarities["image_like_controls"][0]
        data.rows.append(["Like the controls", "%.3f" % near])
    data.features = shown.features[measured].astype(np.float32)
    data.similarity_title, data.similarities = _similarity(request, shown.similarities, measured)
    data.nearest_columns, data.nearest = [], []
    if shown.library is not None:
        named = told(p_values=shown.library["has_p_values"])
        data.nearest_columns = [COLUMN_TITLES[what] for what in named]
        data.nearest = [[_as_text(one[what]) for what in named] for one in shown.library["nearest"]]
    examples = np.linspace(0, len(measured) - 1, min(EXAMPLES, len(measured))).astype(int)
    data.shown = [str(row + 1) for row in measured[examples]]
    data.crops = np.zeros((0, 0), np.float32)
    if len(examples) and shown.image is not None:
        cut = [crop(shown.image, at, shown.crop_side) for at in shown.centers[measured[examples]]]
        if request.unit == FIELD:
            step = -(-max(shown.image.shape[1:]) // card["crop_px"])
            cut = [shown.image[:, ::step, ::step]]
        data.crops = sheet(cut)


def crop(image: np.ndarray, center: np.ndarray, side: int) -> np.ndarray:
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


def sheet(crops: Iterable[np.ndarray]) -> np.ndarray:
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
    whole: np.ndarray = np.vstack(lines).astype(np.float32)
    return whole


def _as_text(value: str | float) -> str:
    return value if isinstance(value, str) else "%.3g" % value


def _similarity(
    request: MeasurementRequest, similarities: dict[str, np.ndarray], measured: np.ndarray
) -> tuple[str, np.ndarray]:
    """Return what the map is coloured by: its title and a value for each object."""
    if request.of_objects and request.library is not None:
        if "like_treatment" in similarities:
            return "like %s" % request.library.treatment, similarities["like_treatment"][measured]
        if "like_controls" in similarities:
            return "like the negative controls", similarities["like_controls"][measured]
    return "", np.zeros(0)


def draw(data: DisplayData, figure: Figure) -> None:
    """Draw into one of CellProfiler's figures.

    The map shows the objects of all image sets that this figure has been drawn for.
    """
    figure.set_subplots((2, 2))
    if data.crops.size:
        axes = figure.subplot_imshow_grayscale(
            0, 0, data.crops, "Examples of %s" % plain(data.what), normalize=False
        )
        _label_sheet(axes, data)
    _draw_map(figure.subplot(1, 0), remember(figure, data), data)
    figure.subplot_table(0, 1, data.rows)
    if data.nearest:
        figure.subplot_table(1, 1, data.nearest, col_labels=data.nearest_columns)


def remember(figure: Figure, data: DisplayData) -> Seen:
    """Return {image set: (features, similarities)} of the newest that were drawn into a figure."""
    seen = _seen.setdefault(figure, collections.OrderedDict())
    seen.pop(data.image_set, None)
    seen[data.image_set] = data.features, data.similarities
    while sum(len(features) for features, _ in seen.values()) > MAX_POINTS and len(seen) > 1:
        seen.popitem(last=False)
    return seen


def principal_axes(features: np.ndarray) -> np.ndarray:
    """Return the first two principal components (n, 2) of features (n, d)."""
    centered = features - features.mean(axis=0)
    left, lengths, _ = np.linalg.svd(centered, full_matrices=False)
    places = np.zeros((len(features), 2))
    places[:, : min(2, len(lengths))] = (left * lengths)[:, :2]
    return places


def plain(name: str) -> str:
    """Return a name as a text that a figure shows as it is: dollars begin a formula there."""
    return name.replace("$", r"\$")


def _label_sheet(axes: Axes, data: DisplayData) -> None:
    lines, columns = len(data.shown), len(data.channels)
    height, width = data.crops.shape[0] / lines, data.crops.shape[1] / columns
    axes.set_xticks([(n + 0.5) * width - GAP_PX / 2 for n in range(columns)])
    axes.set_xticklabels([plain(channel) for channel in data.channels])
    axes.set_yticks([(n + 0.5) * height - GAP_PX / 2 for n in range(lines)])
    axes.set_yticklabels(data.shown)
    axes.set_ylabel(plain(data.what))


def _draw_map(axes: Axes, seen: Seen, data: DisplayData) -> None:
    axes.set_title("Map of %s (principal components)" % plain(data.what))
    axes.set_xlabel("PC 1")
    axes.set_ylabel("PC 2")
    features = np.concatenate([features for features, _ in seen.values()])
    if len(features) < 2:
        axes.text(0.5, 0.5, "two or more are needed", ha="center", transform=axes.transAxes)
        return
    places = principal_axes(features.astype(float))
    if data.similarity_title:
        colors = np.concatenate([similarities for _, similarities in seen.values()])
        dots = axes.scatter(places[:, 0], places[:, 1], c=colors, s=12, cmap="viridis")
        axes.figure.colorbar(dots, ax=axes, label=plain(data.similarity_title))
        return
    ends = np.cumsum([len(features) for features, _ in seen.values()])
    for number, end, (own, _) in zip(seen, ends, seen.values()):
        part = places[end - len(own) : end]
        axes.scatter(part[:, 0], part[:, 1], s=12, label="image set %d" % number)
    axes.legend(fontsize="small")
