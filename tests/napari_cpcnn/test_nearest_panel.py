from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QApplication

from cpcnn_core.expressions import choose_rows
from cpcnn_core.io.profile_files import write_profiles
from cpcnn_core.profiles.corrected_wells import CorrectedWells
from cpcnn_core.profiles.correction import fit_correction
from cpcnn_core.profiles.library import build_library
from cpcnn_core.profiles.library_files import write_corrected
from cpcnn_core.profiles.open_library import OpenLibrary
from cpcnn_core.schema.columns import OBJECT_NUMBER, feature_names
from cpcnn_core.schema.profiles import Profiles
from napari_cpcnn.nearest.nearest_panel import (
    FIELD,
    NO_CELLS,
    NO_LIBRARY,
    SELECTED,
    WHOLE_WELL,
    NearestPanel,
)
from napari_cpcnn.shared_state import LAYER, PHENOTYPE, SharedState

from ..attacks import ATTACKS, is_refusal, refused_in_time

CONTROLS = "Treatment == 'DMSO'"
NAMES = feature_names(6, compartment="Cells")
TREATMENT = "Metadata_Treatment"


@pytest.fixture
def wells():
    random = np.random.default_rng(0)
    rows, features = [], []
    centers = {name: random.normal(size=6) * 3 for name in ["DMSO", *"abcde"]}
    for plate in ("P1", "P2"):
        for number, name in enumerate(["DMSO"] * 12 + list("abcde") * 3):
            rows.append((plate, f"A{number + 1:02d}", name, f"moa {name}"))
            features.append(centers[name] + random.normal(size=6))
    columns = ["Metadata_Plate", "Metadata_Well", TREATMENT, "Metadata_moa"]
    metadata = pd.DataFrame(rows, columns=columns)
    provenance = {"model": "one", "controls": CONTROLS}
    return Profiles(np.array(features, np.float32), metadata, NAMES, provenance)


@pytest.fixture
def correction(wells):
    return fit_correction(wells, choose_rows(wells, CONTROLS), "sphering", regularization=0.1)


@pytest.fixture
def path(tmp_path, wells, correction):
    path = tmp_path / "screen.parquet"
    write_corrected(correction.transform(wells), correction, path, wells)
    return path


@pytest.fixture
def expected(wells, correction):
    """Return a function that asks the core about some cells."""

    def nearest(cells, rows, count=20, **options):
        corrected = correction.transform(wells)
        corrected = replace(corrected, features=corrected.features.astype(np.float32))
        paired = CorrectedWells(corrected, wells, correction)
        library = build_library(paired, controls=choose_rows(wells, CONTROLS))
        query = cells.select(rows)
        options |= {"significance": True, "uncorrected": query}
        return library.nearest(correction.transform(query).features, count, **options)

    return nearest


@pytest.fixture
def cells():
    random = np.random.default_rng(1)
    rows = pd.DataFrame(
        {
            LAYER: ["left"] * 15 + ["right"] * 15,
            OBJECT_NUMBER: np.arange(30) + 1,
            "Metadata_Plate": "P1",
            "Metadata_Well": ["A01", "A02", "A03"] * 10,
            TREATMENT: ["a", "b"] * 15,
        }
    )
    features = random.normal(size=(30, 6)).astype(np.float32) + 1
    return Profiles(features, rows, NAMES, {"model": "one"})


@pytest.fixture
def state(cells):
    state = SharedState()
    state.set_cells(cells)
    return state


@pytest.fixture
def panel(qtbot, state):
    panel = NearestPanel(state)
    panel.resize(300, 700)
    qtbot.addWidget(panel)
    panel.show()
    return panel


@pytest.fixture
def opened(qtbot, panel, path):
    with qtbot.waitSignal(panel.state.library_changed):
        panel.open(path)
    return panel


def choose(state, rows):
    mask = np.zeros(len(state.selection), bool)
    mask[rows] = True
    state.select(mask)


def has_p_values(panel):
    return panel.last_matches is not None and "p_value" in panel.last_matches.columns


