"""The panel of the map: which map, coloured by what, and how to select on it."""

from __future__ import annotations

import threading
from importlib.util import find_spec

import numpy as np
from qtpy.QtCore import QObject, QSignalBlocker, Qt, Signal
from qtpy.QtGui import QAction, QActionGroup, QColor, QGuiApplication, QPalette
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QToolButton, QVBoxLayout, QWidget

from cpcnn_core.tables.columns import METADATA_PREFIX, WELL
from napari_cpcnn.colors import Legend, Rgb, colors_of, legend_html
from napari_cpcnn.explorer import LABEL, LAYER, PHENOTYPE, Explorer
from napari_cpcnn.icons import icon
from napari_cpcnn.map_canvas import LASSO, PAN, PLAIN_RGB, RECTANGLE, MapCanvas, how_of
from napari_cpcnn.maps import components_of, cosines, umap_of

ROLE = QPalette.ColorRole
PCA, UMAP = "PCA", "UMAP"
ONE_COLOR, SIMILARITY = "one colour", "similarity to the picked cell"
INSTALL = "UMAP is not installed: pip install 'cpcnn[napari]'"
EMPTY = "No cells yet: embed an image, or open a table of cells."
TOOLS_STYLE = (
    "QToolButton {{ border: none; border-radius: 3px; padding: 3px; }}"
    "QToolButton:checked {{ background: rgba({0}, {1}, {2}, 70); }}"
    "QToolButton:hover, QToolButton:focus {{ background: rgba({0}, {1}, {2}, 40); }}"
)


