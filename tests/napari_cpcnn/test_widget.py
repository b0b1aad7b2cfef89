"""The real widget in a real window: embed, click, select, stop, close."""

import threading
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtWidgets import QApplication
from scipy import ndimage

from cpcnn_core.io.profile_files import write_profiles
from cpcnn_core.schema.columns import OBJECT_NUMBER
from cpcnn_core.schema.profiles import Profiles
from napari_cpcnn.layer_links import OVERLAY, PICKED, SELECTED
from napari_cpcnn.sample import made_up_fields
from napari_cpcnn.shared_state import PLANE
from napari_cpcnn.widget import CellPaintingWidget, widget_of

UNTRAINED = "untrained-efficientnet-b0"
CHANNELS = ("DNA", "RNA", "ER", "AGP", "Mito")
JUMP = Path(__file__).parents[3] / "shared" / "data" / "images" / "cpjump1_examples"


def choose_model(widget):
    place = widget.embed.models.box.findData(UNTRAINED)
    widget.embed.models.box.setCurrentIndex(place)


def embed(widget, qtbot):
    choose_model(widget)
    with qtbot.waitSignal(widget.embed.finished, timeout=240_000):
        widget.embed.run()
    return widget.state.cells


@pytest.fixture
def expected_features(core_features):
    """The core's own features, label by label."""

    def ask(channels, labels, numbers):
        centers = [np.argwhere(labels == number).mean(axis=0) for number in numbers]
        return core_features(np.stack([channels[name] for name in CHANNELS]), centers)

    return ask


def test_embeddings_are_the_cores_and_belong_to_their_labels(
    field, widget, qtbot, made_up, expected_features
):
    cells = embed(widget, qtbot)
    channels, labels = made_up
    assert sorted(cells.metadata[OBJECT_NUMBER]) == [3, 5, 12, 40, 61, 700]
    expected = expected_features(channels, labels, cells.metadata[OBJECT_NUMBER])
    np.testing.assert_allclose(cells.features, expected, rtol=0, atol=1e-6)
    # napari's own table finds a label's row by its column index.
    table = field.layers["cells"].features.set_index("index")
    np.testing.assert_array_equal(
        table.loc[cells.metadata[OBJECT_NUMBER]].to_numpy(), cells.features
    )


def test_intensities_are_the_mean_under_each_label(field, widget, qtbot, made_up):
    cells = embed(widget, qtbot)
    channels, labels = made_up
    for name in CHANNELS:
        expected = [channels[name][labels == n].mean() for n in cells.metadata[OBJECT_NUMBER]]
        np.testing.assert_allclose(cells.metadata[f"Metadata_MeanIntensity_{name}"], expected)
    assert widget.map.color_by.findText("MeanIntensity_ER") > 0


def test_channels_are_taken_by_name_whatever_the_order(
    viewer, widget, qtbot, made_up, expected_features
):
    channels, labels = made_up
    for name in ("Mito", "ER", "DNA", "AGP", "RNA"):
        viewer.add_image(channels[name], name=f"site 1 Orig{name}")
    viewer.add_labels(labels, name="cells")
    cells = embed(widget, qtbot)
    expected = expected_features(channels, labels, cells.metadata[OBJECT_NUMBER])
    np.testing.assert_allclose(cells.features, expected, rtol=0, atol=1e-6)


def test_one_layer_may_hold_all_channels(viewer, widget, qtbot, made_up, expected_features):
    channels, labels = made_up
    stack = np.stack([channels[name] for name in CHANNELS])
    viewer.add_image(stack, name="all")
    viewer.add_labels(labels, name="cells")
    widget.embed.one_layer.setChecked(True)
    cells = embed(widget, qtbot)
    expected = expected_features(channels, labels, cells.metadata[OBJECT_NUMBER])
    np.testing.assert_allclose(cells.features, expected, rtol=0, atol=1e-6)


