"""The panel of the map: maps come and go, and the state is followed."""

import importlib.util
import threading

import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from cpcnn_core.schema.profiles import Profiles
from napari_cpcnn.cell_map import background_maps, map_panel, maps
from napari_cpcnn.cell_map.map_canvas import PLAIN_RGB
from napari_cpcnn.cell_map.map_panel import MapPanel
from napari_cpcnn.cell_map.maps import MapProcess, clusters_of, components_of, cosines
from napari_cpcnn.shared_state import SharedState

NEEDS_UMAP = pytest.mark.skipif(
    importlib.util.find_spec("umap") is None, reason="umap-learn is not installed"
)


def made_up(count=60, seed=0):
    rng = np.random.default_rng(seed)
    group = np.arange(count) % 3
    features = (4 * rng.normal(size=(3, 6))[group] + rng.normal(size=(count, 6))).astype("f4")
    metadata = pd.DataFrame(
        {
            "Metadata_Layer": "nuclei",
            "Metadata_ObjectNumber": np.arange(count) + 1,
            "Metadata_Compound": np.array(["DMSO", "taxol", ""])[group],
        }
    )
    return Profiles(features, metadata, [f"Cells_CPCNN_{n:03d}" for n in range(6)])


@pytest.fixture
def state(qapp):
    return SharedState()


@pytest.fixture
def panel(state, qtbot):
    widget = MapPanel(state)
    qtbot.addWidget(widget)
    widget.resize(300, 500)
    with qtbot.waitExposed(widget):
        widget.show()
    yield widget
    widget.making.close()


@pytest.fixture
def filled(panel, state, qtbot):
    state.set_cells(made_up())
    qtbot.waitUntil(lambda: state.positions is not None)
    return panel


@pytest.fixture
def gate(monkeypatch):
    """Hold the computation of maps back, by the number of cells, until it is let go."""
    gates = {}

    def held(compute):
        def wait(features):
            gates.setdefault(len(features), threading.Event()).wait(20)
            return compute(features)

        return wait

    turned = held(lambda components: components[:, ::-1][:, :2])
    monkeypatch.setattr(background_maps, "components_of", held(components_of))
    monkeypatch.setattr(MapProcess, "umap", lambda _, components: turned(components))
    return lambda count: gates.setdefault(count, threading.Event())


def color_by(panel, name):
    panel.color_by.setCurrentIndex(panel.color_by.findText(name))


def focus(panel, widget, qtbot):
    with qtbot.waitActive(panel):
        panel.activateWindow()
    widget.setFocus()
    qtbot.waitUntil(widget.hasFocus)


def test_an_empty_panel_says_what_to_do(panel):
    assert "open a table" in panel.canvas._message.text()
    assert panel.canvas._message.isVisible()
    assert panel.count.text() == "0 cells"


def test_one_cell_makes_no_map(panel, state):
    state.set_cells(made_up(1))
    assert panel.canvas._message.text() == "One cell makes no map."
    state.set_cells(None)
    assert "open a table" in panel.canvas._message.text()


def test_components_come_at_once(filled, state):
    expected = components_of(state.cells.features)[:, :2]
    np.testing.assert_array_equal(state.positions, expected)
    assert not filled.canvas._message.isVisible()


def test_components_equal_those_by_singular_values():
    features = made_up(200).features
    exact = features.astype(float)
    scaled = (exact - exact.mean(axis=0)) / exact.std(axis=0)
    directions = np.linalg.svd(scaled, full_matrices=False)[2]
    # The sign is arbitrary: the largest entry is positive here.
    directions *= np.sign([[max(row, key=abs)] for row in directions])
    np.testing.assert_allclose(components_of(features), scaled @ directions.T, atol=1e-4)


def test_components_of_a_sample_in_parts(monkeypatch):
    features = made_up(900).features
    expected = components_of(features)
    monkeypatch.setattr(maps, "CHUNK", 7)
    np.testing.assert_allclose(components_of(features), expected, atol=1e-5)
    monkeypatch.setattr(maps, "SAMPLE", 300)
    found = components_of(features)
    for column in (0, 1):
        assert abs(np.corrcoef(found[:, column], expected[:, column])[0, 1]) > 0.99


def test_cells_without_a_number_are_nowhere():
    features = made_up(20).features
    features[3, 2], features[5, 0] = np.nan, np.inf
    found = components_of(features)
    assert np.flatnonzero(np.isnan(found).any(axis=1)).tolist() == [3, 5]
    assert components_of(features[:, :1]).shape == (20, 2)


