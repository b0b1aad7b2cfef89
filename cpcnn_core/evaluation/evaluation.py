"""All that can be measured of a screen's profiles, alone and beside others of its wells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cpcnn_core.errors import ProfileError
from cpcnn_core.evaluation.baselines import count_profiles
from cpcnn_core.evaluation.control_measures import measure_against_controls
from cpcnn_core.evaluation.correction_sweep import CorrectionSweep, sweep_corrections
from cpcnn_core.evaluation.placebo import without_p_values
from cpcnn_core.evaluation.scores import (
    evaluate_as_in_the_paper,
    labels_of,
    means_of_treatments,
    measure_retrieval,
)
from cpcnn_core.io.site_keys import KEYS, normal_key
from cpcnn_core.profiles.corrected_wells import CorrectedWells, as_they_are
from cpcnn_core.profiles.cross_fitting import refuse_controls
from cpcnn_core.profiles.doses import compounds_of
from cpcnn_core.schema.columns import CELL_COUNT, PLATE, WELL
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
        Means of the treated query wells.
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
    queries: np.ndarray | None = None,
    annotations: Mapping[str, str] | None = None,
    baselines: Mapping[str, Profiles | CorrectedWells] | None = None,
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
        others, but are no queries; what they find is told apart.
    queries : ndarray of shape (n,), bool, optional
        Whose retrieval is measured, see
        `cpcnn_core.evaluation.scores.measure_retrieval`. Default: that of all.
    annotations : mapping of str to str, optional
        Labels of treatments, several separated by ``|``.
    baselines : mapping of str to Profiles or CorrectedWells, optional
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
        With `annotations`, also the paper's own measures.

    Returns
    -------
    Evaluation

    Raises
    ------
    ProfileError
        Whatever the parts raise; a sweep without controls or on corrected profiles; annotations
        that knows none of the treatments; baselines that lack some wells.

    Examples
    --------
    >>> evaluation = evaluate_profiles(wells, "Metadata_Treatment", controls=controls)
    >>> round(evaluation.scores["replicates"]["mean_average_precision"], 2)
    0.94
    """
    corrected = as_they_are(wells)
    wells = corrected.wells
    none = np.zeros(len(wells.metadata), bool)
    controls = none if controls is None else np.asarray(controls, bool)
    positive = none if positive is None else np.asarray(positive, bool) & ~controls
    if positive.any():
        queries = ~positive if queries is None else np.asarray(queries, bool) & ~positive
    treatments = means_of_treatments(wells, controls, by, queries)
    labels = None if annotations is None else labels_of(annotations, treatments.texts(by).tolist())
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
        **_measures(corrected, controls, by, queries, annotations, **how),
    }
    if positive.any():
        found = measure_retrieval(wells, controls, by, queries=positive)
        scores["positive_controls"] = found["replicates"]
    if sweep:
        tried = _sweep(wells, controls, by, queries, annotations, relative=relative)
        scores |= {"sweep": tried.rows(), "choice": tried.choice()}
    if paper and labels is not None:
        known = np.array([label != "" for label in labels])
        scores["paper"] = evaluate_as_in_the_paper(
            treatments.features[known], [label for label in labels if label]
        )
    others = {name: _same_wells(table, wells, name) for name, table in (baselines or {}).items()}
    if _has_counts(wells):
        others[CELL_COUNT_ALONE] = as_they_are(count_profiles(wells))
    if others:
        scores["baselines"] = {
            name: _summary(table, controls, by, queries, annotations, **how)
            for name, table in others.items()
        }
    return Evaluation(scores, corrected, controls, treatments, by, labels)


def _measures(
    corrected: CorrectedWells,
    controls: np.ndarray,
    by: str,
    queries: np.ndarray | None,
    annotations: Mapping[str, str] | None,
    **how: Any,  # noqa: ANN401  (those of measure_against_controls)
) -> dict[str, object]:
    """Measure what is measured of every table."""
    wells = corrected.wells
    scores = measure_retrieval(wells, controls, by, queries=queries, annotations=annotations)
    if controls.any():
        scores |= measure_against_controls(corrected, controls, by, **how)
    return scores


def _has_counts(wells: Profiles) -> bool:
    if CELL_COUNT not in wells.metadata.columns:
        return False
    counts = wells.metadata[CELL_COUNT]
    return counts.dtype.kind in "iuf" and bool(counts.notna().all()) and counts.min() < counts.max()


def _summary(
    corrected: CorrectedWells,
    controls: np.ndarray,
    by: str,
    queries: np.ndarray | None,
    annotations: Mapping[str, str] | None,
    **how: Any,  # noqa: ANN401  (those of measure_against_controls)
) -> dict[str, object]:
    measured: dict[str, Any] = _measures(corrected, controls, by, queries, annotations, **how)
    measured.get("activity", {}).pop("by_treatment", None)
    if "placebo" in measured:
        measured["placebo"] = without_p_values(measured["placebo"])
    return {"made_by": corrected.wells.provenance, **measured}


def _sweep(
    wells: Profiles,
    controls: np.ndarray,
    by: str,
    queries: np.ndarray | None,
    annotations: Mapping[str, str] | None,
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
        wells, controls, by, methods, queries=queries, annotations=annotations, relative=relative
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
