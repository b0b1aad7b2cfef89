"""The panel that embeds: which layers, which model, go, stop.

What takes longest the first time is done before anyone waits for it.
"""

from __future__ import annotations

import gc
from collections.abc import Generator
from functools import partial
from itertools import count
from weakref import ref

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels
from napari.qt.threading import GeneratorWorker, create_worker
from napari.utils import progress
from qtpy.QtCore import QTimer, Signal
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from cpcnn_core.errors import CancelledError, ChannelError, CPCNNError, ImageError
from cpcnn_core.imaging.scale import check_um_per_px, scale_notice
from cpcnn_core.models.card import ModelCard
from cpcnn_core.schema.profiles import Profiles
from napari_cpcnn.embed.choices import ONE_LAYER, ChannelChoice, ModelChoice, fill_box, layer_box
from napari_cpcnn.embed.layer_embedding import (
    EmbedRequest,
    NetworkProcess,
    Step,
    announced,
    embed_layers,
    layer_features,
)
from napari_cpcnn.embed.nuclei import NucleiFinder
from napari_cpcnn.layer_links import OVERLAY, LayerWatch, ViewerLink
from napari_cpcnn.messages import PlainLabel, Refusal, tell, tell_error
from napari_cpcnn.planes import check_channels, pixels, plane_indices, um_per_px_of
from napari_cpcnn.shared_state import LAYER, SharedState

# Between two things that each redraw the window.
PAUSE_MS = 30
# Of the table that warms napari up.
_WARM_UP_COLUMNS = 100


