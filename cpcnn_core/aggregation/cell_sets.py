"""The cells of every well, as sets: read from tables of cells, in any order."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.losses import row_names
from cpcnn_core.profiles.site_tables import iterate_rows
from cpcnn_core.schema.columns import OBJECT_NUMBER
from cpcnn_core.schema.origin import aligned
from cpcnn_core.schema.profiles import Profiles
from cpcnn_core.user_messages import listed

# Rows that wait before those that are not drawn are let go of.
_WAITING = 65_536


@dataclass(frozen=True)
class CellSets:
    """Wells and their cells.

    Attributes
    ----------
    wells : Profiles
        A row for every well; its features are the mean of these cells.
    cells : ndarray of shape (n, d), float32
        The cells of the first well, then those of the next, and so on.
    starts : ndarray of shape (wells + 1,), int
        The cells of well ``i`` are ``cells[starts[i] : starts[i + 1]]``.
    """

    wells: Profiles
    cells: np.ndarray
    starts: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """How many cells every well has, (wells,) int."""
        return np.diff(self.starts)

    @property
    def well_of_cell(self) -> np.ndarray:
        """The well of every cell, by its row, (n,) int."""
        return np.repeat(np.arange(len(self.counts)), self.counts)


def read_cell_sets(
    wells: Profiles,
    tables: Iterable[Path],
    most: int,
    *,
    seed: int = 0,
    drop_features: Sequence[str] = (),
    keep_labels: Collection[str] = (),
) -> CellSets:
    """Read the cells of wells, or draw some of them where there are many.

    Parameters
    ----------
    wells : Profiles
        From the same tables, see `cpcnn_core.profiles.wells.well_profiles`.
    tables : iterable of Path
    most : int
        Cells of a well. Of more, so many are drawn at random without replacement.
    seed : int
    drop_features, keep_labels
        As in `well_profiles`.

    Returns
    -------
    CellSets

    Raises
    ------
    ProfileError
        The tables have no cells, or none of a well.

    Examples
    --------
    >>> import pandas as pd
    >>> keys = {"Metadata_Plate": "P1", "Metadata_Well": ["A01", "A02", "A01"]}
    >>> cells = pd.DataFrame(keys | {"Metadata_Site": "1", "Metadata_ObjectNumber": [1, 1, 2]})
    >>> cells.assign(CPCNN_000=[1.0, 2.0, 3.0]).to_parquet("P1.parquet")
    >>> from cpcnn_core.profiles.wells import well_profiles
    >>> sets = read_cell_sets(well_profiles(["P1.parquet"]), [Path("P1.parquet")], 99)
    >>> sets.cells.ravel().tolist(), sets.starts.tolist()
    ([1.0, 3.0, 2.0], [0, 2, 3])
    """
    random = np.random.default_rng(seed)
    drawn = _Drawn(most)
    cells_of = iterate_cells(wells, tables, drop_features=drop_features, keep_labels=keep_labels)
    for features, rows in cells_of:
        drawn.add(features, rows, random.random(len(rows)))
    cells, row = drawn.result()
    counts = np.bincount(row, minlength=len(wells.metadata))
    refuse_empty(wells, counts)
    starts = np.concatenate([[0], np.cumsum(counts)])
    means = np.add.reduceat(cells, starts[:-1], axis=0, dtype=np.float64) / counts[:, None]
    return CellSets(replace(wells, features=means), cells, starts)


def iterate_cells(
    wells: Profiles,
    tables: Iterable[Path],
    *,
    drop_features: Sequence[str] = (),
    keep_labels: Collection[str] = (),
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Go through the cells of wells; cells that lack a feature, and of other wells, are left out.

    Parameters are those of `read_cell_sets`.

    Yields
    ------
    features : ndarray of shape (n, d), float32
        In the order of the wells' features.
    rows : ndarray of shape (n,), int
        Which well each cell is of.

    Raises
    ------
    ProfileError
        A table without cells.

    Examples
    --------
    >>> list(iterate_cells(wells, []))
    []
    """
    places = {name: row for row, name in enumerate(row_names(wells).tolist())}
    for table in tables:
        parts = iterate_rows(
            table, drop_features=drop_features, keep_labels=keep_labels, tell=lambda _: None
        )
        for part in parts:
            if OBJECT_NUMBER not in part.metadata.columns:
                raise ProfileError(
                    f"expected cells in {table}, which have a {OBJECT_NUMBER}; its rows are sites "
                    "or wells: give the tables that cpcnn embed wrote"
                )
            features = _known_features(part, wells)
            rows = np.array([places.get(name, -1) for name in row_names(part).tolist()], int)
            used = (rows >= 0) & np.isfinite(features).all(axis=1)
            yield np.asarray(features[used], np.float32), rows[used]


def refuse_empty(wells: Profiles, counts: np.ndarray) -> None:
    """Refuse wells without cells.

    Raises
    ------
    ProfileError

    Examples
    --------
    >>> refuse_empty(wells, np.ones(len(wells.metadata)))
    """
    empty = row_names(wells)[counts == 0]
    if len(empty):
        raise ProfileError(
            f"{len(empty)} of {len(counts)} wells have no cells in the tables: {listed(empty)}; "
            "give the tables of cells that these wells were made of"
        )


def _known_features(part: Profiles, wells: Profiles) -> np.ndarray:
    """Return the features that the wells have: those that no well has are left out there."""
    known = set(wells.feature_names)
    kept = np.array([name in known for name in part.feature_names], bool)
    if 0 < kept.sum() < len(kept):
        names = [name for name in part.feature_names if name in known]
        part = replace(part, features=part.features[:, kept], feature_names=names)
    return aligned(part, wells)[0].features


@dataclass
class _Drawn:
    """Of the cells of every well the ones with the smallest random numbers."""

    most: int
    features: list[np.ndarray] = field(default_factory=list)
    rows: list[np.ndarray] = field(default_factory=list)
    numbers: list[np.ndarray] = field(default_factory=list)

    def add(self, features: np.ndarray, rows: np.ndarray, numbers: np.ndarray) -> None:
        self.features.append(features)
        self.rows.append(rows)
        self.numbers.append(numbers)
        if sum(map(len, self.rows[1:])) > max(_WAITING, len(self.rows[0])):
            self._let_go()

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        self._let_go()
        return self.features[0], self.rows[0]

    def _let_go(self) -> None:
        if not self.rows:
            raise ProfileError("there are no tables of cells; give those that cpcnn embed wrote")
        rows, numbers = np.concatenate(self.rows), np.concatenate(self.numbers)
        order = np.lexsort([numbers, rows])
        # How many cells of its well come before each.
        first = np.searchsorted(rows[order], rows[order])
        order = order[np.arange(len(order)) - first < self.most]
        # In the order of the tables, well by well: all cells of a well are as they were read.
        order = np.sort(order)
        order = order[np.argsort(rows[order], kind="stable")]
        self.features = [np.concatenate(self.features)[order]]
        self.rows, self.numbers = [rows[order]], [numbers[order]]
