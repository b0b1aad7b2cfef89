"""A cell of a table, asked for by a double click, opens its field from disk."""

import numpy as np
import pandas as pd
import pytest
import tifffile
from napari.utils.notifications import notification_manager

from cpcnn_core.io.profile_files import write_profiles
from cpcnn_core.schema.profiles import Profiles
from napari_cpcnn import widget as widget_module
from napari_cpcnn.layer_links import OVERLAY, PICKED, outlines
from napari_cpcnn.opened_fields import discs

CHANNELS = ("DNA", "RNA", "ER", "AGP", "Mito")


@pytest.fixture
def screen(tmp_path, made_up):
    """Two sites on disk, with label images for the first, and the table of all their cells."""
    channels, labels = made_up
    rows, cells = [], []
    for number, well in enumerate(("A01", "B02")):
        row = {"Metadata_Plate": "P1", "Metadata_Well": well, "Metadata_Site": "1"}
        for name in CHANNELS:
            tifffile.imwrite(tmp_path / f"{well}_{name}.tif", np.roll(channels[name], number))
            # A name that only its meaning tells.
            image = "Hoechst" if name == "DNA" else f"Orig{name}"
            row |= {f"FileName_{image}": f"{well}_{name}.tif", f"PathName_{image}": ""}
            row |= {"FileName_IllumDNA": "", "PathName_IllumDNA": ""}
        rows.append(row)
        for label in np.unique(labels)[1:]:
            center = np.argwhere(labels == label).mean(axis=0)
            cells.append(
                {name: row[name] for name in ("Metadata_Plate", "Metadata_Well", "Metadata_Site")}
                | {"Metadata_ObjectNumber": label}
                | {"Metadata_Location_Center_X": center[1]}
                | {"Metadata_Location_Center_Y": center[0]}
            )
    (tmp_path / "labels").mkdir()
    tifffile.imwrite(tmp_path / "labels" / "P1_A01_1.tif", labels)
    pd.DataFrame(rows).to_csv(tmp_path / "load_data.csv", index=False)
    features = np.random.default_rng(0).normal(size=(len(cells), 4)).astype("f4")
    names = [f"Cells_CPCNN_{n:03d}" for n in range(4)]
    table = Profiles(features, pd.DataFrame(cells), names, {"model": "untrained-efficientnet-b0"})
    write_profiles(table, tmp_path / "P1.parquet")
    return tmp_path


def last_message():
    return notification_manager.records[-1].message


@pytest.fixture(autouse=True)
def no_dialog(monkeypatch):
    """A dialog without an answer would wait forever."""
    monkeypatch.setattr(widget_module.QFileDialog, "getOpenFileName", lambda *_: ("", ""))


def opened(widget, qtbot, row):
    with qtbot.waitSignal(widget.sites.opened, timeout=10_000):
        widget.go_to(row)


def test_a_site_opens_with_its_labels_and_is_linked(viewer, widget, qtbot, screen, made_up):
    channels, labels = made_up
    widget.open_table(screen / "P1.parquet")
    widget.open_images(screen / "load_data.csv")
    opened(widget, qtbot, 2)
    assert [layer.name for layer in viewer.layers][:6] == [
        *(f"{name} A01-1" for name in CHANNELS),
        "cells A01-1",
    ]
    for name in CHANNELS:
        np.testing.assert_array_equal(viewer.layers[f"{name} A01-1"].data, channels[name])
    np.testing.assert_array_equal(viewer.layers["cells A01-1"].data, labels)
    number = widget.state.cells.metadata["Metadata_ObjectNumber"].iloc[2]
    qtbot.waitUntil(lambda: OVERLAY in viewer.layers)
    marked = viewer.layers[OVERLAY].data == PICKED
    np.testing.assert_array_equal(marked, (labels == number) & outlines(labels))
    expected = np.argwhere(labels == number).mean(axis=0)
    np.testing.assert_allclose(viewer.camera.center[-2:], expected)
    # Its neighbours have pictures now, cells of other sites have none.
    crops = widget.state.crops_of(np.arange(12))
    assert [crop is not None for crop in crops] == [True] * 6 + [False] * 6
    # A second cell of this field needs no file.
    (screen / "A01_DNA.tif").unlink()
    widget.go_to(3)
    assert widget.state.picked == 3


def test_another_site_takes_its_place_and_centres_become_discs(viewer, widget, qtbot, screen):
    widget.open_table(screen / "P1.parquet")
    widget.open_images(screen / "load_data.csv")
    opened(widget, qtbot, 0)
    opened(widget, qtbot, 8)
    names = [layer.name for layer in viewer.layers if layer.name != OVERLAY]
    assert names == [*(f"{name} B02-1" for name in CHANNELS), "cells B02-1"]
    cells = widget.state.cells.metadata
    found = viewer.layers["cells B02-1"].data
    assert sorted(np.unique(found)[1:]) == sorted(cells["Metadata_ObjectNumber"][6:])
    for _, cell in cells[6:].iterrows():
        place = round(cell["Metadata_Location_Center_Y"]), round(cell["Metadata_Location_Center_X"])
        assert found[place] == cell["Metadata_ObjectNumber"]


def test_discs_are_round_and_cut_at_the_border():
    found = discs((50, 60), np.array([[25.0, 30.0], [0.0, 0.0]]), np.array([4, 9]))
    rows, cols = np.indices((50, 60))
    expected = np.zeros((50, 60), int)
    expected[np.hypot(rows - 25, cols - 30) < 12] = 4
    expected[np.hypot(rows, cols) < 12] = 9
    np.testing.assert_array_equal(found, expected)


def test_it_asks_where_the_images_are(viewer, widget, qtbot, screen, monkeypatch):
    asked = []

    def choose(*args):
        asked.append(args[1])
        return str(screen / "load_data.csv"), ""

    monkeypatch.setattr(widget_module.QFileDialog, "getOpenFileName", choose)
    widget.open_table(screen / "P1.parquet")
    opened(widget, qtbot, 0)
    assert asked == ["Where are the images of this table?"]


def test_what_cannot_be_opened_is_said(viewer, widget, qtbot, screen):
    widget.open_images(screen / "load_data.csv")
    assert last_message() == "open a table of cells first, then say where its images are"
    widget.open_table(screen / "P1.parquet")
    widget.open_images(screen / "nowhere.csv")
    assert "there is no table" in last_message()
    table = pd.read_csv(screen / "load_data.csv", dtype=str, keep_default_na=False)
    table.iloc[:1].to_csv(screen / "one.csv", index=False)
    widget.open_images(screen / "one.csv")
    widget.go_to(8)
    assert "one.csv has no site P1/B02/1" in last_message()
    (screen / "A01_ER.tif").unlink()
    before = len(notification_manager.records)
    widget.go_to(0)
    qtbot.waitUntil(lambda: len(notification_manager.records) > before, timeout=10_000)
    assert "A01_ER.tif" in last_message()
    assert not viewer.layers
