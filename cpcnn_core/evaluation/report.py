"""An evaluation as one HTML file that opens without a network."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np

from cpcnn_core.evaluation.evaluation import Evaluation
from cpcnn_core.evaluation.report_figures import (
    draw_p_values,
    draw_precision_recall,
    draw_sweep,
    figure,
    plate_map,
    treatment_map,
)
from cpcnn_core.evaluation.report_page import Block, Heading, Note, Table, write_page
from cpcnn_core.profiles.correction import describe_correction
from cpcnn_core.profiles.similarity import cosine_similarity
from cpcnn_core.schema.columns import PLATE, WELL
from cpcnn_core.schema.profiles import Profiles

MAX_PLATES, MAX_ROWS = 8, 200
_PLACEBOS = {
    "activity": "activity",
    "nearest": "similarity to real treatments",
    "positions": "activity of whole positions",
}


def _active(scores: dict[str, Any]) -> str | None:
    found = scores.get("activity")
    return None if found is None else _told(found)


def _told(found: dict[str, Any]) -> str:
    active = found["active"]
    return "cannot be told" if active is None else f"{active} of {found['tested']}"


# What of every table's scores is shown beside the others' (column: how it is read).
_COMPARED: dict[str, Callable[[dict[str, Any]], object]] = {
    "correction": lambda scores: describe_correction(scores["made_by"]),
    "replicates, mAP": lambda scores: scores["replicates"]["mean_average_precision"],
    "active": _active,
    "placebo": lambda scores: scores.get("placebo", {}).get("verdict"),
    "labels, mAP": lambda scores: scores.get("treatments", {}).get("mean_average_precision"),
    "labels, folds": lambda scores: scores.get("treatments", {}).get("fold_enrichment"),
    "plate read": lambda scores: _accuracy(scores, "plate_from_controls"),
    "treatment read": lambda scores: _accuracy(scores, "treatment_leave_wells_out"),
    "on new plates": lambda scores: _accuracy(scores, "treatment_leave_plates_out"),
}


def write_report(path: str | Path, evaluation: Evaluation, name: str) -> None:
    """Write an evaluation as one self-contained HTML file.

    Parameters
    ----------
    path : str or Path
    evaluation : Evaluation
        Of `cpcnn_core.evaluation.evaluation.evaluate_profiles`.
    name : str
        What the profiles are called in it, e.g. their file.

    Examples
    --------
    >>> from cpcnn_core import evaluate_profiles
    >>> write_report("report.html", evaluate_profiles(wells, "Metadata_Treatment"), "wells.parquet")
    >>> Path("report.html").read_text()[:15]
    '<!doctype html>'
    """
    blocks: list[Block] = [
        *_summary(evaluation, name),
        *_baselines(evaluation.scores),
        *_sweep(evaluation.scores),
        *_map(evaluation),
        *_confounders(evaluation.scores),
        *_activity(evaluation.scores),
        *_placebo(evaluation.scores),
        *_plates(evaluation),
        *_nearest(evaluation),
    ]
    write_page(path, "Evaluation of profiles", blocks)


def _summary(evaluation: Evaluation, name: str) -> list[Block]:
    scores, treatments, labels = evaluation.scores, evaluation.treatments, evaluation.labels
    made = cast("dict[str, Any]", scores["made_by"])
    blocks: list[Block] = [
        Heading("Evaluation of profiles", 1),
        Table(
            [
                ("profiles", name),
                ("model", made.get("model", "not recorded")),
                ("weights", made.get("weights", "not recorded")),
                ("correction", describe_correction(made)),
                ("wells, controls", f"{scores['wells']}, {scores['controls']}"),
                ("treatments", len(treatments.metadata)),
            ]
        ),
        Heading("Retrieval"),
        Table(_retrieval_rows(scores)),
        Note(
            "Replicates of a treatment on several plates look for each other on other plates, "
            "those of a treatment on one plate among the wells of that plate."
        ),
    ]
    if "treatments" in scores:
        draw = draw_precision_recall(treatments, cast("list[str]", labels))
        blocks.append(figure("Precision and recall of labels", draw, (6, 4)))
    return blocks


def _baselines(scores: dict[str, Any]) -> list[Block]:
    if "baselines" not in scores:
        return []
    tables = {"these profiles": scores, **scores["baselines"]}
    # Every table was measured in the same way: what one lacks, all lack.
    shown = {
        title: [found for table in tables.values() if (found := read(table)) is not None]
        for title, read in _COMPARED.items()
    }
    shown = {title: values for title, values in shown.items() if len(values) == len(tables)}
    rows = [(name, *values) for name, *values in zip(tables, *shown.values(), strict=True)]
    return [
        Heading("Baselines"),
        Table(rows, ("", *shown)),
        Note(
            "The same wells, measured in the same way. What is no better than the number of cells "
            "alone, or than an untrained network, has learned nothing about treatments; a plate "
            "that is read more often than by chance misleads."
        ),
    ]


def _sweep(scores: dict[str, Any]) -> list[Block]:
    if "sweep" not in scores:
        return []
    rows = [
        tuple("" if value is None else value for value in row.values()) for row in scores["sweep"]
    ]
    head = ("correction", "lambda", "replicates", "labels", "controls find their position")
    return [
        Heading("Choice of a correction"),
        figure("Replicates found with sphering", draw_sweep(scores["sweep"]), (6, 3.4)),
        *([Table(_choice_rows(scores["choice"]))] if scores["choice"] else []),
        Note(
            "Mean average precision; no annotation is needed for this choice. The best of "
            "several corrections looks a little better than it is on new treatments: choosing it "
            "on four fifths of the treatments and measuring it on the last fifth, in turn, tells "
            "how well it does there. "
            "Without a preference begin with --lambda 1 --relative, and with centred-sphering "
            "where features have the scale that they were measured in. What a small lambda takes "
            "from replicates may be what their position gave them: see the last column."
        ),
        Table(rows, head),
    ]


def _choice_rows(choice: dict[str, Any]) -> list[tuple[str, object]]:
    strength = choice.get("lambda_relative", choice.get("lambda"))
    name = choice["correction"]
    gain = choice["over_none"]
    return [
        ("chosen", name if strength is None else f"{name}, {strength:g}"),
        ("on the treatments that it was chosen on", choice["mean_average_precision"]),
        ("on other treatments", choice["nested"]["mean_average_precision"]),
        *_chance_rows("on other treatments", choice["nested"]),
        (
            "on other treatments: more than without a correction",
            f"{gain['mean']:.3f} ({gain['low']:.3f} to {gain['high']:.3f})",
        ),
    ]


def _map(evaluation: Evaluation) -> list[Block]:
    treatments = evaluation.treatments
    labels = evaluation.labels or [""] * len(treatments.metadata)
    if len(labels) <= 2:
        return []
    return [
        Heading("Map of treatments"),
        treatment_map(treatments, evaluation.by, labels),
        Note(
            "First two principal components of the profiles' directions. Hold the mouse over a "
            "point to see which treatment it is."
        ),
    ]


def _confounders(scores: dict[str, Any]) -> list[Block]:
    if "confounders" not in scores:
        return []
    return [
        Heading("Confounders"),
        Table(_confounder_rows(scores["confounders"]), head=("", "measured", "chance")),
        Note(
            "Far above chance in the rows of controls: the profiles tell plates, places or batches "
            "apart. The gap between the last two was read from the plate. Controls are measured in "
            "the parts that p-values are made of, where there are such."
        ),
    ]


def _activity(scores: dict[str, Any]) -> list[Block]:
    if "activity" not in scores:
        return []
    found = scores["activity"]
    table = found["by_treatment"]
    head = ["treatment", "wells", "average precision", "chance", "mean cosine", "p", "q"]
    if "compounds" in found:
        head.append("q of the compound")
    rows = [
        tuple("" if value is None else value for value in row.values()) for row in table[:MAX_ROWS]
    ]
    told = found["refused"] or f"{found['compared_with']}."
    blocks: list[Block] = [
        Heading("Active treatments"),
        Table(rows, head),
        Note(
            "p: how often control wells, drawn from the plates like the treatment's wells, are as "
            "similar as these (mean cosine of pairs). q: corrected for the number of treatments "
            "(Benjamini-Hochberg). Average precision, how high replicates rank among control "
            f"wells, shows the size of the effect. {told[:1].upper()}{told[1:]}"
        ),
    ]
    if len(table) > MAX_ROWS:
        blocks.append(Note(f"{len(table) - MAX_ROWS} more are in evaluation.json."))
    return blocks


def _placebo(scores: dict[str, Any]) -> list[Block]:
    if "placebo" not in scores:
        return []
    found = scores["placebo"]
    drawn = {_PLACEBOS[name]: found[name]["p_values"] for name in _PLACEBOS if name in found}
    rows = []
    for name, title in _PLACEBOS.items():
        if name in found:
            low, high = found[name]["interval"]
            share = f"{found[name]['share']:.3f} ({low:.3f} to {high:.3f})"
            rows.append((title, found[name]["count"], share))
    verdict = found["verdict"]
    return [
        Heading("Placebo"),
        Table([("verdict", verdict)]),
        Table(rows, ("control wells called treatments", "p-values", "at or below .05")),
        *([figure("p-values of placebos", draw_p_values(drawn), (5, 4))] if drawn else []),
        Note(
            "The same procedure for control wells that are called treatments, which the correction "
            "is then not fitted on: about .05 of their p-values should be .05 or less."
        ),
    ]


def _nearest(evaluation: Evaluation) -> list[Block]:
    treatments = evaluation.treatments
    labels = evaluation.labels or [""] * len(treatments.metadata)
    if len(labels) <= 1:
        return []
    head = ("treatment", "label", "nearest", "label", "cosine")
    rows = _nearest_rows(treatments, evaluation.by, labels)
    return [Heading("Nearest treatments"), Table(rows, head)]


def _accuracy(scores: dict[str, Any], name: str) -> float | None:
    return (scores.get("confounders", {}).get(name) or {}).get("balanced_accuracy")


def _retrieval_rows(scores: dict[str, Any]) -> list[tuple[str, object]]:
    found = scores["replicates"]
    rows = [
        ("replicates: mean average precision", found["mean_average_precision"]),
        *_chance_rows("replicates", found),
        ("replicates: query wells", f"{found['wells']} of {found['of_wells']}"),
        ("replicates: query treatments", f"{found['treatments']} of {found['of_treatments']}"),
        ("replicates: of these on several plates", found["on_other_plates"]),
    ]
    if "positive_controls" in scores:
        found = scores["positive_controls"]
        rows += [
            ("positive controls: mean average precision", found["mean_average_precision"]),
            *_chance_rows("positive controls", found),
        ]
    if "activity" in scores:
        rows.append(("treatments that do something (q at most .05)", _active(scores)))
        if "compounds" in scores["activity"]:
            found = scores["activity"]["compounds"]
            rows.append(("compounds that do something at some dose", _told(found)))
    if "treatments" in scores:
        found = scores["treatments"]
        rows += [
            ("labels: mean average precision", found["mean_average_precision"]),
            *_chance_rows("labels", found),
            ("labels: fold enrichment in the nearest 1 %", found["fold_enrichment"]),
            ("labels: first hit in the nearest 1 %", found["first_hit_in_top"]),
            ("labels: mean reciprocal rank of the first hit", found["mean_reciprocal_rank"]),
            ("labels: query treatments", found["queries"]),
        ]
    if "paper" in scores:
        paper = scores["paper"]
        rows += [
            ("as in the paper: folds of enrichment", paper["folds_of_enrichment"]),
            ("as in the paper: mAP", paper["mean_average_precision"]),
        ]
    return rows


def _chance_rows(name: str, found: dict[str, Any]) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = [
        (f"{name}: the same of a random order", found["chance_average_precision"])
    ]
    if found["interval"] is None:
        return [*rows, (f"{name}: its 95 % interval", "none, a single query")]
    low, high = found["interval"]
    beyond = "" if found["above_chance"] else "; not above chance"
    text = f"{low:.3f} to {high:.3f}{beyond}"
    return [*rows, (f"{name}: its 95 % interval, resampling treatments", text)]


def _confounder_rows(found: dict[str, Any]) -> list[tuple[object, ...]]:
    names = {
        "controls_by_plate": "controls find those of their plate (average precision)",
        "controls_by_well": "controls find those of their position (average precision)",
        "controls_by_batch": "controls find those of their batch (average precision)",
        "plate_from_controls": "plate read from controls (balanced accuracy)",
        "treatment_leave_wells_out": "treatment read, wells held out (balanced accuracy)",
        "treatment_leave_plates_out": "treatment read, plates held out (balanced accuracy)",
    }
    rows = []
    for key, name in names.items():
        if key not in found:
            continue
        values = found[key] or {}
        measured = [value for what, value in values.items() if what != "chance"]
        rows.append(
            (name, *measured, values["chance"]) if values else (name, "cannot be measured", "")
        )
    return rows


def _nearest_rows(treatments: Profiles, by: str, labels: list[str]) -> list[tuple[object, ...]]:
    similarity = cosine_similarity(treatments.features)
    np.fill_diagonal(similarity, -2)
    nearest = similarity.argmax(axis=1)
    best = similarity[np.arange(len(nearest)), nearest]
    names = treatments.metadata[by].astype(str).tolist()
    order = np.argsort(-best, kind="stable")[:MAX_ROWS]
    return [(names[i], labels[i], names[nearest[i]], labels[nearest[i]], best[i]) for i in order]


def _plates(evaluation: Evaluation) -> list[Block]:
    wells, before = evaluation.wells, evaluation.corrected.uncorrected
    if not {PLATE, WELL} <= set(wells.metadata.columns):
        return []
    shown = {"": _distances(wells, evaluation.controls)}
    if before is not None and before is not wells:
        shown = {
            ", before correction": _distances(before, evaluation.controls),
            ", corrected": shown[""],
        }
    names = wells.metadata[PLATE].astype(str).to_numpy()
    found = [re.fullmatch(r"([A-Z]+)0*(\d+)", str(well)) for well in wells.metadata[WELL]]
    places = [place for place in found if place]
    if len(places) < len(found):
        note = "The wells' names are not like A01; there are no plate maps."
        return [Heading("Plates"), Note(note)]
    wells_at = [(_row_number(place[1]), int(place[2]) - 1) for place in places]
    rows, columns = np.max(wells_at, axis=0) + 1
    texts = _well_texts(wells, evaluation.by)
    plates = sorted(set(names))
    blocks: list[Block] = [
        Heading("Plates"),
        Note(
            "Distance of each well from the mean of the controls of all plates, on a logarithmic "
            "scale; hold the mouse over a well to see it. Rows, columns or edges that stand out "
            "are position effects."
        ),
    ]
    for plate in plates[:MAX_PLATES]:
        mine = np.flatnonzero(names == plate)
        for when, (distance, limits) in shown.items():
            blocks.append(
                plate_map(
                    f"{plate}{when}",
                    distance[mine],
                    [wells_at[i] for i in mine],
                    [texts[i] for i in mine],
                    (int(rows), int(columns)),
                    limits,
                )
            )
    if len(plates) > MAX_PLATES:
        blocks.append(Note(f"{len(plates) - MAX_PLATES} more plates are not shown."))
    return blocks


def _well_texts(wells: Profiles, by: str) -> list[str]:
    """Say of each well its name and its treatment."""
    named = zip(wells.texts(WELL), wells.texts(by), strict=True)
    return [f"{well}, {treatment}" if treatment else well for well, treatment in named]


def _distances(wells: Profiles, controls: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the wells' distances from the controls' mean, and the limits of the colour scale."""
    center = wells.features[controls].mean(axis=0) if controls.any() else 0
    distance = np.linalg.norm(wells.features - center, axis=1)
    # A few treatments are far out; the logarithm keeps the others visible.
    limits = np.maximum(np.percentile(distance, [2, 98]), 1e-12) * [1, 1 + 1e-9]
    return distance, limits


def _row_number(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - 64
    return number - 1
