"""Which Python the worker runs in, and with what around it: paths, threads, libraries.

A Python that only a pipeline names is not started.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from . import allowed_programs

AUTOMATIC = "Automatic"
PYTHON_VARIABLE = "CPCNN_PYTHON"
SETTING = "Python with cpcnn"
INSTALLER = "cpcnn cellprofiler install"
ALLOW = "Allow this program"
RECORD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "python.json")

# CellProfiler's analysis processes have this among their arguments.
ANALYSIS_ARGUMENT = "--work-announce"
THREADS_VARIABLE = "OMP_NUM_THREADS"
# A pipeline of unknown origin must not bring the machine to a halt.
MAX_THREADS = 1024
NUMBER = re.compile(r"[0-9]{1,4}")

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


class WorkerError(RuntimeError):
    """The worker cannot be started, has died, or says that it cannot do what was asked."""


def cpcnn_home() -> Path:
    """Return this user's folder of cpcnn, the same as in ``cpcnn_core.models.folders``.

    The variable ``CPCNN_HOME`` moves it.
    """
    home = os.environ.get("CPCNN_HOME") or os.path.join(_data_folder(), "cpcnn")
    return Path(os.path.abspath(os.path.expanduser(home)))


def _data_folder() -> str:
    """Return where the system wants programs to keep a user's data, as platformdirs does."""
    if sys.platform == "win32":
        return os.environ.get("LOCALAPPDATA") or os.path.join("~", "AppData", "Local")
    own = os.environ.get("XDG_DATA_HOME", "").strip()
    if os.path.isabs(own):
        return own
    if sys.platform == "darwin":
        return os.path.join("~", "Library", "Application Support")
    return os.path.join("~", ".local", "share")


def find_python(setting: str, record: str = RECORD) -> tuple[str, str]:
    """Return the path of a Python and, in words, why that one.

    The module's setting comes first, then the environment variable, then what
    ``cpcnn cellprofiler install`` recorded beside the module, then the Python that
    the command ``cpcnn`` on the PATH belongs to. The setting is kept in pipelines, which
    strangers send: it can only name what the variable or the record name, too, or what
    this user has allowed (`allowed_programs`).
    """
    if setting and setting != AUTOMATIC:
        return _named_by_pipeline(setting, record), "the module's setting " + SETTING
    sources = (
        ("the environment variable " + PYTHON_VARIABLE, _of_variable),
        (INSTALLER, lambda: _of_installer(record)),
        ("the command cpcnn on the PATH", _of_command),
    )
    for source, look in sources:
        python = look()
        if python:
            return python, source
    raise WorkerError(
        "No Python with cpcnn was found. Install cpcnn as its README says and run its command "
        "cpcnn cellprofiler install, or enter the path of its Python in the module's setting."
    )


def program_to_allow(setting: str, record: str = RECORD) -> str | None:
    """Return what the setting names and this user can allow; None where there is nothing."""
    if not setting or setting == AUTOMATIC:
        return None
    try:
        path = allowed_programs.full_path(setting)
    except ValueError:
        return None
    try:
        return None if _named_by_user(path, record) else path
    except ValueError:
        return path  # allowed once, and another program now


def allow_program(path: str) -> None:
    """Write down that this user lets pipelines start that program."""
    try:
        allowed_programs.allow(cpcnn_home(), path)
    except ValueError as error:
        raise WorkerError("%s cannot be allowed: %s." % (path, error)) from error


def _named_by_pipeline(setting: str, record: str) -> str:
    try:
        path = allowed_programs.full_path(setting)
        program = _named_by_user(path, record)
    except ValueError as error:
        raise WorkerError(
            "The program that the setting %s names was not started: %s. Choose %s, or a program "
            "that you know." % (SETTING, error, AUTOMATIC)
        ) from error
    if program is None:
        quoted = subprocess.list2cmdline([path]) if os.name == "nt" else shlex.quote(path)
        raise WorkerError(
            "This pipeline wants to run the program %s, which you have not allowed on this "
            "machine; nothing was started. If you know that program and trust it, press the "
            'button "%s", or run: cpcnn cellprofiler allow %s. Else choose %s.'
            % (path, ALLOW, quoted, AUTOMATIC)
        )
    return program


