"""End with CellProfiler: its analysis processes live on when it is killed, as idle orphans.

They mean to end, but first say so on a pipe that is no longer read, which fails
(CellProfiler 4.2.8, ``exit_on_stdin_close``).
"""

import threading
import time

import psutil

SECONDS = 2


def when_parent_is_gone(do):
    """Start a thread that waits until this process's parent has ended, and calls `do`."""
    parent = psutil.Process().parent()
    threading.Thread(target=_watch, args=(parent, do), daemon=True).start()


def _watch(parent, do):
    while parent is not None and _runs(parent):
        time.sleep(SECONDS)
    do()


def _runs(process):
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
