"""Names for groups of cells, and tables of cells and matches to take along."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from qtpy import QtWidgets
from qtpy.QtCore import Qt, Signal

from cpcnn_core.errors import ProfileError
from cpcnn_core.io.atomic import write_atomically
from cpcnn_core.io.profile_files import write_profiles
from cpcnn_core.io.spreadsheets import write_csv
from napari_cpcnn.messages import PlainLabel, or_error
from napari_cpcnn.shared_state import PHENOTYPE, SharedState

if TYPE_CHECKING:
    import pandas as pd

NO_CELLS = "Embed cells or open a table of cells first"
NO_NAMES = "Select cells on the map, type a name, and press Enter"
SELECTED_CELLS, ALL_CELLS, MATCHES = "Selected cells…", "All cells…", "Last matches…"
CELLS_FILTER = "Parquet (*.parquet);;CSV (*.csv *.csv.gz)"


class PhenotypePanel(QtWidgets.QWidget):
    """Names selected cells, lists the names, and writes tables.

    Parameters
    ----------
    state : SharedState
    parent : QWidget, optional

    Attributes
    ----------
    matches_of : callable () -> pandas.DataFrame or None
        Gives the last matches, e.g. ``lambda: nearest_panel.last_matches``.
    """

    exported = Signal(str)

    def __init__(self, state: SharedState, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.state = state
        self.matches_of: Callable[[], pd.DataFrame | None] = lambda: None
        self._build()
        self._arrange()
        state.cells_changed.connect(self._refresh)
        state.selection_changed.connect(self._enable)
        state.picked_changed.connect(self._enable)
        self._refresh()

    def name_selection(self, name: str) -> None:
        """Give the selected cells, else the picked one, a name.

        Raises
        ------
        ProfileError
            No name, or no cells.
        """
        name, rows = name.strip(), self.state.chosen_rows()
        if not name:
            raise ProfileError("type a name for the selected cells")
        if not len(rows):
            raise ProfileError("no cells are selected; draw a lasso on the map or click a cell")
        self.state.set_metadata(PHENOTYPE, rows, name)

    def counts(self) -> dict[str, int]:
        """Return how many cells every phenotype has, in the order of names."""
        names, counts = np.unique(self._names(), return_counts=True)
        return {str(n): int(c) for n, c in zip(names, counts, strict=True) if n}

    def select_phenotype(self, name: str) -> None:
        """Select the cells of a phenotype."""
        self.state.select(self._names() == name)

    def rename(self, old: str, new: str) -> None:
        """Give a phenotype another name; under one that is there already, both become one.

        Raises
        ------
        ProfileError
            No name.
        """
        if not new.strip():
            raise ProfileError("type a name for the phenotype")
        self._set(old, new.strip())

    def remove(self, name: str) -> None:
        """Forget a phenotype; its cells stay, without a name."""
        self._set(name, "")

    def export_cells(self, path: str | Path, only_selected: bool) -> None:
        """Write cells with their features and all that is known about them.

        Parameters
        ----------
        path : str or Path
            ``.parquet``, ``.csv`` or ``.csv.gz``.
        only_selected : bool

        Raises
        ------
        ProfileError
            No cells, or another format.
        """
        cells = self.state.cells
        if cells is None:
            raise ProfileError("there are no cells to write; embed some, or open a table of cells")
        if only_selected:
            if not self.state.selection.any():
                raise ProfileError("no cells are selected; draw a lasso on the map first")
            cells = cells.select(self.state.selection)
        write_profiles(cells, path)

    def export_matches(self, path: str | Path) -> None:
        """Write what was found last among the treatments, CSV.

        Raises
        ------
        ProfileError
            Nothing was found yet.
        """
        matches = self.matches_of()
        if matches is None:
            raise ProfileError("there are no matches yet; open a library and ask about some cells")
        write_atomically(path, lambda place: write_csv(matches, place))

    def _build(self) -> None:
        self.name = QtWidgets.QLineEdit(placeholderText="e.g. round, multinucleate")
        self.name_button = QtWidgets.QPushButton("Name the selection", clicked=self._name_clicked)
        self.hint = PlainLabel(wordWrap=True)
        self.list = QtWidgets.QListWidget()
        self.rename_button = QtWidgets.QPushButton("Rename…", clicked=self._rename_clicked)
        self.remove_button = QtWidgets.QPushButton("Remove", clicked=self._remove_clicked)
        self.export_button = QtWidgets.QPushButton("Export…")
        for part, tip in (
            (self.name, "A name for the selected cells, kept in their table"),
            (self.name_button, "Give the selected cells, else the picked one, this name"),
            (self.list, "Names and how many cells have them; click one to select its cells"),
            (self.rename_button, "Give the marked phenotype another name; equal names are joined"),
            (self.remove_button, "Forget the marked phenotype; its cells stay, without a name"),
            (self.export_button, "Write cells, or the last matches, to a file"),
        ):
            part.setToolTip(tip)
        self.list.setMinimumHeight(80)
        self.name.returnPressed.connect(self._name_clicked)
        self.name.textChanged.connect(self._enable)
        self.list.itemClicked.connect(lambda item: self.select_phenotype(_name_of(item)))
        self.list.currentItemChanged.connect(self._enable)
        menu = QtWidgets.QMenu(self.export_button)
        self.export_actions = {
            text: menu.addAction(text) for text in (SELECTED_CELLS, ALL_CELLS, MATCHES)
        }
        menu.triggered.connect(lambda action: self._export(action.text()))
        menu.aboutToShow.connect(self._enable)
        self.export_button.setMenu(menu)

    def _arrange(self) -> None:
        layout, buttons = QtWidgets.QVBoxLayout(self), QtWidgets.QHBoxLayout()
        for button in (self.rename_button, self.remove_button, self.export_button):
            buttons.addWidget(button)
        for part in (self.name, self.name_button, self.hint):
            layout.addWidget(part)
        # The little stretch below takes the space that a hidden list leaves.
        layout.addWidget(self.list, 1000)
        layout.addLayout(buttons)
        layout.addStretch(1)

    def _names(self) -> np.ndarray:
        cells = self.state.cells
        if cells is None or PHENOTYPE not in cells.metadata.columns:
            return np.full(len(self.state.selection), "")
        return cells.texts(PHENOTYPE)

    def _set(self, old: str, new: str) -> None:
        self.state.set_metadata(PHENOTYPE, np.flatnonzero(self._names() == old), new)

    def _refresh(self) -> None:
        marked = _name_of(self.list.currentItem())
        self.list.clear()
        for name, count in self.counts().items():
            item = QtWidgets.QListWidgetItem(f"{name}  ({count:,})", self.list)
            item.setData(Qt.ItemDataRole.UserRole, name)
            if name == marked:
                self.list.setCurrentItem(item)
        self.list.setVisible(self.list.count() > 0)
        self.hint.setVisible(self.list.count() == 0)
        self.hint.setText(NO_CELLS if self.state.cells is None else NO_NAMES)
        self._enable()

    def _enable(self) -> None:
        cells, marked = self.state.cells is not None, self.list.currentItem() is not None
        named = bool(self.name.text().strip())
        self.name_button.setEnabled(named and len(self.state.chosen_rows()) > 0)
        self.rename_button.setEnabled(marked)
        self.remove_button.setEnabled(marked)
        self.export_actions[SELECTED_CELLS].setEnabled(bool(self.state.selection.any()))
        self.export_actions[ALL_CELLS].setEnabled(cells)
        self.export_actions[MATCHES].setEnabled(self.matches_of() is not None)

    def _name_clicked(self) -> None:
        if or_error(lambda: self.name_selection(self.name.text())):
            self.name.clear()

    def _rename_clicked(self) -> None:
        old = _name_of(self.list.currentItem())
        new, said = QtWidgets.QInputDialog.getText(self, "Rename", "Another name:", text=old)
        if said:
            or_error(lambda: self.rename(old, new))

    def _remove_clicked(self) -> None:
        self.remove(_name_of(self.list.currentItem()))

    def _export(self, what: str) -> None:
        filters = "CSV (*.csv)" if what == MATCHES else CELLS_FILTER
        name = "matches.csv" if what == MATCHES else "cells.parquet"
        path, chosen = QtWidgets.QFileDialog.getSaveFileName(self, what, name, filters)
        if not path:
            return
        if not Path(path).suffix:
            path += ".csv" if chosen.startswith("CSV") else ".parquet"
        if what == MATCHES:
            done = or_error(lambda: self.export_matches(path))
        else:
            done = or_error(lambda: self.export_cells(path, what == SELECTED_CELLS))
        if done:
            self.exported.emit(path)


def _name_of(item: QtWidgets.QListWidgetItem | None) -> str:
    return "" if item is None else item.data(Qt.ItemDataRole.UserRole)