def test_all_planes_of_a_time_series(viewer, widget, qtbot, made_up, expected_features):
    channels, labels = made_up
    for name, image in channels.items():
        viewer.add_image(np.stack([image, image[::-1]]), name=name)
    viewer.add_labels(np.stack([labels, labels[::-1]]), name="cells")
    viewer.dims.set_current_step(0, 1)
    shown = embed(widget, qtbot)
    assert set(shown.metadata[PLANE]) == {"1"}
    widget.embed.planes.setCurrentIndex(1)
    cells = embed(widget, qtbot)
    assert len(cells.metadata) == 12
    assert set(cells.metadata[PLANE]) == {"0", "1"}
    turned = {name: image[::-1] for name, image in channels.items()}
    mine = (cells.metadata[PLANE] == "1").to_numpy()
    expected = expected_features(turned, labels[::-1], cells.metadata[OBJECT_NUMBER][mine])
    np.testing.assert_allclose(cells.features[mine], expected, rtol=0, atol=1e-6)


def outline(labels, numbers):
    """Return what is within two pixels of something else, computed slowly."""
    cross = np.zeros((5, 5), bool)
    cross[2], cross[:, 2] = True, True
    low = ndimage.minimum_filter(labels, footprint=cross, mode="nearest")
    high = ndimage.maximum_filter(labels, footprint=cross, mode="nearest")
    return np.isin(labels, numbers) & (low != high)


def test_selected_cells_are_shown_in_the_image_by_label(field, widget, qtbot, made_up):
    cells = embed(widget, qtbot)
    labels = made_up[1]
    chosen = cells.metadata[OBJECT_NUMBER].isin([700, 5]).to_numpy()
    widget.state.select(chosen)
    widget.state.pick(int(np.flatnonzero(cells.metadata[OBJECT_NUMBER] == 12)[0]))
    qtbot.waitUntil(lambda: OVERLAY in field.layers and field.layers[OVERLAY].visible)
    marks = field.layers[OVERLAY].data
    np.testing.assert_array_equal(marks == SELECTED, outline(labels, [700, 5]))
    np.testing.assert_array_equal(marks == PICKED, outline(labels, [12]))
    widget.state.pick(None)
    widget.state.undo()
    qtbot.waitUntil(lambda: not field.layers[OVERLAY].visible)


def test_layers_may_be_renamed(field, widget, qtbot, made_up):
    cells = embed(widget, qtbot)
    before = widget.state.crops_of(np.arange(6))
    field.layers["cells"].name = "my cells"
    field.layers["ER"].name = "endoplasmic"
    widget.state.select(cells.metadata[OBJECT_NUMBER].isin([61]).to_numpy())
    qtbot.waitUntil(lambda: OVERLAY in field.layers and field.layers[OVERLAY].visible)
    np.testing.assert_array_equal(field.layers[OVERLAY].data == SELECTED, outline(made_up[1], [61]))
    np.testing.assert_array_equal(widget.state.crops_of(np.arange(6)), before)


def test_the_next_field_does_not_take_the_place_of_its_namesake(field, widget, qtbot, made_up):
    first = embed(widget, qtbot)
    channels, labels = made_up
    field.layers.clear()
    for name, image in channels.items():
        field.add_image(np.roll(image, 7), name=name)
    again = field.add_labels(np.where(labels == 40, 0, labels), name="cells")
    cells = embed(widget, qtbot)
    assert again.name == "cells 2"
    assert cells.metadata["Metadata_Layer"].value_counts().to_dict() == {"cells": 6, "cells 2": 5}
    np.testing.assert_array_equal(cells.features[:6], first.features)
    # The same layer once more takes its own place.
    assert len(embed(widget, qtbot).metadata) == 11
    assert again.name == "cells 2"


def test_a_table_of_cpcnn_embed_lies_beside_the_fields_cells(field, widget, qtbot, tmp_path):
    cells = embed(widget, qtbot)
    rows = cells.metadata[[OBJECT_NUMBER]].assign(
        Metadata_Plate="P1", Metadata_Well="A01", Metadata_Site="1"
    )
    # As cpcnn embed writes: its program has made the weights and knows their hash.
    made = {
        "model": "untrained-efficientnet-b0",
        "model_sha256": "7078",
        "layer": "block6a_activation",
    }
    write_profiles(
        Profiles(cells.features, rows, cells.feature_names, made), tmp_path / "P1.parquet"
    )
    widget.open_table(tmp_path / "P1.parquet")
    assert len(widget.state.cells.metadata) == 12


