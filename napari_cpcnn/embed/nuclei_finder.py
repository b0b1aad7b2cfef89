"""The button that finds nuclei: by threshold and shape, or with Cellpose where it is installed."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import cast

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels
from napari.qt.threading import FunctionWorker, create_worker
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QMenu, QPushButton

from cpcnn_core.errors import CancelledError, CPCNNError
from napari_cpcnn.child_process import ChildProcess
from napari_cpcnn.embed.nuclei import find_nuclei
from napari_cpcnn.notices import Refusal, tell, tell_error
from napari_cpcnn.planes import pixels

THRESHOLD, CELLPOSE = "by threshold and shape", "with Cellpose"
Choice = Callable[[], tuple[Image, tuple[int, ...]]]


class NucleiFinder(QPushButton):
    """Labels the nuclei of one plane in the background, as a new layer.

    Parameters
    ----------
    viewer : napari.Viewer
    choice : callable () -> (Image, index)
        The layer of the DNA channel and the index of the plane in it.

    Signals
    -------
    found : str
        Name of the new labels layer.
    """

    found = Signal(str)

    def __init__(self, viewer: ViewerModel, choice: Choice) -> None:
        super().__init__()
        self._viewer, self._choice = viewer, choice
        self._worker: FunctionWorker | None = None
        self._cellpose: ChildProcess | None = None
        self._layer: Image | None = None
        self.setText("Find nuclei")
        self.setToolTip("Label the nuclei of the DNA channel, as a new layer")
        self.clicked.connect(lambda: self.find(THRESHOLD))
        if find_spec("cellpose") is not None:
            menu = QMenu(self)
            for method in (THRESHOLD, CELLPOSE):
                menu.addAction(method).triggered.connect(lambda _, method=method: self.find(method))
            # With a menu, a click opens it.
            self.setMenu(menu)

    @property
    def running(self) -> bool:
        """Whether nuclei are being looked for."""
        return self._worker is not None

    def find(self, method: str) -> None:
        """Look for nuclei; while it runs, a second call stops it."""
        if self.running:
            self.stop()
            return
        try:
            self._layer, index = self._choice()
        except CPCNNError as error:
            tell_error(error)
            return
        plane = np.asarray(pixels(self._layer)[index])
        if method == CELLPOSE:
            self._cellpose = ChildProcess("napari_cpcnn.embed.cellpose_process", "Cellpose")
        self._worker = create_worker(
            _labels_or_error,
            plane,
            self._cellpose if method == CELLPOSE else None,
            _progress={"desc": f"Finding nuclei {method}"},
        )
        self._worker.returned.connect(self._take)
        self._worker.finished.connect(self._end)
        self.setText("Stop")
        self._worker.start()

    def stop(self) -> None:
        """Stop Cellpose; the other way takes less than a second."""
        if self._cellpose is not None:
            self._cellpose.stop()

    def _take(self, labels: np.ndarray | Refusal) -> None:
        if isinstance(labels, Refusal):
            if not isinstance(labels.error, CancelledError):
                tell_error(labels.error)
            return
        if self._layer not in self._viewer.layers:
            return
        # Found in it.
        image = cast("Image", self._layer)
        layer: Labels = self._viewer.add_labels(
            labels,
            name="nuclei",
            scale=image.scale[-2:],
            translate=image.translate[-2:],
        )
        self.found.emit(layer.name)
        tell(f"{labels.max()} nuclei")

    def _end(self) -> None:
        self.stop()
        self._worker = self._cellpose = None
        self.setText("Find nuclei")


def _labels_or_error(plane: np.ndarray, cellpose: ChildProcess | None) -> np.ndarray | Refusal:
    try:
        if cellpose is None:
            return find_nuclei(plane)
        cellpose.send({"type": "nuclei"}, {"plane": plane})
        answer, arrays = cellpose.receive()
        if answer["type"] == "error":
            return Refusal(CPCNNError(answer["message"]))
        return arrays["labels"]
    except CPCNNError as error:
        return Refusal(error)
