"""UMAP and clusters in processes of their own, which the window does not wait for.

In a thread of the window's own process UMAP of 50,000 cells stops the window for 0.4 s again
and again, for what numba compiled holds Python's lock while it runs; loading scikit-learn does
the same once. A process stays for the next time, because compiling takes numba up to half a
minute; one that is not wanted any more can be ended.
"""

from __future__ import annotations

import os
import sys

import numpy as np

from cpcnn_core.worker.protocol import read_message, write_message
from napari_cpcnn.cell_map.maps import clusters_of, umap_of
from napari_cpcnn.child_process import ChildProcess


class MapProcess:
    """Makes UMAPs or clusters, one at a time; once stopped it makes no more.

    Parameters
    ----------
    name : str
        What it makes, for error messages.
    """

    def __init__(self, name: str) -> None:
        self._child = ChildProcess("napari_cpcnn.cell_map.map_process", name)

    @property
    def usable(self) -> bool:
        """Whether it was neither stopped nor has died."""
        return self._child.usable

    def umap(self, components: np.ndarray) -> np.ndarray:
        """Return the UMAP (n, 2) of principal components; see `napari_cpcnn.cell_map.maps.umap_of`.

        Raises
        ------
        CancelledError
            `stop` was called.
        CPCNNError
            The process ended; the last lines it printed are in the message.
        """
        return self._ask({"type": "umap"}, components)

    def clusters(self, components: np.ndarray, count: int) -> np.ndarray:
        """Return clusters (n,) of components; see `napari_cpcnn.cell_map.maps.clusters_of`.

        Raises
        ------
        CancelledError, CPCNNError
            As `umap`.
        """
        return self._ask({"type": "clusters", "count": count}, components)

    def stop(self) -> None:
        """End the process at once, or before it begins."""
        self._child.stop()

    def _ask(self, request: dict[str, object], components: np.ndarray) -> np.ndarray:
        self._child.send(request, {"components": components})
        return self._child.receive()[1]["made"]


def _serve() -> None:
    """Serve as the process: read components, write what is asked for, until the pipe is closed."""
    out = os.fdopen(os.dup(1), "wb")
    # What libraries print must not get into the answers.
    os.dup2(2, 1)
    write_message(out, {"type": "hello"})
    while message := read_message(sys.stdin.buffer):
        request, arrays = message
        if request["type"] == "umap":
            made = umap_of(arrays["components"])
        else:
            made = clusters_of(arrays["components"], request["count"])
        write_message(out, {"type": "made"}, {"made": made})


if __name__ == "__main__":
    _serve()
