"""Programs that this user has allowed pipelines to start, on this machine.

A pipeline may come from anybody and names the Python that runs its worker. The module in
CellProfiler starts it only if it stands in this list, and ``cpcnn cellprofiler allow`` writes
the list too. CellProfiler's Python, which may be 3.8, imports nothing of the core, so this file
lies twice, the same to the byte (a test compares them): ``cpcnn_core/hosts/allowed_programs.py``
and ``cellprofiler_plugins/_cpcnn/allowed_programs.py``.

The list is a file that only its user can write::

    {"/home/me/env/bin/python":
        {"folder": "/home/me/env/bin", "file": "/usr/bin/python3.11", "sha256": "..."}}

Whatever is wrong is a ValueError; its text is written for users.
"""

from __future__ import annotations

import hashlib
import json
import ntpath
import os
import stat
from pathlib import Path

FILE_NAME = "allowed-pythons.json"
LONGEST_PATH = 4096
# Where a virtual environment has its Python, and conda's on Windows.
_INSIDE = (("bin", "python"), ("Scripts", "python.exe"), ("python.exe",))
_BLOCK_BYTES = 1 << 20
# A program is read once in a process, and again when the system says that it has changed.
_checksums: dict[tuple[object, ...], str] = {}


def full_path(text: str) -> str:
    """Return a path that means the same from everywhere; nothing is looked up on the disk.

    Raises
    ------
    ValueError
        A relative path, one with ``..``, or no path at all.

    Examples
    --------
    >>> full_path("env/bin/python")
    Traceback (most recent call last):
    ValueError: expected the full path of a Python, got 'env/bin/python'
    """
    if not text.isprintable() or len(text) > LONGEST_PATH:
        raise ValueError(f"expected the full path of a Python, got {text[:60]!r}")
    path = os.path.expanduser(text)
    if not is_full(path):
        raise ValueError(f"expected the full path of a Python, got {text!r}")
    if ".." in path.replace("\\", "/").split("/"):
        raise ValueError(f"expected a path without '..', got {text!r}")
    return os.path.normpath(path)


def is_full(path: str, windows: bool = os.name == "nt") -> bool:
    r"""Tell whether a path does not depend on the current folder or drive.

    Examples
    --------
    >>> is_full("env/python", False), is_full(r"C:env\python.exe", True), is_full("/env", True)
    (False, False, False)
    """
    if not windows:
        return path.startswith("/")
    drive, rest = ntpath.splitdrive(path)
    return bool(drive) and rest[:1] in ("\\", "/")


def pythons_of(path: str) -> list[str]:
    """List what a path may mean: itself, or the Python of the environment in that folder.

    Examples
    --------
    >>> pythons_of("/env")[1].replace(os.sep, "/")
    '/env/bin/python'
    """
    return [path, *(os.path.join(path, *parts) for parts in _INSIDE)]


def python_at(path: str) -> str | None:
    """Return the file that a path means, or None where there is none.

    Examples
    --------
    >>> python_at("/no/such/environment") is None
    True
    """
    return next((one for one in pythons_of(path) if os.path.isfile(one)), None)


def allow(home: Path, path: str) -> str:
    """Allow pipelines to start the program that lies there now.

    Parameters
    ----------
    home : Path
        This user's folder of cpcnn, which is made where it is missing.
    path : str
        Of a Python, or of its environment's folder.

    Returns
    -------
    str
        The program's path.

    Raises
    ------
    ValueError
        No such program, one that everybody can change, or a list that is not in order.

    Examples
    --------
    >>> allow(Path("nowhere"), "/no/such/python")
    Traceback (most recent call last):
    ValueError: there is no Python at /no/such/python
    """
    program = python_at(full_path(path))
    if program is None:
        raise ValueError(f"there is no Python at {path}")
    _refuse_open_to_all(program)
    _write(home, {**allowed(home), program: _identity(program)})
    return program


