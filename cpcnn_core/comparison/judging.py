"""The same questions to the wells of every model, before and after the same correction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from cpcnn_core.comparison.question import Posed, Question
from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.aggregate import CELL_COUNT
from cpcnn_core.profiles.baselines import count_profiles
from cpcnn_core.profiles.corrected_wells import CorrectedWells
from cpcnn_core.profiles.correction import Correction, fit_correction
from cpcnn_core.profiles.correction_sweep import sweep_corrections
from cpcnn_core.profiles.evaluation import measure_against_controls, measure_retrieval
from cpcnn_core.profiles.scores import retrieval_scores
from cpcnn_core.tables.columns import PLATE, WELL, metadata_column
from cpcnn_core.tables.profiles import Profiles


@dataclass(frozen=True)
class Judged:
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


def judge(posed: Posed, question: Question) -> list[Judged]:
    """Measure profiles as they are, and sphered with the lambda that suits them best.

    Lambda is a fraction of the mean eigenvalue of the controls' covariance, chosen for every
    model in the same way: the one of `cpcnn_core.profiles.correction_sweep.LAMBDAS` with which
    the wells that ask find their replicates best, the largest of equals: it changes least. No
    label is needed for that choice. How well replicates are found is told of treatments that it
    was not chosen on, see `CorrectionSweep.nested`; where a single one asks, of that one.

    Parameters
    ----------
    posed : Posed
    question : Question

    Returns
    -------
    list of two Judged

    Raises
    ------
    ProfileError
        What cannot be asked of these wells.

    Examples
    --------
    >>> judge(question.pose(wells), question)  # doctest: +SKIP
    """
    sweep = sweep_corrections(
        posed.wells, posed.controls, question.by, asked=posed.asked, relative=True
    )
    # Without sphering has a row of its own.
    sweep = replace(sweep, tried=sweep.tried[1:])
    sphering = fit_correction(
        posed.wells,
        posed.controls,
        "sphering",
        regularization=cast("float", sweep.best().strength),
        relative=True,
        tell=question.tell,
    )
    sphered = _judge(posed, question, sphering)
    if len(np.unique(sweep.names)) > 1:
        precision, _ = sweep.nested()
        sphered.scores["replicates"] |= retrieval_scores(precision, sweep.names, sweep.chance)
    return [judge_as_they_are(posed, question), sphered]


def judge_as_they_are(posed: Posed, question: Question) -> Judged:
    """Measure profiles without a correction.

    Examples
    --------
    >>> judge_as_they_are(question.pose(wells), question)  # doctest: +SKIP
    """
    return _judge(posed, question, fit_correction(posed.wells, posed.controls, "none"))


def judge_counts(posed: Posed, question: Question) -> Judged:
    """Measure what the number of cells alone finds; there is nothing in it to correct.

    Examples
    --------
    >>> judge_counts(question.pose(wells), question)  # doctest: +SKIP
    """
    counts = count_profiles(posed.wells)
    return judge_as_they_are(Posed(counts, posed.controls, posed.asked), question)


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


def _judge(posed: Posed, question: Question, correction: Correction) -> Judged:
    wells, by = correction.transform(posed.wells), question.by
    before = posed.wells if correction.steps else wells
    scores: dict[str, Any] = measure_retrieval(
        wells, posed.controls, by, asked=posed.asked, truth=question.truth
    )
    columns = list(map(metadata_column, question.confounders))
    corrected = CorrectedWells(wells, before, correction)
    scores |= measure_against_controls(corrected, posed.controls, by, columns)
    return Judged(correction, wells, scores)
