"""Environment of the worker, without the libraries of the program that starts it."""

import contextlib
import ctypes
import os
import sys

# CellProfiler's own libraries, which the worker's Python must not see.
FOREIGN_VARIABLES = (
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONEXECUTABLE",
    "__PYVENV_LAUNCHER__",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "DYLD_FALLBACK_LIBRARY_PATH",
    "DYLD_FRAMEWORK_PATH",
    "DYLD_FALLBACK_FRAMEWORK_PATH",
)


def worker_environ(threads=None):
    """Return the environment variables of a worker that may use that many threads."""
    environ = {k: v for k, v in os.environ.items() if k not in FOREIGN_VARIABLES}
    # Nothing in the current folder must be imported as a package.
    environ["PYTHONSAFEPATH"] = "1"
    # What it says on stderr is read as UTF-8, also on a Windows of another code page.
    environ["PYTHONUTF8"] = "1"
    if threads is not None:
        environ["OMP_NUM_THREADS"] = str(threads)
    return environ


@contextlib.contextmanager
def own_libraries_hidden():
    """Start processes in here: Windows hands on where a packed program finds its DLLs."""
    if sys.platform != "win32" or not hasattr(sys, "frozen"):
        yield
        return
    kernel = ctypes.windll.kernel32
    buffer = ctypes.create_unicode_buffer(32768)
    kernel.GetDllDirectoryW(len(buffer), buffer)
    kernel.SetDllDirectoryW(None)
    try:
        yield
    finally:
        kernel.SetDllDirectoryW(buffer.value or None)