def forbid(home: Path, path: str) -> str:
    """Take back what was allowed; the program need not be there any more.

    Raises
    ------
    ValueError
        It was not allowed.

    Examples
    --------
    >>> forbid(Path("nowhere"), "/no/such/python")
    Traceback (most recent call last):
    ValueError: /no/such/python is not allowed; ...
    """
    known = allowed(home)
    program = next((one for one in pythons_of(full_path(path)) if one in known), None)
    if program is None:
        raise ValueError(f"{path} is not allowed; allowed are: {', '.join(known) or 'none'}")
    del known[program]
    _write(home, known)
    return program


def allowed(home: Path) -> dict[str, dict[str, str]]:
    """Return the programs that are allowed, and what they were then.

    Raises
    ------
    ValueError
        The list is damaged, or another user can write it.

    Examples
    --------
    >>> allowed(Path("nowhere"))
    {}
    """
    file = home / FILE_NAME
    try:
        with file.open("rb") as opened:
            _refuse_others(file, os.fstat(opened.fileno()))
            known = json.loads(opened.read().decode("utf-8"))
        return {
            str(path): {fact: str(was[fact]) for fact in ("folder", "file", "sha256")}
            for path, was in known.items()
        }
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from error
    except (KeyError, TypeError, AttributeError, UnicodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{file} is damaged; remove it and allow programs again") from error


def check_allowed(home: Path, path: str) -> str | None:
    """Return the program that a path means if it is allowed; else None.

    Of a program that is not allowed nothing is looked up on the disk: a path may lead to
    another computer.

    Raises
    ------
    ValueError
        It was allowed and is not what it was; or the list is not in order.

    Examples
    --------
    >>> check_allowed(Path("nowhere"), "/no/such/python") is None
    True
    """
    known = allowed(home)
    program = next((one for one in pythons_of(full_path(path)) if one in known), None)
    if program is None:
        return None
    if not os.path.isfile(program):
        raise ValueError(f"there is no Python at {program} any more")
    _refuse_open_to_all(program)
    if _identity(program) != known[program]:
        raise ValueError(f"{program} is another program than the one that was allowed")
    return program


def _identity(program: str) -> dict[str, str]:
    """Say what the program is, behind all links: an environment's Python is one to another."""
    folder, file = os.path.realpath(os.path.dirname(program)), os.path.realpath(program)
    try:
        now = os.stat(file)
        key = (file, now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns)
        if key not in _checksums:
            checksum = hashlib.sha256()
            with open(file, "rb") as opened:
                for block in iter(lambda: opened.read(_BLOCK_BYTES), b""):
                    checksum.update(block)
            _checksums[key] = checksum.hexdigest()
    except OSError as error:
        raise ValueError(f"{program} cannot be read: {error.strerror}") from error
    return {"folder": folder, "file": file, "sha256": _checksums[key]}


def _refuse_open_to_all(program: str) -> None:
    """Refuse a program that any user of this machine can put another in the place of."""
    if os.name == "nt":
        return
    file, folder = Path(os.path.realpath(program)), Path(os.path.realpath(Path(program).parent))
    for place in (file, *file.parents, folder, *folder.parents, *Path(program).parents):
        mode = place.stat().st_mode
        # In a folder with the sticky bit, such as /tmp, everybody can change their own only.
        protected = stat.S_ISDIR(mode) and mode & stat.S_ISVTX
        if mode & stat.S_IWOTH and not protected:
            raise ValueError(
                f"every user of this machine can write {place}, and so change what {program} is; "
                "take that right away (chmod o-w), or use another Python"
            )


def _refuse_others(file: Path, found: os.stat_result) -> None:
    """Refuse a list that another user wrote, or can write."""
    if os.name == "nt":
        return
    if found.st_uid != os.getuid():
        raise ValueError(f"{file} belongs to another user; set CPCNN_HOME to a folder of your own")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ValueError(f"others can write {file}; remove it and allow programs again")


def _write(home: Path, known: dict[str, dict[str, str]]) -> None:
    text = json.dumps(known, indent=2, sort_keys=True) + "\n"
    fresh = home / f".{os.urandom(8).hex()}.{FILE_NAME}"
    try:
        home.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        fresh.replace(home / FILE_NAME)
    except OSError as error:
        raise ValueError(f"{home / FILE_NAME} cannot be written: {error.strerror}") from error
