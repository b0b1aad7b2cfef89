"""A name such as ``<img src=...>`` is shown as a name wherever Qt would take it for HTML."""

import numpy as np
import pandas as pd
import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QPointF, Qt
from qtpy.QtGui import QTextDocument
from qtpy.QtWidgets import QApplication, QLabel, QMessageBox, QToolTip

from cpcnn_core.errors import LicenceError, WeightsError
from cpcnn_core.io.profile_files import write_profiles
from cpcnn_core.models.card import ModelCard
from cpcnn_core.schema.columns import OBJECT_NUMBER, feature_names
from cpcnn_core.schema.profiles import Profiles
from napari_cpcnn.cell_map.map_panel import MapPanel
from napari_cpcnn.embed.choices import ChannelChoice, ModelChoice
from napari_cpcnn.gallery import Gallery
from napari_cpcnn.messages import PlainLabel, as_text, tell, tell_error, tell_warning
from napari_cpcnn.nearest.nearest_panel import NearestPanel
from napari_cpcnn.phenotypes import PhenotypePanel
from napari_cpcnn.shared_state import LAYER, PHENOTYPE, SharedState

IMAGE = "<img src='//server/share/x.png'>"
NAMES = [IMAGE, "<b>bold</b>", "a &lt; b", "=cmd|'/C calc'!A0"]
TREATMENT = "Metadata_Treatment"


def shown(text, text_format=Qt.TextFormat.AutoText):
    """Return the letters that Qt would show, and refuse pictures."""
    rich = text_format == Qt.TextFormat.RichText or (
        text_format == Qt.TextFormat.AutoText and Qt.mightBeRichText(text)
    )
    if rich:
        document = QTextDocument()
        document.setHtml(text)
        text = document.toPlainText()
    assert "\N{OBJECT REPLACEMENT CHARACTER}" not in text
    return text.replace("\N{WORD JOINER}", "")


def labels_of(widget):
    return [shown(label.text(), label.textFormat()) for label in widget.findChildren(QLabel)]


@pytest.fixture
def cells():
    random = np.random.default_rng(1)
    rows = pd.DataFrame(
        {
            LAYER: IMAGE,
            OBJECT_NUMBER: np.arange(16) + 1,
            "Metadata_Plate": IMAGE,
            "Metadata_Well": "<b>A01</b>",
            PHENOTYPE: NAMES * 4,
            TREATMENT: NAMES * 4,
            f"Metadata_{IMAGE}": NAMES * 4,
        }
    )
    features = random.normal(size=(16, 6)).astype(np.float32)
    return Profiles(features, rows, feature_names(6, compartment="Cells"), {"model": "one"})


@pytest.fixture
def state(cells):
    state = SharedState()
    state.set_cells(cells)
    return state


def test_qt_would_take_these_names_for_html():
    assert all(Qt.mightBeRichText(name) for name in NAMES[:3])
    assert shown("<b>bold</b>") == "bold"
    with pytest.raises(AssertionError):
        shown(IMAGE)


@pytest.mark.parametrize("name", [*NAMES, "taxol", "a < b", "<?xml?>", "\n <b>", "<!doctype html>"])
def test_texts_are_shown_as_they_are(qtbot, name):
    assert shown(as_text(name)) == name
    label = PlainLabel(name)
    qtbot.addWidget(label)
    assert shown(label.text(), label.textFormat()) == name


@pytest.mark.parametrize("show", [tell_error, tell, tell_warning])
def test_notifications(show, qapp):
    show(f"there is no treatment {IMAGE}")
    assert shown(notification_manager.records[-1].message) == f"there is no treatment {IMAGE}"


def test_the_library_and_its_matches(qtbot, state, cells, tmp_path):
    panel = NearestPanel(state)
    qtbot.addWidget(panel)
    wells = cells.metadata.assign(
        Metadata_Plate="P1", Metadata_Well=[f"A{n:02d}" for n in range(16)]
    )
    path = tmp_path / "<b>library<b>.parquet"
    write_profiles(Profiles(cells.features, wells, cells.feature_names, {"model": "one"}), path)
    with qtbot.waitSignal(state.library_changed):
        panel.open(path)
    state.pick(0)
    qtbot.waitUntil(lambda: panel.last_matches is not None and panel.table.model().rowCount() == 4)
    panel.choose(IMAGE)
    said = labels_of(panel)
    assert any("<b>library<b>.parquet" in text for text in said)
    assert any(text.startswith(f"{IMAGE}: ") for text in said)
    model = panel.table.model()
    tips = [
        model.index(row, column).data(Qt.ItemDataRole.ToolTipRole)
        for row in range(4)
        for column in range(model.columnCount())
    ]
    assert {shown(tip) for tip in tips} >= set(NAMES)
    heads = [
        model.headerData(column, Qt.Orientation.Horizontal, Qt.ItemDataRole.ToolTipRole)
        for column in range(model.columnCount())
    ]
    assert f"Metadata_{IMAGE}" in {shown(head) for head in heads}
    panel.table.clearSelection()
    panel.table.copy()
    copied = QApplication.clipboard().text()
    assert "\n'=cmd" in copied
    assert "\n=cmd" not in copied


def test_the_map(qtbot, state, monkeypatch):
    panel = MapPanel(state)
    qtbot.addWidget(panel)
    qtbot.waitUntil(lambda: state.positions is not None)
    for column in ("Treatment", IMAGE):
        panel.color_by.setCurrentText(column)
        panel.color_by.setCurrentIndex(panel.color_by.findText(column))
        (legend,) = [text for text in labels_of(panel) if "bold" in text]
        # Long names are cut there.
        assert all(name[:12] in legend for name in NAMES)
    tips = []
    monkeypatch.setattr(QToolTip, "showText", lambda _, text, *rest: tips.append(text))
    monkeypatch.setattr(panel.canvas, "_at", lambda spot: 0)
    panel.canvas._hover((QPointF(1, 1),))
    assert IMAGE in shown(tips[0])
    panel.making.close()


def test_crops_and_phenotypes(qtbot, state):
    gallery, phenotypes = Gallery(state), PhenotypePanel(state)
    for widget in (gallery, phenotypes):
        qtbot.addWidget(widget)
    gallery.show_rows(np.arange(4), IMAGE)
    qtbot.waitUntil(lambda: any(IMAGE in text for text in labels_of(gallery)))
    # Lists show texts alone.
    assert set(phenotypes.counts()) == set(NAMES)


def test_channels_of_a_model(qtbot):
    choice = ChannelChoice()
    qtbot.addWidget(choice)
    choice.ask_for([IMAGE, "DNA & RNA"])
    assert labels_of(choice) == [IMAGE, "DNA & RNA"]
    assert all(shown(box.toolTip()).startswith("The image layer") for box in choice.boxes.values())


def test_the_question_about_a_licence(qtbot, monkeypatch, tmp_path):
    monkeypatch.setenv("CPCNN_HOME", str(tmp_path))
    asked = []
    monkeypatch.setattr(QMessageBox, "question", lambda *args: asked.append(args[2]))
    choice = ModelChoice()
    qtbot.addWidget(choice)
    about = {"name": "nc", "summary": "An example.", "channels": ("DNA",), "embed_dim": 3}
    with pytest.raises(WeightsError, match="without < and >"):
        ModelCard(**about, commercial=False, licence=IMAGE)
    licence = "for R&lt;D"
    with pytest.raises(LicenceError):
        choice.ask_licence(ModelCard(**about, commercial=False, licence=licence))
    assert licence in shown(asked[0])