def wait_for(qtbot, panel, rows):
    """Wait until the cells of these rows have been compared, p-values included."""
    sentence = "1 cell compared with" if len(rows) == 1 else f"{len(rows)} cells compared with"

    def done():
        assert panel._rows.tolist() == list(rows)
        assert panel.status.text().startswith(sentence)
        assert has_p_values(panel)

    qtbot.waitUntil(done)


def texts(panel, column):
    model = panel.table.model()
    return [model.index(row, column).data() for row in range(model.rowCount())]


def last_error(qtbot, before):
    qtbot.waitUntil(lambda: len(notification_manager.records) > before)
    assert notification_manager.records[-1].severity.value == "error"
    return notification_manager.records[-1].message


def test_empty_states_say_what_to_do(qtbot, panel, path):
    assert panel.status.text() == NO_LIBRARY
    assert not panel.table.isVisible()
    assert not panel.form.isVisible()
    with qtbot.waitSignal(panel.state.library_changed):
        panel.open(path)
    assert panel.status.text() == NO_CELLS
    assert panel.form.isVisible()


def test_opening(opened, state):
    assert state.library is opened.opened
    assert state.library.correction.method == "sphering"
    assert opened.about.text() == (
        "screen.parquet: 2 plates, 5 treatments; sphering, lambda 0.1, is applied to your cells"
    )
    assert opened.controls.text() == CONTROLS
    assert [opened.by.itemText(n) for n in range(opened.by.count())] == ["Treatment", "moa"]


def test_matches_are_those_of_the_core(qtbot, opened, state, cells, expected):
    choose(state, [3, 4, 9])
    wait_for(qtbot, opened, [3, 4, 9])
    frame = expected(cells, [3, 4, 9])
    pd.testing.assert_frame_equal(opened.last_matches, frame)
    assert texts(opened, 0) == frame[TREATMENT].tolist()
    assert texts(opened, 1) == [f"{value:.3f}" for value in frame["similarity"]]
    assert texts(opened, 2) == [f"{value:.3f}" for value in frame["p_value"]]
    assert texts(opened, 3) == [f"{value:.3f}" for value in frame["q_value"]]
    assert texts(opened, 5) == ["6"] * 5
    assert "24 control wells, drawn plate by plate, held out in 3 folds" in opened.status.text()
    model = opened.table.model()
    headings = [model.headerData(n, Qt.Orientation.Horizontal) for n in range(model.columnCount())]
    assert headings == ["Treatment", "Similarity", "p", "q", "Support", "Wells", "moa"]


def test_a_picked_cell_is_asked_about_and_quick_changes_are_one_question(
    qtbot, opened, state, cells, expected
):
    for row in range(8):
        state.pick(row)
    wait_for(qtbot, opened, [7])
    pd.testing.assert_frame_equal(opened.last_matches, expected(cells, [7]))
    state.pick(None)
    qtbot.waitUntil(lambda: opened.status.text() == NO_CELLS)
    assert not opened.table.isVisible()


def test_stale_answers_are_dropped(qtbot, opened, state, cells, expected):
    state.pick(2)
    opened.find()
    state.pick(11)
    opened.find()
    wait_for(qtbot, opened, [11])
    qtbot.wait(300)
    pd.testing.assert_frame_equal(opened.last_matches, expected(cells, [11]))


def test_fields_and_wells_are_those_of_the_picked_cell(qtbot, opened, state, cells):
    state.pick(16)
    for scope, column in ((FIELD, LAYER), (WHOLE_WELL, "Metadata_Well"), (SELECTED, OBJECT_NUMBER)):
        opened.scope.setCurrentText(scope)
        rows = [n for n in range(30) if cells.metadata[column][n] == cells.metadata[column][16]]
        assert opened.query_rows().tolist() == rows
        opened.find()
        wait_for(qtbot, opened, rows)
    opened.scope.setCurrentText(FIELD)
    state.pick(None)
    assert opened.query_rows().tolist() == []


