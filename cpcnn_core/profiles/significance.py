"""Whether wells are more alike than control wells drawn in the same way: p-values.

Everything is compared within one fold of `cpcnn_core.profiles.cross_fitting.CrossFit`: controls
that its correction was not fitted on, beside treatments, which it never is fitted on.

Draws of few wells share most of them, and vary less than other wells would: their variance is
(m - 1) / (m + 1) of that of another treatment around their mean, where m draws can be made that
share none. So what is found of few is spread around its mean by the root of the inverse, as a
prediction interval is.
"""

from __future__ import annotations

import functools
import math
import operator
import zlib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
import scipy.stats

from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.checks import check_features
from cpcnn_core.profiles.cross_fitting import POSITION, CrossFit, Fold
from cpcnn_core.profiles.doses import compounds_of, dose_aware_q_values
from cpcnn_core.profiles.similarity import unit_length
from cpcnn_core.schema.columns import PLATE
from cpcnn_core.schema.profiles import Profiles

DRAWS = 1000
# Draws that share no well, of which there are few; of more nothing is spread.
FEW_APART = 16
SUPPORT_PERCENTILE = 95
SHARE = "Metadata_Share"

# How many wells on which plate, sorted.
Layout = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Significance:
    """p-values of similarity and of activity, with the controls of a cross-fitted correction.

    Attributes
    ----------
    fitted : CrossFit
    only : frozenset of str, optional
        The treatments that are asked about. Default: all.
    doses_of : str, optional
        The column that names the compound, where treatments are doses of compounds: q-values
        take that into account, see `cpcnn_core.profiles.doses`.
    """

    fitted: CrossFit
    only: frozenset[str] | None = None
    doses_of: str | None = None

    @cached_property
    def treatments(self) -> dict[str, np.ndarray]:
        """The wells of every treatment that are compared, (m,) int, by name.

        Of one with as many on a plate as controls are held out there, or more, only half that
        many, drawn at random: all held-out controls can be drawn in one way, half of them in most.
        """
        fitted = self.fitted
        names = fitted.wells.texts(fitted.by)
        treated = fitted.treated
        if self.only is not None:
            treated &= np.isin(names, sorted(self.only))
        usable = treated & (fitted.plates != "")
        always_held = self._always_held
        found: dict[str, np.ndarray] = {}
        for name in dict.fromkeys(names[treated].tolist()):
            mine = np.flatnonzero(usable & (names == name))
            random = np.random.default_rng(zlib.crc32(name.encode()))
            kept, plates = [], np.unique(fitted.plates[mine])
            # Of a treatment on one plate there is nothing to be alike with one well.
            least = 2 if len(plates) == 1 else 1
            for plate in plates:
                there = mine[fitted.plates[mine] == plate]
                if len(there) >= always_held[plate]:
                    few = max(always_held[plate] // 2, least)
                    there = np.sort(random.permutation(there)[:few])
                kept.extend(there.tolist())
            found[name] = np.array(kept, int)
        return found

    def nearest(
        self,
        query: Profiles | np.ndarray,
        exclude: Collection[str] | None = None,
        rows: np.ndarray | None = None,
    ) -> pd.DataFrame:
        """Tell how surely every treatment is like the query.

        Parameters
        ----------
        query : Profiles, or ndarray of shape (q, d)
            Uncorrected cells or wells; their mean is compared. An array: corrected by other means.
        exclude : collection of str, optional
            Treatments that are not asked about.
        rows : ndarray of shape (q,), int, optional
            Which wells of the screen the query is, if it is some of them: controls among them
            are not drawn.

        Returns
        -------
        pandas.DataFrame
            A row for every treatment, its name as the index: ``p_value``, ``q_value``
            (Benjamini-Hochberg over all that are asked about). NaN where none of its wells can be
            compared, or it is not asked about. With `doses_of` also ``compound_q_value``.

        Raises
        ------
        ProfileError
            Other features than the screen's, NaN, no direction.
        """
        names = list(self.treatments)
        left_out = set() if exclude is None else set(exclude)
        tested = np.array(
            [len(mine) > 0 and name not in left_out for name, mine in self.treatments.items()]
        )
        own = np.array([], int) if rows is None else np.asarray(rows, int)
        reached, drawn = np.zeros(len(names)), np.zeros(len(names))
        query = _reduced(query)
        for number, fold in enumerate(self.fitted.folds):
            direction = _direction(fold, query)
            means = self._means[number]
            similarity = np.full(len(names), np.nan)
            similarity[self._comparable] = means @ direction
            dots = fold.features @ direction
            free = ~np.isin(fold.held, own)
            chance: dict[Layout, np.ndarray] = {}
            for place in np.flatnonzero(tested):
                layout = self.layouts[place]
                if layout not in chance:
                    picked, lengths = self._draws(number, layout)
                    mine = (picked @ ~free) == 0 if len(own) else slice(None)
                    cosines = (picked @ dots)[mine] / lengths[mine]
                    chance[layout] = self._spread(layout, cosines)
                null = chance[layout]
                reached[place] += (null >= similarity[place]).sum()
                drawn[place] += len(null)
        return self._as_table(names, tested, reached, drawn)

    def support(self, query: Profiles | np.ndarray) -> pd.Series:
        """Return the fraction of each treatment's wells more like the query than 95 % of controls.

        Parameters
        ----------
        query : Profiles or ndarray
            As of `nearest`.

        Returns
        -------
        pandas.Series
            By treatment. Compared in every fold with the controls held out there, of all plates;
            the mean over the folds. NaN where none of the wells can be compared.
        """
        query, (starts, sizes) = _reduced(query), self._groups
        fractions = np.zeros(len(sizes))
        for number, fold in enumerate(self.fitted.folds):
            direction = _direction(fold, query)
            limit = np.percentile(unit_length(fold.features) @ direction, SUPPORT_PERCENTILE)
            more = unit_length(self._corrected(number)) @ direction > limit
            fractions += np.add.reduceat(more, starts, dtype=float) / sizes
        found = pd.Series(np.nan, index=list(self.treatments))
        found[self._comparable] = fractions / len(self.fitted.folds)
        return found

    def activity(self) -> pd.DataFrame:
        """Tell how surely the wells of every treatment are alike.

        The statistic is the mean cosine over the pairs of its wells on different plates, or of
        one plate where it is on a single one.

        Returns
        -------
        pandas.DataFrame
            A row for every treatment, its name as the index: ``mean_cosine`` (the mean over the
            folds), ``p_value``, ``q_value``; NaN where there are no two wells to compare.
        """
        names = list(self.treatments)
        tested = np.array([len(self.treatments[name]) > 1 for name in names])
        reached, drawn = np.zeros(len(names)), np.zeros(len(names))
        cosines = np.full((len(self.fitted.folds), len(names)), np.nan)
        places = np.cumsum(self._comparable) - 1
        for number, fold in enumerate(self.fitted.folds):
            among_held = _cosines(fold.features)
            wells = np.split(self._corrected(number), self._groups[0][1:])
            chance: dict[Layout, np.ndarray] = {}
            for place in np.flatnonzero(tested):
                mine, layout = self.treatments[names[place]], self.layouts[place]
                plates, all_of_it = self.fitted.plates[mine], np.ones((1, len(mine)))
                among_mine = _cosines(wells[places[place]])
                cosines[number, place] = _mean_of_pairs(all_of_it, among_mine, plates, layout)[0]
                if layout not in chance:
                    picked, _ = self._draws(number, layout)
                    held = self.fitted.plates[fold.held]
                    means = _mean_of_pairs(picked, among_held, held, layout)
                    chance[layout] = self._spread(layout, means)
                reached[place] += (chance[layout] >= cosines[number, place]).sum()
                drawn[place] += len(chance[layout])
        table = self._as_table(names, tested, reached, drawn)
        mean = np.full(len(names), np.nan)
        mean[tested] = cosines[:, tested].mean(axis=0)
        table.insert(0, "mean_cosine", mean)
        return table

    def finest(self, name: str) -> float:
        """Return the smallest p-value that a treatment can have; NaN where it cannot have one."""
        if name not in self.treatments:
            return math.nan
        layout = self.layouts[list(self.treatments).index(name)]
        if not layout:
            return math.nan
        # However many ways there are, the number of draws is limited.
        drawn = self._per_fold * len(self.fitted.folds)
        return 1 / (1 + min(self._ways(layout), drawn))

    def describe(self, names: Collection[str]) -> str:
        """Say what the p-values of some treatments compare with, and how small they can be.

        Examples
        --------
        >>> from cpcnn_core.profiles.correction import fit_correction
        >>> from cpcnn_core.profiles.cross_fitting import cross_fit
        >>> correction = fit_correction(wells, controls, "plate-mad")
        >>> fitted = cross_fit(wells, controls, "Metadata_Treatment", correction, unit="well")
        >>> Significance(fitted).describe(["taxol"])
        'p-values compare with 24 control wells, ...; none of these can be below 0.0092'
        """
        finest = sorted(one for one in map(self.finest, names) if not math.isnan(one))
        if not finest:
            return self.fitted.describe()
        least, always_held = finest[0], finest[len(finest) // 2]
        others = "" if always_held == least else f", and most not below {always_held:.2g}"
        return f"{self.fitted.describe()}; none of these can be below {least:.2g}{others}"

    @cached_property
    def _held(self) -> list[Counter[str]]:
        """How many controls of a plate are held out, fold by fold."""
        plates = self.fitted.plates
        return [Counter(plates[fold.held].tolist()) for fold in self.fitted.folds]

    @cached_property
    def _always_held(self) -> Counter[str]:
        """How many controls of a plate are held out in every fold."""
        return functools.reduce(operator.and_, self._held)

    @cached_property
    def layouts(self) -> list[Layout]:
        """Number of wells of every treatment on each plate, in the order of `treatments`."""
        plates = self.fitted.plates
        counts = (Counter(plates[rows].tolist()) for rows in self.treatments.values())
        return [tuple(sorted(count.items())) for count in counts]

    @cached_property
    def _comparable(self) -> np.ndarray:
        return np.array([len(rows) > 0 for rows in self.treatments.values()])

    @cached_property
    def _means(self) -> list[np.ndarray]:
        """The directions of the means of treatments' wells, fold by fold: (comparable, d)."""
        starts, _ = self._groups
        return [
            unit_length(np.add.reduceat(self._corrected(number), starts, axis=0))
            for number in range(len(self.fitted.folds))
        ]

    @cached_property
    def _groups(self) -> tuple[np.ndarray, np.ndarray]:
        """Where the wells of every comparable treatment begin in `_corrected`, and how many."""
        sizes = np.array([len(rows) for rows in self.treatments.values() if len(rows)], int)
        return np.cumsum(sizes) - sizes, sizes

    def _corrected(self, number: int) -> np.ndarray:
        """Correct the wells of all comparable treatments, one treatment after the other."""
        rows = np.concatenate([rows for rows in self.treatments.values() if len(rows)])
        wells = self.fitted.wells.select(rows)
        return self.fitted.folds[number].correction.transform(wells).features

    @cached_property
    def _drawn(self) -> dict[tuple[int, Layout], tuple[np.ndarray, np.ndarray]]:
        return {}

    def _draws(self, number: int, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
        """Draw held-out controls, arranged on the plates like a treatment's wells.

        Returns
        -------
        picked : ndarray of shape (draws, h), float64
            1 for the controls of a draw.
        lengths : ndarray of shape (draws,)
            Of the sum of their features.
        """
        if (number, layout) not in self._drawn:
            fold = self.fitted.folds[number]
            seed = zlib.crc32(repr((number, layout)).encode())
            draw = _draw_positions if self.fitted.unit == POSITION else _draw_wells
            picked = draw(fold, self.fitted.plates[fold.held], layout, self._per_fold, seed)
            squares = np.einsum("dh,dh->d", picked @ (fold.features @ fold.features.T), picked)
            self._drawn[number, layout] = picked, np.sqrt(np.maximum(squares, 0))
        return self._drawn[number, layout]

    def _spread(self, layout: Layout, drawn: np.ndarray) -> np.ndarray:
        """Spread what was found of draws as widely as that of wells that share none."""
        if self.fitted.unit == POSITION or not len(drawn):
            # Every position is drawn once.
            return drawn
        apart = sum(min(held[plate] // count for plate, count in layout) for held in self._held)
        if apart >= FEW_APART or apart == self._ways(layout):
            return drawn
        wider = math.sqrt((apart + 1) / (apart - 1))
        spread: np.ndarray = drawn.mean() + (drawn - drawn.mean()) * wider
        return spread

    @property
    def _per_fold(self) -> int:
        return -(-DRAWS // len(self.fitted.folds))

    def _ways(self, layout: Layout) -> int:
        """Count the different draws of all folds."""
        ways = 0
        for fold in self.fitted.folds:
            if self.fitted.unit == POSITION:
                units = len(np.unique(fold.unit))
                ways += math.comb(units, max(count for _, count in layout))
            else:
                held = Counter(self.fitted.plates[fold.held].tolist())
                ways += math.prod(math.comb(held[plate], count) for plate, count in layout)
        return ways

    def _as_table(
        self, names: list[str], tested: np.ndarray, reached: np.ndarray, drawn: np.ndarray
    ) -> pd.DataFrame:
        p_values = np.full(len(names), np.nan)
        tested = tested & (drawn > 0)
        p_values[tested] = (1 + reached[tested]) / (1 + drawn[tested])
        for place in np.flatnonzero(tested):
            # Draws that are few are no more certain for being repeated.
            finest = 1 / (1 + self._ways(self.layouts[place]))
            p_values[place] = max(p_values[place], finest)
        table = pd.DataFrame({"p_value": p_values}, index=pd.Index(names, name=self.fitted.by))
        known = table["p_value"].dropna()
        if self.doses_of is None:
            q_values = scipy.stats.false_discovery_control(known) if len(known) else []
            return table.join(pd.Series(q_values, known.index, float, "q_value"))
        compounds = compounds_of(self.fitted.wells, self.fitted.by, self.doses_of)
        found = dose_aware_q_values(known.to_numpy(), [compounds[name] for name in known.index])
        return table.join(found.set_index(known.index)[["q_value", "compound_q_value"]])


def mean_by_plate(query: Profiles) -> Profiles:
    """Return the mean of cells or wells of every plate, with its fraction of the rows.

    Corrections differ by plate and are linear in each, so that these means, corrected and
    weighted by ``Metadata_Share``, give the mean of the corrected cells.

    Examples
    --------
    >>> rows = pd.DataFrame({"Metadata_Plate": ["P1", "P1", "P2"]})
    >>> mean_by_plate(Profiles(np.array([[1.0], [3], [5]]), rows, ["x"])).features.tolist()
    [[2.0], [5.0]]
    """
    if not len(query.metadata):
        raise ProfileError("expected cells or wells to ask about, got none")
    known = PLATE in query.metadata.columns
    plates = query.texts(PLATE) if known else np.full(len(query.metadata), "")
    names, place = np.unique(plates, return_inverse=True)
    counts = np.bincount(place)
    sums = np.zeros((len(names), query.features.shape[1]))
    np.add.at(sums, place, check_features(query.features))
    metadata = pd.DataFrame({SHARE: counts / counts.sum()})
    if known:
        metadata[PLATE] = names
    return replace(query, features=sums / counts[:, None], metadata=metadata)


def _reduced(query: Profiles | np.ndarray) -> Profiles | np.ndarray:
    if isinstance(query, Profiles):
        return mean_by_plate(query)
    direction: np.ndarray = unit_length(query.mean(axis=0, keepdims=True))[0]
    return direction


def _direction(fold: Fold, query: Profiles | np.ndarray) -> np.ndarray:
    """Return the direction of the mean of what `_reduced` returned, corrected, (d,)."""
    if not isinstance(query, Profiles):
        return query
    rows = fold.correction.transform(query)
    direction: np.ndarray = unit_length(rows.metadata[SHARE].to_numpy()[None] @ rows.features)[0]
    return direction


def _cosines(features: np.ndarray) -> np.ndarray:
    unit = unit_length(features)
    cosines: np.ndarray = unit @ unit.T
    return cosines


def _mean_of_pairs(
    picked: np.ndarray, cosines: np.ndarray, plates: np.ndarray, layout: Layout
) -> np.ndarray:
    """Return the mean cosine of the pairs among what each draw (draws, h) picks, (draws,)."""
    pairs = plates[:, None] != plates if len(layout) > 1 else ~np.eye(len(plates), dtype=bool)
    sums = np.einsum("dh,dh->d", picked @ np.where(pairs, cosines, 0), picked)
    means: np.ndarray = sums / np.einsum("dh,dh->d", picked @ pairs, picked)
    return means


def _draw_wells(
    fold: Fold, plates: np.ndarray, layout: Layout, draws: int, seed: int
) -> np.ndarray:
    random = np.random.default_rng(seed)
    picked = np.zeros((draws, len(fold.held)))
    for plate, count in layout:
        there = np.flatnonzero(plates == plate)
        chosen = np.argsort(random.random((draws, len(there))), axis=1)[:, :count]
        np.put_along_axis(picked, there[chosen], 1, axis=1)
    return picked


def _draw_positions(
    fold: Fold, plates: np.ndarray, layout: Layout, draws: int, seed: int
) -> np.ndarray:
    """Draw as many positions as a treatment has wells on a plate; of one, each position once."""
    units = len(np.unique(fold.unit))
    always_held = max(count for _, count in layout)
    if always_held == 1:
        chosen = np.arange(units)[:, None]
    else:
        random = np.random.default_rng(seed)
        chosen = np.argsort(random.random((draws, units)), axis=1)[:, :always_held]
    picked = np.zeros((len(chosen), len(fold.held)))
    for plate, count in layout:
        on_plate = np.full(units, -1)
        there = plates == plate
        on_plate[fold.unit[there]] = np.flatnonzero(there)
        np.put_along_axis(picked, on_plate[chosen[:, :count]], 1, axis=1)
    return picked
