"""Figures of the reports."""

from __future__ import annotations

import io
import itertools
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, to_hex
from matplotlib.figure import Figure

from cpcnn_core.evaluation.report_page import Picture, PlateMap, Point, Scatter, Well
from cpcnn_core.profiles.correction_steps import fit_principal_components
from cpcnn_core.profiles.retrieval import precision_at, recall_at
from cpcnn_core.profiles.similarity import cosine_similarity, same_label, unit_length
from cpcnn_core.schema.profiles import Profiles
from cpcnn_core.user_messages import printable, some

# Told apart by most eyes, also by those that cannot tell red from green (Wong 2011).
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
GREY = "#c8ccd0"
VIRIDIS = colormaps["viridis"]
Draw = Callable[[Axes], None]


def figure(title: str, draw: Draw, size: tuple[float, float], width: int = 0) -> Picture:
    """Draw a figure for a page.

    Parameters
    ----------
    title : str
        For those who cannot see it.
    draw : callable (Axes)
    size : (width, height) in inches
    width : int
        Of the page, in %; 0: its own.

    Examples
    --------
    >>> figure("A line", lambda axes: axes.plot([1, 2]), (3, 2)).png[1:4]
    b'PNG'
    """
    file = io.BytesIO()
    # Names are not for TeX, whatever this user's own figures are.
    with rc_context({"text.usetex": False}), warnings.catch_warnings():
        # A letter that the font lacks is drawn as a box; the page's text has it.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        drawn = Figure(size, layout="constrained")
        axes = drawn.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes)
        drawn.savefig(file, format="png", dpi=130)
    return Picture(title, file.getvalue(), width)


def shown_name(name: str, longest: int = 40) -> str:
    r"""Return a name as a text that a figure shows as it is, cut where it is too long.

    Dollars begin a formula for Matplotlib, and a legend leaves out what begins with an
    underscore. What cannot be printed is shown as a question mark.

    Examples
    --------
    >>> shown_name("$x^2$"), shown_name("_a\tb"), shown_name("abcdef", 4)
    ('\\$x^2\\$', ' _a?b', 'abc…')
    """
    name = "".join(letter if letter.isprintable() else "?" for letter in name)
    name = name if len(name) <= longest else f"{name[: longest - 1]}…"
    return f"{' ' * name.startswith('_')}{name}".replace("$", r"\$")


def draw_precision_recall(treatments: Profiles, labels: list[str]) -> Draw:
    """Draw precision against recall, as more and more neighbours are looked at.

    Examples
    --------
    >>> labels = wells.texts("Metadata_Treatment").tolist()
    >>> figure("Retrieval", draw_precision_recall(wells, labels), (4, 3)).png[1:4]
    b'PNG'
    """
    similarity, matches = cosine_similarity(treatments.features), same_label(labels)
    depths = np.unique(np.geomspace(1, len(labels) - 1, 40).astype(int))
    precision = [np.nanmean(precision_at(similarity, matches, k)) for k in depths]
    recall = [np.nanmean(recall_at(similarity, matches, k)) for k in depths]

    def draw(axes: Axes) -> None:
        axes.plot(recall, precision, color=COLORS[0], marker="o", markersize=3)
        axes.axhline(precision[-1], color=GREY, linestyle="--", label="chance")
        axes.set(xlabel="recall among the nearest k", ylabel="precision", xlim=(0, 1))
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False)

    return draw


def draw_sweep(sweep: Sequence[Mapping[str, Any]]) -> Draw:
    """Draw how well replicates are found with every lambda, beside no sphering.

    Parameters
    ----------
    sweep : sequence of mapping
        As of `cpcnn_core.evaluation.correction_sweep.CorrectionSweep.rows`.

    Examples
    --------
    >>> rows = [
    ...     {"correction": "none", "lambda": None, "replicate_map": 0.4},
    ...     {"correction": "sphering", "lambda": 0.1, "replicate_map": 0.5},
    ... ]
    >>> figure("Lambdas", draw_sweep(rows), (4, 3)).png[1:4]
    b'PNG'
    """
    name = next(key for key in sweep[0] if key.startswith("lambda"))
    methods = dict.fromkeys(row["correction"] for row in sweep if row[name] is not None)
    without = next(row["replicate_map"] for row in sweep if row[name] is None)

    def draw(axes: Axes) -> None:
        for color, method in zip(COLORS, methods, strict=False):
            mine = [
                (row[name], row["replicate_map"]) for row in sweep if row["correction"] == method
            ]
            axes.semilogx(*zip(*mine, strict=True), color=color, marker="o", label=method)
        axes.axhline(without, color=COLORS[5], linestyle="--", label="no sphering")
        axes.set(xlabel=name.replace("_", ", "), ylabel="mean average precision")
        axes.legend(frameon=False)

    return draw


