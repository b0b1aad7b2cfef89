"""The map under a real mouse."""

import os
import subprocess
import sys

import numpy as np
import pyqtgraph as pg
import pytest
from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QMouseEvent, QWheelEvent
from qtpy.QtWidgets import QApplication, QToolTip

from napari_cpcnn.cell_map.density_raster import DIMMED
from napari_cpcnn.cell_map.map_canvas import PLAIN_RGB, MapCanvas, how_of

LEFT, NO_KEY = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
SHIFT, CONTROL = Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.ControlModifier
ALT = Qt.KeyboardModifier.AltModifier


@pytest.fixture
def canvas(qtbot):
    # Every move counts, however fast the test's mouse is.
    before = pg.getConfigOption("mouseRateLimit")
    pg.setConfigOption("mouseRateLimit", -1)
    widget = MapCanvas()
    qtbot.addWidget(widget)
    widget.resize(300, 240)
    with qtbot.waitExposed(widget):
        widget.show()
    yield widget
    pg.setConfigOption("mouseRateLimit", before)


@pytest.fixture
def grid(canvas, qtbot):
    """A canvas with 11 x 11 points: column 0 to 10, line 0 to 10; point 0 is at (0, 0)."""
    line, column = np.divmod(np.arange(121), 11)
    canvas.set_points(np.stack([column, line], axis=1).astype(np.float32))
    settle(canvas, qtbot)
    return canvas


def settle(canvas, qtbot):
    qtbot.waitUntil(lambda: not canvas._timer.isActive())
    QApplication.processEvents()


def spot(canvas, place):
    """Return where a place of the map is on the widget."""
    scene = canvas._box.mapViewToScene(QPointF(*place))
    return QPointF(canvas._plot.mapFromScene(scene))


def send(canvas, kind, place, buttons, keys=NO_KEY):
    target = canvas._plot.viewport()
    at = place if isinstance(place, QPointF) else spot(canvas, place)
    button = Qt.MouseButton.NoButton if kind == QEvent.Type.MouseMove else LEFT
    event = QMouseEvent(kind, at, QPointF(target.mapToGlobal(at.toPoint())), button, buttons, keys)
    QApplication.sendEvent(target, event)


def drag(canvas, places, keys=NO_KEY):
    # Before the map moves under the mouse.
    places = [spot(canvas, place) for place in places]
    send(canvas, QEvent.Type.MouseButtonPress, places[0], LEFT, keys)
    for place in places[1:]:
        send(canvas, QEvent.Type.MouseMove, place, LEFT, keys)
    send(canvas, QEvent.Type.MouseButtonRelease, places[-1], Qt.MouseButton.NoButton, keys)


def click(canvas, place, double=False):
    kinds = [QEvent.Type.MouseButtonPress, QEvent.Type.MouseButtonRelease]
    kinds += [QEvent.Type.MouseButtonDblClick, QEvent.Type.MouseButtonRelease] if double else []
    for kind in kinds:
        released = kind == QEvent.Type.MouseButtonRelease
        send(canvas, kind, place, Qt.MouseButton.NoButton if released else LEFT)


def heard(signal):
    said = []
    signal.connect(lambda *arguments: said.append(arguments))
    return said


@pytest.mark.parametrize(
    ("keys", "how"),
    [(NO_KEY, "replace"), (SHIFT, "add"), (CONTROL, "remove"), (ALT, "remove")],
)
def test_rectangle_selects_what_is_in_it(grid, keys, how):
    areas = heard(grid.area_drawn)
    grid.set_tool("rectangle")
    drag(grid, [(1.5, 2.5), (3, 3), (6.5, 4.5)], keys)
    ((mask, told),) = areas
    column, line = grid._positions.T
    expected = (column > 1.5) & (column < 6.5) & (line > 2.5) & (line < 4.5)
    assert mask.tolist() == expected.tolist()
    assert told == how


def test_rectangle_may_be_drawn_backwards(grid):
    areas = heard(grid.area_drawn)
    grid.set_tool("rectangle")
    drag(grid, [(6.5, 4.5), (3, 3), (1.5, 2.5)])
    assert areas[0][0].sum() == 5 * 2


