"""The comparison as tables, every number for programs, and as one HTML file for readers.

The HTML file opens without a network.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from cpcnn_core.evaluation.comparison import Comparison, Result
from cpcnn_core.evaluation.comparison_scores import Evaluated
from cpcnn_core.evaluation.report_figures import (
    COLORS,
    GREY,
    Draw,
    figure,
    shown_name,
)
from cpcnn_core.evaluation.report_page import Block, Heading, Note, Table, write_page
from cpcnn_core.models.card import CHANNEL_MODES
from cpcnn_core.models.verification import NOT_VERIFIED
from cpcnn_core.schema.columns import CELL_COUNT

_READ = {
    "controls_by_plate": "controls find their plate",
    "controls_by_well": "controls find their position",
    "plate_from_controls": "plate read from controls",
    "treatment_leave_wells_out": "treatment read, wells held out",
    "treatment_leave_plates_out": "treatment read, plates held out",
}
_UNUSABLE = "No features could be evaluated."


def write_comparison(path: str | Path, comparison: Comparison) -> None:
    """Write the comparison as one self-contained HTML file."""
    head, rows = shown_rows(comparison)
    card_head, card_rows = _cards(comparison.results)
    blocks: list[Block] = [
        Heading("Models side by side", 1),
        *_asked(comparison),
        *_told(comparison.results),
        Heading("Cost and retrieval"),
        Table(rows, head),
        Note(
            "cells/s: cells by the seconds from the program's start to its end, which load what "
            "it needs and read the images. CPU s: seconds of all processors together. MiB: memory "
            "at the peak. Retrieval: mean average precision, with the 95 % interval, resampling "
            "treatments. active: treatments whose wells are more alike than control wells (q at "
            "most .05). placebo: the share of p-values at most .05 of control wells that are "
            "called treatments, which should be .05, and what that means. sphered: with the "
            "lambda, a fraction of the controls' mean eigenvalue, with which the query wells "
            "find their replicates best; chosen so for every model. Replicates: chosen on four "
            "fifths of the treatments and measured on the last fifth, in turn."
        ),
        *_figures(comparison),
        *_confounders(comparison.results),
        Heading("Models"),
        Table(card_rows, card_head),
    ]
    write_page(path, "Models side by side", blocks)


def _asked(comparison: Comparison) -> list[Block]:
    if comparison.prepared is None:
        return [Note(_UNUSABLE)]
    prepared, task = comparison.prepared, comparison.task
    wells = prepared.wells.metadata
    rows = [
        ("wells, controls", f"{len(wells)}, {prepared.controls.sum()}"),
        ("cells", int(wells[CELL_COUNT].sum())),
        ("controls are", task.controls),
        ("only wells with", task.where or "no condition"),
        ("queries: only wells with", task.query or "no condition"),
    ]
    return [
        Table(rows),
        Note(
            "Every model got the same cells, the same corrections and the same questions. What is "
            "no better than the number of cells alone, or than an untrained network, has learned "
            "nothing about treatments."
        ),
    ]


def _told(results: list[Result]) -> list[Block]:
    rows = [(result.name, result.reason) for result in results if result.reason]
    notices = [(r.name, notice) for r in results if r.run for notice in r.run.notices]
    blocks: list[Block] = []
    if rows:
        blocks += [Heading("What went wrong"), Table(rows)]
    if notices:
        blocks += [Heading("Notices"), Table(notices)]
    return blocks


def _figures(comparison: Comparison) -> list[Block]:
    blocks: list[Block] = []
    kinds = {"replicates": "replicates", "treatments": "labels"}
    names = [name for name in kinds if any(_scores(r, name) for r in comparison.results)]
    for name in names:
        evaluated = [result for result in comparison.results if result.evaluated]
        size = (8, 1.2 + 0.45 * len(evaluated))
        blocks.append(figure(f"Retrieval of {kinds[name]}", _draw(evaluated, name), size))
    return blocks


def _scores(result: Result, name: str) -> list[dict[str, Any]]:
    return [evaluated.scores[name] for evaluated in result.evaluated if name in evaluated.scores]


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


def _confounders(results: list[Result]) -> list[Block]:
    evaluated = [(result.name, one) for result in results for one in result.evaluated]
    if not evaluated:
        return []
    names, chances = [], []
    for name, _, chance in confounder_values(evaluated[0][1].scores):
        names.append(_READ.get(name, f"{name.replace('_', ' ').replace('by', 'find their')}"))
        chances.append(MISSING if chance is None else chance)
    rows = [("chance", "", *chances)]
    for name, one in evaluated:
        found = (value for _, value, _ in confounder_values(one.scores))
        values = [MISSING if value is None else value for value in found]
        rows.append((name, correction_text(one), *values))
    return [
        Heading("Confounders, before and after"),
        Table(rows, ("model", "correction", *names)),
        Note(
            "Controls that find those of their plate or place, and plates that are read from "
            "controls, more often than by chance: the profiles tell where a well was. The gap "
            "between treatments read with wells and with plates held out was read from the plate. "
            "These are of all wells, whichever are queries; sphered controls are those that the "
            f"correction was not fitted on. {MISSING}: cannot be measured, e.g. on one plate."
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
            made = result.evaluated[0].wells.provenance if result.evaluated else {}
            weights = made.get("weights", NOT_VERIFIED)
            facts = (trained, channels, card.crop_px, scale, card.licence)
            rows.append((result.name, weights, *facts))
    return head, rows


MISSING = "-"


def rows_of(comparison: Comparison) -> pd.DataFrame:
    """Return a row for every model and correction, all numbers in columns.

    A model that could not be evaluated has one row, with its ``reason``.
    """
    rows = []
    for result in comparison.results:
        about = _about(result)
        rows += [about | _measured(evaluated) for evaluated in result.evaluated] or [about]
    # Whole numbers stay whole where some rows lack them.
    return pd.DataFrame(rows).convert_dtypes()


def shown_rows(comparison: Comparison) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return head and rows of the table for readers, as texts."""
    head = ["model", "correction", "features", "cells/s", "CPU s", "MiB"]
    found_of = {"active": active_text, "placebo": placebo_text}
    labels = comparison.task.annotations is not None
    measures = {"replicates": "replicates, mAP"} | ({"treatments": "labels, mAP"} if labels else {})
    known = [one.scores for result in comparison.results for one in result.evaluated]
    # The same for all: all were evaluated on the same wells.
    for name, title in measures.items():
        chance = known[0][name]["chance_average_precision"] if known else None
        head.append(title if chance is None else f"{title} (chance {chance:.3f})")
    rows = []
    for result in comparison.results:
        cost = _cost_texts(result)
        if not result.evaluated:
            nothing = [MISSING] * (len(measures) + len(found_of))
            rows.append((result.name, "not evaluated", MISSING, *cost, *nothing))
        for evaluated in result.evaluated:
            scores = evaluated.scores
            found = [with_interval(scores[name]) for name in measures]
            found += [told(scores) for told in found_of.values()]
            count = str(len(evaluated.wells.feature_names))
            rows.append((result.name, correction_text(evaluated), count, *cost, *found))
    return [*head, *found_of], rows


