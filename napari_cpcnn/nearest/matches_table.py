"""The ranked treatments as a table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from qtpy import QtCore, QtGui, QtWidgets
from qtpy.QtCore import QModelIndex, Qt

from cpcnn_core.io.spreadsheets import harmless_table
from cpcnn_core.profiles.library import REPLICATES
from napari_cpcnn.gallery import ACCENT
from napari_cpcnn.messages import as_text

if TYPE_CHECKING:
    import pandas as pd

SIMILARITY, P_VALUE, Q_VALUE, SUPPORT = "similarity", "p_value", "q_value", "support"
SIGNIFICANCE = (P_VALUE, Q_VALUE, SUPPORT)
HEADINGS = {
    SIMILARITY: ("Similarity", "Cosine of the angle between the profiles; 1 is the most"),
    P_VALUE: ("p", "How often control wells, which the correction was not fitted on, are as like"),
    Q_VALUE: ("q", "p, corrected for the number of treatments that are searched"),
    SUPPORT: ("Support", "Part of its wells that is more like the cells than 95 % of controls"),
    REPLICATES: ("Wells", "Replicates: wells of this treatment in the library"),
}
FORMATS_OF = {SIMILARITY: "{:.3f}", P_VALUE: "{:.3f}", Q_VALUE: "{:.3f}", SUPPORT: "{:.0%}"}
ANNOTATION = re.compile("moa|mechanism|target|pathway|class", re.IGNORECASE)
VALUE = Qt.ItemDataRole.UserRole
MAX_WIDE = 130  # pixels of a treatment's name, so that its p-value is seen beside it


class MatchesTable(QtWidgets.QTableView):
    """The ranked treatments; columns sort, Ctrl+C copies.

    Attributes
    ----------
    treatment_clicked : Signal (str)
    """

    treatment_clicked = QtCore.Signal(str)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.setModel(_MatchesModel(self))
        self.setItemDelegateForColumn(1, _Bar(self))
        self.setSelectionBehavior(self.SelectionBehavior.SelectRows)
        self.setToolTip("Click a treatment to see its cells; Ctrl+C copies")
        self.setWordWrap(False)
        self.setMinimumHeight(140)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(22)
        self.horizontalHeader().setSortIndicator(1, Qt.SortOrder.DescendingOrder)
        self.setSortingEnabled(True)
        copy = QtWidgets.QAction("Copy", self)
        copy.setShortcut(QtGui.QKeySequence(QtGui.QKeySequence.StandardKey.Copy))
        copy.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
        copy.triggered.connect(self.copy)
        self.addAction(copy)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)
        self.clicked.connect(self._emit_clicked)
        self.activated.connect(self._emit_clicked)

    def show_matches(self, found: pd.DataFrame, by: str, *, pending: bool) -> None:
        """Show what was found; with `pending`, p-values are still to come."""
        before = list(self.model().frame.columns)
        self.model().set_matches(found, by, pending=pending)
        # Widths that the user has set stay.
        if list(self.model().frame.columns) != before:
            self.resizeColumnsToContents()
            self.setColumnWidth(0, min(self.columnWidth(0), MAX_WIDE))
            # Numbers that are still to come need room, too.
            least = self.fontMetrics().horizontalAdvance("0.000") + 12
            for column in range(self.model().columnCount()):
                self.setColumnWidth(column, max(self.columnWidth(column), least))

    def mark(self, treatment: str) -> None:
        """Highlight the row of a treatment, where it is found."""
        frame = self.model().frame
        rows = (
            np.flatnonzero(frame.iloc[:, 0].astype(str) == treatment)
            if len(frame)
            else np.zeros(0, int)
        )
        if len(rows):
            self.selectRow(int(rows[0]))
        else:
            self.clearSelection()

    def copy(self) -> None:
        """Put the selected rows, or all, onto the clipboard, separated by tabs."""
        rows = sorted(index.row() for index in self.selectionModel().selectedRows())
        frame = self.model().frame
        frame = harmless_table(frame.iloc[rows] if rows else frame)
        text = frame.to_csv(sep="\t", index=False)
        QtWidgets.QApplication.clipboard().setText(text)

    def _emit_clicked(self, index: QModelIndex) -> None:
        self.treatment_clicked.emit(str(self.model().frame.iloc[index.row(), 0]))


class _MatchesModel(QtCore.QAbstractTableModel):
    """A table of matches: treatment, similarity, p, q, support, replicates, what else is known."""

    def __init__(self, parent: QtCore.QObject) -> None:
        import pandas as pd

        super().__init__(parent)
        self.frame = pd.DataFrame()
        self._pending = False
        self._order = (1, Qt.SortOrder.DescendingOrder)

    def set_matches(self, found: pd.DataFrame, by: str, *, pending: bool) -> None:
        self._pending = pending
        significance = SIGNIFICANCE if pending or P_VALUE in found.columns else ()
        first = [by, SIMILARITY, *significance, REPLICATES]
        rest = [
            name for name in found.columns if name not in first and not found[name].isna().all()
        ]
        rest = sorted(rest, key=lambda name: ANNOTATION.search(name) is None)
        self.frame = found.reindex(columns=[*first, *rest])
        self.sort(*self._order)

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        self._order = (column, order)
        self.beginResetModel()
        if column < self.frame.shape[1]:
            self.frame = self.frame.sort_values(
                self.frame.columns[column],
                ascending=order == Qt.SortOrder.AscendingOrder,
                kind="stable",
                ignore_index=True,
                key=lambda values: values.astype(str) if values.dtype == object else values,
            )
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802
        return 0 if parent is not None and parent.isValid() else len(self.frame)

    def columnCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802
        return 0 if parent is not None and parent.isValid() else self.frame.shape[1]

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        name = self.frame.columns[index.column()]
        value = self.frame[name].iloc[index.row()]
        number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        if role == VALUE:
            return float(value) if number else str(value)
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole):
            if number and np.isnan(value):
                return "…" if self._pending and name in SIGNIFICANCE else ""
            text = FORMATS_OF.get(name, "{}").format(value) if value is not None else ""
            return text if role == Qt.ItemDataRole.DisplayRole else as_text(text)
        if role == Qt.ItemDataRole.TextAlignmentRole and number:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None

    def headerData(  # noqa: N802
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> object:
        if orientation != Qt.Orientation.Horizontal or section >= self.frame.shape[1]:
            return None
        name = self.frame.columns[section]
        heading, tip = HEADINGS.get(name, (short_name(name), as_text(name)))
        return {Qt.ItemDataRole.DisplayRole: heading, Qt.ItemDataRole.ToolTipRole: tip}.get(role)


class _Bar(QtWidgets.QStyledItemDelegate):
    """Draws a similarity as a bar behind its digits."""

    def paint(
        self, painter: QtGui.QPainter, option: QtWidgets.QStyleOptionViewItem, index: QModelIndex
    ) -> None:
        bar = option.rect.adjusted(0, 3, 0, -3)
        bar.setWidth(int(bar.width() * min(max(index.data(VALUE), 0), 1)))
        if option.state & QtWidgets.QStyle.StateFlag.State_Selected:
            # The background of a selected row would hide the bar behind it.
            super().paint(painter, option, index)
            painter.fillRect(bar, QtGui.QColor(*ACCENT, 70))
        else:
            painter.fillRect(bar, QtGui.QColor(*ACCENT, 120))
            super().paint(painter, option, index)


def short_name(column: str) -> str:
    """Leave out what every metadata column begins with.

    Examples
    --------
    >>> short_name("Metadata_Well")
    'Well'
    """
    return column.removeprefix("Metadata_")
