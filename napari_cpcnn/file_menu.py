"""The little menu beside the tabs: tables, images, sessions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QMenu, QToolButton, QWidget

from napari_cpcnn.session import SUFFIX

TABLES = "Tables of cells (*.parquet *.h5ad)"
SESSIONS = f"Sessions (*{SUFFIX})"
LOAD_DATA = "LoadData tables (*.csv)"
Open = Callable[[str], object]


class FileMenu(QToolButton):
    """Asks for a file and hands it over.

    Parameters
    ----------
    parent : QWidget
    open_table, open_images, save_session, open_session : callable (path)
    close_cells : callable
    """

    def __init__(
        self,
        parent: QWidget,
        open_table: Open,
        open_images: Open,
        save_session: Open,
        open_session: Open,
        close_cells: Callable[[], object],
    ) -> None:
        super().__init__(parent)
        self.setText("File")
        self.setToolTip("Open tables of cells and their images; save and open sessions")
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        # In the viewer's style the little arrow would cover the text.
        self.setStyleSheet("QToolButton { padding-right: 10px; }")
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        for text, tip, ask, kind, do in (
            ("Open table…", "Cells of cpcnn embed, or exported here", ask_open, TABLES, open_table),
            (
                "Images of the table…",
                "The screen's load_data.csv: a double click on a cell then opens its field",
                ask_open,
                LOAD_DATA,
                open_images,
            ),
            (
                "Save session…",
                "Cells, map, selection, labels and where the images are, in one file",
                ask_save,
                SESSIONS,
                save_session,
            ),
            (
                "Open session…",
                "Continue where a session was saved",
                ask_open,
                SESSIONS,
                open_session,
            ),
        ):
            action = menu.addAction(text)
            action.setToolTip(tip)
            action.triggered.connect(
                lambda _, text=text, ask=ask, kind=kind, do=do: ask(parent, text, kind, do)
            )
        close = menu.addAction("Close all cells")
        close.setToolTip("Start again with other cells or another model; layers stay")
        close.triggered.connect(lambda _: close_cells())
        self.setMenu(menu)


def ask_open(parent: QWidget, title: str, kind: str, do: Open) -> None:
    """Ask for a file that is there."""
    path, _ = QFileDialog.getOpenFileName(parent, title, "", kind)
    if path:
        do(path)


def ask_save(parent: QWidget, title: str, kind: str, do: Open) -> None:
    """Ask for a file to write."""
    path, _ = QFileDialog.getSaveFileName(parent, title, f"cells{SUFFIX}", kind)
    if path:
        do(path if Path(path).suffix == SUFFIX else path + SUFFIX)