class EmbedPanel(QWidget):
    """Chooses layers and model, and embeds the cells off the window's thread.

    Parameters
    ----------
    viewer : napari.Viewer
    state : SharedState
    link : ViewerLink
    """

    finished = Signal()

    def __init__(self, viewer: ViewerModel, state: SharedState, link: ViewerLink) -> None:
        super().__init__()
        self._viewer, self._state, self._link = viewer, state, link
        self._network = NetworkProcess()
        self._worker: GeneratorWorker | None = None
        self._notice = ""
        self._warm = False
        # By its name, the layer that was embedded last.
        self._embedded: dict[str, ref[Labels]] = {}
        self._build()
        self._watch = LayerWatch(viewer.layers, self.refresh)
        self._channels()

    def detach(self) -> None:
        """Let go of the viewer, and stop what runs."""
        self.stop()
        self.nuclei.stop()
        self._watch.detach()

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802  (Qt's name)
        """Prepare what embedding will ask of the window, once, while all of it opens."""
        super().showEvent(event)
        if not self._warm:
            self._warm = True
            QTimer.singleShot(0, warm_up_window)

    @property
    def running(self) -> bool:
        """Whether cells are being embedded."""
        return self._worker is not None

    def request(self) -> EmbedRequest:
        """Return what would be embedded now.

        Raises
        ------
        CPCNNError
            Something is not chosen.
        """
        card = self.models.card()
        labels = self._layer(self.labels.currentText())
        if labels is None:
            raise CPCNNError("choose a labels layer, or find nuclei first")
        chosen, channels = self._chosen_channels(card)
        if self.one_layer.isChecked():
            self._check_channel_axis(chosen[0], labels, channels)
        every = self.planes.currentData()
        planes = plane_indices(labels, self._viewer.dims.current_step, every=every)
        model = self.models.box.currentData()
        return EmbedRequest(
            model, channels, chosen, labels, planes, self.mask.isChecked(), self._um_per_px(labels)
        )

    def _um_per_px(self, labels: Labels) -> float | None:
        """Return micrometres per pixel as entered, else as the layer has them."""
        text = self.um_per_px.text().strip()
        if not text:
            return um_per_px_of(labels)
        try:
            return check_um_per_px(float(text))
        except ValueError as error:
            raise ImageError(
                f"expected micrometres per pixel as a positive number such as 0.65, got {text!r}"
            ) from error

    def _chosen_channels(self, card: ModelCard) -> tuple[list[Image], tuple[str, ...]]:
        """Return layers and their channels; a model that takes any goes without some."""
        chosen = [self._layer(name) for name in self.channels.chosen()]
        if self.one_layer.isChecked():
            check_channels([ONE_LAYER], chosen)
            return chosen, card.channels
        there = [pair for pair in zip(chosen, card.channels, strict=True) if pair[0] is not None]
        if not (card.takes_any_channels and there):
            check_channels(card.channels, chosen)
        layers, channels = zip(*there, strict=True)
        return list(layers), channels

    def run(self) -> None:
        """Embed; a second call while it runs stops it."""
        if self.running:
            self.stop()
            return
        try:
            request = self.request()
            card = self.models.card()
            self._part_from_its_namesake(request.labels)
            # What would be refused in the end is said before the work.
            self._state.staying(announced(request))
            self.models.ask_licence(card)
            self._notice = scale_notice(card, request.um_per_px)
        except CPCNNError as error:
            self.status.setText(str(error))
            tell_error(error)
            return
        self._embedded[request.labels.name] = ref(request.labels)
        self._link.set_channels(request.labels, list(request.images))
        worker = create_worker(
            _embedded_or_error,
            request,
            self._network,
            _progress={"total": 0, "desc": "Embedding cells"},
        )
        worker.yielded.connect(self._tell)
        worker.returned.connect(self._take)
        worker.finished.connect(self._end)
        self._worker = worker
        self.go.setText("Stop")
        self.bar.setRange(0, 0)
        self.bar.setFormat("loading the model")
        self.bar.show()
        # First the window shows that it has understood, then napari's own progress.
        QTimer.singleShot(PAUSE_MS, worker.start)

    def _part_from_its_namesake(self, labels: Labels) -> None:
        """Rename a layer that is called as another was whose cells are on the map.

        Cells know their layer by its name; those of the next field must not take their place.
        """
        name, cells = labels.name, self._state.cells
        other = self._embedded.get(name)
        if cells is None or LAYER not in cells.metadata.columns:
            return
        if other is None or other() is labels or name not in {*cells.metadata[LAYER]}:
            return
        taken = {*cells.metadata[LAYER], *(layer.name for layer in self._viewer.layers)}
        free = next(f"{name} {n}" for n in count(2) if f"{name} {n}" not in taken)
        self._link.part(labels, free)
        self.labels.setCurrentText(labels.name)
        tell(f"This layer is called {labels.name} now: cells of another {name} are shown.")

    def stop(self) -> None:
        """Stop at once; what was embedded so far is given up."""
        if self._worker is not None:
            self._worker.quit()
        self._network.stop()

    def _dna_plane(self) -> tuple[Image, tuple[int, ...]]:
        """Return the layer of the first channel, and the index of its plane that is shown."""
        layer = self._layer(self.channels.chosen()[0])
        if layer is None:
            raise ChannelError("choose the image layer of the DNA channel first")
        index = tuple(self._viewer.dims.current_step[-layer.ndim : -2]) if layer.ndim > 2 else ()
        return layer, (0, *index[1:]) if self.one_layer.isChecked() else index

    def _build(self) -> None:
        self.models = ModelChoice()
        self.models.box.currentIndexChanged.connect(self._channels)
        self.one_layer = QCheckBox(ONE_LAYER)
        self.one_layer.setToolTip("The layer's first axis is the channel, in the model's order")
        self.one_layer.toggled.connect(self._channels)
        self.labels = layer_box("Every label of this layer is one cell")
        self.nuclei = NucleiFinder(self._viewer, self._dna_plane)
        self.nuclei.found.connect(self.labels.setCurrentText)
        self.planes = layer_box("Of time series and stacks")
        for text, every in (("the plane shown", False), ("all planes", True)):
            self.planes.addItem(text, every)
        self.mask = QCheckBox("mask neighbours")
        self.mask.setToolTip("Set what is outside the cell's own label to zero")
        self.um_per_px = QLineEdit()
        self.um_per_px.setPlaceholderText("the layer's own")
        self.um_per_px.setToolTip(
            "Images of another scale than the model's are resampled to it before cells are cut"
        )
        self.go = QPushButton("Embed cells")
        self.go.setToolTip("Compute the features of every cell (Ctrl+Return)")
        self.go.setShortcut("Ctrl+Return")
        self.go.clicked.connect(self.run)
        self.bar = QProgressBar()
        self.bar.hide()
        self.status = PlainLabel()
        self.status.setWordWrap(True)
        self._form = QFormLayout()
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._form.addRow("Model", self.models)
        self._form.addRow("", self.one_layer)
        self.channels = ChannelChoice()
        below = QFormLayout()
        below.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        below.addRow("Cells", _row(self.labels, self.nuclei))
        below.addRow("Planes", self.planes)
        below.addRow("µm per pixel", self.um_per_px)
        below.addRow("", self.mask)
        layout = QVBoxLayout(self)
        layout.addLayout(self._form)
        layout.addWidget(self.channels)
        layout.addLayout(below)
        for part in (self.go, self.bar, self.status):
            layout.addWidget(part)
        layout.addStretch()

    def _channels(self) -> None:
        """Offer a layer for every channel of the model."""
        one = self.one_layer.isChecked()
        self.channels.ask_for((ONE_LAYER,) if one else self.models.channels())
        self.refresh()

    def refresh(self) -> None:
        """Offer the layers that there are now."""
        images = [layer.name for layer in self._viewer.layers if isinstance(layer, Image)]
        labels = [
            layer.name
            for layer in self._viewer.layers
            if isinstance(layer, Labels) and layer.name != OVERLAY
        ]
        self.channels.offer(images)
        fill_box(self.labels, labels, self.labels.currentText())
        if not (images and labels):
            self.status.setText(
                "Open the images of a field, one layer for each channel, and a labels layer with "
                "the cells; or find the nuclei here."
            )
        elif not self.running:
            self.status.setText("")

    def _layer(self, name: str) -> Image | Labels | None:
        return next((layer for layer in self._viewer.layers if layer.name == name), None)

    def _check_channel_axis(self, layer: Image, labels: Labels, channels: tuple[str, ...]) -> None:
        shape, wanted = pixels(layer).shape, pixels(labels).shape
        if len(shape) != len(wanted) + 1 or shape[0] != len(channels):
            raise CPCNNError(
                f"the first axis of {layer.name} should be the {len(channels)} channels "
                f"{', '.join(channels)}, with the labels' axes after it; its shape is {shape}, "
                f"the labels' {wanted}"
            )

    def _tell(self, step: Step) -> None:
        done, total = step
        self.bar.setRange(0, total)
        self.bar.setValue(done)
        self.bar.setFormat(f"{done} of {total} cells" if done else "loading the model")

    def _take(self, cells: Profiles | Refusal) -> None:
        if isinstance(cells, Refusal):
            if not isinstance(cells.error, CancelledError):
                self.status.setText(str(cells.error))
                tell_error(cells.error)
            return
        name = cells.metadata["Metadata_Layer"].iloc[0]
        try:
            joined = self._state.joined(cells)
        except CPCNNError as error:
            tell_error(error)
            return
        layer = self._layer(name)
        if layer is not None:
            # Where other plugins find them. A new table, not new columns: only that tells
            # napari of the change.
            layer.features = layer_features(joined, name)
        # One after the other: between them the window draws and listens.
        told = f"{len(cells.metadata)} cells of {name} are embedded."
        QTimer.singleShot(PAUSE_MS, partial(self._show, joined, told))

    def _show(self, cells: Profiles, told: str) -> None:
        self._state.set_cells(cells)
        self.status.setText(f"{told} {self._notice[:1].upper()}{self._notice[1:]}".rstrip())

    def _end(self) -> None:
        # After the cells are shown.
        QTimer.singleShot(2 * PAUSE_MS, self._tell_end)

    def _tell_end(self) -> None:
        self._worker = None
        self.go.setText("Embed cells")
        self.bar.hide()
        self.finished.emit()


def warm_up_window() -> None:
    """Draw napari's progress bar once, and collect garbage, while the widget opens.

    The first bar stops the window two to three times as long as those that follow. Python's
    collector goes through all that napari holds, for up to a quarter of a second, when a quarter
    more is there than at its last round: napari's start brings it close to that.
    """
    progress(total=1, desc="Cell Painting CNN").close()
    gc.collect()


def warm_up_tables() -> None:
    """Have napari make a table, on a thread that no window waits for.

    Its first takes three times as long as those that follow.

    Examples
    --------
    >>> warm_up_tables()
    """
    table = {str(number): [0.0] for number in range(_WARM_UP_COLUMNS)}
    Labels(np.zeros((1, 1), int), features=table)


def _embedded_or_error(
    request: EmbedRequest, network: NetworkProcess
) -> Generator[Step, None, Profiles | Refusal]:
    """Hand errors that are written for users over as a result; others napari shows with a trace."""
    try:
        warm_up_tables()
        return (yield from embed_layers(request, network))
    except CPCNNError as error:
        return Refusal(error)


def _row(*widgets: QWidget) -> QWidget:
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        layout.addWidget(widget)
    return row
