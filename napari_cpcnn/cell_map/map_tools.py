"""The little buttons above the map: move, lasso, rectangle, undo, redo, clear."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QAction, QActionGroup, QIcon, QPixmap
from qtpy.QtWidgets import QHBoxLayout, QToolButton, QWidget

from napari_cpcnn.cell_map.colors import Rgb
from napari_cpcnn.cell_map.map_canvas import LASSO, PAN, RECTANGLE, MapCanvas
from napari_cpcnn.shared_state import SharedState

STYLE = (
    "QToolButton {{ border: none; border-radius: 3px; padding: 3px; }}"
    "QToolButton:checked {{ background: rgba({0}, {1}, {2}, 70); }}"
    "QToolButton:hover, QToolButton:focus {{ background: rgba({0}, {1}, {2}, 40); }}"
)


class MapTools(QWidget):
    """Buttons and their keys, which work anywhere in the map's panel.

    Parameters
    ----------
    state : SharedState
    canvas : MapCanvas
    panel : QWidget
        Where the keys work; the viewer's own keys stay as they are elsewhere.

    Attributes
    ----------
    by_name : dict of str to QAction
    """

    def __init__(self, state: SharedState, canvas: MapCanvas, panel: QWidget) -> None:
        super().__init__(panel)
        self._state = state
        self.by_name = self._make_actions(canvas, panel)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        for action in self.by_name.values():
            button = QToolButton(autoRaise=True)
            button.setDefaultAction(action)
            layout.addWidget(button)

    def set_ink(self, text: Rgb) -> None:
        """Draw the icons in the theme's colour of text."""
        for name, action in self.by_name.items():
            action.setIcon(icon(name, text))
        # The viewer's style does not show which tool is on.
        self.setStyleSheet(STYLE.format(*text))

    def _make_actions(self, canvas: MapCanvas, panel: QWidget) -> dict[str, QAction]:
        state, tool = self._state, canvas.set_tool
        keys = "Shift adds, Ctrl removes"
        table = {
            PAN: ("P", "Move the map by dragging; double click on no cell shows all", tool),
            LASSO: ("L", f"Select by drawing around cells; {keys}", tool),
            RECTANGLE: ("R", f"Select by drawing a rectangle; {keys}", tool),
            "undo": ("Ctrl+Z", "Take back the last selection", lambda _: state.undo()),
            "redo": ("Ctrl+Shift+Z", "Select again what was undone", lambda _: state.redo()),
            "clear": ("Esc", "Clear the selection", lambda _: self._clear()),
        }
        tools, actions = QActionGroup(self), {}
        for name, (key, tip, do) in table.items():
            action = actions[name] = QAction(name, self)
            action.setShortcut(key)
            action.setShortcutContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            action.setToolTip(f"{tip} ({key})")
            action.triggered.connect(lambda _, do=do, name=name: do(name))
            if do == tool:
                action.setCheckable(True)
                tools.addAction(action)
            panel.addAction(action)
        actions[PAN].setChecked(True)
        return actions

    def _clear(self) -> None:
        self._state.select(np.zeros(len(self._state.selection), bool))


# Drawn in a box of 16 by 16.
ICONS = {
    PAN: "M8 1v14M1 8h14M6 3l2-2 2 2M6 13l2 2 2-2M3 6l-2 2 2 2M13 6l2 2-2 2",
    LASSO: "M5 11C0 9 2 2 9 2s8 7 1 9c-3 .8-6-.5-6 1.5s2 2.5 1 3",
    RECTANGLE: "M2 4h2M6 4h4M12 4h2M2 12h2M6 12h4M12 12h2M2 4v2M2 10v2M14 4v2M14 10v2",
    "undo": "M6 2L2 6l4 4M2 6h8a4 4 0 0 1 0 8H6",
    "redo": "M10 2l4 4-4 4M14 6H6a4 4 0 0 0 0 8h4",
    "clear": "M3 3l10 10M13 3L3 13",
}
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64" viewBox="0 0 16 16">'
    '<path d="{}" fill="none" stroke="{}" stroke-width="1.4" stroke-linejoin="round"/></svg>'
)


def icon(name: str, ink: Rgb) -> QIcon:
    """Return an icon of `ICONS`."""
    picture = QPixmap()
    color = "#{:02x}{:02x}{:02x}".format(*ink)
    picture.loadFromData(SVG.format(ICONS[name], color).encode(), "SVG")
    return QIcon(picture)