def test_wells_are_offered_where_they_are_known(opened, state, cells):
    def offered():
        return [opened.scope.itemText(n) for n in range(opened.scope.count())]

    assert offered() == [SELECTED, FIELD, WHOLE_WELL]
    state.set_cells(replace(cells, metadata=cells.metadata[[OBJECT_NUMBER]]))
    assert offered() == [SELECTED]
    assert not opened.leave_out.isEnabled()


def test_their_own_treatment_can_be_left_out(qtbot, opened, state):
    choose(state, [0, 2])
    wait_for(qtbot, opened, [0, 2])
    assert "a" in texts(opened, 0)
    opened.leave_out.setChecked(True)
    qtbot.waitUntil(lambda: set(texts(opened, 0)) == set("bcde"))


def test_another_column_and_other_controls(qtbot, opened, state):
    opened.by.setCurrentIndex(1)
    with qtbot.waitSignal(state.library_changed):
        opened.by.activated.emit(1)
    assert state.library.library.by == "Metadata_moa"
    assert opened.controls.text() == CONTROLS
    with qtbot.waitSignal(state.library_changed):
        opened.controls.setText("")
        opened.controls.editingFinished.emit()
    assert not state.library.library.controls.any()
    assert state.library.library.by == "Metadata_moa"
    state.pick(0)
    qtbot.waitUntil(lambda: "say which wells are controls" in opened.status.text())
    assert "moa DMSO" in texts(opened, 0)
    assert not has_p_values(opened)


def test_a_click_chooses_selects_and_asks_nothing_new(qtbot, opened, state, cells):
    state.crops_of = lambda rows: [np.full((2, 8, 8), row) for row in rows]
    choose(state, [3, 4])
    wait_for(qtbot, opened, [3, 4])
    before = opened.last_matches
    row = texts(opened, 0).index("b")
    table = opened.table
    place = table.visualRect(table.model().index(row, 0)).center()
    with qtbot.waitSignal(opened.treatment_chosen) as chosen:
        qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert chosen.args == ["b"]
    theirs = np.flatnonzero(cells.metadata[TREATMENT] == "b")
    assert np.flatnonzero(state.selection).tolist() == theirs.tolist()
    assert set(opened.examples.shown_rows()) == set(theirs)
    assert set(opened.query_crops.shown_rows()) == {3, 4}
    qtbot.wait(350)
    assert opened.last_matches is before
    # Asked for by hand, they are what is asked about.
    qtbot.mouseClick(opened.find_button, Qt.MouseButton.LeftButton)
    wait_for(qtbot, opened, theirs.tolist())


def test_treatments_that_no_cell_has_leave_the_selection(qtbot, opened, state):
    choose(state, [3, 4])
    wait_for(qtbot, opened, [3, 4])
    opened.choose("e")
    assert np.flatnonzero(state.selection).tolist() == [3, 4]
    assert not opened.examples.isVisible()
    assert [index.row() for index in opened.table.selectionModel().selectedRows()] == [
        texts(opened, 0).index("e")
    ]


