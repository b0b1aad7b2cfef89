"""All that can be measured of a screen's profiles, alone and beside others of its wells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from cpcnn_core.errors import ProfileError
from cpcnn_core.evaluation.activity import SIGNIFICANT, phenotypic_activity
from cpcnn_core.evaluation.annotations import label_of
from cpcnn_core.evaluation.baselines import count_profiles
from cpcnn_core.evaluation.confounders import confounders
from cpcnn_core.evaluation.correction_sweep import CorrectionSweep, sweep_corrections
from cpcnn_core.evaluation.placebo import run_placebo, without_p_values
from cpcnn_core.evaluation.replicates import find_replicates
from cpcnn_core.evaluation.scores import (
    evaluate_as_in_the_paper,
    evaluate_treatments,
    retrieval_scores,
)
from cpcnn_core.io.site_keys import KEYS, normal_key
from cpcnn_core.profiles.aggregate import aggregate
from cpcnn_core.profiles.checks import refuse_wells_twice
from cpcnn_core.profiles.corrected_wells import CorrectedWells, as_they_are
from cpcnn_core.profiles.cross_fitting import refuse_controls
from cpcnn_core.profiles.doses import compounds_of
from cpcnn_core.profiles.retrieval import average_precision
from cpcnn_core.profiles.significance import Significance
from cpcnn_core.profiles.similarity import cosine_similarity, same_label
from cpcnn_core.schema.columns import BATCH, CELL_COUNT, PLATE, WELL
from cpcnn_core.schema.profiles import Profiles

CELL_COUNT_ALONE = "cell count alone"


@dataclass(frozen=True)
class Evaluation:
    """Result of `evaluate_profiles`, and what it was computed from.

    Attributes
    ----------
    scores : dict
        JSON's types only; docs/profiles.md lists them.
    corrected : CorrectedWells
    controls : ndarray of shape (wells,), bool
    treatments : Profiles
        Means of the treated wells that ask.
    by : str
        The column that names the treatment.
    labels : list of str, one for every treatment, or None
    """

    scores: dict[str, object]
    corrected: CorrectedWells
    controls: np.ndarray
    treatments: Profiles
    by: str
    labels: list[str] | None

    @property
    def wells(self) -> Profiles:
        """The wells that were evaluated."""
        return self.corrected.wells


def evaluate_profiles(
    wells: Profiles | CorrectedWells,
    by: str,
    *,
    controls: np.ndarray | None = None,
    positive: np.ndarray | None = None,
    asked: np.ndarray | None = None,
    truth: Mapping[str, str] | None = None,
    beside: Mapping[str, Profiles | CorrectedWells] | None = None,
    null: np.ndarray | None = None,
    doses_of: str | None = None,
    sweep: bool = False,
    relative: bool = False,
    paper: bool = False,
) -> Evaluation:
    """Measure how well profiles find what belongs together, and what misleads them.

    Parameters
    ----------
    wells : Profiles or CorrectedWells
        p-values of corrected wells, and confounders, need the wells before correction too.
    by : str
        The column that names the treatment; wells with an empty name are left out.
    controls : ndarray of shape (n,), bool, optional
        Control wells; without them there is neither activity nor confounders.
    positive : ndarray of shape (n,), bool, optional
        Wells of positive controls, which are found on every screen: they are searched like all
        others, but do not ask, and what they find is told apart.
    asked : ndarray of shape (n,), bool, optional
        Whose retrieval is measured, see `measure_retrieval`. Default: that of all.
    truth : mapping of str to str, optional
        Labels of treatments, several separated by ``|``.
    beside : mapping of str to Profiles or CorrectedWells, optional
        Other profiles of the same wells, e.g. before correction or of an untrained network,
        measured in the same way. The number of cells alone is measured too, where it is
        known.
    null : ndarray of shape (n,), bool, optional
        Wells of treatments that are known to do nothing: p-values compare with these instead of
        the controls.
    doses_of : str, optional
        The column that names the compound, where treatments are doses of compounds.
    sweep, relative : bool
        Try sphering with several lambdas, on wells centred plate by plate and on such as they
        are: what each does, and which is chosen, see
        `cpcnn_core.evaluation.correction_sweep.CorrectionSweep`.
    paper : bool
        With `truth`, also the paper's own measures.

    Returns
    -------
    Evaluation

    Raises
    ------
    ProfileError
        Whatever the parts raise; a sweep without controls or on corrected profiles; a truth
        that knows none of the treatments; profiles beside that lack some wells.

    Examples
    --------
    >>> evaluation = evaluate_profiles(wells, "Metadata_Treatment")  # doctest: +SKIP
    """
    corrected = as_they_are(wells)
    wells = corrected.wells
    none = np.zeros(len(wells.metadata), bool)
    controls = none if controls is None else np.asarray(controls, bool)
    positive = none if positive is None else np.asarray(positive, bool) & ~controls
    if positive.any():
        asked = ~positive if asked is None else np.asarray(asked, bool) & ~positive
    treatments = _treatments(wells, controls, by, asked)
    labels = None if truth is None else _labels(truth, treatments.texts(by).tolist())
    if null is not None:
        refuse_controls(null, controls)
    if doses_of is not None:
        # Now, not after the work.
        compounds_of(wells, by, doses_of)
    how = {"null": null, "doses_of": doses_of}
    scores: dict[str, object] = {
        "made_by": wells.provenance,
        "wells": len(wells.metadata),
        "controls": int(controls.sum()),
        **_measures(corrected, controls, by, asked, truth, **how),
    }
    if positive.any():
        found = measure_retrieval(wells, controls, by, asked=positive)
        scores["positive_controls"] = found["replicates"]
    if sweep:
        tried = _sweep(wells, controls, by, asked, truth, relative=relative)
        scores |= {"sweep": tried.rows(), "choice": tried.choice()}
    if paper and labels is not None:
        known = np.array([label != "" for label in labels])
        scores["paper"] = evaluate_as_in_the_paper(
            treatments.features[known], [label for label in labels if label]
        )
    others = {name: _same_wells(table, wells, name) for name, table in (beside or {}).items()}
    if _has_counts(wells):
        others[CELL_COUNT_ALONE] = as_they_are(count_profiles(wells))
    if others:
        scores["beside"] = {
            name: _summary(table, controls, by, asked, truth, **how)
            for name, table in others.items()
        }
    return Evaluation(scores, corrected, controls, treatments, by, labels)


def measure_retrieval(
    wells: Profiles,
    controls: np.ndarray,
    by: str,
    *,
    asked: np.ndarray | None = None,
    truth: Mapping[str, str] | None = None,
) -> dict[str, object]:
    """Measure how well replicates, and treatments that share a label, find each other.

    Parameters
    ----------
    wells : Profiles
    controls : ndarray of shape (n,), bool
        These neither ask nor are found.
    by : str
        The column that names the treatment; wells with an empty name are left out.
    asked : ndarray of shape (n,), bool, optional
        Of these wells only is told how well they find their replicates, among all; the
        treatments that ask for those of their label are the means of these wells. So a
        network that has learned from the others is asked about what it has not seen.
    truth : mapping of str to str, optional
        Labels of treatments, several separated by ``|``.

    Returns
    -------
    dict
        ``replicates`` and, with `truth`, ``treatments``: JSON's types only. Both have
        ``mean_average_precision``; ``interval``, its 95 % interval, resampling treatments, None
        where one treatment is all that asks; ``chance_average_precision``, of a random order;
        and ``above_chance``, whether the whole interval is above it. ``replicates`` tells how
        many ``wells`` and ``treatments`` were asked, ``of_wells`` and ``of_treatments``, and how
        many of those asked were asked ``on_other_plates``.

    Raises
    ------
    ProfileError
        No such column, NaN, a well twice, no asking well has replicates, no label is shared.

    Examples
    --------
    >>> measure_retrieval(wells, controls, "Metadata_Treatment")  # doctest: +SKIP
    """
    refuse_wells_twice(wells, by)
    treated = wells.named(by) & ~controls
    among = None if asked is None else np.asarray(asked, bool)[treated]
    scores: dict[str, object] = {"replicates": _replicates(wells.select(treated), by, among)}
    if truth is not None:
        treatments = _treatments(wells, controls, by, asked)
        names = treatments.texts(by)
        labels = _labels(truth, names.tolist())
        precision = average_precision(cosine_similarity(treatments.features), same_label(labels))
        measured: dict[str, Any] = evaluate_treatments(treatments.features, labels)
        chance = measured["chance_average_precision"]
        scores["treatments"] = measured | retrieval_scores(precision, names, chance)
    return scores


def _replicates(treated: Profiles, by: str, among: np.ndarray | None) -> dict[str, object]:
    found = find_replicates(treated, by)
    asked = found.asked(among)
    if not asked.any():
        raise ProfileError(f"none of the wells that ask has replicates in the column {by}")
    of = np.ones(len(asked), bool) if among is None else among
    chance = float(found.chance[asked].mean())
    return {
        "wells": int(asked.sum()),
        "of_wells": int(of.sum()),
        "treatments": len(np.unique(found.names[asked])),
        "of_treatments": len(np.unique(found.names[of])),
        "on_other_plates": len(np.unique(found.names[asked & found.on_other_plates])),
        **retrieval_scores(found.precision[asked], found.names[asked], chance),
    }


def _treatments(
    wells: Profiles, controls: np.ndarray, by: str, asked: np.ndarray | None
) -> Profiles:
    rows = wells.named(by) & ~controls
    if asked is not None:
        rows &= np.asarray(asked, bool)
    if not rows.any():
        raise ProfileError("none of the wells that ask is a treated one with a name")
    return aggregate(wells.select(rows), [by], "mean")


def _measures(
    corrected: CorrectedWells,
    controls: np.ndarray,
    by: str,
    asked: np.ndarray | None,
    truth: Mapping[str, str] | None,
    **how: Any,  # noqa: ANN401  (those of measure_against_controls)
) -> dict[str, object]:
    """Measure what is measured of every table."""
    wells = corrected.wells
    scores = measure_retrieval(wells, controls, by, asked=asked, truth=truth)
    if controls.any():
        scores |= measure_against_controls(corrected, controls, by, **how)
    return scores


def measure_against_controls(
    corrected: CorrectedWells,
    controls: np.ndarray,
    by: str,
    columns: Sequence[str] = (),
    *,
    null: np.ndarray | None = None,
    doses_of: str | None = None,
) -> dict[str, object]:
    """Measure which treatments do anything, what misleads, and what the p-values are worth.

    Parameters
    ----------
    corrected : CorrectedWells
    controls : ndarray of shape (n,), bool
    by : str
        The column that names the treatment.
    columns : sequence of str
        As of `cpcnn_core.evaluation.confounders.confounders`; beside the batch, where it is known.
    null, doses_of
        As of `evaluate_profiles`.

    Returns
    -------
    dict
        ``activity``, see `phenotypic_activity`, with the number that is ``active`` (q-value at
        most .05; None where no p-value can be as small) or why there are no p-values
        (``refused``); ``placebo``, see
        `cpcnn_core.evaluation.placebo.Placebo.summary`, where there are p-values; and
        ``confounders``. JSON's types only.

    Raises
    ------
    ProfileError
        No controls, no such column, no replicates, NaN.

    Examples
    --------
    >>> measure_against_controls(corrected, controls, by)["placebo"]  # doctest: +SKIP
    {'activity': {'share': 0.04, ...}, 'verdict': 'calibrated'}
    """
    tests, refused = None, None
    try:
        tests = corrected.significance(controls, by, null=null, doses_of=doses_of)
    except ProfileError as error:
        refused = str(error)
    table = phenotypic_activity(corrected.wells, controls, by, tests)
    tested = table.loc[table["p_value"].notna(), by].tolist()
    finest = 1 if tests is None else min(map(tests.finest, tested), default=1)
    told = int((table["q_value"] <= SIGNIFICANT).sum())
    activity: dict[str, object] = {
        "treatments": len(table),
        "tested": len(tested),
        # Where no p-value can be small, none is active whatever it does.
        "active": told if finest <= SIGNIFICANT else None,
        "compared_with": None if tests is None else _compared_with(tests, tested, finest),
        "refused": refused,
        "mean_average_precision": float(table["mean_average_precision"].mean()),
        "chance_average_precision": float(table["chance_average_precision"].mean()),
        "by_treatment": _records(table.rename(columns={by: "treatment"})),
    }
    if doses_of is not None and tests is not None:
        activity["compounds"] = _compounds(table, tests, by, doses_of, finest)
    placebo = {} if tests is None else {"placebo": run_placebo(tests).summary()}
    if BATCH in corrected.wells.metadata.columns:
        columns = (BATCH, *columns)
    found = confounders(
        corrected.wells,
        controls,
        by,
        held_out=_held_out(corrected, tests, controls, by),
        columns=columns,
    )
    return {"activity": activity, **placebo, "confounders": found}


def _compared_with(tests: Significance, tested: list[str], finest: float) -> str:
    told = tests.describe(tested)
    # Where p-values are counted in coarse steps, many must be as small as can be.
    wanted = math.ceil(finest * len(tested) / SIGNIFICANT - 1e-9)
    if not 1 < wanted <= len(tested):
        return told
    return (
        f"{told}; q can be {SIGNIFICANT:g} or less where {wanted} of the {len(tested)} treatments "
        "have the smallest p-value"
    )


def _compounds(
    table: pd.DataFrame, tests: Significance, by: str, doses_of: str, finest: float
) -> dict[str, int | None]:
    """Count the compounds that do something at some dose."""
    compounds = compounds_of(tests.fitted.wells, by, doses_of)
    known = table.dropna(subset="compound_q_value")
    groups = known["compound_q_value"].groupby(known[by].map(compounds)).first()
    active = int((groups <= SIGNIFICANT).sum())
    return {"tested": len(groups), "active": active if finest <= SIGNIFICANT else None}


def _held_out(
    corrected: CorrectedWells, tests: Significance | None, controls: np.ndarray, by: str
) -> list[Profiles] | None:
    """Return controls that the correction was not fitted on; None where all are asked at once.

    Uncorrected ones are asked in the same parts: of fewer wells less is read, and what is read
    less often after a correction must not be so for this reason.
    """
    if tests is not None and tests.fitted.null is not tests.fitted.controls:
        # These p-values compare with other wells.
        try:
            tests = corrected.significance(controls, by)
        except ProfileError:
            tests = None
    if tests is not None:
        return [fold.wells for fold in tests.fitted.folds]
    return None if corrected.uncorrected is corrected.wells else []


def _records(table: pd.DataFrame) -> list[dict[str, object]]:
    """Return the rows of a table, with None for what is not known."""
    rows = table.to_dict("records")
    # NaN alone is not itself.
    return [{k: v if v == v else None for k, v in row.items()} for row in rows]


def _has_counts(wells: Profiles) -> bool:
    if CELL_COUNT not in wells.metadata.columns:
        return False
    counts = wells.metadata[CELL_COUNT]
    return counts.dtype.kind in "iuf" and bool(counts.notna().all()) and counts.min() < counts.max()


def _summary(
    corrected: CorrectedWells,
    controls: np.ndarray,
    by: str,
    asked: np.ndarray | None,
    truth: Mapping[str, str] | None,
    **how: Any,  # noqa: ANN401  (those of measure_against_controls)
) -> dict[str, object]:
    measured: dict[str, Any] = _measures(corrected, controls, by, asked, truth, **how)
    measured.get("activity", {}).pop("by_treatment", None)
    if "placebo" in measured:
        measured["placebo"] = without_p_values(measured["placebo"])
    return {"made_by": corrected.wells.provenance, **measured}


def _labels(truth: Mapping[str, str], names: list[str]) -> list[str]:
    labels = label_of(truth, names)
    if not any(labels) and not any(name in truth for name in names):
        raise ProfileError(
            f"none of the {len(names)} treatments is in the truth; the profiles have "
            f"{', '.join(names[:3])}, the truth {', '.join(list(truth)[:3])}"
        )
    return labels


def _sweep(
    wells: Profiles,
    controls: np.ndarray,
    by: str,
    asked: np.ndarray | None,
    truth: Mapping[str, str] | None,
    *,
    relative: bool,
) -> CorrectionSweep:
    if not controls.any():
        raise ProfileError("sphering learns from control wells; name them with --controls")
    if wells.provenance.get("correction"):
        raise ProfileError(
            f"the profiles are corrected already ({wells.provenance['correction']}); make "
            "profiles without --correction for the sweep"
        )
    methods = ["sphering"]
    if PLATE in wells.metadata.columns:
        plates = wells.texts(PLATE)
        if set(plates) == set(plates[controls]):
            methods.append("centred-sphering")
    return sweep_corrections(
        wells, controls, by, methods, asked=asked, truth=truth, relative=relative
    )


def _same_wells(other: Profiles | CorrectedWells, wells: Profiles, name: str) -> CorrectedWells:
    """Bring other profiles of the same wells into the same order, with the same metadata."""
    other = as_they_are(other)
    table = other.wells
    keys = [PLATE, WELL]
    wells.require(keys)
    table.require(keys)
    theirs, mine = _keys(table, keys), _keys(wells, keys)
    rows = {normal_key(key, KEYS[:2]): row for row, key in enumerate(theirs)}
    if len(rows) < len(theirs):
        raise ProfileError(f"{name} has {len(theirs) - len(rows)} wells twice")
    found = [rows.get(normal_key(key, KEYS[:2])) for key in mine]
    missing = ["/".join(key) for key, row in zip(mine, found, strict=True) if row is None]
    if missing:
        raise ProfileError(
            f"{name} lacks {len(missing)} of {len(mine)} wells: {', '.join(missing[:5])}; it has "
            f"{'/'.join(theirs[0])}"
        )
    return other.select(np.array(found)).with_metadata(wells.metadata)


def _keys(profiles: Profiles, names: list[str]) -> list[tuple[str, ...]]:
    return list(zip(*(profiles.texts(name).tolist() for name in names), strict=True))