class MapPanel(QWidget):
    """A map of the explorer's cells: similar ones lie together.

    Parameters
    ----------
    explorer : Explorer
        What is selected, picked or mapped here is so everywhere, and the other way round.

    Signals
    -------
    go_to : int
        A double click: show this cell in its image.
    """

    go_to = Signal(int)

    def __init__(self, explorer: Explorer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.explorer = explorer
        self.canvas = MapCanvas()
        self.method, self.color_by = QComboBox(), QComboBox()
        self.count, self.legend = QLabel(), QLabel()
        self._tools = QWidget()
        self._features: np.ndarray | None = None
        self._components: np.ndarray | None = None
        self._maps: dict[str, np.ndarray] = {}
        self._running: set[str] = set()
        self._rgb = np.zeros((0, 3), np.uint8)
        self._legend: Legend | None = None
        self._text_rgb: Rgb = (0, 0, 0)
        self._mailbox = _Mailbox()
        self._actions = self._make_actions()
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
        self._text_rgb = tuple(text)
        palette = self.palette()
        for role in (ROLE.Window, ROLE.Base, ROLE.Button):
            palette.setColor(role, QColor(*background))
        for role in (ROLE.WindowText, ROLE.Text, ROLE.ButtonText):
            palette.setColor(role, QColor(*text))
        self.setPalette(palette)
        self.canvas.set_background(tuple(background))
        for name, action in self._actions.items():
            action.setIcon(icon(name, self._text_rgb))
        # The viewer's style does not show which tool is on.
        self._tools.setStyleSheet(TOOLS_STYLE.format(*text))
        self._show_legend()

    def _make_actions(self) -> dict[str, QAction]:
        explorer, tool = self.explorer, self.canvas.set_tool
        keys = "Shift adds, Ctrl removes"
        table = {
            PAN: ("P", "Move the map by dragging; double click on no cell shows all", tool),
            LASSO: ("L", f"Select by drawing around cells; {keys}", tool),
            RECTANGLE: ("R", f"Select by drawing a rectangle; {keys}", tool),
            "undo": ("Ctrl+Z", "Take back the last selection", lambda _: explorer.undo()),
            "redo": ("Ctrl+Shift+Z", "Select again what was undone", lambda _: explorer.redo()),
            "clear": ("Esc", "Clear the selection", lambda _: self._clear()),
        }
        tools, actions = QActionGroup(self), {}
        for name, (key, tip, do) in table.items():
            action = actions[name] = QAction(name, self)
            action.setShortcut(key)
            # The viewer's own keys stay as they are elsewhere.
            action.setShortcutContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            action.setToolTip(f"{tip} ({key})")
            action.triggered.connect(lambda _, do=do, name=name: do(name))
            if do == tool:
                action.setCheckable(True)
                tools.addAction(action)
            self.addAction(action)
        actions[PAN].setChecked(True)
        return actions

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
        self.color_by.completer().setCompletionMode(self.color_by.completer().PopupCompletion)
        self.color_by.setMinimumContentsLength(8)
        self.color_by.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.color_by.setToolTip("Type a part of a column's or a feature's name")
        self.legend.setWordWrap(True)
        self.legend.setTextFormat(Qt.TextFormat.RichText)
        top, coloring = QHBoxLayout(), QHBoxLayout()
        for row, name, combo in (
            (top, "Map", self.method),
            (coloring, "Colour by", self.color_by),
        ):
            row.addWidget(QLabel(name))
            row.addWidget(combo, combo is self.color_by)
        top.addStretch()
        top.addWidget(self._tools)
        tools = QHBoxLayout(self._tools)
        tools.setContentsMargins(0, 0, 0, 0)
        tools.setSpacing(0)
        for action in self._actions.values():
            button = QToolButton(autoRaise=True)
            button.setDefaultAction(action)
            tools.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.setSpacing(4)
        layout.addLayout(top)
        layout.addLayout(coloring)
        layout.addWidget(self.canvas, 1)
        layout.addWidget(self.legend)
        layout.addWidget(self.count)

    def _connect(self) -> None:
        explorer, canvas = self.explorer, self.canvas
        explorer.cells_changed.connect(self._show_cells)
        explorer.positions_changed.connect(self._show_positions)
        explorer.selection_changed.connect(self._show_selection)
        explorer.picked_changed.connect(self._show_picked)
        canvas.area_drawn.connect(explorer.select)
        canvas.point_clicked.connect(explorer.pick)
        canvas.point_double_clicked.connect(self.go_to)
        canvas.set_describe(self._describe)
        self.method.currentTextChanged.connect(self._ask_for_map)
        self.color_by.currentIndexChanged.connect(self._recolor)
        # What was typed and names nothing goes away.
        self.color_by.lineEdit().editingFinished.connect(
            lambda: self.color_by.setEditText(self._color_name())
        )
        self.legend.linkActivated.connect(self._select_entry)
        self._mailbox.came.connect(self._take_map)

    def _show_cells(self) -> None:
        """Begin anew with other cells; if only their metadata changed, keep the map."""
        cells = self.explorer.cells
        features = None if cells is None else cells.features
        if features is not self._features:
            self._features, self._components, self._maps = features, None, {}
            with QSignalBlocker(self.method):
                self.method.setCurrentText(PCA)
            self._ask_for_map()
        self._fill_color_by()
        self._recolor()
        self._show_selection()

    def _ask_for_map(self) -> None:
        count = 0 if self._features is None else len(self._features)
        name = self.method.currentText()
        self.canvas.set_message("")
        if count < 2:
            self.canvas.set_message("One cell makes no map." if count else EMPTY)
        elif name in self._maps:
            self.explorer.set_positions(self._maps[name])
        else:
            patience = " This takes minutes for many cells." if name == UMAP else ""
            self.canvas.set_message(f"{name} of {count:,} cells …{patience}")
            self._start(name)

    def _start(self, name: str) -> None:
        # UMAP begins with the components: when they come, it is asked for again.
        if name in self._running or (name == UMAP and self._components is None):
            return
        self._running.add(name)
        features, components, mailbox = self._features, self._components, self._mailbox

        def work() -> None:
            result = None
            try:
                result = umap_of(components) if name == UMAP else components_of(features)
            finally:
                # After an error, too, which napari shows: nobody shall wait for ever.
                mailbox.came.emit(name, features, result)

        threading.Thread(target=work, daemon=True).start()

    def _take_map(self, name: str, features: np.ndarray, result: np.ndarray | None) -> None:
        self._running.discard(name)
        ours = features is self._features
        if ours and result is None:
            self.canvas.set_message(f"{name} failed.")
            return
        if ours:
            self._maps[name] = np.ascontiguousarray(result[:, :2])
        if ours and name == PCA:
            self._components = result
            self._recolor()
        wanted = self.method.currentText()
        if wanted == name or wanted not in self._maps:
            self._ask_for_map()

    def _show_positions(self) -> None:
        self.canvas.set_points(self.explorer.positions)
        if self.explorer.positions is not None:
            self.canvas.set_message("")
            self.canvas.set_colors(self._rgb)
        self._show_selection()
        self._show_picked()

    def _show_selection(self) -> None:
        selection = self.explorer.selection
        if self.explorer.positions is not None:
            self.canvas.set_selected(selection)
        chosen, count = int(selection.sum()), len(selection)
        text = f"{chosen:,} of {count:,} cells selected" if chosen else f"{count:,} cells"
        self.count.setText(text)

    def _show_picked(self) -> None:
        if self.explorer.positions is not None:
            self.canvas.set_picked(self.explorer.picked)
        before = self.color_by.currentText()
        self._fill_color_by()
        if SIMILARITY in (before, self.color_by.currentText()):
            self._recolor()

    def _clear(self) -> None:
        self.explorer.select(np.zeros(len(self.explorer.selection), bool))

    def _fill_color_by(self) -> None:
        """Offer what there is now; what was chosen stays so if it is still there."""
        cells, names = self.explorer.cells, [ONE_COLOR]
        if cells is not None:
            names += [name.removeprefix(METADATA_PREFIX) for name in cells.metadata.columns]
            names += [] if self.explorer.picked is None else [SIMILARITY]
            names += cells.feature_names
        combo, chosen = self.color_by, self._color_name()
        if names != [combo.itemText(at) for at in range(combo.count())]:
            with QSignalBlocker(combo):
                combo.clear()
                combo.addItems(names)
                combo.setCurrentIndex(names.index(chosen) if chosen in names else 0)

    def _color_name(self) -> str:
        return self.color_by.itemText(self.color_by.currentIndex())

    def _recolor(self) -> None:
        values = self._values()
        if values is None:
            self._rgb = np.full((len(self.explorer.selection), 3), PLAIN_RGB, np.uint8)
            self._legend = None
        else:
            self._rgb, self._legend = colors_of(values)
        # A long name is read from its beginning.
        self.color_by.lineEdit().setCursorPosition(0)
        if self.explorer.positions is not None:
            self.canvas.set_colors(self._rgb)
        self._show_legend()

    def _values(self) -> object:
        """Return the value of every cell (n,) that gives it its colour, or None."""
        cells, name = self.explorer.cells, self._color_name()
        if cells is None or name == ONE_COLOR:
            return None
        if METADATA_PREFIX + name in cells.metadata.columns:
            return cells.metadata[METADATA_PREFIX + name]
        if name != SIMILARITY:
            return cells.features[:, cells.feature_names.index(name)]
        if self._components is None or self.explorer.picked is None:
            return None
        return cosines(self._components, self.explorer.picked)

    def _show_legend(self) -> None:
        self.legend.setVisible(self._legend is not None)
        if self._legend is not None:
            self.legend.setText(legend_html(self._legend, self._text_rgb))

    def _select_entry(self, entry: str) -> None:
        how = how_of(QGuiApplication.keyboardModifiers())
        self.explorer.select(self._legend.entries == int(entry), how)

    def _describe(self, row: int) -> str:
        metadata, name = self.explorer.cells.metadata, self._color_name()
        shown = [LAYER, LABEL, WELL, PHENOTYPE]
        lines = {c: metadata[c].iloc[row] for c in shown if c in metadata.columns}
        values = self._values()
        if values is not None:
            value = np.asarray(values)[row]
            lines[name] = f"{value:.4g}" if isinstance(value, np.floating) else value
        return "\n".join(f"{c.removeprefix(METADATA_PREFIX)}: {v}" for c, v in lines.items())


class _Mailbox(QObject):
    """Brings what a thread made to the panel, if there still is one.

    The name of the map, the features it was made of, and the coordinates or None.
    """

    came = Signal(str, object, object)
