"""Draw what was kept for the window: example crops, the map of the objects, tables."""

import collections
import weakref

import numpy as np

from .showing import GAP_PX

# Of the newest image sets; more points than these only cover each other.
MOST_POINTS = 1500

_seen = weakref.WeakKeyDictionary()


def draw(data, figure):
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


def remember(figure, data):
    """Return {image set: (features, likeness)} of the newest that were drawn into a figure."""
    seen = _seen.setdefault(figure, collections.OrderedDict())
    seen.pop(data.image_set, None)
    seen[data.image_set] = data.features, data.likeness
    while sum(len(features) for features, _ in seen.values()) > MOST_POINTS and len(seen) > 1:
        seen.popitem(last=False)
    return seen


def principal_axes(features):
    """Return the first two principal components (n, 2) of features (n, d)."""
    centered = features - features.mean(axis=0)
    left, lengths, _ = np.linalg.svd(centered, full_matrices=False)
    places = np.zeros((len(features), 2))
    places[:, : min(2, len(lengths))] = (left * lengths)[:, :2]
    return places


def plain(name):
    """Return a name as a text that a figure shows as it is: dollars begin a formula there."""
    return name.replace("$", r"\$")


def _label_sheet(axes, data):
    lines, columns = len(data.shown), len(data.channels)
    height, width = data.crops.shape[0] / lines, data.crops.shape[1] / columns
    axes.set_xticks([(n + 0.5) * width - GAP_PX / 2 for n in range(columns)])
    axes.set_xticklabels([plain(channel) for channel in data.channels])
    axes.set_yticks([(n + 0.5) * height - GAP_PX / 2 for n in range(lines)])
    axes.set_yticklabels(data.shown)
    axes.set_ylabel(plain(data.what))


def _draw_map(axes, seen, data):
    axes.set_title("Map of %s (principal components)" % plain(data.what))
    axes.set_xlabel("PC 1")
    axes.set_ylabel("PC 2")
    features = np.concatenate([features for features, _ in seen.values()])
    if len(features) < 2:
        axes.text(0.5, 0.5, "two or more are needed", ha="center", transform=axes.transAxes)
        return
    places = principal_axes(features.astype(float))
    if data.likeness_title:
        colors = np.concatenate([likeness for _, likeness in seen.values()])
        dots = axes.scatter(places[:, 0], places[:, 1], c=colors, s=12, cmap="viridis")
        axes.figure.colorbar(dots, ax=axes, label=plain(data.likeness_title))
        return
    ends = np.cumsum([len(features) for features, _ in seen.values()])
    for number, end, (own, _) in zip(seen, ends, seen.values()):
        part = places[end - len(own) : end]
        axes.scatter(part[:, 0], part[:, 1], s=12, label="image set %d" % number)
    axes.legend(fontsize="small")
