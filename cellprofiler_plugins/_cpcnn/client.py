"""Start the worker, ask it, and say clearly what went wrong."""

import atexit
import collections
import contextlib
import os
import queue
import subprocess
import sys
import threading

if sys.platform == "linux":
    import fcntl

from .errors import WorkerError
from .parent import when_parent_is_gone
from .pipe import read_message, write_message
from .surroundings import own_libraries_hidden, worker_environ
from .threads import is_analysis_process

PROTOCOL_VERSION = 3
# Of the command line, which knows libraries of treatments too.
COMMAND = ("-m", "cpcnn_core.cli", "worker")
HELLO_SECONDS = 120
# Loading torch from a slow disk, or one batch on a crowded machine: not longer.
SILENCE_SECONDS = 900
STDERR_LINES = 12
# F_SETPIPE_SZ, which fcntl names only from Python 3.10 on.
LINUX_SET_PIPE_SIZE = 1031
_lock = threading.Lock()
_workers = {}


def ask(python, header, arrays=None, threads=None):
    """Ask this process's worker in that Python; it is started when there is none alive.

    All modules of a pipeline share it; `threads` counts when it is started.
    Returns (header, arrays) of the answer. An answer that says no, a worker that
    does not start, dies or falls silent: WorkerError.
    """
    with _lock:
        # Keyed by process: a forked child must not share its parent's pipe.
        key = (os.getpid(), python)
        worker = _workers.get(key)
        if worker is None or not worker.alive():
            if not _workers and is_analysis_process():
                when_parent_is_gone(close_all)
            worker = _workers[key] = Worker(python, threads)
        return worker.ask(header, arrays)


def close_all():
    """End the workers of this process."""
    with _lock:
        for (process, _), worker in list(_workers.items()):
            if process == os.getpid():
                worker.close()
        _workers.clear()


atexit.register(close_all)


def _widen(pipe):
    """Let Linux hold 1 MiB in the pipe instead of 64 KiB: images pass in half the time."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe.fileno(), LINUX_SET_PIPE_SIZE, 1 << 20)


class Worker:
    """One worker process and its pipe."""

    def __init__(self, python, threads=None):
        self.python = python
        try:
            with own_libraries_hidden():
                # A Python that `parent.py` or the user named, and words of ours; no shell.
                self.process = subprocess.Popen(  # noqa: S603
                    [python, *COMMAND],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env=worker_environ(threads),
                    # No console window on Windows.
                    creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
                )
        except OSError as error:
            raise WorkerError("%s cannot be started: %s" % (python, error)) from error
        _widen(self.process.stdin)
        self._answers = queue.Queue()
        self._last_lines = collections.deque(maxlen=STDERR_LINES)
        self._readers = [
            threading.Thread(target=target, daemon=True)
            for target in (self._read_answers, self._read_stderr)
        ]
        for reader in self._readers:
            reader.start()
        try:
            self._greet()
        except BaseException:
            self.close()
            raise

    def alive(self):
        """Tell whether the process runs."""
        return self.process.poll() is None

    def ask(self, header, arrays=None):
        """Send one request and wait for its answer."""
        try:
            try:
                write_message(self.process.stdin, header, arrays)
            except OSError as error:
                raise self._death() from error
            answer, arrays = self._next(SILENCE_SECONDS)
            while answer["type"] == "progress":
                answer, arrays = self._next(SILENCE_SECONDS)
        except BaseException:
            # Whatever interrupts a request leaves an answer in the pipe that
            # the next one would take for its own.
            self.close()
            raise
        if answer["type"] == "error":
            raise WorkerError(answer["message"])
        return answer, arrays

    def close(self):
        """End the process; its stdin's end tells it to."""
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _greet(self):
        hello, _ = self._next(HELLO_SECONDS)
        if hello.get("protocol") != PROTOCOL_VERSION:
            raise WorkerError(
                "The module speaks version %s and cpcnn %s in %s speaks version %s. Run "
                "cpcnn cellprofiler install there, and restart CellProfiler."
                % (PROTOCOL_VERSION, hello.get("cpcnn"), self.python, hello.get("protocol"))
            )

    def _next(self, seconds):
        try:
            message = self._answers.get(timeout=seconds)
        except queue.Empty:
            raise WorkerError(
                "The worker (%s) has said nothing for %d seconds and was ended.%s"
                % (self.python, seconds, self._said())
            ) from None
        if isinstance(message, Exception):
            raise message
        if message is None:
            raise self._death()
        return message

    def _death(self):
        try:
            code = self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            code = "unknown"
        self._readers[1].join(timeout=5)
        lines = "\n".join(self._last_lines)
        if "No module named 'cpcnn_core'" in lines or "No module named cpcnn_core" in lines:
            return WorkerError(
                "%s has no cpcnn. Enter the path of a Python that has it in the module's setting, "
                "or run cpcnn cellprofiler install where cpcnn is installed." % self.python
            )
        return WorkerError(
            "The worker (%s) ended with exit status %s.%s" % (self.python, code, self._said())
        )

    def _said(self):
        lines = "\n".join(self._last_lines)
        return " Its last lines:\n" + lines if lines else " It printed nothing."

    def _read_answers(self):
        try:
            while True:
                message = read_message(self.process.stdout)
                self._answers.put(message)
                if message is None:
                    return
        except Exception as error:  # noqa: BLE001  (it is raised again for the caller that waits)
            self._answers.put(WorkerError("The worker's answer cannot be read: %s" % error))

    def _read_stderr(self):
        for line in self.process.stderr:
            self._last_lines.append(line.decode("utf-8", "replace").rstrip())
