"""The comparison as tables: every number for programs, the main ones for readers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from cpcnn_core.comparison.compare import Comparison, Result
from cpcnn_core.comparison.judging import Judged
from cpcnn_core.profiles.aggregate import CELL_COUNT

MISSING = "-"


def rows_of(comparison: Comparison) -> pd.DataFrame:
    """Return a row for every model and correction, all numbers in columns.

    A model that could not be judged has one row, with its ``reason``.

    Examples
    --------
    >>> rows_of(comparison)["replicates_map"]  # doctest: +SKIP
    """
    rows = []
    for result in comparison.results:
        about = _about(result)
        rows += [about | _measured(judged) for judged in result.judged] or [about]
    # Whole numbers stay whole where some rows lack them.
    return pd.DataFrame(rows).convert_dtypes()


def shown_rows(comparison: Comparison) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return head and rows of the table for readers, as texts.

    Examples
    --------
    >>> head, rows = shown_rows(comparison)  # doctest: +SKIP
    """
    head = ["model", "correction", "features", "cells/s", "CPU s", "MiB"]
    found_of = {"active": active_text, "placebo": placebo_text}
    labels = comparison.question.truth is not None
    measures = {"replicates": "replicates, mAP"} | ({"treatments": "labels, mAP"} if labels else {})
    known = [one.scores for result in comparison.results for one in result.judged]
    # The same for all: they were asked about the same wells.
    for name, title in measures.items():
        chance = known[0][name]["chance_average_precision"] if known else None
        head.append(title if chance is None else f"{title} (chance {chance:.3f})")
    rows = []
    for result in comparison.results:
        cost = _cost_texts(result)
        if not result.judged:
            nothing = [MISSING] * (len(measures) + len(found_of))
            rows.append((result.name, "not judged", MISSING, *cost, *nothing))
        for judged in result.judged:
            scores = judged.scores
            found = [with_interval(scores[name]) for name in measures]
            found += [told(scores) for told in found_of.values()]
            count = str(len(judged.wells.feature_names))
            rows.append((result.name, correction_text(judged), count, *cost, *found))
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


def correction_text(judged: Judged) -> str:
    """Name a correction in few words.

    Examples
    --------
    >>> correction_text(judged)  # doctest: +SKIP
    'sphered, 0.1'
    """
    strength = judged.correction.settings.get("lambda_relative")
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


def _measured(judged: Judged) -> dict[str, object]:
    scores, wells = judged.scores, judged.wells
    row = {
        "correction": judged.correction.method,
        "lambda_relative": judged.correction.settings.get("lambda_relative"),
        "features": len(wells.feature_names),
        "wells": len(wells.metadata),
        "cells": int(wells.metadata[CELL_COUNT].sum()),
        "replicates_asked": scores["replicates"]["wells"],
        "replicates_of": scores["replicates"]["of_wells"],
        **_retrieval("replicates", scores["replicates"]),
    }
    if "treatments" in scores:
        found = scores["treatments"]
        row |= {
            "labels_asked": found["queries"],
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
