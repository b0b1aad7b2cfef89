"""Start the worker, ask it, remember its answers for a moment, and end with CellProfiler."""

from __future__ import annotations

import atexit
import collections
import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, Dict, NamedTuple, Tuple, Union, cast

import psutil

from .protocol import PROTOCOL_VERSION, read_message, write_message
from .worker_python import (
    WorkerError,
    find_python,
    is_analysis_process,
    own_libraries_hidden,
    worker_environ,
    worker_threads,
)

if TYPE_CHECKING:
    import numpy as np

if sys.platform == "linux":
    import fcntl

Header = Dict[str, Any]
Arrays = Dict[str, "np.ndarray"]
Answer = Tuple[Header, Arrays]

# Of the command line, which knows libraries of treatments too.
COMMAND = ("-m", "cpcnn_core.cli", "worker")
HELLO_SECONDS = 120
# Loading torch from a slow disk, or one batch on a crowded machine: not longer.
SILENCE_SECONDS = 900
STDERR_LINES = 12
# F_SETPIPE_SZ, which fcntl names only from Python 3.10 on.
LINUX_SET_PIPE_SIZE = 1031
# A settings window asks at every repaint.
REMEMBERED_SECONDS = 10
PARENT_SECONDS = 2
_lock = threading.Lock()
_workers: dict[tuple[int, str], Worker] = {}
_answers: dict[tuple[WorkerChoice, str], tuple[float, Header | WorkerError]] = {}


class WorkerChoice(NamedTuple):
    """Which worker is asked: the module's settings *Python with cpcnn* and *CPU threads*."""

    python: str
    threads: str


def ask(
    choice: WorkerChoice, header: Header, arrays: Mapping[str, np.ndarray] | None = None
) -> Answer:
    """Ask this process's worker in that Python; it is started when there is none alive.

    All modules of a pipeline share it; the threads count when it is started.
    Returns (header, arrays) of the answer. An answer that says no, a worker that
    does not start, dies or falls silent: WorkerError.
    """
    python, _ = find_python(choice.python)
    threads = worker_threads(choice.threads)
    with _lock:
        # Keyed by process: a forked child must not share its parent's pipe.
        key = (os.getpid(), python)
        worker = _workers.get(key)
        if worker is None or not worker.alive():
            if not _workers and is_analysis_process():
                when_parent_is_gone(close_all)
            worker = _workers[key] = Worker(python, threads)
        return worker.ask(header, arrays)


def ask_remembering(choice: WorkerChoice, header: Header) -> Header:
    """Return the header of `ask`'s answer, or what was answered to the same some seconds ago.

    An error is remembered too.
    """
    key = (choice, json.dumps(header, sort_keys=True))
    answered_at, answer = _answers.get(key, (None, None))
    if answered_at is None or answer is None or time.monotonic() - answered_at > REMEMBERED_SECONDS:
        try:
            answer = ask(choice, header)[0]
        except WorkerError as error:
            answer = error
        _answers[key] = time.monotonic(), answer
    if isinstance(answer, WorkerError):
        raise WorkerError(str(answer))
    return answer


def forget() -> None:
    """Forget all answers: something that they depend on has changed."""
    _answers.clear()


def close_all() -> None:
    """End the workers of this process."""
    with _lock:
        for (process, _), worker in list(_workers.items()):
            if process == os.getpid():
                worker.close()
        _workers.clear()


atexit.register(close_all)


class Worker:
    """One worker process and its pipe."""

    def __init__(self, python: str, threads: int | None = None) -> None:
        self.python = python
        try:
            with own_libraries_hidden():
                # A Python that `worker_python` found or the user named, and words of ours; no
                # shell.
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
        # All three are pipes.
        self._requests, self._replies, self._complaints = (
            cast("BinaryIO", pipe)
            for pipe in (self.process.stdin, self.process.stdout, self.process.stderr)
        )
        _widen(self._requests)
        # What came from the pipe: a message, its end, or why it cannot be read.
        self._answers: queue.Queue[Union[Answer, WorkerError, None]] = queue.Queue()
        self._last_lines: collections.deque[str] = collections.deque(maxlen=STDERR_LINES)
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

    def alive(self) -> bool:
        """Tell whether the process runs."""
        return self.process.poll() is None

    def ask(self, header: Header, arrays: Mapping[str, np.ndarray] | None = None) -> Answer:
        """Send one request and wait for its answer."""
        try:
            try:
                write_message(self._requests, header, arrays)
            except OSError as error:
                raise self._death() from error
            answer, found = self._next(SILENCE_SECONDS)
            while answer["type"] == "progress":
                answer, found = self._next(SILENCE_SECONDS)
        except BaseException:
            # Whatever interrupts a request leaves an answer in the pipe that
            # the next one would take for its own.
            self.close()
            raise
        if answer["type"] == "error":
            raise WorkerError(answer["message"])
        return answer, found

    def close(self) -> None:
        """End the process; its stdin's end tells it to."""
        with contextlib.suppress(OSError):
            self._requests.close()
        try:
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for reader, pipe in zip(self._readers, (self._replies, self._complaints)):
            # A reader waits on where a process of the worker's own has the pipe open.
            reader.join(timeout=1)
            if not reader.is_alive():
                pipe.close()

    def _greet(self) -> None:
        hello, _ = self._next(HELLO_SECONDS)
        if hello.get("protocol") != PROTOCOL_VERSION:
            raise WorkerError(
                "The module speaks version %s and cpcnn %s in %s speaks version %s. Run "
                "cpcnn cellprofiler install there, and restart CellProfiler."
                % (PROTOCOL_VERSION, hello.get("cpcnn"), self.python, hello.get("protocol"))
            )

    def _next(self, seconds: float) -> Answer:
        try:
            message = self._answers.get(timeout=seconds)
        except queue.Empty:
            raise WorkerError(
                "The worker (%s) has said nothing for %d seconds and was ended.%s"
                % (self.python, seconds, self._said())
            ) from None
        if isinstance(message, WorkerError):
            raise message
        if message is None:
            raise self._death()
        return message

    def _death(self) -> WorkerError:
        try:
            code = str(self.process.wait(timeout=5))
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

    def _said(self) -> str:
        lines = "\n".join(self._last_lines)
        return " Its last lines:\n" + lines if lines else " It printed nothing."

    def _read_answers(self) -> None:
        try:
            while True:
                message = read_message(self._replies)
                self._answers.put(message)
                if message is None:
                    return
        except Exception as error:  # noqa: BLE001  (it is raised again for the caller that waits)
            self._answers.put(WorkerError("The worker's answer cannot be read: %s" % error))

    def _read_stderr(self) -> None:
        for line in self._complaints:
            self._last_lines.append(line.decode("utf-8", "replace").rstrip())


def _widen(pipe: BinaryIO) -> None:
    """Let Linux hold 1 MiB in the pipe instead of 64 KiB: images pass in half the time."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe.fileno(), LINUX_SET_PIPE_SIZE, 1 << 20)


def when_parent_is_gone(do: Callable[[], None]) -> None:
    """Start a thread that waits until this process's parent has ended, and calls `do`.

    CellProfiler's analysis processes live on when it is killed, as idle orphans. They mean to
    end, but first say so on a pipe that is no longer read, which fails (CellProfiler 4.2.8,
    ``exit_on_stdin_close``).
    """
    parent = psutil.Process().parent()
    threading.Thread(target=_watch, args=(parent, do), daemon=True).start()


def _watch(parent: psutil.Process | None, do: Callable[[], None]) -> None:
    while parent is not None and _runs(parent):
        time.sleep(PARENT_SECONDS)
    do()


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
