"""The plugin as napari sees it: its manifest, sample, reader and theme."""

from importlib.resources import files

import numpy as np
from npe2 import PluginManifest

from napari_cpcnn.commands import table_reader


def test_the_manifest_is_valid_and_everything_it_names_is_there():
    manifest = PluginManifest.from_file(files("napari_cpcnn") / "napari.yaml")
    manifest.validate_imports()
    assert manifest.name == "cpcnn"


def test_the_sample_opens_with_all_channels(viewer, widget):
    viewer.open_sample("cpcnn", "made-up")
    names = [layer.name for layer in viewer.layers]
    assert names == ["DNA", "RNA", "ER", "AGP", "Mito", "nuclei"]
    assert widget.embed.channels.chosen() == names[:5]
    assert widget.embed.labels.currentText() == "nuclei"


def test_files_of_others_are_left_to_others():
    assert table_reader("image.tif") is None
    assert table_reader(["cells.parquet", "image.tif"]) is None
    assert table_reader(["a.parquet", "b.h5ad"]) is not None


def test_the_map_follows_naparis_theme(viewer, widget, qtbot):
    def background():
        picture = widget.map.canvas.grab().toImage()
        return picture.pixelColor(3, 3).lightness()

    widget.tabs.setCurrentWidget(widget.map)
    viewer.theme = "dark"
    qtbot.waitUntil(lambda: background() < 100)
    viewer.theme = "light"
    qtbot.waitUntil(lambda: background() > 150)


def test_the_window_closes_with_nothing_left(viewer, widget):
    widget.detach()
    # A second time does nothing, and the viewer keeps working.
    widget.detach()
    viewer.add_image(np.zeros((4, 4)))
    assert not any("cpcnn" in repr(callback) for callback in viewer.mouse_drag_callbacks)
