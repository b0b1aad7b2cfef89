"""The client of the core: what other programs do, it says; what it started, it ends."""

import os
import signal
import sys
import threading

import numpy as np
import pytest

import cpcnn_core
from cpcnn_core.errors import CancelledError, CPCNNError
from cpcnn_core.models.registry import list_models
from cpcnn_core.worker import client
from cpcnn_core.worker.client import MessageProcess

WORKER = [sys.executable, "-m", "cpcnn_core.worker"]


@pytest.fixture
def start():
    """Return a function that makes a client; what it started is ended."""
    made = []

    def start(command, **options):
        made.append(MessageProcess(command, "it", **options))
        return made[-1]

    yield start
    for one in made:
        one.stop()


def code(text):
    return [sys.executable, "-c", text]


def test_it_greets_and_answers(start):
    worker = start(WORKER)
    assert worker.usable
    assert worker.greeting == {}
    for _ in range(2):
        worker.send({"type": "models"})
        assert worker.receive() == ({"type": "models", "names": list_models()}, {})
    assert worker.greeting["cpcnn"] == cpcnn_core.__version__
    request = {"type": "embed", "model": "untrained-efficientnet-b0"}
    request["channels"] = ["DNA", "RNA", "ER", "AGP", "Mito"]
    random = np.random.default_rng(0)
    image = random.random((5, 128, 128), dtype=np.float32)
    worker.send(request, {"image": image, "centers": np.array([[64.0, 64.0]])})
    answer, arrays = worker.receive()
    while answer["type"] == "progress":
        answer, arrays = worker.receive()
    assert arrays["features"].shape == (1, 672)
    worker.stop()
    assert not worker.usable


def test_nothing_is_started_before_it_is_needed(start):
    worker = start(["/no/such/program"])
    assert worker.usable
    with pytest.raises(OSError, match="no/such/program"):
        worker.send({"type": "models"})


def test_its_last_lines_are_told_when_it_ends(start):
    with pytest.raises(CPCNNError, match=r"(?s)^it ended with exit status 3; .*:\nlost my way$"):
        start(code("import sys; print('lost my way', file=sys.stderr); sys.exit(3)")).send({})
    with pytest.raises(CPCNNError, match="exit status 0; its last lines:\nit printed nothing"):
        start(code("")).send({})


def test_an_end_inside_a_message_is_an_end(start):
    with pytest.raises(CPCNNError, match="it ended with exit status 0"):
        start(code("import sys; sys.stdout.buffer.write(b'\\x50\\0\\0\\0{')")).send({})


def test_a_program_that_speaks_otherwise_is_ended(start, monkeypatch):
    monkeypatch.setattr(client, "_GRACE_SECONDS", 0.2)
    other = start(code("print('Welcome to the cluster', flush=True); input()"))
    with pytest.raises(CPCNNError, match=r"it does not speak as expected: .* got b'Welc'"):
        other.send({})
    assert not other.usable


def test_stopping_ends_what_waits(start):
    worker = start(WORKER)
    worker.send({"type": "models"})
    worker.receive()
    threading.Timer(0.3, worker.stop).start()
    with pytest.raises(CancelledError):
        worker.receive()
    with pytest.raises(CancelledError):
        worker.send({"type": "models"})


def test_a_worker_that_is_killed_is_told(start):
    worker = start(WORKER)
    worker.send({"type": "models"})
    worker.receive()
    os.kill(worker._process.pid, signal.SIGKILL)
    with pytest.raises(CPCNNError, match="it ended with exit status -9"):
        worker.receive()


def test_it_stands_back_where_it_is_told_to(start):
    worker = start(WORKER, niceness=7)
    before = os.getpriority(os.PRIO_PROCESS, 0)
    worker.send({"type": "models"})
    assert os.getpriority(os.PRIO_PROCESS, worker._process.pid) == 7
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
