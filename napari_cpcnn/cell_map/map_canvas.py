"""The map on the screen: it is drawn, moved, pointed at and drawn on."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QEvent, QPointF, QRectF, Qt, QTimer, Signal
from qtpy.QtGui import QColor, QPen, QPolygonF
from qtpy.QtWidgets import QGraphicsPolygonItem, QGridLayout, QToolTip, QWidget

from napari_cpcnn.cell_map.colors import Rgb, ink_on
from napari_cpcnn.cell_map.density_raster import draw_map, inside_polygon, nearest_point
from napari_cpcnn.messages import PlainLabel, as_text
from napari_cpcnn.shared_state import ADD, REMOVE, REPLACE

if TYPE_CHECKING:
    from pyqtgraph.GraphicsScene.mouseEvents import MouseClickEvent, MouseDragEvent

PAN, LASSO, RECTANGLE = "pan", "lasso", "rectangle"
PLAIN_RGB = (72, 144, 205)
# Pixels from a cell's dot at which the mouse still means it; pixels a lasso moves per corner.
REACH, LASSO_STEP = 8, 3
LINE = 1.5
# Milliseconds between two pictures at least; the last picture's time, if that is more.
REST = 15
HOVERS_PER_SECOND = 25


class MapCanvas(QWidget):
    """A map of points to be moved, zoomed, pointed at and selected from.

    A drag moves the map, or draws an area with the tools lasso and rectangle; the middle
    button always moves it, the wheel zooms. A double click on no point shows everything.

    Signals
    -------
    area_drawn : ndarray of shape (n,), bool; str
        The points in the area, and what to do with them: replace the selection, ``add``
        to it with Shift held when the drag begins, ``remove`` with Ctrl or Alt.
    point_clicked, point_double_clicked : int
    hovered : int
        -1 where there is none.
    drawn
        A new picture is there.
    """

    area_drawn = Signal(object, str)
    point_clicked = Signal(int)
    point_double_clicked = Signal(int)
    hovered = Signal(int)
    drawn = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._positions = np.zeros((0, 2), np.float32)
        self._order = np.zeros(0, int)
        self._place = np.zeros(0, int)
        self._drawn: dict[str, Any] = {}
        self._picked: int | None = None
        self._background: Rgb = (0, 0, 0)
        self._describe: Callable[[int], str] = str
        self._hovered = -1
        self._box = _Box()
        self._plot = pg.PlotWidget(self, viewBox=self._box)
        self._image = pg.ImageItem(axisOrder="row-major")
        self._area = QGraphicsPolygonItem()
        self._message = PlainLabel()
        self._timer = QTimer(self, singleShot=True)
        self._rest: float = REST
        self._ready = 0.0
        self._lay_out()
        self._connect()
        self.set_background(self._background)
        self.set_points(None)

    def set_points(self, positions: np.ndarray | None) -> None:
        """Show other points (n, 2), or none; colours, selection and view are reset."""
        self._positions = np.zeros((0, 2), np.float32) if positions is None else positions
        count = len(self._positions)
        # In a random order, or the last plate of a table would cover all others.
        self._order = np.random.default_rng(0).permutation(count)
        self._place = np.empty(count, int)
        self._place[self._order] = np.arange(count)
        self._drawn = {
            "positions": np.asarray(self._positions, np.float32)[self._order],
            "colors": np.full((count, 3), PLAIN_RGB, np.uint8),
            "selected": None,
        }
        self._picked = None
        self.fit_view()
        self._plan()

    def set_colors(self, colors: np.ndarray) -> None:
        """Colour the points: (n, 3), uint8."""
        self._drawn["colors"] = colors[self._order]
        self._plan()

    def set_selected(self, mask: np.ndarray) -> None:
        """Show which points are selected: (n,), bool."""
        self._drawn["selected"] = mask[self._order]
        self._plan()

    def set_picked(self, row: int | None) -> None:
        """Draw a ring around a point, or around none."""
        self._picked = None if row is None else int(self._place[row])
        self._plan()

    def set_background(self, background: Rgb) -> None:
        """Draw on another colour; lines and the message follow to be readable on it."""
        self._background, ink = background, ink_on(background)
        self._plot.setBackground(background)
        pen = QPen(QColor(*ink), LINE, Qt.PenStyle.DashLine)
        pen.setCosmetic(True)
        self._area.setPen(pen)
        self._area.setBrush(QColor(*ink, 30))
        self._message.setStyleSheet(
            f"color: rgb{ink}; background: rgba{(*background, 215)}; padding: 8px"
        )
        self._plan()

    def set_message(self, text: str) -> None:
        """Show a text across the map, or none if it is empty."""
        self._message.setText(text)
        self._message.setVisible(bool(text))

    def set_describe(self, describe: Callable[[int], str]) -> None:
        """Take the tooltip of a point from a function of its row."""
        self._describe = describe

    def set_tool(self, tool: str) -> None:
        """Choose what a drag does: ``pan``, ``lasso`` or ``rectangle``."""
        self._box.tool = tool
        cross = tool != PAN
        self._plot.setCursor(Qt.CursorShape.CrossCursor if cross else Qt.CursorShape.ArrowCursor)

    def fit_view(self) -> None:
        """Show all points."""
        finite = self._positions[np.isfinite(self._positions).all(axis=1)]
        if len(finite):
            (x0, y0), (x1, y1) = finite.min(axis=0).tolist(), finite.max(axis=0).tolist()
            spare = 0.05 * (max(x1 - x0, y1 - y0) or 1)
            corner = QPointF(x0 - spare, y0 - spare)
            self._box.setRange(QRectF(corner, QPointF(x1 + spare, y1 + spare)), padding=0)

    def event(self, event: QEvent) -> bool:
        """Redraw for another screen's pixels; Qt reports the change since 6.6."""
        if event.type() == getattr(QEvent.Type, "DevicePixelRatioChange", None):
            self._plan()
        result: bool = super().event(event)
        return result

    def leaveEvent(self, event: QEvent) -> None:  # noqa: N802  (Qt's name)
        """Point at nothing any more."""
        self._hover_over(-1)
        super().leaveEvent(event)

    def _lay_out(self) -> None:
        for side in ("left", "bottom"):
            self._plot.hideAxis(side)
        self._plot.hideButtons()
        self._box.setAspectLocked(False)
        self._box.addItem(self._image, ignoreBounds=True)
        self._box.addItem(self._area, ignoreBounds=True)
        self._message.setWordWrap(True)
        self._message.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._message.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._message.hide()
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._plot, 0, 0)
        layout.addWidget(self._message, 0, 0, Qt.AlignmentFlag.AlignVCenter)

    def _connect(self) -> None:
        self._timer.timeout.connect(self._draw)
        self._box.sigRangeChanged.connect(self._plan)
        self._box.sigResized.connect(self._plan)
        self._box.dragged.connect(self._drag)
        scene = self._plot.scene()
        scene.sigMouseClicked.connect(self._click)
        self._moves = pg.SignalProxy(
            scene.sigMouseMoved, rateLimit=HOVERS_PER_SECOND, slot=self._hover
        )

    def _plan(self) -> None:
        # Not restarted while it runs: the picture must also be updated during a long drag.
        if not self._timer.isActive():
            since = 1000 * (perf_counter() - self._ready)
            self._timer.start(max(0, round(self._rest - since)))

    def _draw(self) -> None:
        started = perf_counter()
        ratio = self.devicePixelRatioF()
        size = tuple(max(1, round(n * ratio)) for n in (self._box.height(), self._box.width()))
        (x0, x1), (y0, y1) = self._box.viewRange()
        self._image.setImage(
            draw_map(
                **self._drawn,
                view=(x0, y0, x1, y1),
                size=size,
                picked=self._picked,
                background=self._background,
                scale=ratio,
            ),
            autoLevels=False,
        )
        self._image.setRect(QRectF(x0, y0, x1 - x0, y1 - y0))
        self._ready = perf_counter()
        self._rest = max(REST, 1000 * (self._ready - started))
        self.drawn.emit()

    def _at(self, spot: QPointF) -> int:
        """Return the row of the point at a spot of the scene, or -1."""
        place = self._box.mapSceneToView(spot)
        reach = REACH * self._box.viewPixelSize()[0]
        row = nearest_point(self._positions, (place.x(), place.y()), reach)
        return -1 if row is None else row

    def _click(self, event: MouseClickEvent) -> None:
        if event.button() != Qt.MouseButton.LeftButton:
            return
        row = self._at(event.scenePos())
        if row >= 0:
            (self.point_double_clicked if event.double() else self.point_clicked).emit(row)
        elif event.double():
            self.fit_view()

    def _hover(self, arguments: tuple[QPointF]) -> None:
        spot = arguments[0]
        row = self._at(spot)
        if self._hover_over(row) and row >= 0:
            where = self._plot.mapToGlobal(self._plot.mapFromScene(spot))
            QToolTip.showText(where, as_text(self._describe(row)), self)

    def _hover_over(self, row: int) -> bool:
        if row == self._hovered:
            return False
        self._hovered = row
        if row < 0:
            QToolTip.hideText()
        self.hovered.emit(row)
        return True

    def _drag(self, event: MouseDragEvent) -> None:
        corners = self._box.corners(event)
        # A cosmetic pen counts the pixels of the screen, and the window may have changed screens.
        pen = self._area.pen()
        pen.setWidthF(LINE * self.devicePixelRatioF())
        self._area.setPen(pen)
        self._area.setPolygon(QPolygonF([QPointF(*corner) for corner in corners]))
        if event.isFinish():
            self._area.setPolygon(QPolygonF())
            if len(self._positions):
                mask = inside_polygon(self._positions, np.array(corners))
                self.area_drawn.emit(mask, self._box.how)


