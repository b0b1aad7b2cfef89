"""Several workers and one GPU: they take turns."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def turn_file() -> Path:
    """Return the file whose holder's turn it is, one for each user.

    Examples
    --------
    >>> turn_file().parent == Path(tempfile.gettempdir())
    True
    """
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "")
    return Path(tempfile.gettempdir()) / f"cpcnn-gpu-{user}.lock"


@contextlib.contextmanager
def my_turn(path: Path) -> Iterator[None]:
    """Wait until no other process is in here, and keep others out while inside.

    The operating system ends the turn of a process that is killed.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as folder, my_turn(Path(folder) / "turn"):
    ...     pass
    """
    with path.open("ab") as file:
        _lock(file)
        try:
            yield
        finally:
            _unlock(file)


if os.name == "nt":
    import msvcrt
    import time

    def _lock(file: BinaryIO) -> None:
        while True:
            file.seek(0)
            try:
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            except OSError:
                time.sleep(0.01)
            else:
                return

    def _unlock(file: BinaryIO) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX)

    def _unlock(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)
