"""The panel that says which treatments cells are like."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from napari.qt.threading import create_worker
from qtpy import QtCore, QtGui, QtWidgets
from qtpy.QtCore import QSignalBlocker

from cpcnn_core.errors import CPCNNError
from cpcnn_core.io.formats import TABLE_ENDINGS
from cpcnn_core.profiles.library import treatment_columns
from cpcnn_core.profiles.open_library import OpenLibrary, open_library
from cpcnn_core.schema.columns import PLATE, WELL
from napari_cpcnn.gallery import Channel, Gallery
from napari_cpcnn.messages import PlainLabel, counted, tell_error
from napari_cpcnn.nearest.matches import describe_library, find_matches, rows_like
from napari_cpcnn.nearest.matches_table import P_VALUE, MatchesTable, short_name
from napari_cpcnn.shared_state import LAYER, SharedState

if TYPE_CHECKING:
    import pandas as pd
    from napari.qt.threading import GeneratorWorker

    from cpcnn_core.schema.profiles import Profiles

DELAY_MS = 200
NO_LIBRARY = "Open a library of treatments: a table made by `cpcnn profile`"
NO_CELLS = "Click a cell or draw a lasso on the map"
# What is asked about, and the metadata that its cells share with the picked one.
SELECTED, FIELD, WHOLE_WELL = "Selected or picked", "Cells of the field", "Cells of the well"
SCOPES = {SELECTED: [], FIELD: [LAYER], WHOLE_WELL: [PLATE, WELL]}


class NearestPanel(QtWidgets.QWidget):
    """Opens a library of treatments and ranks them by similarity to the cells asked about.

    Parameters
    ----------
    state : SharedState
    parent : QWidget, optional

    Attributes
    ----------
    opened : OpenLibrary or None
    last_matches : pandas.DataFrame or None
        What was found last, as of `TreatmentLibrary.nearest`.
    treatment_chosen : Signal (str)
        A treatment of the table was clicked.
    """

    treatment_chosen = QtCore.Signal(str)

    def __init__(self, state: SharedState, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.state = state
        self.last_matches: pd.DataFrame | None = None
        self.chosen = ""
        self._rows = np.zeros(0, int)
        self._features: np.ndarray | None = None
        # The selection that a click on a treatment makes is an answer, no question.
        self._answer = np.zeros(0, bool)
        self._worker: GeneratorWorker | None = None
        self._ticket, self._opening = 0, False
        self._timer = QtCore.QTimer(self, singleShot=True, interval=DELAY_MS)
        self._timer.timeout.connect(self.find)
        self._build()
        self._arrange()
        state.selection_changed.connect(self._query_changed)
        state.picked_changed.connect(self._query_changed)
        state.cells_changed.connect(self._cells_changed)
        state.library_changed.connect(self._library_changed)
        self._cells_changed()
        self._library_changed()

    def open(self, path: str | Path, controls: str | None = None, by: str | None = None) -> None:
        """Open a library in the background; see `open_library`."""
        path = Path(path)
        self._opening = True
        self.status.setText(f"Opening {path.name} …")
        self._start(partial(_open, path, controls, by))

    @property
    def opened(self) -> OpenLibrary | None:
        """The library that is open."""
        return self.state.library

    def source(self) -> dict[str, str | None] | None:
        """Return what `open` was given for the library that is open, or None."""
        if self.opened is None or self.opened.path is None:
            return None
        return {
            "path": str(self.opened.path.absolute()),
            "controls": self.opened.controls or None,
            "by": self.opened.library.by,
        }

    def find(self) -> None:
        """Look for the treatments that are like the cells asked about, in the background."""
        self._timer.stop()
        if self._opening:
            return
        self._rows = self.query_rows()
        if self.opened is None or not len(self._rows):
            self._ticket += 1
            self._show_matches(None, NO_LIBRARY if self.opened is None else NO_CELLS)
            return
        cells, count = self.state.cells, self.count.value()
        leave_out = self.leave_out.isEnabled() and self.leave_out.isChecked()
        self._answer = np.zeros(0, bool)
        self._start(
            partial(
                find_matches,
                self.opened,
                cast("Profiles", cells),
                self._rows,
                count,
                leave_out=leave_out,
            )
        )

    def query_rows(self) -> np.ndarray:
        """Return the rows of the cells that are asked about, (m,) int."""
        cells, picked = self.state.cells, self.state.picked
        columns = SCOPES[self.scope.currentText()]
        if not columns:
            return self.state.chosen_rows()
        if cells is None or picked is None:
            return np.zeros(0, int)
        return rows_like(cells, picked, [c for c in columns if c in cells.metadata.columns])

    def choose(self, treatment: str) -> None:
        """Select the cells of a treatment and show some, where the cells' treatment is known."""
        self.chosen = treatment
        self._mark_chosen()
        self.treatment_chosen.emit(treatment)
        cells, by = self.state.cells, cast("OpenLibrary", self.opened).library.by
        mine = np.zeros(len(self.state.selection), bool)
        if cells is not None and by in cells.metadata.columns:
            mine = (cells.metadata[by].astype(str) == treatment).to_numpy()
        self.examples.setVisible(bool(mine.any()))
        if mine.any():
            self.examples.show_rows(np.flatnonzero(mine), treatment)
            self._answer = mine
            self.state.select(mine)

    def set_channels(self, channels: Sequence[Channel]) -> None:
        """Colour the crops as in the viewer; see `Gallery.set_channels`."""
        self.query_crops.set_channels(channels)
        self.examples.set_channels(channels)

    def dragEnterEvent(self, event: QtGui.QDragEnterEvent) -> None:  # noqa: N802
        """Take one table."""
        if _dropped(event.mimeData()):
            event.acceptProposedAction()

    def dropEvent(self, event: QtGui.QDropEvent) -> None:  # noqa: N802
        """Open the table."""
        event.acceptProposedAction()
        self.open(_dropped(event.mimeData()))

    def _build(self) -> None:
        self.setAcceptDrops(True)
        self.open_button = QtWidgets.QPushButton("Open library…", clicked=self._ask_for_file)
        self.about, self.status = PlainLabel(), PlainLabel()
        self.by, self.scope = QtWidgets.QComboBox(), QtWidgets.QComboBox()
        self.controls = QtWidgets.QLineEdit(placeholderText="Treatment == 'DMSO'")
        self.count = QtWidgets.QSpinBox(minimum=1, maximum=9999, value=20, prefix="Show ")
        self.leave_out = QtWidgets.QCheckBox("Leave out their own treatment")
        self.find_button = QtWidgets.QPushButton("Find", clicked=self.find)
        self.table = MatchesTable()
        self.query_crops = Gallery(self.state, follows=False)
        self.examples = Gallery(self.state, follows=False)
        self.scope.addItem(SELECTED)
        for part, tip in (
            (self.open_button, "Wells of a screen: parquet, CSV or AnnData; or drop it here"),
            (self.about, "The open library, and what is done to cells before they are compared"),
            (self.by, "The library's column that names the treatment"),
            (self.controls, "Which wells of the library are negative controls; for p-values"),
            (self.scope, "The selected cells, else the picked one; or all of its field or well"),
            (self.count, "How many treatments, at most"),
            (self.leave_out, "Do not find the treatments that the cells asked about have had"),
            (self.find_button, "Find the treatments that these cells are most like"),
            (self.status, "What was compared"),
        ):
            part.setToolTip(tip)
        for label in (self.about, self.status):
            label.setWordWrap(True)
        for box in (self.by, self.scope):
            box.setSizeAdjustPolicy(box.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(8)
        self.by.activated.connect(self._reopen)
        self.controls.editingFinished.connect(self._controls_edited)
        self.scope.activated.connect(lambda _: self.find())
        self.leave_out.toggled.connect(lambda _: self.find())
        self.count.valueChanged.connect(lambda _: self._timer.start())
        self.table.treatment_clicked.connect(self.choose)
        self.table.model().modelReset.connect(self._mark_chosen)

    def _arrange(self) -> None:
        layout, form = QtWidgets.QVBoxLayout(self), QtWidgets.QFormLayout()
        row, strip = QtWidgets.QHBoxLayout(), QtWidgets.QHBoxLayout()
        self.form = QtWidgets.QWidget()
        self.form.setLayout(form)
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("Treatments", self.by)
        form.addRow("Controls", self.controls)
        row.addWidget(self.count)
        row.addWidget(self.find_button, 1)
        form.addRow("Ask about", self.scope)
        form.addRow(self.leave_out)
        form.addRow(row)
        strip.addWidget(self.query_crops, 1)
        strip.addWidget(self.examples, 1)
        for part in (self.open_button, self.about, self.form, self.status):
            layout.addWidget(part)
        # The little stretch below takes the space that a hidden table leaves.
        layout.addWidget(self.table, 2000)
        layout.addLayout(strip, 1000)
        layout.addStretch(1)

    def _start(self, work: Callable[[], Iterator[object]]) -> None:
        if self._worker is not None:
            self._worker.quit()
        self._ticket += 1
        self._worker = worker = create_worker(_answers, self._ticket, work)
        worker.yielded.connect(self._answered)
        worker.errored.connect(self._failed)
        worker.start()

    def _answered(self, answer: tuple[int, Any]) -> None:
        ticket, result = answer
        if ticket != self._ticket:
            return
        if isinstance(result, Exception):
            self._opening = False
            # Said once: every other cell that is clicked would bring the same.
            if self.status.text() != str(result):
                tell_error(result)
            self._show_matches(None, str(result))
        elif isinstance(result, OpenLibrary):
            self._opening = False
            self.state.set_library(result)
        else:
            self._show_matches(*result)

    def _failed(self, error: Exception) -> None:
        """Continue after an unexpected error; napari shows where it came from."""
        self._opening = False
        self._show_matches(None, f"{type(error).__name__}: {error}")

    def _show_matches(self, found: pd.DataFrame | None, text: str, pending: bool = False) -> None:
        query = self._rows if found is not None else np.zeros(0, int)
        self.table.setVisible(found is not None)
        self.query_crops.setVisible(found is not None)
        if found is None:
            self.examples.hide()
            self.status.setText(text)
            return
        library = cast("OpenLibrary", self.opened).library
        if P_VALUE not in found.columns:
            self.query_crops.show_rows(query, "Asked about")
        self.last_matches = found
        self.table.show_matches(found, library.by, pending=pending)
        treatments = counted(len(library.directions), "treatment")
        compared = f"{counted(len(query), 'cell')} compared with {treatments}"
        self.status.setText(f"{compared}; {text}" if text else compared)

    def _mark_chosen(self) -> None:
        self.table.mark(self.chosen)

    def _query_changed(self) -> None:
        selection = self.state.selection
        if not (selection.any() and np.array_equal(selection, self._answer)):
            self._timer.start()

    def _cells_changed(self) -> None:
        cells = self.state.cells
        known = set() if cells is None else set(cells.metadata.columns)
        chosen = self.scope.currentText()
        with QSignalBlocker(self.scope):
            self.scope.clear()
            # The last column is what makes the scope: the field, or the well of a plate.
            self.scope.addItems([name for name, by in SCOPES.items() if {*by[-1:]} <= known])
            self.scope.setCurrentText(chosen)
        self.leave_out.setEnabled(self.opened is not None and self.opened.library.by in known)
        # The same features: only what is known about the cells has changed.
        features = None if cells is None else cells.features
        if features is not self._features:
            self._features = features
            self._ticket += not self._opening
            self._rows = np.zeros(0, int)
            self._timer.start()

    def _library_changed(self) -> None:
        opened, self.chosen = self.opened, ""
        self.form.setVisible(opened is not None)
        self.about.setVisible(opened is not None)
        if opened is not None:
            self.about.setText(f"{opened.name}: {describe_library(opened)}")
            self._fill_form(opened)
        self._cells_changed()
        self.find()

    def _fill_form(self, opened: OpenLibrary) -> None:
        columns = dict.fromkeys([*treatment_columns(opened.library.wells), opened.library.by])
        self.by.clear()
        for column in columns:
            self.by.addItem(short_name(column), column)
        self.by.setCurrentIndex(self.by.findData(opened.library.by))
        self.controls.setText(opened.controls)
        # A library that was not opened here has no file to be read again.
        self.by.setEnabled(opened.path is not None and len(columns) > 1)
        self.controls.setEnabled(opened.path is not None)

    def _reopen(self) -> None:
        path = cast("OpenLibrary", self.opened).path
        self.open(cast("Path", path), self.controls.text(), self.by.currentData())

    def _controls_edited(self) -> None:
        if self.opened is None or self.opened.path is None:
            return
        if self.controls.text() != self.opened.controls:
            self._reopen()
        else:
            # As it was before a mistake: what the mistake said goes.
            self.find()

    def _ask_for_file(self) -> None:
        kinds = " ".join(f"*{ending}" for ending in TABLE_ENDINGS)
        path, _ = QtWidgets.QFileDialog.getOpenFileName(
            self, "Open a library of treatments", "", f"Tables ({kinds})"
        )
        if path:
            self.open(path)


def _open(path: Path, controls: str | None, by: str | None) -> Iterator[OpenLibrary]:
    yield open_library(path, by, controls)


def _answers(ticket: int, work: Callable[[], Iterator[object]]) -> Iterator[tuple[int, object]]:
    """Say which question every answer belongs to; an error is an answer, too."""
    try:
        for answer in work():
            yield ticket, answer
    except (CPCNNError, OSError, ValueError) as error:
        yield ticket, error


def _dropped(data: QtCore.QMimeData) -> str:
    paths = [url.toLocalFile() for url in data.urls()]
    return paths[0] if len(paths) == 1 and paths[0].endswith(TABLE_ENDINGS) else ""
