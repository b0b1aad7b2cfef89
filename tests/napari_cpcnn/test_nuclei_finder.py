"""The button that finds nuclei, off the window's thread."""

import importlib.util

import numpy as np
import pytest
from napari.utils.notifications import notification_manager

from napari_cpcnn.embed.nuclei import CELLPOSE, THRESHOLD, find_nuclei


@pytest.fixture
def dna(viewer):
    """Two planes of bright squares on a dark ground."""
    planes = np.random.default_rng(0).integers(100, 200, (2, 120, 130))
    planes[0, 20:40, 20:40] = planes[0, 70:95, 60:90] = 3000
    planes[1, 30:55, 70:95] = 3000
    viewer.add_image(planes.astype(np.uint16), name="DNA", scale=(1, 0.5, 0.5))
    return planes


def last_message():
    return notification_manager.records[-1].message


def test_nuclei_of_the_plane_that_is_shown(viewer, widget, qtbot, dna):
    viewer.dims.set_current_step(0, 0)
    with qtbot.waitSignal(widget.embed.nuclei.found, timeout=10_000):
        widget.embed.nuclei.click()
    layer = viewer.layers["nuclei"]
    np.testing.assert_array_equal(layer.data, find_nuclei(dna[0]))
    assert layer.data.max() == 2
    assert tuple(layer.scale) == (0.5, 0.5)
    assert widget.embed.labels.currentText() == "nuclei"
    assert last_message() == "2 nuclei"
    qtbot.waitUntil(lambda: not widget.embed.nuclei.running)
    assert widget.embed.nuclei.text() == "Find nuclei"


def test_what_is_missing_is_said(viewer, widget, qtbot):
    widget.embed.nuclei.click()
    assert last_message() == "choose the image layer of the DNA channel first"
    viewer.add_image(np.full((50, 50), 7, np.uint16), name="DNA")
    widget.embed.nuclei.click()
    qtbot.waitUntil(lambda: not widget.embed.nuclei.running, timeout=10_000)
    assert "the image has the same value everywhere" in last_message()


@pytest.mark.skipif(importlib.util.find_spec("cellpose") is not None, reason="Cellpose is there")
def test_cellpose_that_fails_is_told(viewer, widget, qtbot, dna):
    assert widget.embed.nuclei.menu() is None
    widget.embed.nuclei.find(CELLPOSE)
    assert widget.embed.nuclei.text() == "Stop"
    qtbot.waitUntil(lambda: not widget.embed.nuclei.running, timeout=30_000)
    assert last_message().startswith("Cellpose could not find nuclei: ModuleNotFoundError")
    assert "nuclei" not in viewer.layers


def test_cellpose_is_stopped(viewer, widget, qtbot, dna):
    widget.embed.nuclei.find(CELLPOSE)
    widget.embed.nuclei.click()
    qtbot.waitUntil(lambda: not widget.embed.nuclei.running, timeout=10_000)
    assert "nuclei" not in viewer.layers
    # And everything continues.
    with qtbot.waitSignal(widget.embed.nuclei.found, timeout=10_000):
        widget.embed.nuclei.find(THRESHOLD)
