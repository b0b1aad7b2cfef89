"""Result of the whole procedure for controls called treatments: it should find nothing."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from cpcnn_core.errors import ProfileError
from cpcnn_core.evaluation.intervals import exact_interval
from cpcnn_core.profiles.cross_fitting import (
    POSITION,
    CrossFit,
    cross_fit,
    null_positions,
)
from cpcnn_core.profiles.significance import Layout, Significance

Choose = Callable[[CrossFit, np.random.Generator], np.ndarray | None]
# One of this number of controls is called a treatment.
ONE_IN = 4
LEVEL = 0.05
ENOUGH, MAX_ROUNDS = 100, 10
QUERIES = 8
CALIBRATED = "calibrated"
TOO_SMALL = "p-values are too small here: controls called treatments pass for active"
POSITION_EFFECTS = "position effects: activity cannot be told from position here"
UNKNOWN = "too few controls to tell"


@dataclass(frozen=True)
class Placebo:
    """p-values of controls that were called treatments.

    Attributes
    ----------
    activity, nearest : ndarray of shape (k,), float64
        Of controls of the unit that p-values draw: wells arranged on plates like treatments, or
        positions. ``nearest``: how like they are to real treatments.
    positions : ndarray of shape (k,), float64
        Activity of whole positions where wells are drawn, although treatments have fixed
        positions: there are too few control positions to draw from.
    apart : int
        Into how many placebos the controls can be split at once. Those that were asked share
        controls, so that intervals count no more than these.
    finest : float
        The smallest p-value that a placebo can have.
    """

    activity: np.ndarray = field(default_factory=lambda: np.zeros(0))
    nearest: np.ndarray = field(default_factory=lambda: np.zeros(0))
    positions: np.ndarray = field(default_factory=lambda: np.zeros(0))
    apart: int = ENOUGH
    finest: float = 0.0

    @property
    def verdict(self) -> str:
        """Say in words whether p-values are what they say."""
        if not len(self.activity) or self.finest > LEVEL:
            # None could be at or below the level, whatever the wells are like.
            return UNKNOWN
        if len(self.positions) and self._are_too_many(self.positions):
            return POSITION_EFFECTS
        if self._are_too_many(self.activity) or self._are_too_many(self.nearest):
            return TOO_SMALL
        return CALIBRATED

    def summary(self) -> dict[str, object]:
        """Return shares of p-values at or below .05, and the verdict, in JSON's types.

        Examples
        --------
        >>> found = Placebo(np.array([0.02, 0.4, 0.7, 0.9])).summary()
        >>> found["verdict"], found["activity"]["share"]
        ('calibrated', 0.25)
        """
        parts = {"activity": self.activity, "nearest": self.nearest, "positions": self.positions}
        told = {
            name: {
                "share": float((values <= LEVEL).mean()),
                "count": len(values),
                "interval": list(self._interval(values)),
                "p_values": np.sort(values).tolist(),
            }
            for name, values in parts.items()
            if len(values)
        }
        return {**told, "level": LEVEL, "verdict": self.verdict}

    def _interval(self, p_values: np.ndarray) -> tuple[float, float]:
        """Return the 95 % interval (Clopper and Pearson) of the share at or below `LEVEL`."""
        count = max(1, min(len(self.activity), self.apart))
        hits = round(float((p_values <= LEVEL).mean()) * count)
        return exact_interval(hits, count)

    def _are_too_many(self, p_values: np.ndarray) -> bool:
        return bool(len(p_values)) and self._interval(p_values)[0] > LEVEL


def without_p_values(summary: Mapping[str, object]) -> dict[str, object]:
    """Return what `Placebo.summary` tells, but for the single p-values.

    Examples
    --------
    >>> without_p_values({"activity": {"share": 0.1, "p_values": [0.2]}, "verdict": "calibrated"})
    {'activity': {'share': 0.1}, 'verdict': 'calibrated'}
    """
    return {
        name: {key: value for key, value in found.items() if key != "p_values"}
        if isinstance(found, dict)
        else found
        for name, found in summary.items()
    }


def run_placebo(tests: Significance, *, seed: int = 0) -> Placebo:
    """Call a quarter of the controls treatments, and ask what is asked of treatments.

    The correction is fitted without them; everything else is as for real treatments. Again with
    others, until there are a hundred p-values.

    Parameters
    ----------
    tests : Significance
        Of the wells and the correction.
    seed : int

    Returns
    -------
    Placebo
        Empty where the controls are too few.

    Examples
    --------
    >>> from cpcnn_core.profiles.correction import fit_correction
    >>> from cpcnn_core.profiles.cross_fitting import cross_fit
    >>> correction = fit_correction(wells, controls, "plate-mad")
    >>> tests = Significance(cross_fit(wells, controls, "Metadata_Treatment", correction))
    >>> run_placebo(tests).verdict
    'calibrated'
    """
    fitted, random = tests.fitted, np.random.default_rng(seed)
    if fitted.unit == POSITION:
        activity, nearest, finest = _ask(fitted, _choose_positions, random)
        apart = len(set(null_positions(fitted).values()))
        return Placebo(activity, nearest, apart=apart, finest=finest)
    layouts = [layout for layout in Significance(fitted).layouts if _size(layout) > 1]
    choose = functools.partial(_choose_wells, layouts)
    activity, nearest, finest = _ask(fitted, choose, random)
    positions, *_ = _ask(fitted, _choose_positions, random, queries=0)
    apart = len(_lay_out(layouts, _null_wells(fitted), np.random.default_rng(seed)))
    return Placebo(activity, nearest, positions, apart, finest)


def _ask(
    fitted: CrossFit, choose: Choose, random: np.random.Generator, queries: int = QUERIES
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return p-values of placebos, of activity and of similarity, and the smallest possible."""
    activity: list[float] = []
    nearest: list[float] = []
    finest = 1.0
    for _ in range(MAX_ROUNDS):
        named = choose(fitted, random)
        if named is None or len(activity) >= ENOUGH:
            break
        left = named == ""
        controls = fitted.controls & left
        null = None if fitted.null is fitted.controls else fitted.null & left
        names = np.where(named != "", named, fitted.wells.texts(fitted.by))
        metadata = fitted.wells.metadata.assign(**{fitted.by: names})
        wells, by = replace(fitted.wells, metadata=metadata), fitted.by
        try:
            again = cross_fit(
                wells, controls, by, fitted.folds[0].correction, null=null, unit=fitted.unit
            )
        except ProfileError:
            # Too few controls are left.
            break
        own = set(named) - {""}
        tests = Significance(again, frozenset(own))
        activity += tests.activity()["p_value"].dropna().tolist()
        finest = min([finest, *map(tests.finest, tests.treatments)])
        others = sorted(set(names[fitted.treated]))
        for query in random.permutation(others)[:queries]:
            found = tests.nearest(wells.select(names == query))
            nearest += found["p_value"].dropna().tolist()
    return np.array(activity), np.array(nearest), finest


