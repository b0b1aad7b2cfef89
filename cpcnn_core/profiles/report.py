"""An evaluation as one HTML file that opens without a network."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from cpcnn_core.atomic import write_atomically
from cpcnn_core.profiles.principal_components import fit_principal_components
from cpcnn_core.profiles.retrieval import precision_at, recall_at
from cpcnn_core.profiles.similarity import cosine_similarity, same_label, unit_length
from cpcnn_core.tables.columns import PLATE, WELL
from cpcnn_core.tables.profiles import Profiles

# Told apart by most eyes, also by those that cannot tell red from green (Wong 2011).
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
GREY, MOST_PLATES, MOST_ROWS = "#c8ccd0", 8, 200
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2329; max-width: 1080px; margin: 2em auto;
  padding: 0 1em; }
h1 { font-size: 1.6em; } h2 { font-size: 1.2em; margin-top: 2.2em; }
table { border-collapse: collapse; } td, th { padding: .25em 1.2em .25em 0; text-align: left;
  border-bottom: 1px solid #e3e6e9; } td.n, th.n { text-align: right; }
img { max-width: 100%; } p.note { color: #5a646e; max-width: 46em; }
"""


def write_report(
    path: str | Path,
    scores: dict[str, object],
    wells: Profiles,
    controls: np.ndarray,
    treatments: Profiles,
    by: str,
    labels: Sequence[str] | None = None,
) -> None:
    """Write what `cpcnn evaluate` found as one self-contained HTML file.

    Parameters
    ----------
    path : str or Path
    scores : dict
        As in evaluation.json.
    wells, treatments : Profiles
    controls : ndarray of shape (wells,), bool
    by : str
        The column that names the treatment.
    labels : sequence of str, one per treatment, optional

    Examples
    --------
    >>> write_report("report.html", scores, wells, controls, treatments, by)  # doctest: +SKIP
    """
    known = list(labels) if labels is not None else [""] * len(treatments.metadata)
    made = scores["made_by"]
    parts = [
        "<h1>Evaluation of profiles</h1>",
        _table(
            [
                ("profiles", scores["profiles"]),
                ("model", made.get("model", "not recorded")),
                ("correction", _correction(made)),
                ("wells, controls", f"{scores['wells']}, {scores['controls']}"),
                ("treatments", len(treatments.metadata)),
            ]
        ),
        "<h2>Retrieval</h2>",
        _table(_retrieval_rows(scores)),
        _note("Replicates look for each other on other plates where there are several."),
    ]
    if "treatments" in scores:
        draw = _draw_precision_recall(treatments, known)
        parts.append(_figure("Precision and recall of labels", draw, (6, 4)))
    if "sweep" in scores:
        parts += [
            "<h2>Lambda</h2>",
            _figure("Replicates found with sphering", _draw_sweep(scores["sweep"]), (6, 3.4)),
            _note("The dashed line is without sphering. No annotation is needed for this choice."),
        ]
    if len(known) > 2:
        parts += [
            "<h2>Map of treatments</h2>",
            _figure("Map of treatments", _draw_map(treatments, known), (9, 5.4)),
            _note("First two principal components of the profiles' directions."),
        ]
    if "confounders" in scores:
        parts += [
            "<h2>Confounders</h2>",
            _table(_confounder_rows(scores["confounders"]), head=("", "measured", "chance")),
            _note(
                "Far above chance in the first three rows: the profiles tell plates or places "
                "apart. The gap between the last two was read from the plate."
            ),
        ]
    if {PLATE, WELL} <= set(wells.metadata.columns):
        parts += ["<h2>Plates</h2>", *_plates(wells, controls)]
    if len(known) > 1:
        head = ("treatment", "label", "nearest", "label", "cosine")
        parts += ["<h2>Nearest treatments</h2>", _table(_nearest_rows(treatments, by, known), head)]
    page = (
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Evaluation of profiles"
        f"</title><style>{STYLE}</style><body>{''.join(parts)}</body></html>"
    )
    write_atomically(path, lambda place: place.write_text(page, encoding="utf-8"))


def _correction(made: dict[str, object]) -> str:
    name = str(made.get("correction", "none"))
    if "lambda_relative" in made:
        return f"{name}, lambda {made['lambda_relative']:g} of the mean eigenvalue"
    return f"{name}, lambda {made['lambda']:g}" if "lambda" in made else name


def _retrieval_rows(scores: dict[str, object]) -> list[tuple[str, object]]:
    rows = [("replicates: mean average precision", scores["replicates"]["mean_average_precision"])]
    if "treatments" in scores:
        found = scores["treatments"]
        rows += [
            ("labels: mean average precision", found["mean_average_precision"]),
            ("labels: the same by chance", found["chance_average_precision"]),
            ("labels: fold enrichment in the nearest 1 %", found["fold_enrichment"]),
            ("labels: first hit in the nearest 1 %", found["first_hit_in_top"]),
            ("labels: treatments that ask", found["queries"]),
        ]
    if "paper" in scores:
        paper = scores["paper"]
        rows += [
            ("as in the paper: folds of enrichment", paper["folds_of_enrichment"]),
            ("as in the paper: mAP", paper["mean_average_precision"]),
        ]
    return rows


def _confounder_rows(found: dict[str, object]) -> list[tuple[object, ...]]:
    names = {
        "controls_by_plate": "controls find those of their plate (average precision)",
        "controls_by_well": "controls find those of their position (average precision)",
        "plate_from_controls": "plate read from controls (balanced accuracy)",
        "treatment_leave_wells_out": "treatment read, wells held out (balanced accuracy)",
        "treatment_leave_plates_out": "treatment read, plates held out (balanced accuracy)",
    }
    rows = []
    for key, name in names.items():
        values = found[key] or {}
        measured = [value for what, value in values.items() if what != "chance"]
        rows.append((name, *measured, values["chance"]) if values else (name, "not measurable", ""))
    return rows