def test_cosines_equal_a_loop():
    vectors = np.random.default_rng(0).normal(size=(9, 4))
    expected = [
        vectors[2] @ other / np.sqrt((vectors[2] @ vectors[2]) * (other @ other))
        for other in vectors
    ]
    np.testing.assert_allclose(cosines(vectors, 2), expected)


def test_map_of_cells_that_are_gone_is_dropped(panel, state, qtbot, gate):
    state.set_cells(made_up(30))
    state.set_cells(made_up(40, seed=1))
    assert "PCA of 40 cells" in panel.canvas._message.text()
    gate(40).set()
    gate(30).set()
    qtbot.waitUntil(lambda: state.positions is not None)
    expected = components_of(state.cells.features)[:, :2]
    np.testing.assert_array_equal(state.positions, expected)
    assert not panel.making._running


def test_slow_map_does_not_come_over_newer_cells(panel, state, qtbot, gate):
    gate(30).set()
    state.set_cells(made_up(30))
    qtbot.waitUntil(lambda: state.positions is not None)
    gate(30).clear()
    panel.method.setCurrentText("UMAP")
    assert "UMAP of 30 cells" in panel.canvas._message.text()
    gate(40).set()
    state.set_cells(made_up(40, seed=1))
    assert panel.method.currentText() == "PCA"
    qtbot.waitUntil(lambda: state.positions is not None)
    before = state.positions
    gate(30).set()
    qtbot.waitUntil(lambda: not panel.making._running)
    assert state.positions is before


def test_map_that_is_not_asked_for_any_more_is_kept_for_later(filled, state, qtbot, gate):
    components = state.positions
    filled.method.setCurrentText("UMAP")
    filled.method.setCurrentText("PCA")
    gate(60).set()
    qtbot.waitUntil(lambda: not filled.making._running)
    assert np.array_equal(state.positions, components)
    filled.method.setCurrentText("UMAP")
    assert not filled.making._running
    assert not np.array_equal(state.positions, components)


def test_umap_that_is_asked_for_first_waits_for_the_components(panel, state, qtbot, gate):
    state.set_cells(made_up(30))
    panel.method.setCurrentText("UMAP")
    gate(30).set()
    qtbot.waitUntil(lambda: "UMAP" in panel.making._maps)
    assert np.array_equal(state.positions, panel.making._maps["UMAP"])


def test_a_map_that_fails_says_so(panel, state, qtbot, monkeypatch):
    seen = []
    monkeypatch.setattr(threading, "excepthook", seen.append)

    def fail(components):
        raise ValueError("no")

    monkeypatch.setattr(background_maps, "components_of", fail)
    state.set_cells(made_up())
    qtbot.waitUntil(lambda: "PCA failed." in panel.canvas._message.text())
    qtbot.waitUntil(lambda: len(seen) == 1)


@NEEDS_UMAP
def test_umap_that_dies_is_told_with_its_last_lines(filled, state, qtbot, monkeypatch):
    said = []
    monkeypatch.setattr(map_panel, "tell_error", said.append)
    before = state.positions
    # No cell has numbers: more than UMAP can bear.
    filled.making.components = np.full((60, 2), np.nan, np.float32)
    filled.method.setCurrentText("UMAP")
    qtbot.waitUntil(lambda: len(said) == 1, timeout=240_000)
    assert said[0].startswith("UMAP ended with exit status 1; its last lines:")
    assert "ValueError: Found array with 0 sample(s)" in said[0]
    assert filled.method.currentText() == "PCA"
    np.testing.assert_array_equal(state.positions, before)


@NEEDS_UMAP
def test_umap_is_stopped_by_its_button_and_leaves_no_process(filled, state, qtbot):
    before = state.positions
    filled.method.setCurrentText("UMAP")
    assert filled.stop.isVisible()
    qtbot.waitUntil(lambda: filled.making._processes["UMAP"]._child._process is not None)
    process = filled.making._processes["UMAP"]._child._process
    qtbot.mouseClick(filled.stop, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not filled.making.running("UMAP"))
    assert process.poll() is not None
    assert filled.method.currentText() == "PCA"
    assert not filled.stop.isVisible()
    np.testing.assert_array_equal(state.positions, before)


