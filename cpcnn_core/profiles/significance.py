"""Whether wells are more alike than control wells drawn in the same way: p-values.

Everything is compared within one fold of `cpcnn_core.profiles.cross_fitting.CrossFit`: controls
that its correction was not fitted on, beside treatments, which it never is fitted on. Drawn are as
many controls as the treatment has wells, plate by plate. Few controls, drawn again and again, would
say more than they know; then the treatment's own wells are drawn among them, as in a permutation
test, which is right however few there are, and rather too careful.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
import scipy.stats

from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.checks import check_features
from cpcnn_core.profiles.cross_fitting import POSITION, CrossFit, Fold
from cpcnn_core.profiles.similarity import unit_length
from cpcnn_core.tables.columns import PLATE
from cpcnn_core.tables.profiles import Profiles

DRAWS = 1000
SUPPORT_PERCENTILE = 95
SHARE = "Metadata_Share"

# Held-out controls for every well that is drawn, on each plate, below which there are few.
FEW = 4
# Equal draws may differ by so much: wells are kept as 32-bit numbers.
ROUNDING = 1e-6

# How many wells on which plate, sorted.
Layout = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Significance:
    """p-values of likeness and of activity, with the controls of a cross-fitted correction.

    Attributes
    ----------
    fitted : CrossFit
    only : frozenset of str, optional
        The treatments that are asked about. Default: all.
    """

    fitted: CrossFit
    only: frozenset[str] | None = None

    @cached_property
    def treatments(self) -> dict[str, np.ndarray]:
        """The wells of every treatment that are compared, (m,) int, by name, plate by plate.

        Of one with more on a plate than controls are held out there, as many, drawn at random:
        where nearly all are its own, nothing is exchanged.
        """
        fitted = self.fitted
        names = fitted.wells.texts(fitted.by)
        treated = fitted.wells.named(fitted.by) & ~fitted.controls
        if self.only is not None:
            treated &= np.isin(names, sorted(self.only))
        usable = treated & (fitted.plates != "")
        most = self._most
        found: dict[str, np.ndarray] = {}
        for name in dict.fromkeys(names[treated].tolist()):
            mine = np.flatnonzero(usable & (names == name))
            random = np.random.default_rng(zlib.crc32(name.encode()))
            kept = []
            for plate in np.unique(fitted.plates[mine]):
                there = mine[fitted.plates[mine] == plate]
                if len(there) > most[plate]:
                    there = np.sort(random.permutation(there)[: most[plate]])
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
            compared, or it is not asked about.

        Raises
        ------
        ProfileError
            Other features than the screen's, NaN, no direction.
        """
        names = list(self.treatments)
        left_out = set() if exclude is None else set(exclude)
        asked = np.array(
            [len(mine) > 0 and name not in left_out for name, mine in self.treatments.items()]
        )
        own = np.array([], int) if rows is None else np.asarray(rows, int)
        reached, drawn = np.zeros(len(names)), np.zeros(len(names))
        query = _reduced(query)
        places = np.cumsum(self._comparable) - 1
        for number, fold in enumerate(self.fitted.folds):
            direction = _direction(fold, query)
            similarity = self._means[number] @ direction
            own_dots = np.split(self._corrected[number] @ direction, self._groups[0][1:])
            dots, free = fold.features @ direction, ~np.isin(fold.held, own)
            for place in np.flatnonzero(asked):
                mine = places[place]
                picked = self._draws(number, self._layouts[place])
                sums = picked @ np.concatenate([dots, own_dots[mine]])
                null = sums / self._lengths(number, place, mine)
                if len(own):
                    null = null[picked[:, : len(free)] @ ~free == 0]
                reached[place] += (null >= similarity[mine] - ROUNDING).sum()
                drawn[place] += len(null)
        return self._as_table(names, asked, reached, drawn)

    def support(self, query: Profiles | np.ndarray) -> pd.Series:
        """Tell which part of every treatment's wells is more like the query than 95 % of controls.

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
        parts = np.zeros(len(sizes))
        for number, fold in enumerate(self.fitted.folds):
            direction = _direction(fold, query)
            limit = np.percentile(unit_length(fold.features) @ direction, SUPPORT_PERCENTILE)
            more = unit_length(self._corrected[number]) @ direction > limit
            parts += np.add.reduceat(more, starts, dtype=float) / sizes
        found = pd.Series(np.nan, index=list(self.treatments))
        found[self._comparable] = parts / len(self.fitted.folds)
        return found

    def activity(self) -> pd.DataFrame:
        """Tell how surely the wells of every treatment are alike.

        The statistic is the mean cosine over the pairs of its wells on different plates, or of
        one plate where it stands on a single one.

        Returns
        -------
        pandas.DataFrame
            A row for every treatment, its name as the index: ``mean_cosine`` (the mean over the
            folds), ``p_value``, ``q_value``; NaN where there are no two wells to compare.
        """
        names = list(self.treatments)
        asked = np.array([len(self.treatments[name]) > 1 for name in names])
        reached, drawn = np.zeros(len(names)), np.zeros(len(names))
        cosines_found = np.full((len(self.fitted.folds), len(names)), np.nan)
        places = np.cumsum(self._comparable) - 1
        for number, fold in enumerate(self.fitted.folds):
            held, held_on = unit_length(fold.features), self.fitted.plates[fold.held]
            wells = np.split(unit_length(self._corrected[number]), self._groups[0][1:])
            among_held: dict[Layout, np.ndarray] = {}
            for place in np.flatnonzero(asked):
                layout, own = self._layouts[place], wells[places[place]]
                own_on = self.fitted.plates[self.treatments[names[place]]]
                picked = self._draws(number, layout)
                controls, mine = picked[:, : len(held)], picked[:, len(held) :]
                if layout not in among_held:
                    cosines = _of_pairs(held @ held.T, held_on, held_on, layout)
                    among_held[layout] = np.einsum("dh,dh->d", controls @ cosines, controls)
                between = _of_pairs(held @ own.T, held_on, own_on, layout)
                among_own = _of_pairs(own @ own.T, own_on, own_on, layout)
                sums = among_held[layout] + 2 * np.einsum("dm,dm->d", controls @ between, mine)
                sums += np.einsum("dm,dm->d", mine @ among_own, mine)
                pairs = _count_pairs(layout)
                cosines_of = among_own.sum() / pairs
                cosines_found[number, place] = cosines_of
                reached[place] += (sums / pairs >= cosines_of - ROUNDING).sum()
                drawn[place] += len(sums)
        table = self._as_table(names, asked, reached, drawn)
        mean = np.full(len(names), np.nan)
        mean[asked] = cosines_found[:, asked].mean(axis=0)
        table.insert(0, "mean_cosine", mean)
        return table

    def finest(self, name: str) -> float:
        """Return the smallest p-value that a treatment can have."""
        layout = self._layouts[list(self.treatments).index(name)]
        return self._finest(layout) if layout else math.nan

    def describe(self, names: Collection[str]) -> str:
        """Say what the p-values of some treatments compare with, and how small they can be.

        Examples
        --------
        >>> tests.describe(["taxol"])  # doctest: +SKIP
        'p-values compare with 64 control wells, ...; none of these can be below 0.001'
        """
        finest = min(map(self.finest, names), default=math.nan)
        least = "" if math.isnan(finest) else f"; none of these can be below {finest:.2g}"
        return f"{self.fitted.describe()}{least}"

    @cached_property
    def _most(self) -> Counter[str]:
        """How many controls of a plate are held out in every fold."""
        most: Counter[str] = Counter()
        for number, fold in enumerate(self.fitted.folds):
            held = Counter(self.fitted.plates[fold.held].tolist())
            most = held if number == 0 else most & held
        return most

    @cached_property
    def _layouts(self) -> list[Layout]:
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
            unit_length(np.add.reduceat(wells, starts, axis=0, dtype=float))
            for wells in self._corrected
        ]

    @cached_property
    def _groups(self) -> tuple[np.ndarray, np.ndarray]:
        """Where the wells of every comparable treatment begin in `_corrected`, and how many."""
        sizes = np.array([len(rows) for rows in self.treatments.values() if len(rows)], int)
        return np.cumsum(sizes) - sizes, sizes

    @cached_property
    def _corrected(self) -> list[np.ndarray]:
        """The wells of all comparable treatments, one treatment after the other: (n, d) float32."""
        rows = np.concatenate([rows for rows in self.treatments.values() if len(rows)])
        wells = self.fitted.wells.select(rows)
        return [
            fold.correction.transform(wells).features.astype(np.float32)
            for fold in self.fitted.folds
        ]

    @cached_property
    def _drawn(self) -> dict[tuple[int, Layout], np.ndarray]:
        return {}

    def _draws(self, number: int, layout: Layout) -> np.ndarray:
        """Draw as a treatment's wells lie, (draws, h + m): 1 where a well is drawn.

        First come the held-out controls of the fold, then the treatment's own wells.
        """
        if (number, layout) not in self._drawn:
            fold = self.fitted.folds[number]
            seed = zlib.crc32(repr((number, layout)).encode())
            draw = _draw_positions if self.fitted.unit == POSITION else _draw_wells
            plates = self.fitted.plates[fold.held]
            self._drawn[number, layout] = draw(fold, plates, layout, self._per_fold, seed)
        return self._drawn[number, layout]

    @cached_property
    def _measured(self) -> dict[tuple[int, int], np.ndarray]:
        return {}

    def _lengths(self, number: int, place: int, mine: int) -> np.ndarray:
        """Return the length of the sum of what each draw picks for a treatment, (draws,)."""
        if (number, place) not in self._measured:
            picked, fold = self._draws(number, self._layouts[place]), self.fitted.folds[number]
            start, size = (values[mine] for values in self._groups)
            own = self._corrected[number][start : start + size].astype(float)
            controls, mine_too = picked[:, : len(fold.held)], picked[:, len(fold.held) :]
            squares = np.einsum("dh,dh->d", controls @ self._products[number], controls)
            between, among = fold.features @ own.T, own @ own.T
            squares += 2 * np.einsum("dm,dm->d", controls @ between, mine_too)
            squares += np.einsum("dm,dm->d", mine_too @ among, mine_too)
            self._measured[number, place] = np.sqrt(np.maximum(squares, np.finfo(float).tiny))
        return self._measured[number, place]

    @cached_property
    def _products(self) -> list[np.ndarray]:
        return [fold.features @ fold.features.T for fold in self.fitted.folds]

    @property
    def _per_fold(self) -> int:
        return -(-DRAWS // len(self.fitted.folds))

    def _finest(self, layout: Layout) -> float:
        """Return the smallest p-value of a layout: how rarely its own wells are drawn by chance."""
        folds = self.fitted.folds
        if self.fitted.unit == POSITION:
            most = max(count for _, count in layout)
            return 1 / (1 + sum(len(np.unique(fold.unit)) // most for fold in folds))
        ways = 0
        for fold in folds:
            held = Counter(self.fitted.plates[fold.held].tolist())
            few = _are_few(held, layout)
            # The treatment itself is what is compared.
            ways += math.prod(math.comb(held[p] + few * n, n) for p, n in layout) - few
        return 1 / (1 + ways)

    def _as_table(
        self, names: list[str], asked: np.ndarray, reached: np.ndarray, drawn: np.ndarray
    ) -> pd.DataFrame:
        p_values = np.full(len(names), np.nan)
        asked = asked & (drawn > 0)
        p_values[asked] = (1 + reached[asked]) / (1 + drawn[asked])
        for place in np.flatnonzero(asked):
            # Draws that are few are no more certain for being repeated.
            p_values[place] = max(p_values[place], self._finest(self._layouts[place]))
        q_values = np.full(len(names), np.nan)
        if asked.any():
            q_values[asked] = scipy.stats.false_discovery_control(p_values[asked])
        columns = {"p_value": p_values, "q_value": q_values}
        return pd.DataFrame(columns, index=pd.Index(names, name=self.fitted.by))


def mean_by_plate(query: Profiles) -> Profiles:
    """Return the mean of cells or wells of every plate, with its part of the rows.

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
    return unit_length(query.mean(axis=0, keepdims=True))[0]


