"""Models of another kind in the widget: any channels, a licence, another scale."""

import importlib.metadata
import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest
from qtpy.QtWidgets import QMessageBox
from safetensors import safe_open
from safetensors.numpy import save

from cpcnn_core.errors import LicenceError, ProfileError
from cpcnn_core.models.licences import accept_licence, needs_yes
from cpcnn_core.models.registry import find_model, model_file
from cpcnn_core.profiles.library import build_library
from cpcnn_core.profiles.open_library import OpenLibrary
from cpcnn_core.schema.columns import OBJECT_NUMBER, TREATMENT
from cpcnn_core.schema.profiles import Profiles
from napari_cpcnn.embed.choices import ModelChoice
from napari_cpcnn.widget import CellPaintingWidget

CHANNELS = ("DNA", "RNA", "ER", "AGP", "Mito")
FEATURES = 96
PACKAGED = "imagenet-efficientnet-lite0"


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    """A network that takes any channels, at 0.5 µm per pixel; no commercial use."""
    path = tmp_path_factory.mktemp("models") / "bag.safetensors"
    # In a process of its own: PyTorch does not come into the window's.
    code = f"""
        import dataclasses
        from cpcnn_core.models.network_builder import random_weights
        from cpcnn_core.models.from_timm import timm_card
        from cpcnn_core.models.weights import save_model
        card = timm_card("test_resnet", "bag", crop_px=64, input_px=64, trained=False, name="bag")
        card = dataclasses.replace(card, um_per_px=0.5, commercial=False, licence="CC BY-NC 4.0")
        save_model({str(path)!r}, card, random_weights(card, 1))
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)
    return str(path)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Accept no licence on behalf of the person who runs the tests."""
    monkeypatch.setenv("CPCNN_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def home_with_licence(bag, tmp_path_factory):
    """A home in which the licence of `bag` is accepted; so the network's process can stay."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CPCNN_HOME", str(folder))
        accept_licence(find_model(bag)[0])
    return folder


@pytest.fixture
def accepted(home_with_licence, home, monkeypatch):
    """Be the person who accepted that licence."""
    monkeypatch.setenv("CPCNN_HOME", str(home_with_licence))


@pytest.fixture
def asked(monkeypatch):
    """Answer the question of the licence; gives what was asked and the answer to give."""
    said = {"answer": QMessageBox.StandardButton.Yes, "texts": []}

    def question(parent, title, text):
        said["texts"].append(text)
        return said["answer"]

    monkeypatch.setattr(QMessageBox, "question", question)
    return said


def embed(widget, qtbot):
    with qtbot.waitSignal(widget.embed.finished, timeout=240_000):
        widget.embed.run()
    return widget.state.cells


def test_models_that_can_be_used_come_first(widget):
    box = widget.embed.models.box
    texts = [box.itemText(place) for place in range(box.count())]
    untrained = ["untrained-efficientnet-b0", "untrained-resnet18"]
    assert texts[:3] == [PACKAGED, *untrained]
    assert "morphem (not on this machine)" in texts[3:]
    assert len({*texts}) == len(texts)


def test_the_published_network_is_the_default_where_it_is(home, qtbot):
    file = model_file("cell-painting-cnn-v1")
    file.parent.mkdir(parents=True)
    file.touch()
    choice = ModelChoice()
    qtbot.addWidget(choice)
    assert choice.box.currentData() == "cell-painting-cnn-v1"
    assert choice.box.itemData(1) == PACKAGED


def test_without_its_package_the_default_says_what_to_install_and_none_takes_its_place(
    field, viewer, qtbot, monkeypatch, asked
):
    told = []
    monkeypatch.setattr("napari_cpcnn.embed.embed_panel.tell_error", told.append)
    monkeypatch.setattr("importlib.metadata.distribution", no_package)
    widget = CellPaintingWidget(viewer)
    qtbot.addWidget(widget)
    assert widget.embed.models.box.currentText() == f"{PACKAGED} (not on this machine)"
    assert len(widget.embed.channels.chosen()) == 5
    widget.embed.run()
    assert "get it with: pip install 'cpcnn[imagenet]'" in str(told[0])
    assert not widget.embed.running
    widget.detach()


def no_package(name):
    raise importlib.metadata.PackageNotFoundError(name)


def test_the_default_embeds_the_simulated_cells(viewer, widget, qtbot, core_features):
    viewer.open_sample("cpcnn", "made-up")
    assert widget.embed.models.box.currentData() == PACKAGED
    labels = viewer.layers["nuclei"].data
    # A few cells say as much as all.
    viewer.layers["nuclei"].data = np.where(labels <= 4, labels, 0)
    cells = embed(widget, qtbot)
    assert cells.provenance["weights"].startswith("verified against cpcnn's record")
    numbers = cells.metadata[OBJECT_NUMBER]
    centers = [np.argwhere(labels == number).mean(axis=0) for number in numbers]
    image = np.stack([viewer.layers[name].data for name in CHANNELS])
    expected = core_features(image, centers, model=PACKAGED)
    np.testing.assert_allclose(cells.features, expected, rtol=0, atol=1e-5)


def test_a_licence_is_asked_about_once(field, widget, qtbot, bag, asked):
    widget.embed.models.add(bag)
    embed(widget, qtbot)
    (text,) = asked["texts"]
    assert text == (
        "The licence of bag (CC BY-NC 4.0) forbids commercial use. Do you accept it, and use the "
        "model accordingly?"
    )
    assert not needs_yes(find_model(bag)[0])
    embed(widget, qtbot)
    assert len(asked["texts"]) == 1


def test_a_no_is_respected(field, widget, bag, asked):
    asked["answer"] = QMessageBox.StandardButton.No
    widget.embed.models.add(bag)
    card = widget.embed.models.card()
    with pytest.raises(LicenceError, match="its licence was not accepted"):
        widget.embed.models.ask_licence(card)
    assert needs_yes(card)
    assert not widget.embed.running


def test_channels_without_a_layer_are_left_out(accepted, field, widget, qtbot, bag):
    widget.embed.models.add(bag)
    whole = embed(widget, qtbot)
    for name in ("RNA", "AGP", "Mito"):
        field.layers.remove(name)
    widget.state.set_cells(None)
    cells = embed(widget, qtbot)
    assert cells.features.shape == (6, 2 * FEATURES)
    assert cells.provenance["channels"] == "DNA,ER"
    expected = whole.features[:, np.r_[:FEATURES, 2 * FEATURES : 3 * FEATURES]]
    np.testing.assert_allclose(cells.features, expected, rtol=0, atol=1e-6)
    assert list(cells.metadata[OBJECT_NUMBER]) == list(whole.metadata[OBJECT_NUMBER])
    assert cells.feature_names[0] == "Cells_TestResnet_000"


def test_a_library_of_other_channels_is_refused(accepted, field, widget, qtbot, bag):
    widget.embed.models.add(bag)
    cells = embed(widget, qtbot)
    made, names = cells.provenance | {"channels": "DNA,RNA,AGP,ER,Mito"}, cells.feature_names
    wells = Profiles(np.eye(2, len(names)), pd.DataFrame({TREATMENT: ["a", "b"]}), names, made)
    opened = OpenLibrary(build_library(wells, TREATMENT), None, "other.parquet")
    with pytest.raises(ProfileError, match="channels is DNA,RNA,ER,AGP,Mito and DNA,RNA,AGP,ER"):
        opened.prepare_query(cells)


def test_the_scale_comes_from_the_layer_and_is_told(accepted, field, widget, qtbot, bag):
    widget.embed.models.add(bag)
    same = embed(widget, qtbot).features
    assert "resampled" not in widget.embed.status.text()
    labels = field.layers["cells"]
    labels.scale, labels.units = (0.25, 0.25), ("micrometer", "micrometer")
    found = embed(widget, qtbot).features
    assert "the images have 0.25: they are resampled by 0.5" in widget.embed.status.text()
    assert np.abs(found - same).max() > 0.01
    widget.embed.um_per_px.setText("0.5")
    np.testing.assert_array_equal(embed(widget, qtbot).features, same)


@pytest.mark.parametrize("text", ["0", "nan", "half"])
def test_what_is_no_scale_is_refused(field, widget, text):
    widget.embed.um_per_px.setText(text)
    with pytest.raises(ValueError, match=f"positive number such as 0.65, got '{text}'"):
        widget.embed.request()


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """Note every connection of the child processes, which read this before anything else."""
    noted = tmp_path / "called.txt"
    (tmp_path / "watch").mkdir()
    code = f"""
        import sys
        def watch(event, given):
            local = event == "socket.connect" and isinstance(given[1], (str, bytes))
            if event in ("socket.connect", "socket.getaddrinfo") and not local:
                with open({str(noted)!r}, "a") as file:
                    print(event, given[1:], file=file)
        sys.addaudithook(watch)
    """
    (tmp_path / "watch" / "sitecustomize.py").write_text(textwrap.dedent(code))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "watch"), prepend=os.pathsep)
    return noted


def file_with(folder, card, weights):
    path = folder / "stranger.safetensors"
    path.write_bytes(save(weights, {"cpcnn_format": "1", "cpcnn_card": json.dumps(card)}))
    return str(path)


def test_a_strangers_model_cannot_have_the_widget_download(
    field, widget, qtbot, bag, asked, calls, tmp_path, monkeypatch
):
    told = []
    monkeypatch.setattr("napari_cpcnn.embed.choices.tell_error", told.append)
    with safe_open(bag, "np") as file:
        card = json.loads(file.metadata()["cpcnn_card"])
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    options = {"pretrained": True, "pretrained_cfg": {"url": "http://127.0.0.1:9/evil.pth"}}
    evil = {"architecture_options": options, "provenance": {}}
    before = widget.embed.models.box.count()
    widget.embed.models.add(file_with(tmp_path, card | evil, weights))
    assert "has the option pretrained" in str(told[0])
    assert widget.embed.models.box.count() == before
    # A file that is as it should be, but for a name that terminals obey.
    name = "bag\x1b[2J\u202ex"
    widget.embed.models.add(file_with(tmp_path, card | {"name": name}, weights))
    assert widget.embed.models.card().name == "bag\\x1b[2J\\u202ex"
    assert widget.embed.models.box.currentText().isprintable()
    cells = embed(widget, qtbot)
    assert cells.provenance["model"] == "bag\\x1b[2J\\u202ex"
    assert cells.provenance["weights"] == "not verified"
    assert not calls.exists()
    subprocess.run(
        [sys.executable, "-c", "import socket; socket.getaddrinfo('localhost', 9)"], check=True
    )
    assert calls.exists(), "the watch sees what children do"
