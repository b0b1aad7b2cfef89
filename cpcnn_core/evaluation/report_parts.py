"""Parts of every report: its page, one HTML file that opens without a network, and its figures."""

from __future__ import annotations

import base64
import html
import io
import itertools
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from cpcnn_core.io.atomic import write_atomically
from cpcnn_core.profiles.principal_components import fit_principal_components
from cpcnn_core.profiles.retrieval import precision_at, recall_at
from cpcnn_core.profiles.similarity import cosine_similarity, same_label, unit_length
from cpcnn_core.schema.profiles import Profiles
from cpcnn_core.user_messages import some

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2329; max-width: 1080px; margin: 2em auto;
  padding: 0 1em; }
h1 { font-size: 1.6em; } h2 { font-size: 1.2em; margin-top: 2.2em; }
table { border-collapse: collapse; } td, th { padding: .25em 1.2em .25em 0; text-align: left;
  border-bottom: 1px solid #e3e6e9; } td.n, th.n { text-align: right; }
img { max-width: 100%; } p.note { color: #5a646e; max-width: 46em; }
"""


def write_page(path: str | Path, title: str, parts: Sequence[str]) -> None:
    """Write a page of some parts, each a piece of HTML.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_page(f"{folder}/page.html", "A & B", [note_as_html("none < all")])
    ...     Path(folder, "page.html").read_text()[-53:]
    "<body><p class='note'>none &lt; all</p></body></html>"
    """
    page = (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{html.escape(title)}"
        f"</title><style>{STYLE}</style><body>{''.join(parts)}</body></html>"
    )
    write_atomically(path, lambda place: place.write_text(page, encoding="utf-8"))


def table_as_html(rows: Sequence[Sequence[object]], head: Sequence[str] = ()) -> str:
    """Return a table; numbers are aligned right, those with a point get three decimals.

    Examples
    --------
    >>> table_as_html([("a < b", 0.5)])
    '<table><tr><td>a &lt; b</td><td class=n>0.500</td></tr></table>'
    """

    def cell(tag: str, value: object) -> str:
        number = isinstance(value, float | int | np.number)
        text = f"{value:.3f}" if isinstance(value, float | np.floating) else str(value)
        return f"<{tag}{' class=n' if number else ''}>{html.escape(text)}</{tag}>"

    lines = [[cell("th", value) for value in head]] if head else []
    lines += [[cell("td", value) for value in row] for row in rows]
    body = "".join(["<tr>" + "".join(line) + "</tr>" for line in lines])
    return f"<table>{body}</table>"


def note_as_html(text: str) -> str:
    """Return a paragraph in the grey of notes.

    Examples
    --------
    >>> note_as_html("none < all")
    "<p class='note'>none &lt; all</p>"
    """
    return f"<p class='note'>{html.escape(text)}</p>"


# Told apart by most eyes, also by those that cannot tell red from green (Wong 2011).
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
GREY = "#c8ccd0"
Draw = Callable[[Axes], None]


def figure_as_html(title: str, draw: Draw, size: tuple[float, float], width: int = 0) -> str:
    """Draw a figure and return it as an image embedded in the page.

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
    >>> figure_as_html("A line", lambda axes: axes.plot([1, 2]), (3, 2))[:20]
    "<img alt='A line' sr"
    """
    file = io.BytesIO()
    # Names are not for TeX, whatever this user's own figures are.
    with rc_context({"text.usetex": False}), warnings.catch_warnings():
        # A letter that the font lacks is drawn as a box; the page's text has it.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure = Figure(size, layout="constrained")
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes)
        figure.savefig(file, format="png", dpi=130)
    data = base64.b64encode(file.getvalue()).decode()
    style = f" style='width:{width}%'" if width else ""
    return f"<img alt='{html.escape(title)}'{style} src='data:image/png;base64,{data}'>"


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
    >>> figure_as_html("Retrieval", draw_precision_recall(wells, labels), (4, 3))[:20]
    "<img alt='Retrieval'"
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
    >>> figure_as_html("Lambdas", draw_sweep(rows), (4, 3))[:18]
    "<img alt='Lambdas'"
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
    >>> figure_as_html("Power", draw_power(table, "effect 0.5"), (4, 3))[:16]
    "<img alt='Power'"
    """
    known = table.dropna(subset="power")

    def draw(axes: Axes) -> None:
        kinds = known.groupby(["replicates", "controls"])
        for color, ((wells, controls), rows) in zip(itertools.cycle(COLORS), kinds):
            error = [rows["power"] - rows["low"], rows["high"] - rows["power"]]
            label = f"{some(wells, 'well')}, {controls} controls a plate"
            how: dict[str, Any] = {"color": color, "marker": "o", "capsize": 2, "label": label}
            axes.errorbar(rows["plates"], rows["power"], error, **how)
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
    >>> figure_as_html("p-values", draw, (4, 3))[:19]
    "<img alt='p-values'"
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


def draw_map(treatments: Profiles, labels: list[str]) -> Draw:
    """Draw the treatments' directions on two principal components, by label.

    Examples
    --------
    >>> labels = wells.texts("Metadata_Treatment").tolist()
    >>> figure_as_html("Map", draw_map(wells, labels), (4, 3))[:14]
    "<img alt='Map'"
    """
    directions = unit_length(treatments.features)
    places = fit_principal_components(directions, 2).transform(directions)
    counts = {label: labels.count(label) for label in sorted(set(labels) - {""})}
    shown = sorted(counts, key=lambda label: -counts[label])[: len(COLORS)]

    def draw(axes: Axes) -> None:
        axes.scatter(places[:, 0], places[:, 1], s=18, color=GREY, linewidths=0)
        for color, label in zip(COLORS, shown, strict=False):
            mine = np.array([label == other for other in labels])
            name = shown_name(label)
            axes.scatter(
                places[mine, 0], places[mine, 1], s=34, color=color, linewidths=0, label=name
            )
        axes.set(xlabel="component 1", ylabel="component 2")
        if shown:
            axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))

    return draw


def draw_plate(grid: np.ndarray, plate: str, limits: np.ndarray) -> Draw:
    """Draw a plate of values (rows, columns); NaN where there is no well.

    Examples
    --------
    >>> draw = draw_plate(np.eye(8, 12) + 1, "P1", np.array([1.0, 2.0]))
    >>> figure_as_html("Cells", draw, (4, 3))[:16]
    "<img alt='Cells'"
    """

    def draw(axes: Axes) -> None:
        drawn = axes.imshow(grid, cmap="viridis", norm=LogNorm(*limits))
        axes.figure.colorbar(drawn, ax=axes, shrink=0.75)
        axes.set_title(shown_name(plate), fontsize=10)
        axes.set_xticks(
            range(0, grid.shape[1], 4),
            [str(number) for number in range(1, grid.shape[1] + 1, 4)],
        )
        letters = [chr(65 + i) if i < 26 else f"A{chr(39 + i)}" for i in range(len(grid))]
        axes.set_yticks(range(0, len(grid), 3), letters[::3])

    return draw
