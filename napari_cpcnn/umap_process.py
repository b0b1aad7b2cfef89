"""UMAP in a process of its own, which the window does not wait for and a user can end.

In a thread of the window's own process UMAP of 50,000 cells stops the window for 0.4 s again
and again: what numba compiled holds Python's lock while it runs. The process stays for the
next UMAP, because compiling takes numba up to half a minute.
"""

from __future__ import annotations

import os
import sys

import numpy as np

from cpcnn_core.worker.pipe import read_message, write_message
from napari_cpcnn.child_process import ChildProcess
from napari_cpcnn.maps import umap_of


class UmapProcess:
    """Makes UMAPs, one at a time; once stopped it makes no more.

    Examples
    --------
    >>> UmapProcess().positions(np.eye(100)).shape  # doctest: +SKIP
    (100, 2)
    """

    def __init__(self) -> None:
        self._child = ChildProcess("napari_cpcnn.umap_process", "UMAP")

    @property
    def usable(self) -> bool:
        """Whether it was neither stopped nor has died."""
        return self._child.usable

    def positions(self, components: np.ndarray) -> np.ndarray:
        """Return the UMAP of principal components; see `napari_cpcnn.maps.umap_of`.

        Parameters
        ----------
        components : ndarray of shape (n, k), float32

        Returns
        -------
        ndarray of shape (n, 2), float32

        Raises
        ------
        CancelledError
            `stop` was called.
        CPCNNError
            The process ended; the last lines it printed are in the message.
        """
        self._child.send({"type": "umap"}, {"components": components})
        return self._child.receive()[1]["positions"]

    def stop(self) -> None:
        """End the process at once, or before it begins."""
        self._child.stop()


def _serve() -> None:
    """Read components, write positions, until there are no more: what the process does."""
    out = os.fdopen(os.dup(1), "wb")
    # What libraries print shall not get into the answers.
    os.dup2(2, 1)
    write_message(out, {"type": "hello"})
    while message := read_message(sys.stdin.buffer):
        write_message(out, {"type": "umap"}, {"positions": umap_of(message[1]["components"])})


if __name__ == "__main__":
    _serve()
