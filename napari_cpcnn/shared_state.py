"""State shared by all panels of the dock widget: cells, selection, map, library."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import cast

import numpy as np
import pandas as pd
from qtpy.QtCore import QObject, Signal

from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.open_library import OpenLibrary
from cpcnn_core.schema.columns import OBJECT_NUMBER, PLATE, SITE, WELL
from cpcnn_core.schema.origin import aligned, known_together, require_same_origin
from cpcnn_core.schema.profiles import Profiles

# Which labels layer a cell belongs to, its label there, and the plane of a stack ("" if flat).
LAYER, PLANE = "Metadata_Layer", "Metadata_Plane"
# Which site of a screen, for cells of a table.
FIELD = [PLATE, WELL, SITE]
PHENOTYPE, CLUSTER = "Metadata_Phenotype", "Metadata_Cluster"
REPLACE, ADD, REMOVE = "replace", "add", "remove"
MAX_UNDO = 50

Crops = Callable[[np.ndarray], list[np.ndarray | None]]


class SharedState(QObject):
    """The one state behind the panels; they change it by its methods and follow its signals.

    Attributes
    ----------
    cells : Profiles or None
        A row for every cell of the opened fields and tables; features float32.
    selection : ndarray of shape (n,), bool
    picked : int or None
        The row of the cell that was clicked last.
    positions : ndarray of shape (n, 2), float32, or None
        The map.
    library : OpenLibrary or None
    crops_of : callable (rows) -> list of ndarray (c, h, w) or None
        Crops of cells whose images are open, raw pixel values; None for others.

    Examples
    --------
    >>> state = SharedState()
    >>> state.cells is None
    True
    """

    cells_changed = Signal()
    selection_changed = Signal()
    picked_changed = Signal()
    positions_changed = Signal()
    library_changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.cells: Profiles | None = None
        self.selection = np.zeros(0, bool)
        self.picked: int | None = None
        self.positions: np.ndarray | None = None
        self.library: OpenLibrary | None = None
        self.crops_of: Crops = lambda rows: [None] * len(rows)
        self._before: list[np.ndarray] = []
        self._after: list[np.ndarray] = []

    def set_cells(self, cells: Profiles | None) -> None:
        """Replace all cells; selection, map and undo are reset."""
        self.cells = cells
        self.selection = np.zeros(0 if cells is None else len(cells.metadata), bool)
        self.picked, self.positions = None, None
        self._before, self._after = [], []
        self.cells_changed.emit()
        self.positions_changed.emit()
        self.picked_changed.emit()
        self.selection_changed.emit()

    def add_cells(self, cells: Profiles) -> None:
        """Add cells; those that are there already are replaced, see `staying`."""
        self.set_cells(self.joined(cells))

    def joined(self, cells: Profiles) -> Profiles:
        """Return what `add_cells` would show, and show nothing yet; errors are its own."""
        kept = self.staying(cells)
        if len(kept):
            cells = self._with_what_was_known(cells)
        if not kept.any():
            return cells
        before = cast("Profiles", self.cells).select(kept)
        metadata = pd.concat([before.metadata, cells.metadata], ignore_index=True)
        features = np.concatenate([before.features, aligned(cells, before)[0].features])
        made = known_together(cells, before)
        return replace(before, features=features, metadata=metadata, provenance=made)

    def staying(self, cells: Profiles) -> np.ndarray:
        """Tell which of the cells that are there would stay beside others.

        Parameters
        ----------
        cells : Profiles
            They take the place of those of the same layer and planes, or, from a table of a
            screen, of those of the same plate, well and site.

        Returns
        -------
        ndarray of bool
            For every cell that is there.

        Raises
        ------
        ProfileError
            Some would stay, and are of another model.
        """
        if self.cells is None:
            return np.zeros(0, bool)
        known = cells.metadata.columns
        places = [name for name in ([LAYER, PLANE] if LAYER in known else FIELD) if name in known]
        stay = np.ones(len(self.cells.metadata), bool)
        if places:
            new = set(_rows(cells.metadata, places))
            stay[:] = [row not in new for row in _rows(self.cells.metadata, places)]
        if stay.any():
            try:
                require_same_origin(self.cells, cells)
            except ProfileError as error:
                raise ProfileError(
                    f"{error}; to see other cells, first choose File > Close all cells"
                ) from error
        return stay

    def set_metadata(self, column: str, rows: np.ndarray, value: object) -> None:
        """Write a value into a metadata column of some rows, e.g. a phenotype."""
        cells = cast("Profiles", self.cells)
        metadata = cells.metadata.copy()
        if column not in metadata.columns:
            metadata[column] = ""
        metadata.loc[metadata.index[rows], column] = value
        self.cells = replace(cells, metadata=metadata)
        self.cells_changed.emit()

    def set_positions(self, positions: np.ndarray | None) -> None:
        """Show another map of the same cells."""
        self.positions = None if positions is None else np.asarray(positions, np.float32)
        self.positions_changed.emit()

    def set_library(self, library: OpenLibrary | None) -> None:
        """Open another library of treatments."""
        self.library = library
        self.library_changed.emit()

    def pick(self, row: int | None) -> None:
        """Make a cell the one that is looked at."""
        self.picked = None if row is None else int(row)
        self.picked_changed.emit()

    def select(self, mask: np.ndarray, how: str = REPLACE) -> None:
        """Change the selection; `undo` restores the one before."""
        mask = np.asarray(mask, bool)
        new = mask.copy()
        if how == ADD:
            new |= self.selection
        elif how == REMOVE:
            new = self.selection & ~mask
        if np.array_equal(new, self.selection):
            return
        self._before = [*self._before[-MAX_UNDO + 1 :], self.selection]
        self._after = []
        self.selection = new
        self.selection_changed.emit()

    def undo(self) -> None:
        """Take the last change of the selection back."""
        self._step(self._before, self._after)

    def redo(self) -> None:
        """Do what was taken back once more."""
        self._step(self._after, self._before)

    def chosen_rows(self) -> np.ndarray:
        """Return the rows that are asked about: the selection, else the picked cell, else none."""
        if self.selection.any():
            return np.flatnonzero(self.selection)
        return np.array([] if self.picked is None else [self.picked], int)

    def _with_what_was_known(self, cells: Profiles) -> Profiles:
        """Give cells that are embedded again what was known of them: phenotype, treatment, ..."""
        keys, old = [LAYER, PLANE, OBJECT_NUMBER], cast("Profiles", self.cells).metadata
        if not {*keys} <= {*old.columns} & {*cells.metadata.columns}:
            return cells
        # Clusters are of the features, which are others now.
        known = [name for name in old.columns if name not in cells.metadata.columns]
        known = [name for name in known if name != CLUSTER]
        before = old[[*keys, *known]].drop_duplicates(keys)
        metadata = cells.metadata.merge(before, on=keys, how="left")
        # Cells without a name have an empty one.
        texts = [name for name in known if metadata[name].dtype == object]
        metadata[texts] = metadata[texts].fillna("")
        return replace(cells, metadata=metadata)

    def _step(self, source: list[np.ndarray], target: list[np.ndarray]) -> None:
        if source:
            target.append(self.selection)
            self.selection = source.pop()
            self.selection_changed.emit()


def _rows(table: pd.DataFrame, columns: list[str]) -> Iterator[tuple[str, ...]]:
    result: Iterator[tuple[str, ...]] = (
        table.reindex(columns=columns).astype(str).itertuples(index=False, name=None)
    )
    return result