class _Box(pg.ViewBox):
    """Pans as usual with the tool for it; with another one the left button's drags are told."""

    dragged = Signal(object)

    def __init__(self) -> None:
        super().__init__(enableMenu=False)
        self.tool = PAN
        self.how = REPLACE
        self._path: list[QPointF] = []

    def mouseDragEvent(self, event: MouseDragEvent, axis: int | None = None) -> None:  # noqa: N802
        """Follow the mouse."""
        if self.tool == PAN or event.button() != Qt.MouseButton.LeftButton:
            super().mouseDragEvent(event, axis)
            return
        event.accept()
        if event.isStart():
            self._path = [event.buttonDownScenePos()]
            self.how = how_of(event.modifiers())
        step = event.scenePos() - self._path[-1]
        if abs(step.x()) + abs(step.y()) >= LASSO_STEP or event.isFinish():
            self._path.append(event.scenePos())
        self.dragged.emit(event)

    def corners(self, event: MouseDragEvent) -> list[tuple[float, float]]:
        """Return the corners (k, 2) of the area that was drawn until now."""
        path = self._path
        if self.tool == RECTANGLE:
            area = QRectF(path[0], event.scenePos())
            path = [area.topLeft(), area.topRight(), area.bottomRight(), area.bottomLeft()]
        places = [self.mapSceneToView(spot) for spot in path]
        return [(place.x(), place.y()) for place in places]


def how_of(modifiers: Qt.KeyboardModifier) -> str:
    """Return what held keys mean: ``add`` with Shift, ``remove`` with Ctrl or Alt.

    Examples
    --------
    >>> how_of(Qt.KeyboardModifier.ShiftModifier)
    'add'
    """
    if modifiers & Qt.KeyboardModifier.ShiftModifier:
        return ADD
    keys = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier
    return REMOVE if modifiers & keys else REPLACE
