"""The network, in a process of its own.

Loading PyTorch stops a window for seconds, and what it brings along can crash beside the
drivers that draw the window (two copies of LLVM). In a process of its own it does neither, and
stopping is ending it. What takes longest the first time is done before anyone waits for it.
"""

from __future__ import annotations

import gc
from collections.abc import Generator

import numpy as np
from napari.layers import Labels
from napari.utils import progress

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


COLUMNS = 100


def warm_up_window() -> None:
    """Draw napari's progress bar once, and collect garbage, while the widget opens.

    The first bar stops the window two to three times as long as those that follow. Python's
    collector goes through all that napari holds, for up to a quarter of a second, when a quarter
    more is there than at its last round: napari's start brings it close to that.

    Examples
    --------
    >>> warm_up_window()  # doctest: +SKIP
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
    table = {str(number): [0.0] for number in range(COLUMNS)}
    Labels(np.zeros((1, 1), int), features=table)