def _choose_positions(fitted: CrossFit, random: np.random.Generator) -> np.ndarray | None:
    """Name a quarter of the control positions that all plates have, (n,) str; empty: none."""
    places = null_positions(fitted)
    names = sorted(set(places.values()))
    chosen = set(random.permutation(names)[: len(names) // ONE_IN].tolist())
    if not chosen:
        return None
    told = [places.get(row, "") for row in range(len(fitted.null))]
    return np.array([f"placebo {place}" if place in chosen else "" for place in told])


def _size(layout: Layout) -> int:
    return sum(count for _, count in layout)


def _null_wells(fitted: CrossFit) -> Counter[str]:
    """Count the wells without effect of every plate."""
    return Counter(fitted.plates[fitted.null].tolist())


def _lay_out(
    layouts: Sequence[Layout], free: Mapping[str, int], random: np.random.Generator
) -> list[Layout]:
    """Return layouts of treatments, drawn at random until the free wells are too few for the next.

    Of a screen in which most treatments need more wells than are free, none: the others would
    not tell of these.
    """
    left = Counter(free)

    def fits(layout: Layout) -> bool:
        return all(left[plate] >= count for plate, count in layout)

    possible = [layout for layout in layouts if fits(layout)]
    if 2 * len(possible) < len(layouts) or not possible:
        return []
    chosen: list[Layout] = []
    while fits(layout := possible[random.integers(len(possible))]):
        chosen.append(layout)
        left.subtract(dict(layout))
    return chosen


def _choose_wells(
    layouts: Sequence[Layout], fitted: CrossFit, random: np.random.Generator
) -> np.ndarray | None:
    """Name a quarter of the controls, arranged like treatments with replicates, (n,) str."""
    plates = fitted.plates
    quarter = {plate: number // ONE_IN for plate, number in _null_wells(fitted).items()}
    chosen = _lay_out(layouts, quarter, random)
    if not chosen:
        return None
    left = {
        plate: random.permutation(np.flatnonzero(fitted.null & (plates == plate))).tolist()
        for plate in quarter
    }
    named = np.full(len(plates), "", object)
    for turn, layout in enumerate(chosen):
        for plate, count in layout:
            named[[left[plate].pop() for _ in range(count)]] = f"placebo {turn}"
    return named.astype(str)
