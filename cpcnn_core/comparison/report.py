"""The comparison as one HTML file that opens without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from cpcnn_core.comparison.compare import Comparison, Result
from cpcnn_core.comparison.table import (
    MISSING,
    confounder_values,
    correction_text,
    shown_rows,
)
from cpcnn_core.models.card import CHANNEL_MODES
from cpcnn_core.models.verification import NOT_VERIFIED
from cpcnn_core.profiles.aggregate import CELL_COUNT
from cpcnn_core.profiles.figures import COLORS, GREY, Draw, figure_as_html, shown_name
from cpcnn_core.profiles.page import note_as_html, table_as_html, write_page

_READ = {
    "controls_by_plate": "controls find their plate",
    "controls_by_well": "controls find their position",
    "plate_from_controls": "plate read from controls",
    "treatment_leave_wells_out": "treatment read, wells held out",
    "treatment_leave_plates_out": "treatment read, plates held out",
}
_UNUSABLE = "No features could be judged."


def write_comparison(path: str | Path, comparison: Comparison) -> None:
    """Write the comparison as one self-contained HTML file.

    Examples
    --------
    >>> write_comparison("compare.html", comparison)  # doctest: +SKIP
    """
    head, rows = shown_rows(comparison)
    card_head, card_rows = _cards(comparison.results)
    parts = [
        "<h1>Models side by side</h1>",
        *_asked(comparison),
        *_told(comparison.results),
        "<h2>Cost and retrieval</h2>",
        table_as_html(rows, head),
        note_as_html(
            "cells/s: cells by the seconds from the program's start to its end, which load what "
            "it needs and read the images. CPU s: seconds of all processors together. MiB: memory "
            "at the peak. Retrieval: mean average precision, with the 95 % interval, resampling "
            "treatments. active: treatments whose wells are more alike than control wells (q at "
            "most .05). placebo: the share of p-values at most .05 of control wells that are "
            "called treatments, which should be .05, and what that means. sphered: with the "
            "lambda, a fraction of the controls' mean eigenvalue, with which the wells that ask "
            "find their replicates best; chosen so for every model. Replicates: chosen on four "
            "fifths of the treatments and measured on the last fifth, in turn."
        ),
        *_figures(comparison),
        *_confounders(comparison.results),
        "<h2>Models</h2>",
        table_as_html(card_rows, card_head),
    ]
    write_page(path, "Models side by side", parts)


def _asked(comparison: Comparison) -> list[str]:
    if comparison.posed is None:
        return [note_as_html(_UNUSABLE)]
    posed, question = comparison.posed, comparison.question
    wells = posed.wells.metadata
    rows = [
        ("wells, controls", f"{len(wells)}, {posed.controls.sum()}"),
        ("cells", int(wells[CELL_COUNT].sum())),
        ("controls are", question.controls),
        ("only wells with", question.where or "no condition"),
        ("asking: only wells with", question.ask or "no condition"),
    ]
    return [
        table_as_html(rows),
        note_as_html(
            "Every model got the same cells, the same corrections and the same questions. What is "
            "no better than the number of cells alone, or than an untrained network, has learned "
            "nothing about treatments."
        ),
    ]


def _told(results: list[Result]) -> list[str]:
    rows = [(result.name, result.reason) for result in results if result.reason]
    notices = [(r.name, notice) for r in results if r.run for notice in r.run.notices]
    return [
        *(["<h2>What went wrong</h2>", table_as_html(rows)] if rows else []),
        *(["<h2>To be known</h2>", table_as_html(notices)] if notices else []),
    ]


def _figures(comparison: Comparison) -> list[str]:
    parts = []
    kinds = {"replicates": "replicates", "treatments": "labels"}
    names = [name for name in kinds if any(_scores(r, name) for r in comparison.results)]
    for name in names:
        judged = [result for result in comparison.results if result.judged]
        size = (8, 1.2 + 0.45 * len(judged))
        parts.append(figure_as_html(f"Retrieval of {kinds[name]}", _draw(judged, name), size))
    return parts


def _scores(result: Result, name: str) -> list[dict[str, Any]]:
    return [judged.scores[name] for judged in result.judged if name in judged.scores]


def _draw(results: list[Result], name: str) -> Draw:
    """Draw means and intervals, a line for every model: grey before correction, blue after."""

    def draw(axes: Axes) -> None:
        for place, result in enumerate(reversed(results)):
            for found, color, shift in zip(
                _scores(result, name), (GREY, COLORS[0]), (0.13, -0.13), strict=False
            ):
                if found["interval"] is not None:
                    axes.plot(found["interval"], [place + shift] * 2, color=color, linewidth=2)
                axes.plot(found["mean_average_precision"], place + shift, "o", color=color)
        chance = _scores(results[0], name)[0]["chance_average_precision"]
        axes.axvline(chance, color=COLORS[1], linestyle="--", label="chance")
        axes.plot([], [], "o-", color=GREY, label="not corrected")
        axes.plot([], [], "o-", color=COLORS[0], label="sphered")
        names = [shown_name(result.name) for result in reversed(results)]
        axes.set_yticks(range(len(results)), names)
        axes.set(xlim=(0, 1), xlabel="mean average precision, 95 % interval")
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))

    return draw


def _confounders(results: list[Result]) -> list[str]:
    judged = [(result.name, one) for result in results for one in result.judged]
    if not judged:
        return []
    names, chances = [], []
    for name, _, chance in confounder_values(judged[0][1].scores):
        names.append(_READ.get(name, f"{name.replace('_', ' ').replace('by', 'find their')}"))
        chances.append(MISSING if chance is None else chance)
    rows = [("chance", "", *chances)]
    for name, one in judged:
        found = (value for _, value, _ in confounder_values(one.scores))
        values = [MISSING if value is None else value for value in found]
        rows.append((name, correction_text(one), *values))
    return [
        "<h2>Confounders, before and after</h2>",
        table_as_html(rows, ("model", "correction", *names)),
        note_as_html(
            "Controls that find those of their plate or place, and plates that are read from "
            "controls, more often than by chance: the profiles tell where a well was. The gap "
            "between treatments read with wells and with plates held out was read from the plate. "
            "These are of all wells, whichever ask; sphered controls are those that the correction "
            f"was not fitted on. {MISSING}: cannot be asked, e.g. on one plate."
        ),
    ]


def _cards(results: list[Result]) -> tuple[list[str], list[tuple[object, ...]]]:
    head = ["model", "weights", "trained", "channels", "crop, px", "µm per px", "licence"]
    rows: list[tuple[object, ...]] = []
    for result in results:
        card = result.card
        if card is not None:
            fixed = card.channel_mode == "fixed"
            channels = ",".join(card.channels) if fixed else CHANNEL_MODES[card.channel_mode]
            scale = MISSING if card.um_per_px is None else f"{card.um_per_px:g}"
            trained = "yes" if card.trained else "no"
            # As the run's tables say: what embedded has seen the weights.
            made = result.judged[0].wells.provenance if result.judged else {}
            weights = made.get("weights", NOT_VERIFIED)
            facts = (trained, channels, card.crop_px, scale, card.licence)
            rows.append((result.name, weights, *facts))
    return head, rows