def test_lasso_selects_what_is_in_it(grid):
    areas = heard(grid.area_drawn)
    grid.set_tool("lasso")
    drag(grid, [(-0.5, -0.5), (5.4, -0.5), (-0.5, 5.4)])
    ((mask, how),) = areas
    column, line = grid._positions.T
    assert mask.tolist() == (column + line < 4.9).tolist()
    assert how == "replace"


def test_line_is_seen_while_it_is_drawn(grid):
    grid.set_tool("lasso")
    send(grid, QEvent.Type.MouseButtonPress, (1, 1), LEFT)
    for place in ((4, 1), (4, 4)):
        send(grid, QEvent.Type.MouseMove, place, LEFT)
    assert grid._area.polygon().count() == 3
    send(grid, QEvent.Type.MouseButtonRelease, (4, 4), Qt.MouseButton.NoButton)
    assert grid._area.polygon().isEmpty()


def test_line_is_as_wide_as_one_sees(grid, qtbot):
    settle(grid, qtbot)
    grid.set_tool("lasso")
    send(grid, QEvent.Type.MouseButtonPress, (3.5, 0.5), LEFT)
    send(grid, QEvent.Type.MouseMove, (3.5, 9.5), LEFT)
    picture = grid.grab().toImage()
    ratio, at = picture.devicePixelRatio(), spot(grid, (3.5, 5))
    columns = range(round(ratio * (at.x() - 4)), round(ratio * (at.x() + 4)))
    lines = range(round(ratio * (at.y() - 30)), round(ratio * (at.y() + 30)))
    widths = [sum(picture.pixelColor(x, y).lightness() > 120 for x in columns) for y in lines]
    assert max(widths) == pytest.approx(1.5 * ratio, abs=0.5)
    send(grid, QEvent.Type.MouseButtonRelease, (3.5, 9.5), Qt.MouseButton.NoButton)


def test_nothing_is_selected_on_an_empty_map(canvas):
    areas = heard(canvas.area_drawn)
    canvas.set_tool("lasso")
    drag(canvas, [(0, 0), (0.5, 0), (0, 0.5)])
    assert areas == []


def test_pan_moves_the_map_and_selects_nothing(grid, qtbot):
    areas = heard(grid.area_drawn)
    before = np.array(grid._box.viewRange())
    drag(grid, [(2, 2), (3, 2), (5, 3)])
    moved = np.array(grid._box.viewRange()) - before
    np.testing.assert_allclose(moved, [[-3, -3], [-1, -1]], atol=0.15)
    assert areas == []


def test_wheel_zooms_where_the_mouse_is(grid):
    before = np.array(grid._box.viewRange())
    at = spot(grid, (2, 3))
    target = grid._plot.viewport()
    wheel = QWheelEvent(
        *(at, QPointF(target.mapToGlobal(at.toPoint()))),
        *(QPointF(0, 0).toPoint(), QPointF(0, 120).toPoint()),
        *(Qt.MouseButton.NoButton, NO_KEY, Qt.ScrollPhase.NoScrollPhase, False),
    )
    QApplication.sendEvent(target, wheel)
    assert (np.ptp(grid._box.viewRange(), axis=1) < np.ptp(before, axis=1)).all()
    assert (spot(grid, (2, 3)) - at).manhattanLength() < 3


def test_clicks_tell_the_point(grid):
    clicked, doubled = heard(grid.point_clicked), heard(grid.point_double_clicked)
    click(grid, (3.1, 2))
    assert (clicked, doubled) == ([(25,)], [])
    click(grid, (10, 10), double=True)
    assert (clicked, doubled) == ([(25,), (120,)], [(120,)])
    click(grid, (3.5, 2.5))
    assert len(clicked) == 2


def test_double_click_on_no_point_shows_all(grid):
    before = np.array(grid._box.viewRange())
    grid._box.scaleBy((0.5, 0.5))
    click(grid, (5.5, 5.5), double=True)
    np.testing.assert_allclose(grid._box.viewRange(), before)


