"""Files that appear under their name only when they are complete."""

from __future__ import annotations

import contextlib
import glob
import os
import platform
from collections.abc import Callable
from pathlib import Path

_MARK = ".part."


def write_atomically(path: str | Path, write: Callable[[Path], object]) -> None:
    """Write a file under a temporary name beside its place, then rename it.

    Parameters
    ----------
    path : str or Path
        Its folder is made when it is not there.
    write : callable (Path)
        Writes the whole file to the path it is given. When it raises, nothing is
        left, and a file that was there before stays.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(f"{folder}/a/b.txt", lambda path: path.write_text("whole"))
    ...     Path(folder, "a", "b.txt").read_text()
    'whole'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: some writers choose the format by it, or add their own.
    temporary = path.with_name(f".{platform.node()}-{os.getpid()}{_MARK}{path.name}")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(path: str | Path) -> None:
    """Remove what killed processes have left of this file, which nobody else writes now.

    Examples
    --------
    >>> remove_leftovers("nowhere/1.npz")
    """
    path = Path(path)
    for leftover in path.parent.glob(f".*{_MARK}{glob.escape(path.name)}"):
        leftover.unlink(missing_ok=True)


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
