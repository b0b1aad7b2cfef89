import numpy as np
import pandas as pd
import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt

from cpcnn_core.errors import ProfileError
from cpcnn_core.io.profile_files import read_profiles
from cpcnn_core.schema.columns import OBJECT_NUMBER, feature_names
from cpcnn_core.schema.profiles import Profiles
from napari_cpcnn.phenotypes import (
    ALL_CELLS,
    MATCHES,
    NO_CELLS,
    NO_NAMES,
    SELECTED_CELLS,
    PhenotypePanel,
)
from napari_cpcnn.shared_state import LAYER, PHENOTYPE, SharedState


@pytest.fixture
def state():
    rows = pd.DataFrame({LAYER: "nuclei", OBJECT_NUMBER: np.arange(8) + 1})
    features = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    state = SharedState()
    state.set_cells(
        Profiles(features, rows, feature_names(3, compartment="Cells"), {"model": "one"})
    )
    return state


@pytest.fixture
def panel(qtbot, state):
    panel = PhenotypePanel(state)
    qtbot.addWidget(panel)
    panel.show()
    return panel


def choose(state, rows):
    mask = np.zeros(len(state.selection), bool)
    mask[rows] = True
    state.select(mask)


def listed(panel):
    return [panel.list.item(n).text() for n in range(panel.list.count())]


def test_without_cells_it_says_what_to_do(qtbot):
    panel = PhenotypePanel(SharedState())
    qtbot.addWidget(panel)
    panel.show()
    assert panel.hint.text() == NO_CELLS
    assert not panel.list.isVisible()
    assert not any(action.isEnabled() for action in panel.export_actions.values())
    with pytest.raises(ProfileError, match="no cells to write"):
        panel.export_cells("cells.csv", only_selected=False)


def test_naming_by_keyboard(qtbot, state, panel):
    assert panel.hint.text() == NO_NAMES
    choose(state, [1, 2, 5])
    qtbot.keyClicks(panel.name, " round ")
    qtbot.keyClick(panel.name, Qt.Key.Key_Return)
    named = state.cells.metadata[PHENOTYPE].tolist()
    assert named == ["", "round", "round", "", "", "round", "", ""]
    assert listed(panel) == ["round  (3)"]
    assert panel.name.text() == ""
    assert not panel.hint.isVisible()


def test_without_a_selection_the_picked_cell_is_named(state, panel):
    state.pick(4)
    panel.name_selection("spiky")
    assert panel.counts() == {"spiky": 1}
    assert state.cells.metadata[PHENOTYPE][4] == "spiky"


def test_names_and_cells_are_required(state, panel):
    with pytest.raises(ProfileError, match="no cells are selected"):
        panel.name_selection("round")
    choose(state, [1])
    with pytest.raises(ProfileError, match="type a name"):
        panel.name_selection("  ")
    assert not panel.name_button.isEnabled()
    panel.name.setText("round")
    assert panel.name_button.isEnabled()


def test_a_click_selects_the_cells(qtbot, state, panel):
    choose(state, [1, 2])
    panel.name_selection("round")
    choose(state, [3])
    panel.name_selection("spiky")
    place = panel.list.visualItemRect(panel.list.item(0)).center()
    qtbot.mouseClick(panel.list.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert np.flatnonzero(state.selection).tolist() == [1, 2]


def test_rename_join_and_remove(qtbot, state, panel):
    for rows, name in (([0, 1], "a"), ([2], "b"), ([3], "c")):
        choose(state, rows)
        panel.name_selection(name)
    panel.rename("b", "d")
    assert panel.counts() == {"a": 2, "c": 1, "d": 1}
    panel.rename("d", "a")
    assert panel.counts() == {"a": 3, "c": 1}
    panel.list.setCurrentRow(0)
    qtbot.mouseClick(panel.remove_button, Qt.MouseButton.LeftButton)
    assert listed(panel) == ["c  (1)"]
    assert len(state.cells.metadata) == 8
    with pytest.raises(ProfileError, match="type a name"):
        panel.rename("c", " ")


def test_names_of_a_table_are_listed_and_missing_ones_are_none(state, panel):
    rows = state.cells.metadata.assign(**{PHENOTYPE: ["x", None, np.nan, "", *"xyyy"]})
    state.set_cells(Profiles(state.cells.features, rows, ["a", "b", "c"]))
    assert panel.counts() == {"x": 2, "y": 3}


@pytest.mark.parametrize("ending", ["parquet", "csv", "csv.gz"])
def test_export_of_cells(tmp_path, state, panel, ending):
    choose(state, [1, 6])
    panel.name_selection("round")
    panel.export_cells(tmp_path / f"all.{ending}", only_selected=False)
    panel.export_cells(tmp_path / f"some.{ending}", only_selected=True)
    everything = read_profiles(tmp_path / f"all.{ending}")
    some = read_profiles(tmp_path / f"some.{ending}")
    np.testing.assert_array_equal(np.float32(everything.features), state.cells.features)
    np.testing.assert_array_equal(np.float32(some.features), state.cells.features[[1, 6]])
    assert some.metadata[PHENOTYPE].tolist() == ["round", "round"]
    assert some.metadata[OBJECT_NUMBER].astype(int).tolist() == [2, 7]
    if ending == "parquet":
        assert some.provenance == {"model": "one"}


def test_export_of_what_is_not_there(tmp_path, state, panel):
    with pytest.raises(ProfileError, match="no cells are selected"):
        panel.export_cells(tmp_path / "cells.csv", only_selected=True)
    with pytest.raises(ProfileError, match="no matches yet"):
        panel.export_matches(tmp_path / "matches.csv")
    with pytest.raises(ProfileError, match="xlsx"):
        panel.export_cells(tmp_path / "cells.xlsx", only_selected=False)
    assert list(tmp_path.iterdir()) == []


def test_export_of_matches(tmp_path, panel):
    matches = pd.DataFrame({"similarity": [0.5, 0.25], "Metadata_Treatment": ["a", "b"]})
    panel.matches_of = lambda: matches
    panel.export_matches(tmp_path / "matches.csv")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "matches.csv"), matches)


def test_what_can_be_exported(state, panel):
    def enabled():
        panel.export_button.menu().aboutToShow.emit()
        return [name for name, action in panel.export_actions.items() if action.isEnabled()]

    assert enabled() == [ALL_CELLS]
    choose(state, [0])
    panel.matches_of = lambda: pd.DataFrame({"similarity": [1.0]})
    assert enabled() == [SELECTED_CELLS, ALL_CELLS, MATCHES]


def test_errors_of_clicks_are_shown(qtbot, state, panel):
    panel.name.setText("round")
    with qtbot.captureExceptions() as exceptions:
        qtbot.keyClick(panel.name, Qt.Key.Key_Return)
    assert exceptions == []
    assert "no cells are selected" in notification_manager.records[-1].message
    assert panel.name.text() == "round"
