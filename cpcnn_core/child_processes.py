"""Processes of ours that end when the process that started them does, however that ends.

Nothing tells a process that its parent was killed. So every child of ours is started by way of
this module, ``python -m cpcnn_core.child_processes PARENT MODULE ARGUMENTS``: a thread of it asks
twice a second whether the parent still runs, and ends the child where it does not. What a child
was writing then is never complete, see `cpcnn_core.io.atomic`.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import sys
import threading
import time
from collections.abc import Callable

SECONDS = 0.5
ANY_PARENT = 0


def child_command(module: str, *arguments: str, parent: int | None = None) -> list[str]:
    """Return the command that runs a module in another Python, as a child.

    Parameters
    ----------
    module : str
        What follows ``python -m``.
    *arguments : str
    parent : int, optional
        The number of the process whose child it is; `ANY_PARENT` where that is not known
        yet. Default: this process.

    Examples
    --------
    >>> child_command("cpcnn_core.worker", parent=7)[1:]
    ['-P', '-m', 'cpcnn_core.child_processes', '7', 'cpcnn_core.worker']
    """
    number = os.getpid() if parent is None else parent
    # -P: nothing in the current folder passes for a module.
    python = [sys.executable, "-P", "-m", "cpcnn_core.child_processes"]
    return [*python, str(number), module, *arguments]


def end_with_parent(parent: int = ANY_PARENT, before: Callable[[], object] | None = None) -> None:
    """End this process soon after its parent has ended.

    Parameters
    ----------
    parent : int
        Its number. Default: that of the process whose child this one is now.
    before : callable (), optional
        Called before the end, e.g. to end other programs that this process started.
    """
    number = parent or os.getppid()
    threading.Thread(target=_watch, args=(number, before), daemon=True).start()


def is_running(number: int) -> bool:
    """Tell whether a process of that number runs on this machine.

    Examples
    --------
    >>> is_running(os.getpid()), is_running(2**22 + 1)
    (True, False)
    """
    return _is_running(number)


def _watch(parent: int, before: Callable[[], object] | None) -> None:
    while _is_parent(parent):
        time.sleep(SECONDS)
    try:
        if before is not None:
            before()
    finally:
        # At once, whatever the other threads are about.
        os._exit(1)


if sys.platform == "win32":
    import ctypes

    _SYNCHRONIZE, _TIMEOUT, _ACCESS_DENIED = 0x00100000, 0x102, 5
    _KERNEL = ctypes.WinDLL("kernel32", use_last_error=True)
    _KERNEL.OpenProcess.restype = ctypes.c_void_p
    _KERNEL.WaitForSingleObject.argtypes = (ctypes.c_void_p, ctypes.c_ulong)
    _KERNEL.CloseHandle.argtypes = (ctypes.c_void_p,)

    def _is_running(number: int) -> bool:
        handle = _KERNEL.OpenProcess(_SYNCHRONIZE, False, number)
        if not handle:
            return ctypes.get_last_error() == _ACCESS_DENIED
        try:
            return bool(_KERNEL.WaitForSingleObject(handle, 0) == _TIMEOUT)
        finally:
            _KERNEL.CloseHandle(handle)

    # Windows leaves a child the number of a parent that is no more.
    _is_parent = _is_running

else:

    def _is_running(number: int) -> bool:
        with contextlib.suppress(PermissionError):
            try:
                os.kill(number, 0)
            except (ProcessLookupError, OverflowError):
                return False
        return True

    def _is_parent(number: int) -> bool:
        # A child whose parent has ended is another's at once, also where that is a zombie.
        return os.getppid() == number


def main(parent: str, module: str, *arguments: str) -> None:
    """Run a module as ``python -m`` does, until it or the parent ends."""
    end_with_parent(int(parent))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
