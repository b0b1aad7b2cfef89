"""One widget, one field, models of four kinds: only the model's box changes."""

import subprocess
import sys

import numpy as np
import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtWidgets import QMessageBox

from cpcnn_core.io.profile_files import write_profiles
from cpcnn_core.schema.columns import OBJECT_NUMBER
from cpcnn_core.schema.profiles import Profiles
from napari_cpcnn.shared_state import LAYER

from .. import four_models
from ..four_models import MODELS


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory):
    """All models on this machine, and the licence accepted, before a widget lists them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CPCNN_HOME", str(tmp_path_factory.mktemp("home")))
        # In a process of its own: PyTorch does not come into the window's. Without -P the
        # folder of the core's tests beside that file would be taken for the core.
        subprocess.run([sys.executable, "-P", four_models.__file__], check=True)
        yield


def embed(widget, qtbot, name, of="cells"):
    box = widget.embed.models.box
    box.setCurrentIndex(box.findData(name))
    with qtbot.waitSignal(widget.embed.finished, timeout=240_000):
        widget.embed.run()
    assert widget.embed.status.text() == f"6 cells of {of} are embedded."
    return widget.state.cells


@pytest.mark.long
def test_four_models_in_turn_by_the_box_alone(field, widget, qtbot, made_up, core_features):
    channels, labels = made_up
    for name, (count, prefix) in MODELS.items():
        cells = embed(widget, qtbot, name)
        assert cells.provenance["model"] == name
        assert len(cells.feature_names) == count
        assert cells.feature_names[0] == f"Cells_{prefix}_000"
        numbers = cells.metadata[OBJECT_NUMBER]
        assert sorted(numbers) == [3, 5, 12, 40, 61, 700]
        assert set(cells.metadata["Metadata_Model"]) == {name}
        assert np.isfinite(cells.features).all()
        centers = [np.argwhere(labels == number).mean(axis=0) for number in numbers]
        expected = core_features(np.stack(list(channels.values())), centers, model=name)
        # What differs from cell to cell is far above the tolerance.
        assert np.ptp(expected, axis=0).max() > 1e-3
        np.testing.assert_allclose(cells.features, expected, rtol=0, atol=1e-6)
        # Other plugins find this model's columns, and none of the models before.
        table = field.layers["cells"].features
        assert list(table.columns) == ["index", *cells.feature_names]


def library_of(cells, path):
    """Write the cells as wells of two treatments."""
    rows = cells.metadata[[LAYER]].rename(columns={LAYER: "Metadata_Plate"})
    rows["Metadata_Treatment"] = ["a", "b"] * 3
    write_profiles(Profiles(cells.features, rows, cells.feature_names, cells.provenance), path)
    return path


def test_a_library_of_one_model_refuses_the_cells_of_all_others(field, widget, qtbot, tmp_path):
    path = library_of(embed(widget, qtbot, "bag"), tmp_path / "bag.parquet")
    with qtbot.waitSignal(widget.state.library_changed):
        widget.nearest.open(path)
    widget.state.pick(0)
    qtbot.waitUntil(lambda: widget.nearest.status.text().startswith("1 cell compared with 2"))
    found = widget.nearest.last_matches
    for name in MODELS.keys() - {"bag"}:
        before = len(notification_manager.records)
        embed(widget, qtbot, name)
        widget.state.pick(0)
        qtbot.waitUntil(lambda before=before: len(notification_manager.records) > before)
        text = notification_manager.records[-1].message
        assert text.startswith("these cells and bag.parquet cannot be compared: model")
        assert text.endswith("embed the cells with the library's model, or open another library")
        assert widget.nearest.status.text() == text
        assert widget.nearest.last_matches is found


def test_cells_of_two_models_are_not_put_together(field, widget, qtbot, made_up, monkeypatch):
    cells = embed(widget, qtbot, "bag")
    field.add_labels(made_up[1], name="others")
    widget.embed.labels.setCurrentText("others")
    box = widget.embed.models.box
    box.setCurrentIndex(box.findData("grey"))
    before = len(notification_manager.records)
    widget.embed.run()
    # Before anything is computed.
    assert not widget.embed.running
    assert notification_manager.records[before].message == (
        "the tables have different features: 480 from Cells_TestResnet_000, 320 from "
        "Cells_TestVit_000; to see other cells, first choose File > Close all cells"
    )
    assert widget.state.cells is cells
    monkeypatch.setattr(QMessageBox, "question", lambda *_: QMessageBox.StandardButton.Yes)
    widget.close_cells()
    assert widget.state.cells is None
    assert embed(widget, qtbot, "grey", of="others").provenance["model"] == "grey"
