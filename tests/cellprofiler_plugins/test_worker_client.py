"""The module's client and the core's worker, in one conversation."""

import sys
import time

import pytest

from cellprofiler_plugins._cpcnn import worker_client
from cellprofiler_plugins._cpcnn.worker_client import Worker, WorkerChoice
from cellprofiler_plugins._cpcnn.worker_python import WorkerError


@pytest.fixture
def worker():
    started = Worker(sys.executable, 1)
    yield started
    started.close()


def test_the_client_speaks_with_the_cores_worker(worker):
    answer, arrays = worker.ask({"type": "models"})
    assert "untrained-efficientnet-b0" in answer["names"]
    assert arrays == {}
    with pytest.raises(WorkerError, match="there is no model"):
        worker.ask({"type": "describe", "model": "nothing-like-it"})
    assert worker.alive()
    worker.close()
    assert not worker.alive()


def test_another_version_of_the_protocol_is_refused(monkeypatch):
    monkeypatch.setattr(worker_client, "PROTOCOL_VERSION", 99)
    with pytest.raises(WorkerError, match=r"speaks version 99 and cpcnn .* speaks version 3"):
        Worker(sys.executable)


def test_answers_are_remembered_for_a_moment_and_errors_too(monkeypatch):
    asked, now = [], [100.0]

    def ask(choice, header):
        asked.append((choice, header["type"]))
        if header["type"] == "wrong":
            raise WorkerError("no")
        return {"number": len(asked)}, {}

    monkeypatch.setattr(worker_client, "ask", ask)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    worker_client.forget()
    one, other = WorkerChoice("a", "1"), WorkerChoice("b", "1")
    for _ in range(3):
        assert worker_client.ask_remembering(one, {"type": "x"}) == {"number": 1}
        with pytest.raises(WorkerError, match="no"):
            worker_client.ask_remembering(one, {"type": "wrong"})
    assert worker_client.ask_remembering(other, {"type": "x"}) == {"number": 3}
    now[0] += worker_client.REMEMBERED_SECONDS + 1
    assert worker_client.ask_remembering(one, {"type": "x"}) == {"number": 4}
    worker_client.forget()
    assert worker_client.ask_remembering(one, {"type": "x"}) == {"number": 5}
    worker_client.forget()
