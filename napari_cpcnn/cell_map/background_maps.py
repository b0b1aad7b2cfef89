"""Maps and clusters of the state's cells, made off the window's thread and kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import cast

import numpy as np
from qtpy.QtCore import QObject, Signal

from cpcnn_core.errors import CancelledError, CPCNNError
from napari_cpcnn.cell_map.maps import MapProcess, components_of

PCA, UMAP, CLUSTERS = "PCA", "UMAP", "clusters"


class MapMaking(QObject):
    """Makes what is asked for, and tells when it is there.

    Attributes
    ----------
    components : ndarray of shape (n, k), float32, or None
        The principal components, of which UMAP and clusters are made.

    Signals
    -------
    made : str, object
        A map (n, 2) or the clusters (n,) are there.
    failed : str, str
        They are not, and why.
    """

    made = Signal(str, object)
    failed = Signal(str, str)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.components: np.ndarray | None = None
        self._features: np.ndarray | None = None
        self._maps: dict[str, np.ndarray] = {}
        self._running: set[str] = set()
        # What waits for the components, and how many clusters are wanted.
        self._waiting: dict[str, int] = {}
        self._processes: dict[str, MapProcess] = {}
        self._mailbox = _Mailbox()
        self._mailbox.came.connect(self._take)

    def set_features(self, features: np.ndarray | None) -> bool:
        """Take other cells (n, d); what was made of the last ones is forgotten, and stopped.

        Returns
        -------
        bool
            Whether these are others.
        """
        if features is self._features:
            return False
        self.stop()
        self._features, self.components, self._maps = features, None, {}
        self._running, self._waiting = set(), {}
        return True

    def map_of(self, name: str) -> np.ndarray | None:
        """Return the map (n, 2), float32, if it is made already."""
        return self._maps.get(name)

    def keep(self, name: str, positions: np.ndarray) -> None:
        """Take a map (n, 2) that was made earlier."""
        self._maps[name] = np.ascontiguousarray(positions, np.float32)

    def running(self, name: str) -> bool:
        """Whether it is being made, or will be when the components are there."""
        return name in self._running or name in self._waiting

    def ask(self, name: str, clusters: int = 0) -> None:
        """Have a map made, or that many clusters; `made` says when it is there."""
        if self._features is None:
            return
        if name == CLUSTERS and name in self._running:
            # Another number than the one that is being made.
            self._waiting[name] = clusters
        if name != PCA and self.components is None:
            self._waiting[name] = clusters
            name = PCA
        if name not in self._running:
            self._start(name, clusters)

    def stop(self) -> None:
        """Stop a UMAP that is being made."""
        if self._waiting.pop(UMAP, None) is not None:
            self.failed.emit(UMAP, "")
        if UMAP in self._running:
            self._processes[UMAP].stop()

    def close(self) -> None:
        """Leave nothing behind."""
        self._waiting.clear()
        for process in self._processes.values():
            process.stop()

    def _start(self, name: str, clusters: int) -> None:
        self._running.add(name)
        work = self._work(name, clusters)
        features, mailbox = self._features, self._mailbox

        def run() -> None:
            result: object = None
            try:
                result = work()
            except CPCNNError as error:
                result = error
            finally:
                # Also after any other error, which napari shows: nothing must wait forever.
                mailbox.came.emit(name, features, result)

        threading.Thread(target=run, daemon=True).start()

    def _work(self, name: str, clusters: int) -> Callable[[], np.ndarray]:
        # There are cells, and components before all that is made of these.
        features = cast("np.ndarray", self._features)
        components = cast("np.ndarray", self.components)
        if name == PCA:
            return lambda: components_of(features)
        if name not in self._processes or not self._processes[name].usable:
            self._processes[name] = MapProcess(name)
        process = self._processes[name]
        if name == UMAP:
            return lambda: process.umap(components)
        return lambda: process.clusters(components, clusters)

    def _take(self, name: str, features: np.ndarray, result: object) -> None:
        if features is not self._features:
            return
        self._running.discard(name)
        if isinstance(result, np.ndarray):
            if name == PCA:
                self.components = result
            if name != CLUSTERS:
                result = self._maps[name] = np.ascontiguousarray(result[:, :2])
            self.made.emit(name, result)
        else:
            is_said = isinstance(result, CPCNNError) and not isinstance(result, CancelledError)
            self.failed.emit(name, str(result) if is_said else "")
        if self.components is not None:
            waiting, self._waiting = self._waiting, {}
            for other, clusters in waiting.items():
                self.ask(other, clusters)


class _Mailbox(QObject):
    """Brings what a thread made to the window's thread, if there still is one.

    The name, the features it was made of, and what was made, an error, or None.
    """

    came = Signal(str, object, object)
