"""Find the Python where cpcnn is installed."""

import json
import os
import shutil

from .errors import WorkerError

AUTOMATIC = "Automatic"
VARIABLE = "CPCNN_PYTHON"
SETTING = "Python with cpcnn"
INSTALLER = "cpcnn cellprofiler install"
CURES = {INSTALLER: "Run it again where cpcnn is installed now."}
RECORD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "python.json")


def find_python(setting, record=RECORD):
    """Return the path of a Python and, in words, why that one.

    The module's setting comes first, then the environment variable, then what
    ``cpcnn cellprofiler install`` recorded beside the module, then the Python that
    the command ``cpcnn`` on the PATH belongs to.
    """
    if setting and setting != AUTOMATIC:
        return _checked(setting, "the module's setting " + SETTING)
    if os.environ.get(VARIABLE):
        return _checked(os.environ[VARIABLE], "the environment variable " + VARIABLE)
    if os.path.isfile(record):
        with open(record, encoding="utf-8") as file:
            return _checked(json.load(file)["python"], INSTALLER)
    command = shutil.which("cpcnn")
    python = _python_beside(os.path.realpath(command)) if command else None
    if python:
        return python, "the command cpcnn on the PATH"
    raise WorkerError(
        "No Python with cpcnn was found. Install cpcnn as its README says and run its command "
        "cpcnn cellprofiler install, or enter the path of its Python in the module's setting."
    )


def _checked(path, source):
    path = os.path.expanduser(path)
    if os.path.isdir(path):
        # Of a virtual environment, and of conda's on Windows.
        inside = [
            os.path.join(path, *parts)
            for parts in (("bin", "python"), ("Scripts", "python.exe"), ("python.exe",))
        ]
        path = next((python for python in inside if os.path.isfile(python)), path)
    if not os.path.isfile(path):
        raise WorkerError(
            "There is no Python at %s, which is named by %s. %s"
            % (path, source, CURES.get(source, "Correct it, or remove it."))
        )
    return path, source


def _python_beside(command):
    folder = os.path.dirname(command)
    beside = [os.path.join(folder, name) for name in ("python", "python3", "python.exe")]
    # Conda's on Windows lies above the folder of the commands.
    beside.append(os.path.join(os.path.dirname(folder), "python.exe"))
    return next((path for path in beside if os.path.isfile(path)), None)
