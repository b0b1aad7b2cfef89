"""Scores of a comparison: the same wells, controls and labels for every model, same corrections."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from cpcnn_core.errors import ProfileError
from cpcnn_core.evaluation.baselines import count_profiles
from cpcnn_core.evaluation.control_measures import measure_against_controls
from cpcnn_core.evaluation.correction_sweep import sweep_corrections
from cpcnn_core.evaluation.scores import measure_retrieval, retrieval_scores
from cpcnn_core.expressions import choose_rows
from cpcnn_core.io.deepprofiler import read_sites
from cpcnn_core.io.load_data import read_load_data
from cpcnn_core.io.metadata_types import learn_types
from cpcnn_core.profiles.aggregate import aggregate
from cpcnn_core.profiles.corrected_wells import CorrectedWells
from cpcnn_core.profiles.correction import Correction, fit_correction
from cpcnn_core.profiles.wells import join_platemap
from cpcnn_core.schema.columns import CELL_COUNT, PLATE, WELL, metadata_column
from cpcnn_core.schema.profiles import Profiles
from cpcnn_core.screen.screens import DeepProfilerScreen, Screen
from cpcnn_core.user_messages import Tell, warn


@dataclass(frozen=True)
class Evaluated:
    """Scores of some profiles, and the correction that they had.

    Attributes
    ----------
    correction : Correction
        ``none``, or ``sphering``.
    wells : Profiles
        Corrected by it.
    scores : dict
        Those of `measure_retrieval` and `measure_against_controls`; JSON's types only.
    """

    correction: Correction
    wells: Profiles
    scores: dict[str, dict[str, Any]]


def evaluate_corrections(prepared: PreparedTask, task: ComparisonTask) -> list[Evaluated]:
    """Measure profiles as they are, and sphered with the lambda that suits them best.

    Lambda is a fraction of the mean eigenvalue of the controls' covariance, chosen for every
    model in the same way: the one of `cpcnn_core.evaluation.correction_sweep.LAMBDAS` with which
    the query wells find their replicates best, the largest of equals: it changes least. No
    label is needed for that choice. How well replicates are found is told of treatments that it
    was not chosen on, see `CorrectionSweep.nested`; where there is a single query, of that one.

    Parameters
    ----------
    prepared : PreparedTask
    task : ComparisonTask

    Returns
    -------
    list of two Evaluated

    Raises
    ------
    ProfileError
        What cannot be measured on these wells.

    Examples
    --------
    >>> task = ComparisonTask("Metadata_Treatment", "Treatment == 'DMSO'")
    >>> found = evaluate_corrections(task.prepare(wells), task)
    >>> [one.correction.method for one in found]
    ['none', 'sphering']
    >>> [round(one.scores["replicates"]["mean_average_precision"], 2) for one in found]
    [0.94, 0.97]
    """
    sweep = sweep_corrections(
        prepared.wells, prepared.controls, task.by, queries=prepared.queries, relative=True
    )
    # Without sphering has a row of its own.
    sweep = replace(sweep, tried=sweep.tried[1:])
    sphering = fit_correction(
        prepared.wells,
        prepared.controls,
        "sphering",
        regularization=cast("float", sweep.best().strength),
        relative=True,
        tell=task.tell,
    )
    sphered = _evaluate(prepared, task, sphering)
    if len(np.unique(sweep.names)) > 1:
        precision, _ = sweep.nested()
        sphered.scores["replicates"] |= retrieval_scores(precision, sweep.names, sweep.chance)
    return [evaluate_uncorrected(prepared, task), sphered]


def evaluate_uncorrected(prepared: PreparedTask, task: ComparisonTask) -> Evaluated:
    """Measure profiles without a correction.

    Examples
    --------
    >>> task = ComparisonTask("Metadata_Treatment", "Treatment == 'DMSO'")
    >>> scores = evaluate_uncorrected(task.prepare(wells), task).scores
    >>> round(scores["replicates"]["mean_average_precision"], 2)
    0.94
    """
    return _evaluate(prepared, task, fit_correction(prepared.wells, prepared.controls, "none"))


def evaluate_counts(prepared: PreparedTask, task: ComparisonTask) -> Evaluated:
    """Measure what the number of cells alone finds; there is nothing in it to correct.

    Examples
    --------
    >>> task = ComparisonTask("Metadata_Treatment", "Treatment == 'DMSO'")
    >>> wells.metadata["Metadata_CellCount"] = np.arange(len(wells.features)) % 7 + 100
    >>> scores = evaluate_counts(task.prepare(wells), task).scores
    >>> scores["replicates"]["above_chance"]
    False
    """
    counts = count_profiles(prepared.wells)
    return evaluate_uncorrected(PreparedTask(counts, prepared.controls, prepared.queries), task)


def require_same_cells(wells: Profiles, reference: Profiles, name: str) -> None:
    """Refuse wells whose cells are not those of the others.

    Raises
    ------
    ProfileError
        Says how many, and where.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> rows = pd.DataFrame({PLATE: ["P1"], WELL: ["A01"], CELL_COUNT: [9]})
    >>> one = Profiles(np.ones((1, 1)), rows, ["x"])
    >>> other = Profiles(np.ones((1, 1)), rows.assign(**{CELL_COUNT: 7}), ["x"])
    >>> require_same_cells(other, one, "M")
    Traceback (most recent call last):
    cpcnn_core.errors.ProfileError: 1 of 1 wells have other cells than in M: P1/A01 (7, not 9)
    """
    mine, theirs = _counts(wells), _counts(reference)
    wrong = [key for key in {**theirs, **mine} if mine.get(key) != theirs.get(key)]
    if wrong:
        shown = ", ".join(
            f"{key} ({mine.get(key, 0)}, not {theirs.get(key, 0)})" for key in wrong[:5]
        )
        raise ProfileError(
            f"{len(wrong)} of {len(theirs)} wells have other cells than in {name}: {shown}"
        )


def _counts(wells: Profiles) -> dict[str, int]:
    wells.require([PLATE, WELL, CELL_COUNT])
    columns = wells.metadata[[PLATE, WELL, CELL_COUNT]].itertuples(index=False, name=None)
    return {f"{plate}/{well}": int(count) for plate, well, count in columns}


def _evaluate(prepared: PreparedTask, task: ComparisonTask, correction: Correction) -> Evaluated:
    wells, by = correction.transform(prepared.wells), task.by
    before = prepared.wells if correction.steps else wells
    scores: dict[str, Any] = measure_retrieval(
        wells, prepared.controls, by, queries=prepared.queries, annotations=task.annotations
    )
    columns = list(map(metadata_column, task.confounders))
    corrected = CorrectedWells(wells, before, correction)
    scores |= measure_against_controls(corrected, prepared.controls, by, columns)
    return Evaluated(correction, wells, scores)


@dataclass(frozen=True)
class ComparisonTask:
    """What the profiles of every model are evaluated for.

    Attributes
    ----------
    by : str
        The column that names the treatment.
    controls : str
        Which wells are controls, see `cpcnn_core.expressions.choose_rows`.
    platemap : str, optional
        See `cpcnn_core.profiles.wells.join_platemap`.
    where : str, optional
        Only these wells are looked at.
    query : str, optional
        Only these are queries, see `cpcnn_core.evaluation.scores.measure_retrieval`.
    annotations : mapping of str to str, optional
        Labels of treatments.
    confounders : tuple of str
        Columns whose values control wells should not find each other by, besides plate and well.
    keep_labels : tuple of str
        Texts such as ``NA`` that are labels here.
    tell : callable
        Takes a sentence for what is left out.
    """

    by: str
    controls: str
    platemap: str | None = None
    where: str | None = None
    query: str | None = None
    annotations: Mapping[str, str] | None = None
    confounders: tuple[str, ...] = ()
    keep_labels: tuple[str, ...] = ()
    tell: Tell = warn

    def prepare(self, wells: Profiles) -> PreparedTask:
        """Choose the wells, the controls and the queries.

        Raises
        ------
        ProfileError
            A column that is not there, an expression that is true for none.
        """
        if self.platemap:
            wells = join_platemap(
                wells, self.platemap, keep_labels=self.keep_labels, tell=self.tell
            )
        if self.where:
            wells = wells.select(choose_rows(wells, self.where))
            wells.provenance = wells.provenance | {"where": self.where}
        wells.provenance = wells.provenance | {"controls": self.controls}
        wells.require([self.by, *map(metadata_column, self.confounders)])
        queries = (
            choose_rows(wells, self.query) if self.query else np.ones(len(wells.metadata), bool)
        )
        return PreparedTask(wells, choose_rows(wells, self.controls), queries)


@dataclass(frozen=True)
class PreparedTask:
    """Wells to evaluate: which are controls (n,) bool, and which are queries (n,) bool."""

    wells: Profiles
    controls: np.ndarray
    queries: np.ndarray


def planned_wells(screen: Screen, keep_labels: Collection[str] = ()) -> Profiles:
    """Return the wells that a screen will have, with features that say nothing.

    So that what cannot be measured is said before they are embedded.

    Parameters
    ----------
    screen : LoadDataScreen or DeepProfilerScreen
    keep_labels : collection of str
        As of `ComparisonTask`.

    Returns
    -------
    Profiles
        Three features, drawn at random.

    Examples
    --------
    >>> planned_wells(DeepProfilerScreen("nowhere"))
    Traceback (most recent call last):
    cpcnn_core.errors.SiteError: nowhere is no DeepProfiler project: it has no folder inputs...
    """
    import pandas as pd

    if isinstance(screen, DeepProfilerScreen):
        sites = read_sites(screen.project())
    else:
        sites = read_load_data(screen.table, ())
    rows = [{metadata_column(k): value for k, value in s.metadata.items()} for s in sites]
    features = np.random.default_rng(0).normal(size=(len(rows), 3))
    texts = pd.DataFrame(rows)
    metadata = learn_types(texts, keep_labels).apply(texts)
    return aggregate(Profiles(features, metadata, list("xyz")), [PLATE, WELL], "mean")
