"""A process of its own for the network, so that napari's window never waits for it.

Loading PyTorch stops a window for seconds, and what it brings along can crash beside the
drivers that draw the window (two copies of LLVM). In a process of its own it does neither, and
stopping is ending it.
"""

from __future__ import annotations

import collections
import contextlib
import subprocess
import sys
import threading
from collections.abc import Generator

import numpy as np

from cpcnn_core.errors import CancelledError, CPCNNError, ProtocolError
from cpcnn_core.worker.pipe import read_message, write_message

LAST_LINES = 20
Step = tuple[int, int]


class NetworkProcess:
    """Embeds cells in ``python -m cpcnn_core.worker``; started when it is first needed.

    Examples
    --------
    >>> network = NetworkProcess()
    >>> network.stop()
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._last_lines: collections.deque[str] = collections.deque(maxlen=LAST_LINES)
        self._stopped = False

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
        self._stopped = False
        process = self._started()
        try:
            write_message(process.stdin, {"type": "embed", **request}, arrays)
            answer, found = self._read(process)
            while answer["type"] == "progress":
                yield answer["done"], answer["total"]
                answer, found = self._read(process)
        except (OSError, ProtocolError) as error:
            raise self._death(process) from error
        if answer["type"] == "error":
            raise CPCNNError(answer["message"])
        return found["features"]

    def stop(self) -> None:
        """End the process, whatever it does; the next request starts another."""
        process, self._process, self._stopped = self._process, None, True
        if process is not None:
            process.kill()
            _bury(process)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        if self._process is not None:
            _bury(self._process)
        self._process = process = subprocess.Popen(
            [sys.executable, "-m", "cpcnn_core.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # No console window on Windows.
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        # Somebody has to read, or the process waits for room in its pipe.
        threading.Thread(target=self._listen, args=(process,), daemon=True).start()
        self._read(process)
        return process

    def _read(self, process: subprocess.Popen[bytes]) -> tuple[dict, dict[str, np.ndarray]]:
        try:
            message = read_message(process.stdout)
        except ValueError as error:
            # The pipe was closed while it was read: the work was stopped.
            raise self._death(process) from error
        if message is None:
            raise self._death(process)
        return message

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        with process.stderr as lines:
            for line in lines:
                self._last_lines.append(line.decode("utf-8", "replace").rstrip())

    def _death(self, process: subprocess.Popen[bytes]) -> CPCNNError:
        if self._stopped:
            return CancelledError("stopped")
        code = process.wait()
        said = "\n".join(self._last_lines) or "it printed nothing"
        return CPCNNError(
            f"the network's process ended with exit status {code}; its last lines:\n{said}"
        )


def _bury(process: subprocess.Popen[bytes]) -> None:
    """Close what is left of a process that has ended, or is about to."""
    process.wait()
    for pipe in (process.stdin, process.stdout):
        # What was still to be written cannot be.
        with contextlib.suppress(OSError):
            pipe.close()
