"""Another Python that answers messages, so that napari's window never waits for its work."""

from __future__ import annotations

import collections
import contextlib
import os
import subprocess
import threading
from collections.abc import Mapping
from typing import IO, Any, BinaryIO, cast

import numpy as np

from cpcnn_core.child_processes import child_command
from cpcnn_core.errors import CancelledError, CPCNNError
from cpcnn_core.worker.protocol import MessageError, read_message, write_message

LAST_LINES, NICENESS = 20, 10


class ChildProcess:
    """``python -m MODULE``, which speaks `cpcnn_core.worker.protocol`; once stopped it stays so.

    It ends with this process too, whatever it does: see `cpcnn_core.child_processes`.

    Parameters
    ----------
    module : str
        It greets with one message, then answers.
    name : str
        What it is, for error messages.

    Examples
    --------
    >>> child = ChildProcess("cpcnn_core.worker", "the network's process")
    >>> child.send({"type": "embed"}), child.receive()  # doctest: +SKIP
    >>> child.stop()
    """

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name
        self._process: subprocess.Popen[bytes] | None = None
        self._last_lines: collections.deque[str] = collections.deque(maxlen=LAST_LINES)
        # Stopping comes from the window's thread, the rest from the thread that waits.
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
            The process has ended.
        """
        if self._start():
            self.receive()
        try:
            write_message(cast("BinaryIO", self._running().stdin), header, arrays)
        except (OSError, ValueError) as error:
            raise self._death() from error

    def receive(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Wait for the next message; errors are those of `send`."""
        try:
            message = read_message(cast("BinaryIO", self._running().stdout))
        except (OSError, ValueError, MessageError) as error:
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
            # This Python, and a module that its caller names in the source; no shell.
            self._process = subprocess.Popen(  # noqa: S603
                child_command(self._module),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # Windows: no console window, and the viewer's window goes first.
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0)
                | getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0),
            )
            if hasattr(os, "setpriority"):
                # So it does elsewhere, where all cores are at work.
                os.setpriority(os.PRIO_PROCESS, self._process.pid, NICENESS)
        # Its output has to be read, or the process waits for room in its pipe.
        threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()
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