def draw_power(table: pd.DataFrame, title: str) -> Draw:
    """Draw the power of designs against their number of plates, for one effect.

    Parameters
    ----------
    table : pandas.DataFrame
        As of `cpcnn_core.evaluation.power.simulate_power`.
    title : str

    Examples
    --------
    >>> design = {"plates": [2, 4], "replicates": 2, "controls": 16}
    >>> table = pd.DataFrame(design | {"power": [0.5, 0.9], "low": [0.4, 0.8], "high": [0.6, 1.0]})
    >>> figure("Power", draw_power(table, "effect 0.5"), (4, 3)).png[1:4]
    b'PNG'
    """
    known = table.dropna(subset="power")

    def draw(axes: Axes) -> None:
        kinds = known.groupby(["replicates", "controls"])
        for color, ((wells, controls), rows) in zip(itertools.cycle(COLORS), kinds):
            power = rows["power"].to_numpy()
            error = [power - rows["low"].to_numpy(), rows["high"].to_numpy() - power]
            label = f"{some(wells, 'well')}, {controls} controls a plate"
            how: dict[str, Any] = {"color": color, "marker": "o", "capsize": 2, "label": label}
            axes.errorbar(rows["plates"].to_numpy(), power, error, **how)
        axes.axhline(0.8, color=GREY, linestyle="--")
        axes.set(xlabel="plates", ylabel="power", ylim=(-0.03, 1.03))
        axes.set_xticks(sorted(set(known["plates"])))
        axes.set_title(title, fontsize=10)
        axes.legend(frameon=False, fontsize=7)

    return draw


def draw_p_values(p_values: Mapping[str, Sequence[float]]) -> Draw:
    """Draw p-values of what has no effect against those that are expected, both as logarithms.

    Examples
    --------
    >>> draw = draw_p_values({"activity": [0.2, 0.5, 0.9]})
    >>> figure("p-values", draw, (4, 3)).png[1:4]
    b'PNG'
    """

    def draw(axes: Axes) -> None:
        ends = []
        for color, (name, values) in zip(COLORS, p_values.items(), strict=False):
            expected = (np.arange(len(values)) + 0.5) / len(values)
            places = -np.log10(expected), -np.log10(np.sort(values))
            axes.plot(*places, "o", markersize=3, color=color, label=name)
            ends += [places[0].max(), places[1].max()]
        end = max(ends)
        axes.plot([0, end], [0, end], color=GREY, linestyle="--", label="as they should be")
        axes.set(xlabel="expected, -log10 p", ylabel="found, -log10 p")
        axes.legend(frameon=False)

    return draw


def treatment_map(treatments: Profiles, by: str, labels: list[str]) -> Scatter:
    """Return the treatments' directions on two principal components, coloured by label.

    Examples
    --------
    >>> rows = pd.DataFrame({"Metadata_Treatment": ["a", "b", "c"]})
    >>> profiles = Profiles(np.eye(3), rows, ["x", "y", "z"])
    >>> found = treatment_map(profiles, "Metadata_Treatment", ["1", "", "1"])
    >>> [point.title for point in found.points]
    ['b', 'a: 1', 'c: 1']
    """
    directions = unit_length(treatments.features)
    places = fit_principal_components(directions, 2).transform(directions)
    low, extent = places.min(axis=0), np.ptp(places, axis=0)
    x, y = ((places - low) / np.where(extent > 0, extent, 1)).T
    counts = {label: labels.count(label) for label in sorted(set(labels) - {""})}
    shown = sorted(counts, key=lambda label: -counts[label])[: len(COLORS)]
    colors = dict(zip(shown, COLORS, strict=False))
    names = treatments.texts(by).tolist()
    points = [
        Point(
            float(x[i]),
            float(y[i]),
            colors.get(label, GREY),
            printable(f"{name}: {label}" if label else name),
            5 if label in colors else 4,
        )
        for i, (name, label) in enumerate(zip(names, labels, strict=True))
    ]
    # Those with a colour are drawn over the others.
    points.sort(key=lambda point: point.color != GREY)
    legend = {_legend_text(label): color for label, color in colors.items()}
    return Scatter("Map of treatments", points, legend, "component 1", "component 2")


def plate_map(
    title: str,
    values: np.ndarray,
    places: Sequence[tuple[int, int]],
    names: Sequence[str],
    shape: tuple[int, int],
    limits: np.ndarray,
) -> PlateMap:
    """Return a plate whose wells are coloured by a value, on a logarithmic scale.

    Parameters
    ----------
    title : str
    values : ndarray of shape (n,)
    places : sequence of (row, column), from 0
    names : sequence of str
        What is said of each well, before its value.
    shape : (rows, columns)
        Of the plate.
    limits : ndarray of shape (2,)
        The values of the first and the last colour; above 0.

    Examples
    --------
    >>> limits = np.array([1.0, 2.0])
    >>> plate = plate_map("P1", np.array([1.0]), [(0, 1)], ["A02"], (8, 12), limits)
    >>> plate.wells[0].title, plate.rows, plate.columns
    ('A02: 1.00', 8, 12)
    """
    low, high = map(float, limits)
    norm = LogNorm(low, high, clip=True)
    colors = [to_hex(color) for color in VIRIDIS(norm(values))]
    wells = [
        Well(row, column, color, printable(f"{name}: {value:.2f}"))
        for (row, column), color, name, value in zip(places, colors, names, values, strict=True)
    ]
    scale = [to_hex(color) for color in VIRIDIS(np.linspace(0, 1, 32))]
    return PlateMap(printable(title), *shape, wells, scale, low, high)


def _legend_text(label: str, longest: int = 30) -> str:
    text = printable(label)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