def active_text(scores: dict[str, dict[str, Any]]) -> str:
    """Tell how many treatments do something, of how many.

    Examples
    --------
    >>> active_text({"activity": {"active": 3, "tested": 12}})
    '3 of 12'
    """
    found = scores["activity"]
    return MISSING if found["active"] is None else f"{found['active']} of {found['tested']}"


def placebo_text(scores: dict[str, dict[str, Any]]) -> str:
    """Tell what became of control wells that were called treatments.

    Examples
    --------
    >>> found = {"activity": {"share": 0.0412, "count": 97}, "verdict": "calibrated"}
    >>> placebo_text({"placebo": found})
    '.041 of 97: calibrated'
    """
    found = scores.get("placebo")
    if found is None or "activity" not in found:
        return MISSING if found is None else found["verdict"]
    share = f"{found['activity']['share']:.3f}".removeprefix("0")
    return f"{share} of {found['activity']['count']}: {found['verdict']}"


def with_interval(found: dict[str, Any]) -> str:
    """Write a mean average precision with its interval; what does not leave chance says so.

    Examples
    --------
    >>> found = {"mean_average_precision": 0.5, "interval": [0.25, 0.75], "above_chance": False}
    >>> with_interval(found)
    '0.500 (0.250 to 0.750), not above chance'
    """
    text = f"{found['mean_average_precision']:.3f}"
    if found["interval"] is None:
        return text
    low, high = found["interval"]
    beyond = "" if found["above_chance"] else ", not above chance"
    return f"{text} ({low:.3f} to {high:.3f}){beyond}"


