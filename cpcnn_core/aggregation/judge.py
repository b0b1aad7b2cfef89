"""Is a learned aggregation better than the mean? Asked of what it was not trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cpcnn_core.aggregation.cell_sets import CellSets
from cpcnn_core.aggregation.fit import AggregationSettings, fit_aggregation
from cpcnn_core.aggregation.scored_sets import ScoredSets, score_sets
from cpcnn_core.errors import ProfileError, TrainingError
from cpcnn_core.evaluation.intervals import bootstrap_interval
from cpcnn_core.evaluation.replicates import ReplicateRetrieval, find_replicates
from cpcnn_core.profiles.correction_steps import fit_plate_centering
from cpcnn_core.profiles.cross_fitting import plates_of
from cpcnn_core.schema.columns import PLATE, TREATMENT
from cpcnn_core.schema.profiles import Profiles
from cpcnn_core.user_messages import some

# Of fewer treatments an interval by resampling them is too narrow to go by.
FEWEST_TREATMENTS = 10
PLATES, TREATMENTS = "plates", "treatments"


@dataclass(frozen=True)
class Comparison:
    """Mean and learned aggregation asked for the same replicates, of what was held out.

    Attributes
    ----------
    held_out : str
        `PLATES` or `TREATMENTS`.
    names : ndarray of shape (n,), str
        The treatment of every well that asked.
    mean, learned, chance : ndarray of shape (n,), float64
        Average precision of each, and what a random order is expected to reach.
    """

    held_out: str
    names: np.ndarray
    mean: np.ndarray
    learned: np.ndarray
    chance: np.ndarray

    def summary(self) -> Judgement:
        """Return means, and the difference with its interval over treatments."""
        found = bootstrap_interval(self.learned - self.mean, self.names)
        return Judgement(
            self.held_out,
            len(self.names),
            len(set(self.names.tolist())),
            float(self.chance.mean()),
            float(self.mean.mean()),
            float(self.learned.mean()),
            found["mean"] or 0.0,
            found["low"],
            found["high"],
        )


@dataclass(frozen=True)
class Judgement:
    """A `Comparison` in a few numbers.

    Attributes
    ----------
    held_out : str
    wells, treatments : int
        That asked.
    chance, mean, learned : float
        Mean average precision.
    difference : float
        Learned minus mean.
    low, high : float or None
        Of the difference's 95 % interval; None where one treatment is all there is.
    """

    held_out: str
    wells: int
    treatments: int
    chance: float
    mean: float
    learned: float
    difference: float
    low: float | None
    high: float | None

    @property
    def is_better(self) -> bool:
        """Whether the interval is above 0, of enough treatments, and more than chance is found."""
        is_shown = self.low is not None and self.low > 0 and self.treatments >= FEWEST_TREATMENTS
        return is_shown and self.learned > self.chance


def judge(
    sets: CellSets,
    names: np.ndarray,
    controls: np.ndarray,
    settings: AggregationSettings,
    folds: int,
    tell: Callable[[], object] = lambda: None,
) -> tuple[list[Comparison], list[Comparison]]:
    """Train again and again without a part, and ask that part for its replicates.

    What is held out looks among what is held out: wells that were learned from stand together by
    their labels, whatever these are, and to find some of them is to find all. All profiles are
    centred on the controls of their plate and divided by the controls' spread.

    Parameters
    ----------
    sets : CellSets
    names : ndarray of shape (wells,), str
        The treatment; empty where there is none.
    controls : ndarray of shape (wells,), bool
    settings : AggregationSettings
    folds : int
        Parts, at most half as many as there are plates, or treatments.
    tell : callable
        Is called after every training.

    Returns
    -------
    comparisons : list of Comparison
        Of plates, then of treatments; those that could be made.
    placebo : list of Comparison
        The same with the treatments of the wells of every plate shuffled, for training and for
        asking: nothing is to be found, and what is found is wrong.

    Raises
    ------
    ProfileError
        No replicates.
    """
    names = np.where(controls, "", names)
    plates = plates_of(sets.wells)
    space = settings.components, settings.seed
    both = names, _shuffled(names, plates, _random(settings))
    whole = score_sets(sets, controls, controls, *space)
    found: tuple[list[Comparison], list[Comparison]] = ([], [])
    for kind in (PLATES, TREATMENTS):
        turns = [_deal(kind, labels, plates, _random(settings)) for labels in both]
        count = min(folds, *(_most_folds(kind, turn) for turn in turns))
        answers: tuple[list[_Answer], list[_Answer]] = ([], [])
        for fold in range(count if count > 1 else 0):
            parts = [(turn >= 0) & (turn % count == fold) for turn in turns]
            scored = whole
            if kind == PLATES:
                # The same for both: whole plates are dealt.
                known = controls & ~np.isin(plates, plates[parts[0]])
                scored = score_sets(sets, controls, known, *space)
            for part, labels, mine in zip(parts, both, answers, strict=True):
                mine.extend(_ask(scored, sets.wells.features, labels, part, settings))
                tell()
        for mine, comparisons in zip(answers, found, strict=True):
            if mine:
                joined = [np.concatenate(values) for values in zip(*mine, strict=True)]
                comparisons.append(Comparison(kind, *joined))
    return found


_Answer = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _random(settings: AggregationSettings) -> np.random.Generator:
    return np.random.default_rng([settings.seed, 2])


def _shuffled(names: np.ndarray, plates: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Deal the treatments of every plate to its treated wells at random."""
    names = names.copy()
    for plate in np.unique(plates):
        mine = np.flatnonzero((plates == plate) & (names != ""))
        names[mine] = names[random.permutation(mine)]
    return names