def _nearest_rows(treatments: Profiles, by: str, labels: list[str]) -> list[tuple[object, ...]]:
    similarity = cosine_similarity(treatments.features)
    np.fill_diagonal(similarity, -2)
    nearest = similarity.argmax(axis=1)
    best = similarity[np.arange(len(nearest)), nearest]
    names = treatments.metadata[by].astype(str).tolist()
    order = np.argsort(-best, kind="stable")[:MOST_ROWS]
    return [(names[i], labels[i], names[nearest[i]], labels[nearest[i]], best[i]) for i in order]


def _draw_precision_recall(treatments: Profiles, labels: list[str]) -> Callable[[Axes], None]:
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


def _draw_sweep(sweep: list[dict[str, float | None]]) -> Callable[[Axes], None]:
    name = next(key for key in sweep[0] if key != "replicate_map")
    tried = [(row[name], row["replicate_map"]) for row in sweep if row[name] is not None]
    without = next(row["replicate_map"] for row in sweep if row[name] is None)

    def draw(axes: Axes) -> None:
        axes.semilogx(*zip(*tried, strict=True), color=COLORS[0], marker="o")
        axes.axhline(without, color=COLORS[5], linestyle="--", label="no sphering")
        axes.set(xlabel=name.replace("_", ", "), ylabel="mean average precision")
        axes.legend(frameon=False)

    return draw


def _draw_map(treatments: Profiles, labels: list[str]) -> Callable[[Axes], None]:
    directions = unit_length(treatments.features)
    places = fit_principal_components(directions, 2).transform(directions)
    counts = {label: labels.count(label) for label in sorted(set(labels) - {""})}
    shown = sorted(counts, key=lambda label: -counts[label])[: len(COLORS)]

    def draw(axes: Axes) -> None:
        axes.scatter(*places.T[:2], s=18, color=GREY, linewidths=0)
        for color, label in zip(COLORS, shown, strict=False):
            mine = np.array([label == other for other in labels])
            name = label if len(label) <= 40 else f"{label[:39]}…"
            axes.scatter(*places[mine].T[:2], s=34, color=color, linewidths=0, label=name)
        axes.set(xlabel="component 1", ylabel="component 2")
        if shown:
            axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))

    return draw


def _plates(wells: Profiles, controls: np.ndarray) -> list[str]:
    center = wells.features[controls].mean(axis=0) if controls.any() else 0
    distance = np.linalg.norm(wells.features - center, axis=1)
    # A few treatments lie far out; the logarithm leaves something to see of the others.
    limits = np.maximum(np.percentile(distance, [2, 98]), 1e-12) * [1, 1 + 1e-9]
    names = wells.metadata[PLATE].astype(str).to_numpy()
    places = [re.fullmatch(r"([A-Z]+)0*(\d+)", str(well)) for well in wells.metadata[WELL]]
    if not all(places):
        return [_note("The wells' names are not like A01; there are no plate maps.")]
    rows = np.array([_row_number(place[1]) for place in places])
    columns = np.array([int(place[2]) - 1 for place in places])
    plates = sorted(set(names))
    parts = [
        _note(
            "How far each well lies from the mean of the controls. Rows, columns or edges that "
            "stand out are effects of the place."
        )
    ]
    for plate in plates[:MOST_PLATES]:
        mine = names == plate
        grid = np.full((rows.max() + 1, columns.max() + 1), np.nan)
        grid[rows[mine], columns[mine]] = distance[mine]
        parts.append(_figure(f"Plate {plate}", _draw_plate(grid, plate, limits), (4.6, 2.9), 46))
    if len(plates) > MOST_PLATES:
        parts.append(_note(f"{len(plates) - MOST_PLATES} more plates are not shown."))
    return parts


def _draw_plate(grid: np.ndarray, plate: str, limits: np.ndarray) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        drawn = axes.imshow(grid, cmap="viridis", norm=LogNorm(*limits))
        axes.figure.colorbar(drawn, ax=axes, shrink=0.75)
        axes.set_title(plate, fontsize=10)
        axes.set_xticks(range(0, grid.shape[1], 4), range(1, grid.shape[1] + 1, 4))
        letters = [chr(65 + i) if i < 26 else f"A{chr(39 + i)}" for i in range(len(grid))]
        axes.set_yticks(range(0, len(grid), 3), letters[::3])

    return draw


def _row_number(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - 64
    return number - 1


def _figure(
    title: str, draw: Callable[[Axes], None], size: tuple[float, float], width: int = 0
) -> str:
    figure = Figure(size, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    draw(axes)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=130)
    data = base64.b64encode(file.getvalue()).decode()
    style = f" style='width:{width}%'" if width else ""
    return f"<img alt='{html.escape(title)}'{style} src='data:image/png;base64,{data}'>"


def _table(rows: Sequence[Sequence[object]], head: Sequence[str] = ()) -> str:
    def cell(tag: str, value: object) -> str:
        number = isinstance(value, float | int | np.number)
        text = f"{value:.3f}" if isinstance(value, float | np.floating) else str(value)
        return f"<{tag}{' class=n' if number else ''}>{html.escape(text)}</{tag}>"

    lines = [[cell("th", value) for value in head]] if head else []
    lines += [[cell("td", value) for value in row] for row in rows]
    body = "".join(["<tr>" + "".join(line) + "</tr>" for line in lines])
    return f"<table>{body}</table>"


def _note(text: str) -> str:
    return f"<p class='note'>{html.escape(text)}</p>"
