"""Which image layer shows which channel: guessed from names, shown, correctable."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtWidgets import QComboBox, QFormLayout, QSizePolicy, QWidget

from napari_cpcnn.plain_text import PlainLabel, as_text
from napari_cpcnn.planes import guess_channels

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