def test_a_table_of_an_earlier_session_finds_its_layer_again(field, widget, qtbot, tmp_path):
    embed(widget, qtbot)
    widget.state.set_metadata("Metadata_Phenotype", np.array([1, 4]), "odd")
    widget.phenotypes.export_cells(tmp_path / "session.parquet", only_selected=False)
    cells, crops = widget.state.cells, widget.state.crops_of(np.arange(6))
    widget.state.set_cells(None)
    # As napari opens it: dropped on the window.
    field.open(str(tmp_path / "session.parquet"), plugin="cpcnn")
    again = widget.state.cells
    np.testing.assert_array_equal(again.features, cells.features)
    assert again.metadata["Metadata_Phenotype"].tolist().count("odd") == 2
    assert again.provenance == cells.provenance
    np.testing.assert_array_equal(widget.state.crops_of(np.arange(6)), crops)


def click(viewer, row, col, modifiers=()):
    """Press and release, as napari's canvas does."""
    from napari.utils._proxies import ReadOnlyWrapper
    from napari.utils.interactions import mouse_press_callbacks, mouse_release_callbacks

    class Event:
        type, button, position, handled = "mouse_press", 1, (row, col), False
        view_direction, dims_displayed, is_dragging, pos = None, [0, 1], False, (0, 0)

    event = Event()
    event.modifiers = list(modifiers)
    mouse_press_callbacks(viewer, ReadOnlyWrapper(event))
    event.type = "mouse_release"
    mouse_release_callbacks(viewer, ReadOnlyWrapper(event))


def test_a_click_in_the_image_picks_its_cell(field, widget, qtbot, made_up):
    cells = embed(widget, qtbot)
    for number in (61, 3, 700):
        row, col = np.argwhere(made_up[1] == number)[5]
        click(field, row, col)
        assert cells.metadata[OBJECT_NUMBER][widget.state.picked] == number
    click(field, row, col, ["Shift"])
    assert cells.metadata[OBJECT_NUMBER][widget.state.selection].tolist() == [700]
    # The background is no cell.
    before = widget.state.picked
    click(field, 0, 0)
    assert widget.state.picked == before


def test_the_viewer_goes_to_a_cell(field, widget, qtbot, made_up):
    cells = embed(widget, qtbot)
    row = int(np.flatnonzero(cells.metadata[OBJECT_NUMBER] == 61)[0])
    widget.link.go_to(row)
    expected = np.argwhere(made_up[1] == 61).mean(axis=0)
    np.testing.assert_allclose(field.camera.center[-2:], expected)
    assert widget.state.picked == row


def test_crops_are_the_pixels_around_the_cells(field, widget, qtbot, made_up):
    cells = embed(widget, qtbot)
    crops = widget.state.crops_of(np.arange(6))
    padded = np.pad(np.stack([made_up[0][name] for name in CHANNELS]), ((0, 0), (64, 64), (64, 64)))
    for crop, (_, cell) in zip(crops, cells.metadata.iterrows(), strict=True):
        top = round(cell["Metadata_Location_Center_Y"] - 64) + 64
        left = round(cell["Metadata_Location_Center_X"] - 64) + 64
        np.testing.assert_array_equal(crop, padded[:, top : top + 128, left : left + 128])


def test_stopping_leaves_everything_usable(viewer, widget, qtbot):
    for data, options, kind in made_up_fields():
        getattr(viewer, f"add_{kind}")(data, **options)
    choose_model(widget)
    started = []
    widget.embed.run()
    widget.embed._worker.yielded.connect(
        lambda step: started.append(step) or (step[0] and widget.embed.stop())
    )
    qtbot.waitUntil(lambda: not widget.embed.running, timeout=240_000)
    assert widget.state.cells is None
    assert started[-1][0] < started[-1][1]
    assert widget.embed.go.text() == "Embed cells"
    assert len(embed(widget, qtbot).metadata) == len(np.unique(made_up_fields()[-1][0])) - 1


def test_closing_while_it_runs(viewer, qtbot):
    widget = CellPaintingWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Cell Painting CNN")
    for data, options, kind in made_up_fields():
        getattr(viewer, f"add_{kind}")(data, **options)
    choose_model(widget)
    widget.embed.run()
    worker = widget.embed._worker
    widget.close()
    qtbot.waitUntil(lambda: not worker.is_running, timeout=240_000)
    QApplication.processEvents()
    assert not [thread for thread in threading.enumerate() if "embed" in thread.name.lower()]
    viewer.add_image(np.zeros((5, 5)))


