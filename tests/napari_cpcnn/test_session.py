"""A session is saved into one file and found again in another viewer."""

import io
import json
import warnings
import zipfile

import numpy as np
import pandas as pd
import pytest
import tifffile
from napari.utils.notifications import notification_manager

from cpcnn_core.io.profile_files import read_profiles, write_profiles
from cpcnn_core.schema.profiles import Profiles
from napari_cpcnn.widget import CellPaintingWidget

from ..attacks import ATTACKS, is_refusal, refused_in_time
from .test_widget import CHANNELS, embed


def another(make_napari_viewer):
    viewer = make_napari_viewer()
    widget = CellPaintingWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Cell Painting CNN")
    return viewer, widget


@pytest.fixture
def saved(viewer, widget, qtbot, made_up, tmp_path):
    """Four channels in files, one in memory, labels that were painted; a library."""
    channels, labels = made_up
    for name in CHANNELS:
        if name == "ER":
            viewer.add_image(channels[name], name=name, contrast_limits=(5, 3000))
            continue
        tifffile.imwrite(tmp_path / f"{name}.tif", channels[name])
        viewer.open(tmp_path / f"{name}.tif", plugin="napari")
    viewer.layers["Mito"].colormap = "magenta"
    viewer.add_labels(labels, name="cells")
    cells = embed(widget, qtbot)
    qtbot.waitUntil(lambda: widget.state.positions is not None, timeout=20_000)
    wells = pd.DataFrame(
        {
            "Metadata_Plate": "P",
            "Metadata_Well": ["A01", "A02", "A03"],
            "Metadata_Treatment": ["a", "b", "c"],
        }
    )
    write_profiles(
        Profiles(cells.features[:3], wells, cells.feature_names, cells.provenance),
        tmp_path / "library.parquet",
    )
    widget.nearest.open(tmp_path / "library.parquet")
    qtbot.waitUntil(lambda: widget.nearest.opened is not None, timeout=20_000)
    state = widget.state
    state.select(np.arange(6) % 2 == 0)
    state.pick(4)
    state.set_metadata("Metadata_Phenotype", np.array([1]), "odd")
    # A map that cannot be made again: this very one must come back.
    widget.map.show_map("UMAP", np.random.default_rng(3).normal(size=(6, 2)).astype("f4"))
    widget.map.color_by.setCurrentText("Phenotype")
    widget.save_session(tmp_path / "mine.cpcnn")
    return widget


def test_all_is_found_again(saved, make_napari_viewer, qtbot, made_up, tmp_path):
    channels, labels = made_up
    viewer, widget = another(make_napari_viewer)
    # As napari opens it: dropped on the window.
    viewer.open(str(tmp_path / "mine.cpcnn"), plugin="cpcnn")
    old, new = saved.state, widget.state
    np.testing.assert_array_equal(new.cells.features, old.cells.features)
    pd.testing.assert_frame_equal(new.cells.metadata, old.cells.metadata)
    np.testing.assert_array_equal(new.selection, old.selection)
    assert new.picked == 4
    assert widget.map.method.currentText() == "UMAP"
    np.testing.assert_array_equal(new.positions, old.positions)
    assert widget.map.color_by.currentText() == "Phenotype"
    for name in CHANNELS:
        np.testing.assert_array_equal(viewer.layers[name].data, channels[name])
    assert viewer.layers["Mito"].colormap.name == "magenta"
    assert tuple(viewer.layers["ER"].contrast_limits) == (5, 3000)
    np.testing.assert_array_equal(viewer.layers["cells"].data, labels)
    np.testing.assert_array_equal(new.crops_of(np.arange(6)), old.crops_of(np.arange(6)))
    qtbot.waitUntil(lambda: widget.nearest.opened is not None, timeout=20_000)
    assert widget.nearest.opened.library.by == "Metadata_Treatment"
    widget.detach()


