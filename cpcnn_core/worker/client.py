"""Start a program that answers messages, and talk with it: this Python's side of the pipe.

CellProfiler's module has a client of its own, since nothing of this package is in its Python.
"""

from __future__ import annotations

import collections
import contextlib
import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import IO, Any, BinaryIO, cast

import numpy as np

from cpcnn_core.errors import CancelledError, CPCNNError
from cpcnn_core.worker.protocol import MessageError, read_message, write_message

LAST_LINES = 20
# What has sent something else than messages, or a part of one, has this long to end by itself.
_GRACE_SECONDS = 5

Message = tuple[dict[str, Any], dict[str, np.ndarray]]


class MessageProcess:
    """A program that speaks `cpcnn_core.worker.protocol`; once stopped it stays so.

    Parameters
    ----------
    command : sequence of str
        It greets with one message, then answers.
    name : str
        What it is, for error messages.
    niceness : int
        How far it stands back behind others on Linux and macOS; from 1 on also on Windows.

    Attributes
    ----------
    greeting : dict
        The header of its first message; empty before the first one is sent.

    Examples
    --------
    >>> import sys
    >>> worker = MessageProcess([sys.executable, "-m", "cpcnn_core.worker"], "the worker")
    >>> worker.send({"type": "models"})
    >>> answer, arrays = worker.receive()
    >>> answer["names"][0]
    'cell-painting-cnn-v1'
    >>> worker.stop()
    """

    def __init__(self, command: Sequence[str], name: str, *, niceness: int = 0) -> None:
        self._command, self._name, self._niceness = list(command), name, niceness
        self.greeting: dict[str, Any] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._listener: threading.Thread | None = None
        self._last_lines: collections.deque[str] = collections.deque(maxlen=LAST_LINES)
        # Stopping comes from a window's thread, the rest from the thread that waits.
        self._lock = threading.Lock()
        self._stopped = False

    @property
    def usable(self) -> bool:
        """Whether it runs, or will when it is first sent something."""
        ended = self._process is not None and self._process.poll() is not None
        return not (self._stopped or ended)

    def send(
        self, header: Mapping[str, object], arrays: Mapping[str, np.ndarray] | None = None
    ) -> None:
        """Send one message; the first one starts the process.

        Raises
        ------
        CancelledError
            `stop` was called.
        CPCNNError
            The process has ended, or is no program that speaks so.
        OSError
            It cannot be started.
        """
        if self._start():
            self.greeting = self.receive()[0]
        try:
            write_message(cast("BinaryIO", self._running().stdin), header, arrays)
        except (OSError, ValueError) as error:
            raise self._death() from error

    def receive(self) -> Message:
        """Wait for the next message; errors are those of `send`."""
        try:
            message = read_message(cast("BinaryIO", self._running().stdout))
        except MessageError as error:
            try:
                self._running().wait(_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                # It goes on: it did not die in the middle of a message.
                self.stop()
                raise CPCNNError(f"{self._name} does not speak as expected: {error}") from error
            raise self._death() from error
        except (OSError, ValueError) as error:
            # Also when the pipe was closed while it was read: the work was stopped.
            raise self._death() from error
        if message is None:
            raise self._death()
        return message

    def stop(self) -> None:
        """End the process at once, whatever it does, or before it begins."""
        with self._lock:
            self._stopped = True
        if self._process is not None:
            self._process.kill()
            self._bury()

    def _start(self) -> bool:
        with self._lock:
            if self._stopped:
                raise CancelledError("stopped")
            if self._process is not None:
                return False
            # Windows: no console window, and the viewer's window goes first.
            flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)
            if self._niceness:
                flags |= getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0)
            # A Python that the user has named or that runs this, and words of ours; no shell.
            self._process = subprocess.Popen(  # noqa: S603
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                creationflags=flags,
            )
            if self._niceness and hasattr(os, "setpriority"):
                # So it does elsewhere, where all cores are at work.
                os.setpriority(os.PRIO_PROCESS, self._process.pid, self._niceness)
        # Its output has to be read, or the process waits for room in its pipe.
        self._listener = threading.Thread(target=self._listen, args=(self._process,), daemon=True)
        self._listener.start()
        return True

    def _running(self) -> subprocess.Popen[bytes]:
        """Return the process, which was started."""
        return cast("subprocess.Popen[bytes]", self._process)

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        with cast("IO[bytes]", process.stderr) as lines:
            for line in lines:
                self._last_lines.append(line.decode("utf-8", "replace").rstrip())

    def _death(self) -> CPCNNError:
        if self._stopped:
            return CancelledError("stopped")
        code = self._running().wait()
        self._bury()
        if self._listener is not None:
            # What it said last may still be on its way.
            self._listener.join(_GRACE_SECONDS)
        said = "\n".join(self._last_lines) or "it printed nothing"
        return CPCNNError(f"{self._name} ended with exit status {code}; its last lines:\n{said}")

    def _bury(self) -> None:
        """Close what is left of a process that has ended, or is about to."""
        process = self._running()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            # What was still to be written cannot be.
            with contextlib.suppress(OSError):
                cast("IO[bytes]", pipe).close()