def _named_by_user(path: str, record: str) -> str | None:
    """Return the program that a path means if the user named it, too; else None."""
    own = []
    for look in (_of_variable, lambda: _of_installer(record)):
        try:
            own.append(look())
        except WorkerError:
            continue  # what does not exist is not meant
    same = next((one for one in allowed_programs.pythons_of(path) if one in own), None)
    return same or allowed_programs.check_allowed(cpcnn_home(), path)


def _of_variable() -> str | None:
    path = os.environ.get(PYTHON_VARIABLE)
    if not path:
        return None
    source = "the environment variable " + PYTHON_VARIABLE
    return _existing(path, source, "Correct it, or remove it.")


def _of_installer(record: str) -> str | None:
    if not os.path.isfile(record):
        return None
    cure = "Run it again where cpcnn is installed now."
    try:
        with open(record, encoding="utf-8") as file:
            path = json.load(file)["python"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        text = "%s, which %s wrote, is damaged. %s" % (record, INSTALLER, cure)
        raise WorkerError(text) from error
    return _existing(path, INSTALLER, cure)


def _existing(path: object, source: str, cure: str) -> str:
    path = os.path.expanduser(str(path))
    if not allowed_programs.is_full(path):
        raise WorkerError("%s is no full path; %s names it. %s" % (path, source, cure))
    python = allowed_programs.python_at(path)
    if python is None:
        text = "There is no Python at %s, which is named by %s. %s" % (path, source, cure)
        raise WorkerError(text)
    return python


def _of_command() -> str | None:
    """Return the Python of the command ``cpcnn`` on the PATH.

    Its entries that mean the current folder (``.``, empty ones, and Windows's own habit) are
    passed over: that may be the folder of a pipeline of unknown origin.
    """
    for folder in os.get_exec_path():
        for name in ("cpcnn", "cpcnn.exe"):
            command = os.path.join(folder, name)
            known = allowed_programs.is_full(folder) and os.path.isfile(command)
            if known and os.access(command, os.X_OK):
                return _python_beside(os.path.realpath(command))
    return None


def _python_beside(command: str) -> str | None:
    folder = os.path.dirname(command)
    beside = [os.path.join(folder, name) for name in ("python", "python3", "python.exe")]
    # Conda's on Windows is above the folder of the commands.
    beside.append(os.path.join(os.path.dirname(folder), "python.exe"))
    return next((path for path in beside if os.path.isfile(path)), None)


def worker_threads(setting: str) -> int | None:
    """Return the number of threads, so that all workers together use the machine once.

    None: as many as the worker's Python takes.
    """
    if setting != AUTOMATIC:
        return int(checked_threads(setting))
    processes = analysis_processes()
    if processes < 2 or os.environ.get(THREADS_VARIABLE):
        return None
    return max(1, usable_cores() // processes)


def checked_threads(setting: str) -> str:
    """Return the setting if it is *Automatic* or a number; else raise WorkerError."""
    if setting == AUTOMATIC or (NUMBER.fullmatch(setting) and 0 < int(setting) <= MAX_THREADS):
        return setting
    raise WorkerError(
        "Expected %s or a number of threads from 1 to %d, got %r."
        % (AUTOMATIC, MAX_THREADS, setting[:40])
    )


def analysis_processes() -> int:
    """Count this CellProfiler's analysis processes; 1 where this is none of them."""
    if not is_analysis_process():
        return 1
    try:
        siblings = psutil.Process().parent().children()
    except (psutil.Error, AttributeError):
        return 1
    return max(1, sum(_analyzes(process) for process in siblings))


def is_analysis_process() -> bool:
    """Tell whether this is one of several processes that CellProfiler analyzes with."""
    return ANALYSIS_ARGUMENT in sys.argv


def usable_cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _analyzes(process: psutil.Process) -> bool:
    try:
        return ANALYSIS_ARGUMENT in process.cmdline()
    except psutil.Error:
        return False


def worker_environ(threads: int | None = None) -> dict[str, str]:
    """Return the environment variables of a worker that may use that many threads."""
    environ = {k: v for k, v in os.environ.items() if k not in FOREIGN_VARIABLES}
    # Nothing in the current folder must be imported as a package.
    environ["PYTHONSAFEPATH"] = "1"
    # What it says on stderr is read as UTF-8, also on a Windows of another code page.
    environ["PYTHONUTF8"] = "1"
    if threads is not None:
        environ[THREADS_VARIABLE] = str(threads)
    return environ


@contextlib.contextmanager
def own_libraries_hidden() -> Iterator[None]:
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