def test_images_in_files_stay_there_and_missing_ones_are_named(
    saved, make_napari_viewer, qtbot, tmp_path
):
    with zipfile.ZipFile(tmp_path / "mine.cpcnn") as archive:
        layers = json.loads(archive.read("session.json"))["layers"]
        held = [name for name in archive.namelist() if name.startswith("layers/")]
        archive.extract("cells.parquet", tmp_path)
    assert [layers[int(name[7:-4])]["name"] for name in held] == ["ER", "cells"]
    # Any program can read the table.
    assert len(read_profiles(tmp_path / "cells.parquet").metadata) == 6
    (tmp_path / "RNA.tif").unlink()
    (tmp_path / "library.parquet").unlink()
    viewer, widget = another(make_napari_viewer)
    widget.open_session(tmp_path / "mine.cpcnn")
    said = notification_manager.records[-1].message
    assert "RNA.tif" in said
    assert "library.parquet" in said
    assert len(widget.state.cells.metadata) == 6
    assert "DNA" in viewer.layers
    assert "RNA" not in viewer.layers
    widget.detach()


def test_what_is_no_session_is_refused_and_nothing_changes(saved, tmp_path):
    before = saved.state.cells
    (tmp_path / "text.cpcnn").write_text("no zip")
    saved.open_session(tmp_path / "text.cpcnn")
    assert "is no session of this widget" in notification_manager.records[-1].message
    with zipfile.ZipFile(tmp_path / "newer.cpcnn", "w") as archive:
        archive.writestr("session.json", json.dumps({"format": 2}))
    saved.open_session(tmp_path / "newer.cpcnn")
    assert "has format 2, this cpcnn reads 1" in notification_manager.records[-1].message
    assert saved.state.cells is before
    saved.state.set_cells(None)
    saved.save_session(tmp_path / "empty.cpcnn")
    assert "there are no cells to save" in notification_manager.records[-1].message
    assert not (tmp_path / "empty.cpcnn").exists()


