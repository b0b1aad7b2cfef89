"""The choice of a model (by name, file, license) and of the layer that shows each channel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QMessageBox,
    QPushButton,
    QSizePolicy,
    QWidget,
)

from cpcnn_core.errors import CPCNNError, LicenceError
from cpcnn_core.models.card import ModelCard
from cpcnn_core.models.licences import accept_licence, needs_yes, question
from cpcnn_core.models.registry import (
    card_of,
    default_model,
    find_model,
    list_models,
    ready_models,
)
from napari_cpcnn.messages import PlainLabel, as_text, tell_error
from napari_cpcnn.planes import guess_channels


class ModelChoice(QWidget):
    """A list of the models known by name: the default, then those that can be used at once.

    Attributes
    ----------
    box : QComboBox
        The data of an entry are the model's name, or its file.
    """

    def __init__(self) -> None:
        super().__init__()
        self.box = layer_box(
            "The network; get the published one with: cpcnn models fetch cell-painting-cnn-v1"
        )
        other = QPushButton("File…")
        other.setToolTip("Use a model file (.safetensors)")
        other.clicked.connect(self._open)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.box)
        layout.addWidget(other)
        ready = ready_models()
        # The default comes first even if it is not here: then it says what to install.
        for name in dict.fromkeys([default_model(), *ready, *list_models()]):
            self.box.addItem(name if name in ready else f"{name} (not on this machine)", name)

    def card(self) -> ModelCard:
        """Return the card of the model chosen.

        Raises
        ------
        CPCNNError
            It is not on this machine, or damaged.
        """
        return find_model(self.box.currentData())[0]

    def channels(self) -> tuple[str, ...]:
        """Return the channels of the model chosen, also where it is not on this machine."""
        try:
            return card_of(self.box.currentData()).channels
        except CPCNNError:
            return ()

    def add(self, path: str) -> None:
        """Offer a model file, and choose it."""
        try:
            card = find_model(path)[0]
        except CPCNNError as error:
            tell_error(error)
            return
        self.box.addItem(f"{card.name} ({Path(path).name})", path)
        self.box.setCurrentIndex(self.box.count() - 1)

    def ask_licence(self, card: ModelCard) -> None:
        """Ask whether the user accepts a licence that forbids commercial use, once.

        Raises
        ------
        LicenceError
            The user does not.
        """
        if not needs_yes(card):
            return
        text = question(card)
        asked = f"{text[0].upper()}{text[1:]}. Do you accept it, and use the model accordingly?"
        if QMessageBox.question(self, "Licence", as_text(asked)) != QMessageBox.StandardButton.Yes:
            raise LicenceError(f"{card.name} is not used: its licence was not accepted")
        accept_licence(card)

    def _open(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open a model", "", "Models (*.safetensors)")
        if path:
            self.add(path)


NO_LAYER = "—"
ONE_LAYER = "all channels in one layer"


class ChannelChoice(QWidget):
    """A list of image layers for every channel.

    Attributes
    ----------
    boxes : dict of str to QComboBox
        By channel; the one entry `ONE_LAYER` where one layer has all channels.
    """

    def __init__(self) -> None:
        super().__init__()
        self.boxes: dict[str, QComboBox] = {}
        # What the user has chosen by hand is not guessed again.
        self._by_hand: set[str] = set()
        self._form = QFormLayout(self)
        self._form.setContentsMargins(0, 0, 0, 0)
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)

    def ask_for(self, channels: Sequence[str]) -> None:
        """Start again with other channels."""
        while self._form.rowCount():
            self._form.removeRow(0)
        self.boxes, self._by_hand = {}, set()
        for name in channels:
            box = layer_box(f"The image layer that shows {name}")
            box.activated.connect(lambda _, name=name: self._by_hand.add(name))
            self.boxes[name] = box
            self._form.addRow(PlainLabel("Image" if name == ONE_LAYER else name), box)

    def offer(self, layers: Sequence[str]) -> None:
        """Offer the layers that there are now, and guess where nothing was chosen."""
        guessed = guess_channels(tuple(self.boxes), layers)
        for name, box in self.boxes.items():
            wanted = box.currentText() if name in self._by_hand else guessed[name]
            if name == ONE_LAYER and wanted is None and layers:
                wanted = layers[0]
            fill_box(box, [NO_LAYER, *layers], wanted or NO_LAYER)

    def chosen(self) -> list[str]:
        """Return the chosen layer of every channel, in order; `NO_LAYER` where there is none."""
        return [box.currentText() for box in self.boxes.values()]


def layer_box(tip: str) -> QComboBox:
    """Return an empty list of layers that long names do not widen."""
    box = QComboBox()
    box.setToolTip(as_text(tip))
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(8)
    box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    return box


def fill_box(box: QComboBox, names: list[str], wanted: str) -> None:
    """Offer other layers and choose one, without emitting a signal."""
    box.blockSignals(True)
    box.clear()
    box.addItems(names)
    box.setCurrentText(wanted if wanted in names else (names[0] if names else ""))
    box.blockSignals(False)
