"""Files that appear under their name only when they are complete, and what killed runs left.

A file is written beside its place under a temporary name, ``.HOST-PID.part.NAME``, and renamed
when it is whole. No reader of ours takes such a name for a file (`is_temporary`). A process that
is killed leaves it behind; the next one that writes into the folder removes it, unless it may
belong to a process that is alive:

- on this machine, where a process of that number runs;
- on another machine, with which the folder may be shared, where it was written to in the last
  `SECONDS_KEPT` seconds.

If no other process writes a file, `remove_leftovers` removes all that is left of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cpcnn_core.child_processes import is_running
from cpcnn_core.io.disk import told_if_full

SECONDS_KEPT = 24 * 3600
LONGEST_NAME = 255
_MARK = ".part."
_NAME = re.compile(rf"\.(?P<host>.+)-(?P<pid>\d+){re.escape(_MARK)}.+")
_HOST = re.sub(r"[^\w.-]", "_", platform.node())[:64] or "host"
_STARTED = time.time()
# Folders whose leftovers this process has looked for.
_swept: set[str] = set()


def write_atomically(path: str | Path, write: Callable[[Path], object]) -> None:
    """Write a file under a temporary name beside its place, then rename it.

    Parameters
    ----------
    path : str or Path
        Its folder is made when it is not there.
    write : callable (Path)
        Writes the whole file to the path it is given. When it raises, nothing is
        left, and a file that was there before stays.

    Raises
    ------
    DiskFullError
        There is no room left, whatever the library that writes says of it.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(f"{folder}/a/b.txt", lambda path: path.write_text("whole"))
    ...     Path(folder, "a", "b.txt").read_text()
    'whole'
    """
    path = Path(path)
    with told_if_full(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    temporary = path.with_name(_temporary_name(path.name))
    try:
        with told_if_full(path):
            _make_new(temporary)
            write(temporary)
            _bring_to_disk(temporary)
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def temporary_folder(parent: str | Path | None = None) -> Iterator[Path]:
    """Make a folder that is removed in the end, at the latest by the next process.

    Parameters
    ----------
    parent : str or Path, optional
        Default: where this system keeps temporary files.

    Examples
    --------
    >>> with temporary_folder() as folder:
    ...     is_temporary(folder), folder.is_dir()
    (True, True)
    """
    parent = Path(parent or tempfile.gettempdir())
    _sweep(parent)
    with tempfile.TemporaryDirectory(prefix=_temporary_name(""), dir=parent) as folder:
        yield Path(folder)


def is_temporary(path: str | Path) -> bool:
    """Tell from its name whether a file is incomplete, so that it must not be read or listed.

    Examples
    --------
    >>> is_temporary("plates/.node7-123.part.P1.parquet"), is_temporary("plates/P1.parquet")
    (True, False)
    """
    name = Path(path).name
    return name.startswith(".") and _MARK in name


def remove_leftovers(path: str | Path) -> None:
    """Remove what killed processes have left of this file, which no other process writes now.

    Examples
    --------
    >>> remove_leftovers("nowhere/1.npz")
    """
    path = Path(path)
    # Whole, or shortened: see `_temporary_name`.
    ends = (f"{_MARK}{path.name}", f"{_MARK}{_short(path.name)}")
    _remove_where(path.parent, lambda leftover: leftover.name.endswith(ends))


def remove_leftovers_in(folder: str | Path) -> None:
    """Remove all that killed processes have left in a folder that no other process writes to now.

    Examples
    --------
    >>> remove_leftovers_in("nowhere")
    """
    _remove_where(Path(folder), lambda _: True)


def set_time(path: str | Path, moment_ns: int) -> None:
    """Give a file a time; where it is not ours to do so, it keeps the one it has.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     set_time(file.name, 10**18)
    ...     Path(file.name).stat().st_mtime_ns == 10**18
    True
    """
    with contextlib.suppress(OSError):
        os.utime(path, ns=(moment_ns, moment_ns))


def _temporary_name(name: str) -> str:
    """Return a temporary name that is no longer than a file's may be."""
    start = f".{_HOST}-{os.getpid()}{_MARK}"
    whole = f"{start}{name}"
    return whole if len(os.fsencode(whole)) <= LONGEST_NAME else f"{start}{_short(name)}"


def _short(name: str) -> str:
    # The suffix stays last: some writers choose the format by it, or add their own.
    suffix = Path(name).suffix
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:16] + (suffix if len(suffix) < 16 else "")


def _make_new(temporary: Path) -> None:
    """Make an empty file of ours: a link of that name would lead what is written elsewhere."""
    temporary.unlink(missing_ok=True)
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))


def _bring_to_disk(path: Path) -> None:
    """Have the file on the disk before it is called complete; some disks are full only then."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _sweep(folder: Path) -> None:
    """Remove, once for every folder, what processes have left that are no more."""
    place = str(folder.absolute())
    if place in _swept:
        return
    _swept.add(place)
    _remove_where(folder, lambda leftover: not _may_be_written(leftover))


def _may_be_written(leftover: Path) -> bool:
    match = _NAME.fullmatch(leftover.name)
    try:
        last = leftover.lstat().st_mtime
    except OSError:
        return False
    if match is None or match["host"] != _HOST:
        return time.time() - last < SECONDS_KEPT
    if int(match["pid"]) == os.getpid():
        # Of an earlier process of the same number, as in containers.
        return last >= _STARTED - 1
    return is_running(int(match["pid"])) and time.time() - last < SECONDS_KEPT


def _remove_where(folder: Path, chosen: Callable[[Path], bool]) -> None:
    with contextlib.suppress(OSError):
        for leftover in filter(is_temporary, folder.iterdir()):
            if chosen(leftover):
                _remove(leftover)


def _remove(leftover: Path) -> None:
    if leftover.is_dir() and not leftover.is_symlink():
        shutil.rmtree(leftover, ignore_errors=True)
        return
    # Another process may remove it at the same time; what we may not remove stays.
    with contextlib.suppress(OSError):
        leftover.unlink(missing_ok=True)