def _deal(
    kind: str, names: np.ndarray, plates: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Return a number for what is held out together, (wells,) int; -1 is never held out."""
    treated = names != ""
    turn = np.full(len(names), -1)
    if kind == PLATES:
        known, plate = np.unique(plates[treated], return_inverse=True)
        turn[treated] = random.permutation(len(known))[plate]
        return turn
    labels, place, counts = np.unique(names, return_inverse=True, return_counts=True)
    replicated = np.flatnonzero((counts > 1) & (labels != ""))
    for number, label in enumerate(random.permutation(replicated)):
        turn[place == label] = number
    return turn


def _most_folds(kind: str, turn: np.ndarray) -> int:
    """Return into how many parts can be dealt, of two plates or treatments if possible."""
    count = int(turn.max()) + 1
    # A plate alone can still be asked for replicates on it.
    return max(count // 2, min(count, 2)) if kind == PLATES else count // 2


def _ask(
    scored: ScoredSets,
    means: np.ndarray,
    names: np.ndarray,
    part: np.ndarray,
    settings: AggregationSettings,
) -> list[_Answer]:
    """Return treatments, mean, learned and chance of the held-out wells; none without answer."""
    try:
        aggregation = fit_aggregation(scored, np.where(part, "", names), settings)
        mean, learned = (
            _retrieval(scored, features, names, part)
            for features in (means, scored.aggregate(aggregation))
        )
    except (TrainingError, ProfileError):
        # Of few replicates none may be left to learn from, or to be found.
        return []
    asked = mean.queries()
    return [
        (mean.names[asked], mean.precision[asked], learned.precision[asked], mean.chance[asked])
    ]


def _retrieval(
    scored: ScoredSets, features: np.ndarray, names: np.ndarray, among: np.ndarray
) -> ReplicateRetrieval:
    plates, controls = scored.plates, scored.controls
    scaling = fit_plate_centering(features[controls], plates[controls].tolist())
    centred = scaling.transform(features[among], plates[among].tolist())
    metadata = pd.DataFrame({PLATE: plates[among], TREATMENT: names[among]})
    numbered = [str(number) for number in range(centred.shape[1])]
    return find_replicates(Profiles(centred, metadata, numbered), TREATMENT)


def describe(judgement: Judgement) -> str:
    """Put a judgement into words.

    Examples
    --------
    >>> describe(Judgement("plates", 12, 4, 0.1, 0.25, 0.5, 0.25, 0.125, 0.375))
    'held-out plates, 12 wells of 4 treatments: mean 0.250, learned 0.500, chance 0.100; ...
    """
    one = judgement
    interval = (
        "one treatment, so no interval"
        if one.low is None or one.high is None
        else f"95 % interval {one.low:+.3f} to {one.high:+.3f}"
    )
    return (
        f"held-out {one.held_out}, {some(one.wells, 'well')} of "
        f"{some(one.treatments, 'treatment')}: mean {one.mean:.3f}, learned {one.learned:.3f}, "
        f"chance {one.chance:.3f}; difference {one.difference:+.3f}, {interval}"
    )


def verdict(judgements: Sequence[Judgement], placebo: Sequence[Judgement]) -> str:
    """Say whether to use the learned aggregation, or to keep the mean.

    Examples
    --------
    >>> verdict([], [])
    'keep the mean: too few treatments have replicates to hold some out'
    """
    asked = [one.held_out for one in judgements]
    open_ = [one.held_out for one in judgements if not one.is_better]
    fewest = min((one.treatments for one in judgements), default=0)
    if TREATMENTS not in asked:
        return "keep the mean: too few treatments have replicates to hold some out"
    if fewest < FEWEST_TREATMENTS:
        return (
            f"keep the mean: an interval of {fewest} treatments is not to be relied on; expected "
            f"{FEWEST_TREATMENTS} with replicates at least"
        )
    if any(one.is_better for one in placebo):
        return "keep the mean: the placebo, which has nothing to learn, seems better than it too"
    if open_ == [TREATMENTS] and PLATES in asked:
        return (
            "better than the mean on held-out plates, for the treatments that it was trained on; "
            "for all others keep the mean: on held-out treatments it is not shown to be better"
        )
    if open_:
        return (
            f"keep the mean: on held-out {' and '.join(open_)} the learned aggregation is not "
            "shown to be better (the interval of the difference is not above 0)"
        )
    return (
        f"better than the mean on held-out {' and '.join(asked)} of this screen; of other screens "
        "that says nothing: compare there as well, with cpcnn evaluate"
    )