def test_layers_deleted_while_it_runs(field, widget, qtbot):
    choose_model(widget)
    widget.embed.run()
    field.layers.clear()
    qtbot.waitUntil(lambda: not widget.embed.running, timeout=240_000)
    # The arrays were given to the worker: the cells are there, without a layer to colour.
    assert len(widget.state.cells.metadata) == 6
    widget.state.select(np.ones(6, bool))
    widget.link.go_to(0)
    assert widget.state.crops_of(np.arange(2)) == [None, None]


def test_two_viewers_do_not_disturb_each_other(make_napari_viewer, qtbot, made_up):
    channels, labels = made_up
    widgets = []
    for shift in (0, 7):
        viewer = make_napari_viewer()
        for name, image in channels.items():
            viewer.add_image(np.roll(image, shift), name=name)
        viewer.add_labels(labels, name="cells")
        widget = CellPaintingWidget(viewer)
        viewer.window.add_dock_widget(widget, name="Cell Painting CNN")
        widgets.append(widget)
    one, two = (embed(widget, qtbot) for widget in widgets)
    assert np.abs(one.features - two.features).max() > 0.01
    widgets[0].state.select(np.ones(6, bool))
    assert not widgets[1].state.selection.any()
    for widget in widgets:
        widget.detach()


def errors_of(widget, qtbot):
    from napari.utils.notifications import notification_manager

    before = len(notification_manager.records)
    widget.embed.run()
    qtbot.waitUntil(lambda: not widget.embed.running, timeout=240_000)
    return [record.message for record in list(notification_manager.records)[before:]]


def test_what_is_missing_is_said(viewer, widget, qtbot, made_up, tmp_path):
    channels, labels = made_up
    choose_model(widget)
    assert errors_of(widget, qtbot) == ["choose a labels layer, or find nuclei first"]
    viewer.add_labels(np.zeros_like(labels), name="cells")
    assert errors_of(widget, qtbot) == ["choose an image layer for DNA, RNA, ER, AGP, Mito"]
    for name, image in channels.items():
        viewer.add_image(image, name=name)
    assert "the layer cells has no labels here; paint some" in errors_of(widget, qtbot)[0]
    viewer.layers["cells"].data = labels
    viewer.layers["RNA"].data = channels["RNA"][:200]
    assert (
        "the layer RNA has 200 x 260 pixels, the labels cells 220 x 260"
        in errors_of(widget, qtbot)[0]
    )
    viewer.add_image(np.stack([channels[name] for name in CHANNELS[:4]]), name="four")
    widget.embed.one_layer.setChecked(True)
    widget.embed.channels.boxes["all channels in one layer"].setCurrentText("four")
    assert "the first axis of four should be the 5 channels" in errors_of(widget, qtbot)[0]
    widget.embed.models.add(str(tmp_path / "gone.safetensors"))
    from napari.utils.notifications import notification_manager

    assert "gone.safetensors" in notification_manager.records[-1].message


def test_the_selection_becomes_a_layer(field, widget, qtbot, made_up):
    cells = embed(widget, qtbot)
    assert widget_of(field) is widget
    widget.state.select(cells.metadata[OBJECT_NUMBER].isin([40, 5]).to_numpy())
    widget.selection_to_layer()
    labels = made_up[1]
    expected = np.where(np.isin(labels, [40, 5]), labels, 0)
    np.testing.assert_array_equal(field.layers["selection of cells"].data, expected)


def test_real_images_start_to_end(viewer, widget, qtbot, expected_features):
    if not JUMP.is_dir():
        pytest.skip("the CPJUMP1 example images are not on this machine")
    import pandas as pd
    import tifffile

    site = pd.read_csv(JUMP / "index.csv", dtype=str).set_index("treatment").loc["AMG900"]
    for name in CHANNELS:
        viewer.add_image(tifffile.imread(JUMP / site[name]), name=name)
    with qtbot.waitSignal(widget.embed.nuclei.found, timeout=20_000):
        widget.embed.nuclei.click()
    assert 20 < viewer.layers["nuclei"].data.max() < 400
    cells = embed(widget, qtbot)
    channels = {name: viewer.layers[name].data for name in CHANNELS}
    some = cells.metadata[OBJECT_NUMBER][:6]
    expected = expected_features(channels, viewer.layers["nuclei"].data, some)
    np.testing.assert_allclose(cells.features[:6], expected, rtol=0, atol=1e-6)
