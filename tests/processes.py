"""Programs that are killed for real, and what is left running of them."""

import os
import signal
import subprocess
import time

import psutil

ENDED = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)


def start(command, **how):
    """Start a program in the foreground, whoever runs the tests; it may be signalled."""

    def listen():
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            signal.signal(getattr(signal, name), signal.SIG_DFL)

    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    how = quiet | ({"preexec_fn": listen} if os.name != "nt" else {}) | how
    return subprocess.Popen(command, **how)


def descendants(process, count, seconds=60):
    """Wait until a program has started so many others, directly or not; return all."""
    deadline = time.monotonic() + seconds
    found = []
    while time.monotonic() < deadline and process.poll() is None:
        found = psutil.Process(process.pid).children(recursive=True)
        if len(found) >= count:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{process.args} has started {found}, not {count} programs")


def still_running(processes, seconds=10):
    """Return those that still run after so long."""
    deadline = time.monotonic() + seconds
    left = list(processes)
    while left and time.monotonic() < deadline:
        left = [one for one in left if _runs(one)]
        time.sleep(0.05)
    return left


def _runs(process):
    try:
        return process.is_running() and process.status() not in ENDED
    except psutil.NoSuchProcess:
        return False
