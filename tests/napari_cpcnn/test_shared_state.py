"""State shared by the panels: cells of fields and tables beside each other."""

import numpy as np
import pandas as pd
import pytest
from qtpy.QtWidgets import QMessageBox

from cpcnn_core.errors import ProfileError
from cpcnn_core.io.profile_files import write_profiles
from cpcnn_core.schema.columns import OBJECT_NUMBER
from cpcnn_core.schema.profiles import Profiles
from napari_cpcnn.shared_state import CLUSTER, LAYER, PHENOTYPE, PLANE, SharedState

MADE = {"model": "a model", "model_sha256": "1", "channels": "DNA,ER"}


def cells_of(number, start=0, made=MADE, **metadata):
    features = np.arange(start, start + 2 * number, dtype=np.float32).reshape(number, 2)
    rows = pd.DataFrame({f"Metadata_{name}": [value] * number for name, value in metadata.items()})
    return Profiles(features, rows, ["Cells_CPCNN_000", "Cells_CPCNN_001"], made)


@pytest.fixture
def state(qapp):
    return SharedState()


def test_sites_of_tables_come_beside_each_other(state):
    state.add_cells(cells_of(3, Plate="P1", Well="A01", Site=1))
    state.add_cells(cells_of(4, 100, Plate="P1", Well="A01", Site=2))
    assert state.cells.features[:, 0].tolist() == [0, 2, 4, 100, 102, 104, 106]
    # The same site again, its number as text: in the place of the first.
    state.add_cells(cells_of(2, 50, Plate="P1", Well="A01", Site="1"))
    assert state.cells.features[:, 0].tolist() == [100, 102, 104, 106, 50, 52]


def test_a_table_that_names_no_places_is_added(state):
    state.add_cells(cells_of(2, Treatment="DMSO"))
    state.add_cells(cells_of(1, 50, Treatment="taxol"))
    assert state.cells.metadata["Metadata_Treatment"].tolist() == ["DMSO", "DMSO", "taxol"]


def test_a_table_and_a_field_stay_beside_each_other(state):
    state.add_cells(cells_of(3, Plate="P1", Well="A01", Site=1))
    state.add_cells(cells_of(2, 50, Layer="nuclei", Plane=""))
    state.add_cells(cells_of(1, 70, Layer="nuclei", Plane=""))
    assert state.cells.features[:, 0].tolist() == [0, 2, 4, 70]
    assert state.cells.metadata[LAYER].isna().tolist() == [True, True, True, False]
    assert state.cells.metadata[PLANE].tolist()[-1] == ""


def test_another_model_takes_the_place_of_all_or_is_refused(state):
    state.add_cells(cells_of(3, Layer="nuclei", Plane=""))
    other = {**MADE, "model": "another", "model_sha256": "2"}
    state.add_cells(cells_of(2, 50, other, Layer="nuclei", Plane=""))
    assert state.cells.provenance["model"] == "another"
    before = state.cells
    sentence = (
        "the tables cannot be compared: model is another and a model; to see other cells, first "
        "choose File > Close all cells"
    )
    with pytest.raises(ProfileError, match=sentence):
        state.add_cells(cells_of(3, Layer="cells", Plane=""))
    assert state.cells is before


def test_the_same_weights_under_another_name_stay(state):
    state.add_cells(cells_of(3, Layer="nuclei", Plane=""))
    state.add_cells(cells_of(2, 50, {**MADE, "model": "renamed"}, Layer="cells", Plane=""))
    assert len(state.cells.metadata) == 5


def test_features_are_put_together_by_their_names(state):
    state.add_cells(cells_of(2, made={}, Layer="nuclei", Plane=""))
    other = cells_of(2, 50, Layer="cells", Plane="")
    names = ["Nuclei_CPCNN_001", "Nuclei_CPCNN_000"]
    state.add_cells(Profiles(other.features, other.metadata, names, MADE))
    assert state.cells.feature_names == ["Cells_CPCNN_000", "Cells_CPCNN_001"]
    assert state.cells.features.tolist() == [[0, 1], [2, 3], [51, 50], [53, 52]]
    # Who comes next is compared with all that is known.
    other = cells_of(1, 70, {"model_sha256": "2"}, Layer="third", Plane="")
    with pytest.raises(ProfileError, match="model_sha256 is 1 and 2"):
        state.add_cells(other)


@pytest.mark.parametrize(
    ("fact", "value"), [("channels", "ER,DNA"), ("mask_neighbors", "True"), ("layer", "pooled")]
)
def test_cells_that_were_measured_in_another_way_are_refused(state, fact, value):
    made = {**MADE, "mask_neighbors": "False", "layer": "block6a"}
    state.add_cells(cells_of(2, made=made, Layer="nuclei", Plane=""))
    with pytest.raises(ProfileError, match=f"{fact} is .* and {value}; to see other cells, first"):
        state.add_cells(cells_of(2, 50, {**made, fact: value}, Layer="cells", Plane=""))


def test_cells_that_are_embedded_anew_keep_what_was_known_of_them(state):
    def embedded(numbers, start):
        cells = cells_of(len(numbers), start, Layer="nuclei", Plane="")
        cells.metadata[OBJECT_NUMBER] = numbers
        return cells

    state.add_cells(embedded([7, 3, 5], 0))
    state.set_metadata(PHENOTYPE, np.array([0, 2]), "round")
    state.set_metadata(CLUSTER, np.arange(3), "1")
    state.add_cells(embedded([3, 5, 7, 9], 50))
    assert state.cells.features[:, 0].tolist() == [50, 52, 54, 56]
    assert state.cells.metadata[PHENOTYPE].tolist() == ["", "round", "round", ""]
    assert CLUSTER not in state.cells.metadata.columns


@pytest.mark.parametrize(("answer", "left"), [("No", True), ("Yes", False)])
def test_closing_all_cells_is_asked_about(widget, monkeypatch, tmp_path, answer, left):
    asked = []

    def question(parent, title, text):
        asked.append(text)
        return getattr(QMessageBox.StandardButton, answer)

    monkeypatch.setattr(QMessageBox, "question", question)
    widget.close_cells()
    assert not asked
    write_profiles(cells_of(3, Plate="P1", Well="A01", Site="1"), tmp_path / "cells.parquet")
    widget.open_table(tmp_path / "cells.parquet")
    actions = {action.text(): action for action in widget.file_menu.menu().actions()}
    actions["Close all cells"].trigger()
    assert asked[0].startswith("Close 3 cells?")
    assert (widget.state.cells is not None) is left
