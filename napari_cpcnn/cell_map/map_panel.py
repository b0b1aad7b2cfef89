"""The panel of the map: which map, coloured by what, and how to select on it."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

import numpy as np
from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QColor, QGuiApplication, QPalette
from qtpy.QtWidgets import (
    QComboBox,
    QCompleter,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from cpcnn_core.schema.columns import METADATA_PREFIX, OBJECT_NUMBER, WELL
from napari_cpcnn.cell_map.background_maps import CLUSTERS, PCA, UMAP, MapMaking
from napari_cpcnn.cell_map.colors import Legend, Rgb, colors_of, legend_html
from napari_cpcnn.cell_map.map_canvas import PLAIN_RGB, MapCanvas, how_of
from napari_cpcnn.cell_map.map_tools import MapTools
from napari_cpcnn.cell_map.maps import cosines
from napari_cpcnn.messages import PlainLabel, tell_error
from napari_cpcnn.shared_state import CLUSTER, LAYER, PHENOTYPE, SharedState

if TYPE_CHECKING:
    from cpcnn_core.schema.profiles import Profiles
    from napari_cpcnn.cell_map.colors import CategoryLegend

ROLE = QPalette.ColorRole
ONE_COLOR, SIMILARITY = "one colour", "similarity to the picked cell"
K_MEANS = "clusters (k-means)"
INSTALL = "UMAP is not installed: pip install 'cpcnn[napari]'"
EMPTY = "No cells yet: embed an image, or open a table of cells."
FIRST_CLUSTERS, MAX_CLUSTERS = 8, 50


class MapPanel(QWidget):
    """A map of the state's cells: similar ones are close together.

    Parameters
    ----------
    state : SharedState
        What is selected, picked or mapped here is so everywhere, and the other way round.

    Signals
    -------
    go_to : int
        A double click: show this cell in its image.
    """

    go_to = Signal(int)

    def __init__(self, state: SharedState, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.state = state
        self.canvas = MapCanvas()
        self.tools = MapTools(state, self.canvas, self)
        self.method, self.color_by = QComboBox(), QComboBox()
        self.clusters, self.stop = QSpinBox(), QPushButton("Stop")
        self.count, self.legend = PlainLabel(), QLabel()
        self.making = MapMaking(self)
        self._rgb = np.zeros((0, 3), np.uint8)
        self._legend: Legend | None = None
        self._text_rgb: Rgb = (0, 0, 0)
        self._fill_methods()
        self._lay_out()
        self._connect()
        palette = self.palette()
        colors = (palette.color(role) for role in (ROLE.Window, ROLE.WindowText))
        self.set_theme(*(color.getRgb()[:3] for color in colors))
        self._ask_for_map()
        self._show_cells()

    def set_theme(self, background: Rgb, text: Rgb) -> None:
        """Take the colours of the viewer's theme."""
        red, green, blue = text
        self._text_rgb = (red, green, blue)
        palette = self.palette()
        for role in (ROLE.Window, ROLE.Base, ROLE.Button):
            palette.setColor(role, QColor(*background))
        for role in (ROLE.WindowText, ROLE.Text, ROLE.ButtonText):
            palette.setColor(role, QColor(*text))
        self.setPalette(palette)
        red, green, blue = background
        self.canvas.set_background((red, green, blue))
        self.tools.set_ink(self._text_rgb)
        self._show_legend()

    def show_map(self, name: str, positions: np.ndarray) -> None:
        """Show a map (n, 2) of these cells that was made earlier."""
        self.making.keep(name, positions)
        with QSignalBlocker(self.method):
            self.method.setCurrentText(name)
        self._ask_for_map()

    def _fill_methods(self) -> None:
        self.method.addItems([PCA, UMAP])
        self.method.setToolTip("How the map is made: PCA at once, UMAP takes a while")
        if find_spec("umap") is None:
            item = self.method.model().item(1)
            item.setEnabled(False)
            item.setToolTip(INSTALL)

    def _lay_out(self) -> None:
        self.color_by.setEditable(True)
        self.color_by.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.color_by.completer().setFilterMode(Qt.MatchFlag.MatchContains)
        popup = QCompleter.CompletionMode.PopupCompletion
        self.color_by.completer().setCompletionMode(popup)
        self.color_by.setMinimumContentsLength(8)
        self.color_by.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.color_by.setToolTip("Type part of a column's or a feature's name")
        self.clusters.setRange(2, MAX_CLUSTERS)
        self.clusters.setValue(FIRST_CLUSTERS)
        self.clusters.setToolTip("How many clusters")
        self.clusters.hide()
        self.stop.setToolTip("Stop the UMAP that is being made")
        self.stop.hide()
        self.legend.setWordWrap(True)
        self.legend.setTextFormat(Qt.TextFormat.RichText)
        top, coloring = QHBoxLayout(), QHBoxLayout()
        for row, name, combo in (
            (top, "Map", self.method),
            (coloring, "Colour by", self.color_by),
        ):
            row.addWidget(QLabel(name))
            row.addWidget(combo, combo is self.color_by)
        coloring.addWidget(self.clusters)
        top.addWidget(self.stop)
        top.addStretch()
        top.addWidget(self.tools)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.setSpacing(4)
        layout.addLayout(top)
        layout.addLayout(coloring)
        layout.addWidget(self.canvas, 1)
        layout.addWidget(self.legend)
        layout.addWidget(self.count)

    def _connect(self) -> None:
        state, canvas = self.state, self.canvas
        state.cells_changed.connect(self._show_cells)
        state.positions_changed.connect(self._show_positions)
        state.selection_changed.connect(self._show_selection)
        state.picked_changed.connect(self._show_picked)
        canvas.area_drawn.connect(state.select)
        canvas.point_clicked.connect(state.pick)
        canvas.point_double_clicked.connect(self.go_to)
        canvas.set_describe(self._describe)
        self.method.currentTextChanged.connect(self._ask_for_map)
        self.stop.clicked.connect(self.making.stop)
        self.color_by.currentIndexChanged.connect(self._color_chosen)
        self.clusters.valueChanged.connect(self._ask_for_clusters)
        # What was typed and names nothing goes away.
        self.color_by.lineEdit().editingFinished.connect(
            lambda: self.color_by.setEditText(self._color_name())
        )
        self.legend.linkActivated.connect(self._select_entry)
        self.making.made.connect(self._take)
        self.making.failed.connect(self._tell_failure)

    def _show_cells(self) -> None:
        """Start again with other cells; if only their metadata changed, keep the map."""
        cells = self.state.cells
        if self.making.set_features(None if cells is None else cells.features):
            with QSignalBlocker(self.method):
                self.method.setCurrentText(PCA)
            self._ask_for_map()
        self._fill_color_by()
        self._recolor()
        self._show_selection()

    def _ask_for_map(self) -> None:
        count, name = len(self.state.selection), self.method.currentText()
        self.canvas.set_message("")
        if count < 2:
            self.canvas.set_message("One cell makes no map." if count else EMPTY)
        elif self.making.map_of(name) is not None:
            self.state.set_positions(self.making.map_of(name))
        else:
            patience = " This takes minutes for many cells." if name == UMAP else ""
            self.canvas.set_message(f"{name} of {count:,} cells …{patience}")
            self.making.ask(name)
        self.stop.setVisible(self.making.running(UMAP))

    def _take(self, name: str, made: np.ndarray) -> None:
        if name == CLUSTERS:
            texts = np.where(made > 0, made.astype(str), "")
            self.state.set_metadata(CLUSTER, np.arange(len(texts)), texts)
            return
        if name == PCA:
            self._recolor()
        wanted = self.method.currentText()
        if wanted == name or self.making.map_of(wanted) is None:
            self._ask_for_map()
        self.stop.setVisible(self.making.running(UMAP))

    def _tell_failure(self, name: str, why: str) -> None:
        if name == UMAP:
            self.stop.hide()
            with QSignalBlocker(self.method):
                self.method.setCurrentText(PCA)
            self._ask_for_map()
            if why:
                tell_error(why)
        elif name == PCA:
            self.canvas.set_message(f"{name} failed. {why}")

    def _color_chosen(self) -> None:
        chosen = self._color_name() == K_MEANS
        self.clusters.setVisible(chosen)
        if chosen:
            self._ask_for_clusters()
        self._recolor()

    def _ask_for_clusters(self) -> None:
        self.making.ask(CLUSTERS, self.clusters.value())

    def _show_positions(self) -> None:
        self.canvas.set_points(self.state.positions)
        if self.state.positions is not None:
            self.canvas.set_message("")
            self.canvas.set_colors(self._rgb)
        self._show_selection()
        self._show_picked()

    def _show_selection(self) -> None:
        selection = self.state.selection
        if self.state.positions is not None:
            self.canvas.set_selected(selection)
        chosen, count = int(selection.sum()), len(selection)
        text = f"{chosen:,} of {count:,} cells selected" if chosen else f"{count:,} cells"
        self.count.setText(text)

    def _show_picked(self) -> None:
        if self.state.positions is not None:
            self.canvas.set_picked(self.state.picked)
        before = self.color_by.currentText()
        self._fill_color_by()
        if SIMILARITY in (before, self.color_by.currentText()):
            self._recolor()

    def _fill_color_by(self) -> None:
        """Offer what there is now; what was chosen stays so if it is still there."""
        cells, names = self.state.cells, [ONE_COLOR]
        if cells is not None:
            names += [name.removeprefix(METADATA_PREFIX) for name in cells.metadata.columns]
            names += [K_MEANS] if len(cells.features) > 1 else []
            names += [] if self.state.picked is None else [SIMILARITY]
            names += cells.feature_names
        combo, chosen = self.color_by, self._color_name()
        if names != [combo.itemText(at) for at in range(combo.count())]:
            with QSignalBlocker(combo):
                combo.clear()
                combo.addItems(names)
                combo.setCurrentIndex(names.index(chosen) if chosen in names else 0)

    def _color_name(self) -> str:
        result: str = self.color_by.itemText(self.color_by.currentIndex())
        return result

    def _recolor(self) -> None:
        values = self._values()
        if values is None:
            self._rgb = np.full((len(self.state.selection), 3), PLAIN_RGB, np.uint8)
            self._legend = None
        else:
            self._rgb, self._legend = colors_of(values)
        # A long name is read from its beginning.
        self.color_by.lineEdit().setCursorPosition(0)
        if self.state.positions is not None:
            self.canvas.set_colors(self._rgb)
        self._show_legend()

    def _values(self) -> object:
        """Return the value of every cell (n,) that gives it its colour, or None."""
        cells, name = self.state.cells, self._color_name()
        if cells is None or name == ONE_COLOR:
            return None
        if name == K_MEANS:
            return cells.metadata.get(CLUSTER)
        if METADATA_PREFIX + name in cells.metadata.columns:
            return cells.metadata[METADATA_PREFIX + name]
        if name != SIMILARITY:
            return cells.features[:, cells.feature_names.index(name)]
        if self.making.components is None or self.state.picked is None:
            return None
        return cosines(self.making.components, self.state.picked)

    def _show_legend(self) -> None:
        self.legend.setVisible(self._legend is not None)
        if self._legend is not None:
            self.legend.setText(legend_html(self._legend, self._text_rgb))

    def _select_entry(self, entry: str) -> None:
        how = how_of(QGuiApplication.keyboardModifiers())
        # Only categories can be clicked.
        legend = cast("CategoryLegend", self._legend)
        self.state.select(legend.entries == int(entry), how)

    def _describe(self, row: int) -> str:
        metadata = cast("Profiles", self.state.cells).metadata
        name = self._color_name()
        shown = [LAYER, OBJECT_NUMBER, WELL, PHENOTYPE]
        lines = {c: metadata[c].iloc[row] for c in shown if c in metadata.columns}
        values = self._values()
        if values is not None:
            value = np.asarray(values)[row]
            lines[name] = f"{value:.4g}" if isinstance(value, np.floating) else value
        return "\n".join(f"{c.removeprefix(METADATA_PREFIX)}: {v}" for c, v in lines.items())
