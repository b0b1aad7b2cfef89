"""The dock widget: its panels, the menu of files beside them, and what ties them to the viewer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast
from weakref import WeakKeyDictionary

import napari
import numpy as np
from napari.layers import Labels
from napari.utils.theme import get_theme
from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import (
    QFileDialog,
    QMenu,
    QMessageBox,
    QTabWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from cpcnn_core.profiles.library_files import read_marked
from cpcnn_core.schema.columns import OBJECT_NUMBER
from napari_cpcnn.cell_map.map_panel import MapPanel
from napari_cpcnn.embed.embed_panel import EmbedPanel
from napari_cpcnn.gallery import Gallery
from napari_cpcnn.layer_links import ViewerLink
from napari_cpcnn.messages import counted, or_error, tell, tell_error, tell_warning
from napari_cpcnn.nearest.nearest_panel import NearestPanel
from napari_cpcnn.opened_fields import SiteOpener
from napari_cpcnn.phenotypes import PhenotypePanel
from napari_cpcnn.session import SUFFIX, open_session, save_session
from napari_cpcnn.shared_state import FIELD, LAYER, SharedState

if TYPE_CHECKING:
    from cpcnn_core.schema.profiles import Profiles

_OPEN: WeakKeyDictionary[napari.Viewer, CellPaintingWidget] = WeakKeyDictionary()
SELECTION_LAYER = "selection"
TABLES = "Tables of cells (*.parquet *.h5ad)"
SESSIONS = f"Sessions (*{SUFFIX})"
LOAD_DATA = "LoadData tables (*.csv)"
Open = Callable[[str], object]


class CellPaintingWidget(QWidget):
    """Embed cells, explore the map, find the nearest treatments.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Given by napari.

    Examples
    --------
    >>> viewer.window.add_dock_widget(CellPaintingWidget(viewer))  # doctest: +SKIP
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.state = SharedState(self)
        self.link = ViewerLink(napari_viewer, self.state, self)
        self.embed = EmbedPanel(napari_viewer, self.state, self.link)
        self.map = MapPanel(self.state)
        self.nearest = NearestPanel(self.state)
        self.gallery = Gallery(self.state)
        self.phenotypes = PhenotypePanel(self.state)
        self.phenotypes.matches_of = lambda: self.nearest.last_matches
        self.tabs = QTabWidget()
        for panel, name, tip in (
            (self.embed, "Embed", "Compute the features of every cell"),
            (self.map, "Map", "Cells that look alike are close together"),
            (self.nearest, "Nearest", "Which treatments do these cells look like?"),
            (self.gallery, "Gallery", "The selected cells, the most typical first"),
            (self.phenotypes, "Phenotypes", "Name what you see, and export it"),
        ):
            self.tabs.setTabToolTip(self.tabs.addTab(panel, name), tip)
        self.tabs.setUsesScrollButtons(True)
        # All five are seen at the width in which the dock opens.
        self.tabs.setStyleSheet("QTabBar::tab { padding: 3px 2px; }")
        self.file_menu = FileMenu(
            self,
            self.open_table,
            self.open_images,
            self.save_session,
            self.open_session,
            self.close_cells,
        )
        self.tabs.setCornerWidget(self.file_menu)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addWidget(self.tabs)
        self.setMinimumWidth(300)
        self.sites = SiteOpener(napari_viewer, self.state, self.link, self)
        self.map.go_to.connect(self.go_to)
        self.sites.opened.connect(self._color_gallery)
        self.embed.finished.connect(self._show_map)
        self.state.cells_changed.connect(self._color_gallery)
        self.state.picked_changed.connect(self._color_gallery)
        napari_viewer.events.theme.connect(self._follow_theme)
        self._follow_theme()
        _OPEN[napari_viewer] = self

    def open_table(self, path: str | Path) -> None:
        """Show the cells of a table of ``cpcnn embed`` beside those that are there."""
        if or_error(lambda: self.state.add_cells(read_marked(path))):
            self.tabs.setCurrentWidget(self.map)

    def open_images(self, path: str | Path) -> None:
        """Read from a LoadData table where the images of a table's cells are."""
        if self.state.cells is None:
            tell_error("open a table of cells first, then say where its images are")
            return
        if or_error(lambda: self.sites.read_table(path)):
            tell("A double click on a cell of the map opens its field.")

    def close_cells(self) -> None:
        """Forget all cells, once the user has agreed; layers stay."""
        if self.state.cells is None:
            tell("there are no cells to close")
            return
        asked = "Phenotypes, map and selection go with them; a session or an export keeps them."
        count = f"Close {counted(len(self.state.cells.metadata), 'cell')}?"
        if (
            QMessageBox.question(self, count, f"{count}\n\n{asked}")
            == QMessageBox.StandardButton.Yes
        ):
            self.state.set_cells(None)

    def go_to(self, row: int) -> None:
        """Move the viewer to a cell; the field of a table's cell is opened for it."""
        if self.link.go_to(row):
            return
        if not {*FIELD} <= {*cast("Profiles", self.state.cells).metadata.columns}:
            tell_error("the layer of this cell is not open any more")
            return
        if self.sites.table is None:
            ask_open(self, "Where are the images of this table?", LOAD_DATA, self.open_images)
        if self.sites.table is not None:
            or_error(lambda: self.sites.show(row))

    def save_session(self, path: str | Path) -> None:
        """Write all that is open in this widget into one file."""
        view = {
            "map": self.map.method.currentText(),
            "color_by": self.map.color_by.currentText(),
            "images": _absolute(self.sites.table),
            "library": self.nearest.source(),
        }
        if or_error(lambda: save_session(path, self.viewer, self.state, self.link, view)):
            tell(f"saved {Path(path).name}")

    def open_session(self, path: str | Path) -> None:
        """Open what `save_session` wrote, in place of the cells that are there."""
        found = []
        if not or_error(
            lambda: found.append(open_session(path, self.viewer, self.state, self.link))
        ):
            return
        view, positions, missing = found[0]
        if positions is not None:
            self.map.show_map(view["map"], positions)
        self.map.color_by.setCurrentText(view["color_by"])
        if view["images"] and Path(view["images"]).is_file():
            or_error(lambda: self.sites.read_table(view["images"]))
        if view["library"] and Path(view["library"]["path"]).is_file():
            self.nearest.open(**view["library"])
        elif view["library"]:
            missing = [*missing, view["library"]["path"]]
        if missing:
            tell_warning(f"not found any more: {', '.join(missing)}; the rest is here")
        self.tabs.setCurrentWidget(self.map)

    def selection_to_layer(self) -> None:
        """Put the selected cells of the layer that is shown into a labels layer of their own."""
        state = self.state
        if state.cells is None or not state.selection.any():
            tell_error("select cells first: click one, or draw a lasso on the map")
            return
        chosen = state.cells.metadata[state.selection]
        if LAYER not in chosen.columns:
            tell_error("these cells come from a table; open their images to make a layer of them")
            return
        for name, rows in chosen.groupby(LAYER):
            if name in self.viewer.layers and isinstance(self.viewer.layers[name], Labels):
                self._copy_labels(self.viewer.layers[name], rows[OBJECT_NUMBER])

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802  (Qt's name)
        """Let go of the viewer, and stop what runs."""
        self.detach()
        super().closeEvent(event)

    def detach(self) -> None:
        """Stop what runs and forget the viewer; a second call does nothing."""
        if _OPEN.pop(self.viewer, None) is None:
            return
        self.embed.detach()
        self.map.making.close()
        self.link.detach()
        self.viewer.events.theme.disconnect(self._follow_theme)

    def _copy_labels(self, layer: Labels, numbers: object) -> None:
        data = np.asarray(layer.data)
        kept = np.where(np.isin(data, np.asarray(numbers)), data, 0)
        self.viewer.add_labels(
            kept,
            name=f"{SELECTION_LAYER} of {layer.name}",
            scale=layer.scale,
            translate=layer.translate,
        )

    def _show_map(self) -> None:
        if self.state.cells is not None and not self.embed.running:
            self.tabs.setCurrentWidget(self.map)

    def _color_gallery(self) -> None:
        """Show crops in the colours and contrast of the viewer."""
        cells = self.state.cells
        if cells is None or LAYER not in cells.metadata.columns or not len(cells.metadata):
            return
        row = 0 if self.state.picked is None else self.state.picked
        layers = self.link.channel_layers(cells.metadata[LAYER].iloc[row])
        colors = [
            (tuple(layer.colormap.colors[-1][:3]), tuple(layer.contrast_limits)) for layer in layers
        ]
        self.gallery.set_channels(colors)
        self.nearest.set_channels(colors)

    def _follow_theme(self) -> None:
        theme = get_theme(self.viewer.theme)
        self.map.set_theme(theme.background.as_rgb_tuple()[:3], theme.text.as_rgb_tuple()[:3])


def widget_of(viewer: napari.Viewer) -> CellPaintingWidget:
    """Return the viewer's dock widget, opened if it is not yet.

    Examples
    --------
    >>> widget_of(napari.current_viewer()).tabs.count()  # doctest: +SKIP
    5
    """
    if viewer not in _OPEN:
        viewer.window.add_plugin_dock_widget("cpcnn", "Cell Painting CNN")
    return _OPEN[viewer]


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


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())