def test_umap_is_stopped_while_it_waits_for_the_components(panel, state, qtbot, gate):
    state.set_cells(made_up(30))
    panel.method.setCurrentText("UMAP")
    panel.stop.click()
    assert panel.method.currentText() == "PCA"
    gate(30).set()
    qtbot.waitUntil(lambda: state.positions is not None)
    assert not panel.making.running("UMAP")


def test_clusters_are_groups_and_become_a_column(filled, state, qtbot):
    filled.clusters.setValue(3)
    color_by(filled, "clusters (k-means)")
    assert filled.clusters.isVisible()
    found = "Metadata_Cluster"
    qtbot.waitUntil(lambda: found in state.cells.metadata.columns, timeout=240_000)
    found = state.cells.metadata["Metadata_Cluster"].to_numpy().reshape(20, 3)
    assert (found == found[0]).all()
    assert sorted(found[0]) == ["1", "2", "3"]
    assert filled._legend.names == ["1", "2", "3"]
    filled.clusters.setValue(2)
    qtbot.waitUntil(lambda: len(set(state.cells.metadata["Metadata_Cluster"])) == 2)
    color_by(filled, "one colour")
    assert not filled.clusters.isVisible()


def test_clusters_leave_out_cells_without_a_number():
    components = np.array([[0.0], [np.nan], [9.0], [9.5]])
    assert clusters_of(components, 5).tolist() in ([1, 0, 2, 3], [2, 0, 1, 3], [3, 0, 2, 1],
        [1, 0, 3, 2], [2, 0, 3, 1], [3, 0, 1, 2])  # fmt: skip


def test_without_umap_the_entry_says_how_to_get_it(state, qtbot, monkeypatch):
    monkeypatch.setattr(map_panel, "find_spec", lambda name: None)
    panel = MapPanel(state)
    qtbot.addWidget(panel)
    item = panel.method.model().item(panel.method.findText("UMAP"))
    assert not item.isEnabled()
    assert "pip install 'cpcnn[napari]'" in item.toolTip()


@NEEDS_UMAP
def test_umap_parts_groups_and_is_the_same_every_time():
    components = components_of(made_up(60).features)
    components[7] = np.nan
    process = MapProcess("UMAP")
    found = process.umap(components)
    assert np.flatnonzero(np.isnan(found[:, 0])).tolist() == [7]
    np.testing.assert_array_equal(found, process.umap(components))
    process.stop()
    means = np.array([np.nanmean(found[group::3], axis=0) for group in range(3)])
    for group in range(3):
        off = np.linalg.norm(found[group::3, None] - means, axis=2)
        off = off[np.isfinite(off).all(axis=1)]
        assert (off.argmin(axis=1) == group).all()


def test_area_and_click_reach_the_shared_state(filled, state):
    mask = np.arange(60) < 12
    filled.canvas.area_drawn.emit(mask, "replace")
    assert state.selection.sum() == 12
    assert filled.count.text() == "12 of 60 cells selected"
    filled.canvas.area_drawn.emit(np.arange(60) < 2, "remove")
    filled.canvas.area_drawn.emit(np.arange(60) == 59, "add")
    assert np.flatnonzero(state.selection).tolist() == [*range(2, 12), 59]
    filled.canvas.point_clicked.emit(5)
    assert state.picked == 5
    gone = []
    filled.go_to.connect(gone.append)
    filled.canvas.point_double_clicked.emit(6)
    assert gone == [6]


def test_the_shared_state_is_shown(filled, state):
    canvas = filled.canvas
    mask = np.arange(60) % 7 == 0
    state.select(mask)
    assert canvas._drawn["selected"].tolist() == mask[canvas._order].tolist()
    state.pick(9)
    assert canvas._order[canvas._picked] == 9
    state.set_positions(np.zeros((60, 2)))
    assert canvas._drawn["selected"].tolist() == mask[canvas._order].tolist()
    assert canvas._order[canvas._picked] == 9
    assert not canvas._drawn["positions"].any()


@pytest.mark.parametrize(("key", "name"), [("P", "pan"), ("L", "lasso"), ("R", "rectangle")])
def test_keys_choose_the_tool(filled, qtbot, key, name):
    filled.tools.by_name["pan" if name == "lasso" else "lasso"].trigger()
    focus(filled, filled.canvas._plot, qtbot)
    qtbot.keyClick(filled.canvas._plot, getattr(Qt.Key, f"Key_{key}"))
    assert filled.tools.by_name[name].isChecked()
    assert filled.canvas._box.tool == name
    assert sum(action.isChecked() for action in filled.tools.by_name.values()) == 1