def _direction(fold: Fold, query: Profiles | np.ndarray) -> np.ndarray:
    """Return the direction of the mean of what `_reduced` returned, corrected, (d,)."""
    if not isinstance(query, Profiles):
        return query
    rows = fold.correction.transform(query)
    return unit_length(rows.metadata[SHARE].to_numpy()[None] @ rows.features)[0]


def _of_pairs(
    cosines: np.ndarray, rows_on: np.ndarray, columns_on: np.ndarray, layout: Layout
) -> np.ndarray:
    """Keep the cosines of pairs on different plates; on a single one, of all but a well's own."""
    if len(layout) > 1:
        return np.where(rows_on[:, None] != columns_on, cosines, 0)
    own = len(rows_on) == len(columns_on) and rows_on is columns_on
    return cosines - np.diag(np.diag(cosines)) if own else cosines


def _count_pairs(layout: Layout) -> int:
    counts = [count for _, count in layout]
    total = sum(counts)
    return total**2 - (sum(count**2 for count in counts) if len(counts) > 1 else total)


def _are_few(held: Mapping[str, int], layout: Layout) -> bool:
    return any(held[plate] < FEW * count for plate, count in layout)


def _draw_wells(
    fold: Fold, plates: np.ndarray, layout: Layout, draws: int, seed: int
) -> np.ndarray:
    random = np.random.default_rng(seed)
    own, few = len(fold.held), _are_few(Counter(plates.tolist()), layout)
    picked = np.zeros((draws, own + sum(count for _, count in layout)))
    for plate, count in layout:
        there = np.flatnonzero(plates == plate)
        if few:
            there = np.concatenate([there, np.arange(own, own + count)])
        chosen = np.argsort(random.random((draws, len(there))), axis=1)[:, :count]
        np.put_along_axis(picked, there[chosen], 1, axis=1)
        own += count
    # The treatment itself is what is compared.
    return picked[picked[:, : len(fold.held)].any(axis=1)]


def _draw_positions(
    fold: Fold, plates: np.ndarray, layout: Layout, draws: int, seed: int
) -> np.ndarray:
    """Draw as many positions as a treatment has wells on a plate; of one, each position once.

    Of held-out controls alone: they do not repeat, so that nothing is to be exchanged.
    """
    units = len(np.unique(fold.unit))
    most = max(count for _, count in layout)
    if most == 1:
        chosen = np.arange(units)[:, None]
    else:
        random = np.random.default_rng(seed)
        chosen = np.argsort(random.random((draws, units)), axis=1)[:, :most]
    picked = np.zeros((len(chosen), len(fold.held) + sum(count for _, count in layout)))
    for plate, count in layout:
        on_plate = np.full(units, -1)
        there = plates == plate
        on_plate[fold.unit[there]] = np.flatnonzero(there)
        np.put_along_axis(picked, on_plate[chosen[:, :count]], 1, axis=1)
    return picked