def test_hover_tells_and_describes_the_point(grid, qtbot):
    hovered = heard(grid.hovered)
    grid.set_describe(lambda row: f"cell {row}")
    send(grid, QEvent.Type.MouseMove, (3, 2), Qt.MouseButton.NoButton)
    qtbot.waitUntil(lambda: hovered == [(25,)])
    assert QToolTip.text() == "cell 25"
    send(grid, QEvent.Type.MouseMove, (3.5, 2.5), Qt.MouseButton.NoButton)
    qtbot.waitUntil(lambda: hovered == [(25,), (-1,)])
    send(grid, QEvent.Type.MouseMove, (3, 2), Qt.MouseButton.NoButton)
    qtbot.waitUntil(lambda: len(hovered) == 3)
    QApplication.sendEvent(grid, QEvent(QEvent.Type.Leave))
    assert hovered[-1] == (-1,)


def color_at(canvas, place, qtbot):
    settle(canvas, qtbot)
    picture = canvas.grab().toImage()
    ratio = picture.devicePixelRatio()
    at = spot(canvas, place)
    color = picture.pixelColor(round(at.x() * ratio), round(at.y() * ratio)).getRgb()[:3]
    # A screen may have no more than 16 bits a pixel.
    return pytest.approx(color, abs=8)


def test_points_are_seen_where_they_are(grid, qtbot):
    grid.set_background((38, 41, 48))
    assert color_at(grid, (0, 10), qtbot) == PLAIN_RGB
    assert color_at(grid, (0.5, 0.5), qtbot) == (38, 41, 48)
    colors = np.zeros((121, 3), np.uint8)
    colors[:, 0] = 2 * np.arange(121)
    grid.set_colors(colors)
    # Also after the picture was redrawn for another view.
    for _ in range(2):
        assert color_at(grid, (3, 2), qtbot) == (50, 0, 0)
        assert color_at(grid, (2, 3), qtbot) == (70, 0, 0)
        grid._box.scaleBy((0.7, 0.7))


def test_selected_points_stand_out(grid, qtbot):
    grid.set_background((0, 0, 0))
    mask = np.zeros(121, bool)
    mask[25] = True
    grid.set_selected(mask)
    assert color_at(grid, (3, 2), qtbot) == PLAIN_RGB
    assert color_at(grid, (2, 2), qtbot) == tuple(DIMMED * np.array(PLAIN_RGB))


def test_picked_point_is_the_one_with_the_ring(grid, qtbot):
    settle(grid, qtbot)
    plain = grid.grab().toImage()
    grid.set_picked(25)
    settle(grid, qtbot)
    ringed = grid.grab().toImage()
    at, ratio = spot(grid, (3, 2)), plain.devicePixelRatio()
    changed = [
        (x / ratio - at.x(), y / ratio - at.y())
        for x in range(plain.width())
        for y in range(plain.height())
        if plain.pixel(x, y) != ringed.pixel(x, y)
    ]
    assert changed
    assert 10 < np.abs(changed).max() < 16
    grid.set_picked(None)
    settle(grid, qtbot)
    assert grid.grab().toImage() == plain


def test_message_is_shown_or_not(canvas):
    canvas.set_message("No cells yet")
    assert canvas._message.isVisible()
    assert canvas._message.text() == "No cells yet"
    canvas.set_message("")
    assert not canvas._message.isVisible()


def test_points_that_are_all_the_same_or_not_finite(canvas, qtbot):
    for positions in ([[2, 3], [2, 3]], [[np.nan, 1], [2, 3]], [[np.nan, np.nan]]):
        canvas.set_points(np.array(positions, np.float32))
        settle(canvas, qtbot)
    canvas.set_points(None)
    settle(canvas, qtbot)


def test_keys_tell_what_to_do_with_an_area():
    assert [how_of(keys) for keys in (NO_KEY, SHIFT, CONTROL, ALT)] == [
        *("replace", "add", "remove", "remove")
    ]


def test_another_screen_gets_a_picture_of_its_own(grid, qtbot):
    with qtbot.waitSignal(grid.drawn, timeout=2000):
        QApplication.sendEvent(grid, QEvent(QEvent.Type.DevicePixelRatioChange))


@pytest.mark.long
@pytest.mark.skipif("QT_SCALE_FACTOR" in os.environ, reason="this is the screen of finer pixels")
def test_all_is_the_same_on_a_screen_of_finer_pixels():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    finer = {**os.environ, "QT_SCALE_FACTOR": "2"}
    run = subprocess.run(command, check=False, env=finer, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout
    assert " passed, 1 skipped" in run.stdout