def changed(path, change=lambda session: None, replaced=(), names=(), deflated=()):
    """Write a session again with something else in it, stored as sessions are."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    session = json.loads(members["session.json"])
    change(session)
    members |= {"session.json": json.dumps(session).encode(), **dict(replaced)}
    path = path.with_name("changed.cpcnn")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in [*members.items(), *names]:
            archive.writestr(name, content)
        for name, content in deflated:
            archive.writestr(name, content, zipfile.ZIP_DEFLATED)
    return path


def npy(array, **how):
    file = io.BytesIO()
    np.save(file, array, **how)
    return file.getvalue()


# Each with the sentence that it must be refused with.
HOSTILE = {
    "a path out of its folder": ({"names": [("../../evil.py", b"")]}, "it holds '../../evil.py'"),
    "another file": ({"names": [("layers/x.py", b"")]}, "it holds 'layers/x.py'"),
    "twice the same member": (
        {"names": [("selection.npy", npy(np.ones(6, bool)))]},
        "it has twice the member 'selection.npy'",
    ),
    "a link": (
        {"change": lambda s: s["layers"][0].update(path="relative.tif")},
        "its file of the layer DNA are 'relative.tif'",
    ),
    "a script": (
        {"change": lambda s: s["layers"][0].update(path="/home/me/a.py", plugin="napari")},
        "its file of the layer DNA are '/home/me/a.py'",
    ),
    "a script called otherwise": (
        {"change": lambda s: s["layers"][0].update(path="/home/me/a.tif.PY", plugin=None)},
        "its file of the layer DNA are '/home/me/a.tif.PY'",
    ),
    "an address": (
        {"change": lambda s: s["layers"][0].update(path="http://example.org/a.tif")},
        "its file of the layer DNA are 'http://example.org/a.tif'",
    ),
    "a pickle": (
        {"replaced": {"positions.npy": npy(np.array([{}], object), allow_pickle=True)}},
        "positions is object (1,)",
    ),
    "a picked cell that is not there": (
        {"change": lambda s: s.update(picked=99)},
        "its picked cell are 99",
    ),
    "layers that are none": (
        {"change": lambda s: s.update(layers={"a": 1})},
        "its layers are {'a': 1}",
    ),
    "a layer without a name": (
        {"change": lambda s: s["layers"][0].pop("name")},
        "its name are None",
    ),
    "limits that are no numbers": (
        {"change": lambda s: s["layers"][0].update(contrast_limits=["__import__", 1])},
        "its contrast_limits are ['__import__', 1]",
    ),
    "other arguments for the library": (
        {"change": lambda s: s["view"]["library"].update(shell="rm")},
        "its library are {",
    ),
    "another number of positions": (
        {"replaced": {"positions.npy": npy(np.ones((3, 2)))}},
        "its positions are (3, 2)",
    ),
    "deep nesting": (
        {"replaced": {"session.json": b"[" * 10**5}},
        "it is nested too deeply",
    ),
}


def test_hostile_sessions_are_refused_and_nothing_changes(saved, tmp_path, monkeypatch):
    def opened(*_, **__):
        raise AssertionError("a file was opened")

    monkeypatch.setattr("napari.components.ViewerModel.open", opened)
    before = saved.state.cells
    # A bomb: a GiB of zeros in a MiB.
    bomb = {"deflated": [("layers/9.npy", npy(np.zeros(0)) + bytes(2**30))]}
    attacks = HOSTILE | {"a bomb": (bomb, "its content would take 10")}
    for name, (how, reason) in attacks.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            path = changed(tmp_path / "mine.cpcnn", **how)
        notification_manager.records.clear()
        saved.open_session(path)
        assert notification_manager.records, name
        said = notification_manager.records[-1].message
        assert "changed.cpcnn is no session of this widget" in said, name
        assert reason in said, name
        assert "\n" not in said
        assert saved.state.cells is before


def test_a_script_that_a_session_names_as_an_image_does_not_run(saved, tmp_path):
    # napari's own reader of .py files runs them.
    script, made = tmp_path / "evil.py", tmp_path / "made"
    script.write_text(f"from pathlib import Path; Path({str(made)!r}).write_text('ran')")
    saved.viewer.open(script, plugin="napari")
    assert made.exists()
    made.unlink()
    path = changed(
        tmp_path / "mine.cpcnn",
        change=lambda s: s["layers"][0].update(path=str(script), plugin="napari"),
    )
    notification_manager.records.clear()
    saved.open_session(path)
    assert "file of the layer" in notification_manager.records[-1].message
    assert not made.exists()


def test_a_changed_byte_anywhere_is_noticed(saved, tmp_path):
    path = tmp_path / "mine.cpcnn"
    whole, before = path.read_bytes(), saved.state.cells
    random = np.random.default_rng(0)
    for place in random.integers(len(whole), size=40):
        content = bytearray(whole)
        content[place] ^= 1 << random.integers(8)
        path.write_bytes(content)
        notification_manager.records.clear()
        saved.open_session(path)
        assert "mine.cpcnn is no session" in notification_manager.records[-1].message
    assert saved.state.cells is before


@pytest.mark.parametrize("name", ["pandas", "hang"])
def test_a_library_whose_controls_are_an_attack_is_not_opened(saved, qtbot, tmp_path, name):
    attack = ATTACKS[name].replace("{file}", str(tmp_path / "made"))
    with zipfile.ZipFile(tmp_path / "mine.cpcnn") as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    session = json.loads(members["session.json"])
    session["view"]["library"]["controls"] = attack
    members["session.json"] = json.dumps(session).encode()
    with zipfile.ZipFile(tmp_path / "hostile.cpcnn", "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    before = len(notification_manager.records)
    with refused_in_time(tmp_path / "made"):
        saved.open_session(tmp_path / "hostile.cpcnn")
        qtbot.waitUntil(lambda: len(notification_manager.records) > before, timeout=20_000)
    assert is_refusal(notification_manager.records[-1].message)
