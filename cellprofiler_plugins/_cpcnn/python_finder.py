"""Find the Python where cpcnn is installed; one that only a pipeline names is not started."""

import json
import os
import shlex
import subprocess

from . import allowed_programs
from .errors import WorkerError
from .home import cpcnn_home

AUTOMATIC = "Automatic"
VARIABLE = "CPCNN_PYTHON"
SETTING = "Python with cpcnn"
INSTALLER = "cpcnn cellprofiler install"
ALLOW = "Allow this program"
RECORD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "python.json")


def find_python(setting, record=RECORD):
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
        ("the environment variable " + VARIABLE, _of_variable),
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


def program_to_allow(setting, record=RECORD):
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


def allow_program(path):
    """Write down that this user lets pipelines start that program."""
    try:
        allowed_programs.allow(cpcnn_home(), path)
    except ValueError as error:
        raise WorkerError("%s cannot be allowed: %s." % (path, error)) from error


def _named_by_pipeline(setting, record):
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


def _named_by_user(path, record):
    """Return the program that a path means if the user named it, too; else None."""
    own = []
    for look in (_of_variable, lambda: _of_installer(record)):
        try:
            own.append(look())
        except WorkerError:
            continue  # what does not exist is not meant
    same = next((one for one in allowed_programs.pythons_of(path) if one in own), None)
    return same or allowed_programs.check_allowed(cpcnn_home(), path)


def _of_variable():
    path = os.environ.get(VARIABLE)
    if not path:
        return None
    return _existing(path, "the environment variable " + VARIABLE, "Correct it, or remove it.")


def _of_installer(record):
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


def _existing(path, source, cure):
    path = os.path.expanduser(str(path))
    if not allowed_programs.is_full(path):
        raise WorkerError("%s is no full path; %s names it. %s" % (path, source, cure))
    python = allowed_programs.python_at(path)
    if python is None:
        text = "There is no Python at %s, which is named by %s. %s" % (path, source, cure)
        raise WorkerError(text)
    return python


def _of_command():
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


def _python_beside(command):
    folder = os.path.dirname(command)
    beside = [os.path.join(folder, name) for name in ("python", "python3", "python.exe")]
    # Conda's on Windows is above the folder of the commands.
    beside.append(os.path.join(os.path.dirname(folder), "python.exe"))
    return next((path for path in beside if os.path.isfile(path)), None)