def test_keys_undo_redo_and_clear(filled, state, qtbot):
    focus(filled, filled.canvas._plot, qtbot)
    control, shift = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier
    state.select(np.arange(60) < 5)
    qtbot.keyClick(filled.canvas._plot, Qt.Key.Key_Z, control)
    assert not state.selection.any()
    qtbot.keyClick(filled.canvas._plot, Qt.Key.Key_Z, control | shift)
    assert state.selection.sum() == 5
    qtbot.keyClick(filled.canvas._plot, Qt.Key.Key_Escape)
    assert not state.selection.any()
    qtbot.keyClick(filled.canvas._plot, Qt.Key.Key_Z, control)
    assert state.selection.sum() == 5


def test_letters_typed_into_the_search_choose_no_tool(filled, qtbot):
    line = filled.color_by.lineEdit()
    focus(filled, line, qtbot)
    line.clear()
    qtbot.keyClicks(line, "lrp")
    assert line.text() == "lrp"
    assert filled.tools.by_name["pan"].isChecked()
    line.clearFocus()
    QApplication.processEvents()
    assert line.text() == "one colour"


def test_colours_of_a_column_and_its_legend(filled, state):
    color_by(filled, "Compound")
    legend = filled._legend
    assert legend.names == ["DMSO", "taxol", "missing"]
    rgb = filled.canvas._drawn["colors"][filled.canvas._place]
    assert (rgb == legend.colors[np.arange(60) % 3]).all()
    filled.legend.linkActivated.emit("1")
    assert np.flatnonzero(state.selection).tolist() == list(range(1, 60, 3))
    color_by(filled, "one colour")
    assert not filled.legend.isVisible()
    assert (filled.canvas._drawn["colors"] == PLAIN_RGB).all()


def test_colours_of_a_feature(filled, state):
    color_by(filled, "Cells_CPCNN_004")
    low, high = np.percentile(state.cells.features[:, 4], [1, 99])
    assert (filled._legend.low, filled._legend.high) == pytest.approx((low, high))


def test_similarity_is_offered_when_a_cell_is_picked(filled, state):
    name = "similarity to the picked cell"
    assert filled.color_by.findText(name) < 0
    state.pick(4)
    color_by(filled, name)
    first = filled._rgb
    state.pick(5)
    assert not np.array_equal(first, filled._rgb)
    expected = np.percentile(cosines(filled.making.components, 5), [1, 99])
    assert (filled._legend.low, filled._legend.high) == pytest.approx(tuple(expected))
    state.pick(None)
    assert filled.color_by.currentText() == "one colour"
    assert (filled._rgb == PLAIN_RGB).all()


def test_another_value_in_a_column_keeps_map_and_view(filled, state):
    color_by(filled, "Compound")
    positions = state.positions
    filled.canvas._box.scaleBy((0.5, 0.5))
    view = filled.canvas._box.viewRange()
    state.set_metadata("Metadata_Compound", np.array([0]), "ALLN")
    state.set_metadata("Metadata_Phenotype", np.array([0]), "round")
    assert state.positions is positions
    assert filled.canvas._box.viewRange() == view
    assert "ALLN" in filled._legend.names
    assert filled.color_by.currentText() == "Compound"
    assert filled.color_by.findText("Phenotype") > 0


def test_tooltip_says_which_cell_it_is(filled):
    color_by(filled, "Cells_CPCNN_000")
    text = filled._describe(3)
    assert "Layer: nuclei\nObjectNumber: 4\nCells_CPCNN_000: " in text


def test_it_fits_into_300_pixels(filled):
    color_by(filled, "Compound")
    assert filled.minimumSizeHint().width() <= 300
    assert filled.width() == 300


def test_theme_reaches_all_that_is_drawn(filled):
    color_by(filled, "Compound")
    filled.set_theme((239, 235, 233), (59, 58, 57))
    assert filled.canvas._background == (239, 235, 233)
    assert "#3b3a39" in filled.legend.text()
    icon = filled.tools.by_name["lasso"].icon().pixmap(64).toImage()
    inks = {icon.pixelColor(x, y).getRgb() for x in range(64) for y in range(64)}
    assert (59, 58, 57, 255) in inks
