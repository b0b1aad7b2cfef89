"""Find nuclei in one click: by threshold and shape, or with Cellpose where it is installed."""

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

from cpcnn_core.errors import CancelledError, CPCNNError, ImageError
from napari_cpcnn.child_process import ChildProcess
from napari_cpcnn.messages import Refusal, tell, tell_error
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


SMOOTH_PX, SMALLEST_AREA_PX, SMALLEST_DISTANCE_PX = 1.5, 60, 7


def find_nuclei(image: np.ndarray) -> np.ndarray:
    """Label the nuclei of a DNA image: smoothed, thresholded (Otsu), split by their shape.

    Parameters
    ----------
    image : ndarray of shape (h, w), any real dtype

    Returns
    -------
    ndarray of shape (h, w), int32
        1 to n; 0 is background.

    Raises
    ------
    ImageError
        Not a flat image, the same value everywhere, or nothing that looks like a nucleus.

    Examples
    --------
    >>> image = np.zeros((60, 60))
    >>> image[10:25, 10:25] = image[30:50, 30:50] = 9
    >>> find_nuclei(image).max()
    np.int32(2)
    """
    from scipy import ndimage
    from skimage.feature import peak_local_max
    from skimage.filters import gaussian, threshold_otsu
    from skimage.segmentation import watershed

    image = np.asarray(image, np.float32)
    if image.ndim != 2:
        raise ImageError(f"nuclei are found in flat images, this one has the shape {image.shape}")
    if not np.ptp(image) > 0:
        raise ImageError("the image has the same value everywhere; choose the DNA channel")
    smooth = gaussian(image, SMOOTH_PX, preserve_range=True)
    # Of the square root: nuclei differ in brightness, and the dim ones must be found too.
    smooth = np.sqrt(smooth - smooth.min())
    regions = ndimage.label(ndimage.binary_fill_holes(smooth > threshold_otsu(smooth)))[0]
    regions[np.bincount(regions.ravel())[regions] < SMALLEST_AREA_PX] = 0
    if not regions.any():
        raise ImageError("nothing in this image looks like a nucleus; choose the DNA channel")
    distance = gaussian(ndimage.distance_transform_edt(regions > 0), SMOOTH_PX)
    peaks = peak_local_max(
        distance, min_distance=SMALLEST_DISTANCE_PX, labels=regions, exclude_border=False
    )
    seeds = np.zeros(image.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    result: np.ndarray = watershed(-distance, seeds, mask=regions > 0).astype(np.int32)
    return result