def test_columns_sort_and_are_copied(qtbot, opened, state):
    state.pick(5)
    wait_for(qtbot, opened, [5])
    opened.table.sortByColumn(0, Qt.SortOrder.AscendingOrder)
    assert texts(opened, 0) == list("abcde")
    opened.table.clearSelection()
    opened.table.setFocus()
    qtbot.keyClick(opened.table, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    opened.table.copy()
    lines = QApplication.clipboard().text().splitlines()
    assert lines[0].split("\t")[:3] == [TREATMENT, "similarity", "p_value"]
    assert [line.split("\t")[0] for line in lines[1:]] == list("abcde")
    opened.table.selectRow(2)
    opened.table.copy()
    assert len(QApplication.clipboard().text().splitlines()) == 2


def test_a_new_name_of_cells_asks_nothing_new(qtbot, opened, state):
    choose(state, [3, 4])
    wait_for(qtbot, opened, [3, 4])
    before = opened.last_matches
    state.set_metadata(PHENOTYPE, np.array([3]), "round")
    qtbot.wait(350)
    assert opened.last_matches is before
    assert opened.table.isVisible()


def test_files_are_dropped(qtbot, panel, path):
    def data(*paths):
        mime = QMimeData()
        mime.setUrls([QUrl.fromLocalFile(str(one)) for one in paths])
        return mime

    buttons, keys = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    for mime, taken in ((data(path), True), (data(path, path), False), (data("a.txt"), False)):
        point = panel.rect().center()
        event = QDragEnterEvent(point, Qt.DropAction.CopyAction, mime, buttons, keys)
        event.ignore()
        panel.dragEnterEvent(event)
        assert event.isAccepted() == taken
    mime = data(path)
    with qtbot.waitSignal(panel.state.library_changed):
        panel.dropEvent(QDropEvent(QPointF(9, 9), Qt.DropAction.CopyAction, mime, buttons, keys))
    assert panel.opened.name == "screen.parquet"


@pytest.mark.parametrize("name", ["text.parquet", "nowhere.parquet", "table.xlsx"])
def test_what_is_no_table_is_told(qtbot, panel, tmp_path, name):
    (tmp_path / "text.parquet").write_text("no table")
    (tmp_path / "table.xlsx").write_text("no table")
    before = len(notification_manager.records)
    panel.open(tmp_path / name)
    assert name in last_error(qtbot, before)
    assert name in panel.status.text()
    assert panel.opened is None


def test_a_missing_correction_is_told_and_the_library_before_stays(qtbot, opened, tmp_path, path):
    other = tmp_path / "other.parquet"
    other.write_bytes(path.read_bytes())
    before, library = len(notification_manager.records), opened.state.library
    opened.open(other)
    assert "other.parquet.correction.npz is not beside it" in last_error(qtbot, before)
    assert opened.state.library is library
    assert opened.about.text().startswith("screen.parquet")


def test_wrong_controls_are_told(qtbot, opened):
    before = len(notification_manager.records)
    opened.controls.setText("Treatment == 'water'")
    opened.controls.editingFinished.emit()
    assert "true for none of the 54 rows" in last_error(qtbot, before)
    assert opened.opened.controls == CONTROLS


def test_another_model_is_told_once(qtbot, opened, state, cells):
    state.set_cells(replace(cells, provenance={"model": "two"}))
    before = len(notification_manager.records)
    state.pick(1)
    assert "model is two and one" in last_error(qtbot, before)
    state.pick(2)
    qtbot.wait(400)
    assert len(notification_manager.records) == before + 1
    assert "model is two and one" in opened.status.text()


def test_a_library_of_another_panel_is_searched(qtbot, panel, state, wells, cells):
    library = build_library(wells, controls=choose_rows(wells, CONTROLS))
    state.set_library(OpenLibrary(library, None, "The library"))
    assert "5 treatments" in panel.about.text()
    assert not panel.controls.isEnabled()
    state.pick(3)
    wait_for(qtbot, panel, [3])
    found = library.nearest(cells.features[[3]], 20, significance=True)
    pd.testing.assert_frame_equal(panel.last_matches, found)
    state.set_library(None)
    assert panel.status.text() == NO_LIBRARY


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("said_by", ["table", "user"])
def test_controls_that_are_an_attack_are_refused_and_nothing_runs(
    qtbot, panel, wells, tmp_path, caplog, name, said_by
):
    attack = ATTACKS[name].replace("{file}", str(tmp_path / "made"))
    if said_by == "table":
        wells.provenance["controls"] = attack
    write_profiles(wells, tmp_path / "hostile.parquet")
    before = len(notification_manager.records)
    with refused_in_time(tmp_path / "made"):
        panel.open(tmp_path / "hostile.parquet", attack if said_by == "user" else None)
        qtbot.waitUntil(lambda: len(notification_manager.records) > before, timeout=20_000)
    assert is_refusal(notification_manager.records[-1].message)
    assert panel.opened is None
    # Who looks at napari's log finds it there too.
    ours = [record for record in caplog.records if record.name.startswith("napari_cpcnn")]
    assert [record.levelname for record in ours] == ["ERROR"]
    assert is_refusal(ours[0].getMessage())
