"""The list of models, a button for a file, and the question of a licence."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QMessageBox, QPushButton, QWidget

from cpcnn_core.errors import CPCNNError, LicenceError
from cpcnn_core.models.card import ModelCard
from cpcnn_core.models.licences import accept_licence, needs_yes, question
from cpcnn_core.models.registry import card_of, find_model, list_models, ready_models
from napari_cpcnn.embed.channel_choice import layer_box
from napari_cpcnn.notices import tell_error
from napari_cpcnn.plain_text import as_text


class ModelChoice(QWidget):
    """A list of the models known by name, those that can be used at once first.

    Attributes
    ----------
    box : QComboBox
        The data of an entry are the model's name, or its file.

    Examples
    --------
    >>> ModelChoice().box.currentData()  # doctest: +SKIP
    'untrained-efficientnet-b0'
    """

    def __init__(self) -> None:
        super().__init__()
        self.box = layer_box("The network; get the published one with: cpcnn models fetch")
        other = QPushButton("File…")
        other.setToolTip("Use a model file (.safetensors)")
        other.clicked.connect(self._open)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.box)
        layout.addWidget(other)
        ready = ready_models()
        for name in [*ready, *(name for name in list_models() if name not in ready)]:
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
