"""The network, in a process of its own.

Loading PyTorch stops a window for seconds, and what it brings along can crash beside the
drivers that draw the window (two copies of LLVM). In a process of its own it does neither, and
stopping is ending it.
"""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from cpcnn_core.errors import CPCNNError
from napari_cpcnn.child_process import ChildProcess

Step = tuple[int, int]


class NetworkProcess:
    """Embeds cells in ``python -m cpcnn_core.worker``; started when it is first needed.

    Examples
    --------
    >>> network = NetworkProcess()
    >>> network.stop()
    """

    def __init__(self) -> None:
        self._child = _new_child()

    def embed(
        self, request: dict[str, object], arrays: dict[str, np.ndarray]
    ) -> Generator[Step, None, np.ndarray]:
        """Embed the cells of one plane.

        Parameters
        ----------
        request : dict
            ``model`` (a name or file), ``channels`` (their names, in the image's order).
        arrays : dict
            ``image`` (c, h, w), ``centers`` (n, 2) as (row, col); ``labels`` and
            ``label_ids`` where neighbours are masked.

        Yields
        ------
        (int, int)
            Cells done and cells in all.

        Returns
        -------
        ndarray of shape (n, d), float32

        Raises
        ------
        CancelledError
            `stop` was called.
        CPCNNError
            What the network's process says, or that it ended.
        """
        if not self._child.usable:
            self._child = _new_child()
        child = self._child
        child.send({"type": "embed", **request}, arrays)
        answer, found = child.receive()
        while answer["type"] == "progress":
            yield answer["done"], answer["total"]
            answer, found = child.receive()
        if answer["type"] == "error":
            raise CPCNNError(answer["message"])
        return found["features"]

    def stop(self) -> None:
        """End the process, whatever it does; the next request starts another."""
        self._child.stop()


def _new_child() -> ChildProcess:
    return ChildProcess("cpcnn_core.worker", "the network's process")
