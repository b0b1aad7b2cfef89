"""Several workers and one GPU: they take turns."""

from __future__ import annotations

import contextlib
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from cpcnn_core.models.home import private_folder


def turn_file() -> Path:
    """Return the file whose holder's turn it is, one for each user and machine.

    No other user can write where it is: one who could lock it would stop all workers.
    A home may be shared by machines, each of which has a GPU of its own.

    Raises
    ------
    PrivacyError
        There is no such place.

    Examples
    --------
    >>> turn_file()  # doctest: +SKIP
    PosixPath('/home/me/.local/share/cpcnn/private-1000/gpu-node7.lock')
    """
    return private_folder() / f"gpu-{platform.node()}.lock"


@contextlib.contextmanager
def my_turn(path: Path) -> Iterator[None]:
    """Wait until no other process is in here, and keep others out while inside.

    The operating system ends the turn of a process that is killed.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, my_turn(Path(folder) / "turn"):
    ...     pass
    """
    with path.open("ab") as file:
        _lock(file)
        try:
            yield
        finally:
            _unlock(file)


if sys.platform == "win32":
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
