"""A whole training: judged on what is held out, then trained on all wells, and written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import cpcnn_core
from cpcnn_core.aggregation.cell_sets import CellSets
from cpcnn_core.aggregation.files import AggregationCard, save_aggregation
from cpcnn_core.aggregation.fit import AggregationSettings, fit_aggregation
from cpcnn_core.aggregation.judge import judge
from cpcnn_core.aggregation.scored_sets import score_sets
from cpcnn_core.profiles.correction_files import file_sha256
from cpcnn_core.profiles.cross_fitting import plates_of
from cpcnn_core.schema.origin import MODEL, SETTINGS


@dataclass(frozen=True)
class Question:
    """What is learned from.

    Attributes
    ----------
    by : str
        The column that names the treatment.
    controls, where : str
        The expressions that chose controls, and wells.
    folds : int
        See `cpcnn_core.aggregation.judge.judge`.
    """

    by: str
    controls: str
    where: str
    folds: int


def train_aggregation(
    path: Path,
    sets: CellSets,
    controls: np.ndarray,
    question: Question,
    settings: AggregationSettings,
    *,
    inputs: Sequence[Path] = (),
    tell: Callable[[], object] = lambda: None,
) -> AggregationCard:
    """Train an aggregation, compare it with the mean, and write it.

    Parameters
    ----------
    path : Path
    sets : CellSets
    controls : ndarray of shape (wells,), bool
    question : Question
    settings : AggregationSettings
    inputs : sequence of Path
        The files that the sets were read from.
    tell : callable
        Is called after every training.

    Returns
    -------
    AggregationCard
        As written.

    Raises
    ------
    ProfileError, TrainingError
        A plate without controls; fewer than two treatments, or none with replicates.
    """
    import torch

    named = sets.wells.named(question.by) & ~controls
    names = np.where(named, sets.wells.texts(question.by), "")
    # First: what cannot be trained on is refused before the judgement, which takes longest.
    scored = score_sets(sets, controls, controls, settings.components, settings.seed)
    aggregation = fit_aggregation(scored, names, settings)
    tell()
    comparisons, placebo = judge(sets, names, controls, settings, question.folds, tell)
    made_by = sets.wells.provenance
    facts = {fact: made_by[fact] for fact in (*MODEL, *SETTINGS) if fact in made_by}
    card = AggregationCard(
        feature_names=tuple(sets.wells.feature_names),
        origin={
            fact: tuple(value) if isinstance(value, list) else value
            for fact, value in facts.items()
        },
        inputs=tuple(file_sha256(file) for file in inputs),
        by=question.by,
        controls=question.controls,
        where=question.where,
        treatments=tuple(sorted(set(names[named].tolist()))),
        plates=tuple(sorted(set(plates_of(sets.wells)[named].tolist()))),
        wells=int(named.sum()),
        cells=int(sets.counts[named].sum()),
        settings=settings,
        judgements=tuple(one.summary() for one in comparisons),
        placebo=tuple(one.summary() for one in placebo),
        versions={
            "cpcnn": cpcnn_core.__version__,
            "numpy": np.__version__,
            "torch": str(torch.__version__),
        },
    )
    return save_aggregation(path, card, aggregation)
