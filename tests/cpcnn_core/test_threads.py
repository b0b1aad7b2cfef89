"""Threads wait passively, unless the user has said otherwise."""

import os

from cpcnn_core.threads import let_threads_wait


def test_idle_threads_are_asked_to_sleep(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.delenv("KMP_BLOCKTIME", raising=False)
    let_threads_wait()
    assert os.environ["OMP_WAIT_POLICY"] == "passive"
    assert os.environ["KMP_BLOCKTIME"] == "0"


def test_what_the_user_has_set_stays(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    let_threads_wait()
    assert os.environ["OMP_WAIT_POLICY"] == "active"