def correction_text(evaluated: Evaluated) -> str:
    """Name a correction in few words.

    Examples
    --------
    >>> from cpcnn_core.profiles.correction import fit_correction
    >>> how = {"regularization": 0.1, "relative": True}
    >>> correction = fit_correction(wells, controls, "sphering", **how)
    >>> correction_text(Evaluated(correction, correction.transform(wells), {}))
    'sphered, 0.1'
    """
    strength = evaluated.correction.settings.get("lambda_relative")
    return "none" if strength is None else f"sphered, {strength:g}"


def confounder_values(
    scores: dict[str, dict[str, Any]],
) -> Iterator[tuple[str, float | None, float | None]]:
    """Yield name, measured value and chance of every confounder; None where not measurable.

    Examples
    --------
    >>> list(confounder_values({"confounders": {"plate": {"accuracy": 0.5, "chance": 0.2}}}))
    [('plate', 0.5, 0.2)]
    """
    for name, found in scores["confounders"].items():
        if found is None:
            yield name, None, None
        else:
            (value,) = [value for what, value in found.items() if what != "chance"]
            yield name, value, found["chance"]


def _about(result: Result) -> dict[str, object]:
    about: dict[str, object] = {"model": result.name, "reason": result.reason}
    if result.card is not None:
        about |= {"trained": result.card.trained, "licence": result.card.licence}
    cost = result.run.cost if result.run else None
    if cost is not None:
        about |= {
            "cells_timed": cost.cells,
            "seconds": cost.seconds,
            "cells_per_second": cost.cells_per_second,
            "cpu_seconds": cost.cpu_seconds,
            "peak_mib": cost.peak_mib,
        }
    return about


def _measured(evaluated: Evaluated) -> dict[str, object]:
    scores, wells = evaluated.scores, evaluated.wells
    row = {
        "correction": evaluated.correction.method,
        "lambda_relative": evaluated.correction.settings.get("lambda_relative"),
        "features": len(wells.feature_names),
        "wells": len(wells.metadata),
        "cells": int(wells.metadata[CELL_COUNT].sum()),
        "replicates_queries": scores["replicates"]["wells"],
        "replicates_of": scores["replicates"]["of_wells"],
        **_retrieval("replicates", scores["replicates"]),
    }
    if "treatments" in scores:
        found = scores["treatments"]
        row |= {
            "labels_queries": found["queries"],
            **_retrieval("labels", found),
            "labels_folds": found["fold_enrichment"],
        }
    row |= {
        "treatments_tested": scores["activity"]["tested"],
        "treatments_active": scores["activity"]["active"],
    }
    placebo = scores.get("placebo", {})
    for name in ("activity", "nearest", "positions"):
        row[f"placebo_{name}"] = placebo.get(name, {}).get("share")
    row["placebo"] = placebo.get("verdict")
    for name, value, chance in confounder_values(scores):
        row |= {name: value, f"{name}_chance": chance}
    return row


def _retrieval(name: str, found: dict[str, Any]) -> dict[str, object]:
    low, high = found["interval"] or (None, None)
    return {
        f"{name}_map": found["mean_average_precision"],
        f"{name}_low": low,
        f"{name}_high": high,
        f"{name}_chance": found["chance_average_precision"],
        f"{name}_above_chance": found["above_chance"],
    }


def _cost_texts(result: Result) -> tuple[str, str, str]:
    cost = result.run.cost if result.run else None
    if cost is None:
        return MISSING, MISSING, MISSING
    optional = (cost.cpu_seconds, cost.peak_mib)
    cpu, memory = (MISSING if value is None else f"{value:.0f}" for value in optional)
    return f"{cost.cells_per_second:.1f}", cpu, memory
