"""The sample of real cells: what it shows, and that the default model takes it at once."""

import numpy as np
import pytest
from skimage.data import immunohistochemistry

from napari_cpcnn.embed.choices import NO_LAYER
from napari_cpcnn.sample import tissue


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Begin without models of the person who runs the tests."""
    monkeypatch.setenv("CPCNN_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def layers():
    return {options["name"]: data for data, options, _ in tissue()}


def test_nuclei_are_blue_and_the_protein_is_brown_in_the_photograph(layers):
    red, _, blue = np.moveaxis(immunohistochemistry().astype(int), -1, 0)
    tint = blue - red
    nuclei, protein = layers["nuclei"] > 0, layers["FHL2 as AGP"]
    brown = protein > np.percentile(protein, 90)
    glands = protein > np.median(protein)
    # In the glands nuclei are surrounded by brown, outside of them by white.
    assert tint[nuclei & glands].mean() > tint[~nuclei & glands].mean() + 10
    assert tint[nuclei & ~glands].mean() > tint[~nuclei & ~glands].mean() + 10
    assert tint[brown].mean() < tint[~brown].mean() - 30


def test_nuclei_are_numbered_one_by_one_and_of_one_size(layers):
    labels = layers["nuclei"]
    areas = np.bincount(labels.ravel())[1:]
    assert 250 < len(areas) < 450
    assert areas.min() >= 60
    assert np.percentile(areas, 95) < 4 * np.median(areas)


def test_it_is_embedded_without_a_download(viewer, widget, qtbot):
    viewer.open_sample("cpcnn", "tissue")
    assert widget.embed.models.box.currentData() == "imagenet-efficientnet-lite0"
    assert widget.embed.channels.chosen() == ["DNA", NO_LAYER, NO_LAYER, "FHL2 as AGP", NO_LAYER]
    with qtbot.waitSignal(widget.embed.finished, timeout=240_000):
        widget.embed.run()
    cells = widget.explorer.cells
    assert cells.provenance["channels"] == "DNA,AGP"
    assert cells.features.shape == (viewer.layers["nuclei"].data.max(), 2560)
    assert np.isfinite(cells.features).all()
