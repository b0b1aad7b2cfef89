"""Whether there is room on a disk, whatever words a library has for it."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cpcnn_core.errors import CPCNNError, DiskFullError, OutputError, origins

# No room left, and the user's share used up.
_NUMBERS = (errno.ENOSPC, errno.EDQUOT)
# ERROR_HANDLE_DISK_FULL, ERROR_DISK_FULL, ERROR_DISK_QUOTA_EXCEEDED.
_NUMBERS_OF_WINDOWS = (39, 112, 1295)
# As HDF5, Arrow and faiss write it into their own errors.
_TEXT = re.compile(
    r"no space left on device|disk quota exceeded|not enough space on the disk|"
    rf"errno\W{{0,3}}({'|'.join(map(str, _NUMBERS))})\b",
    re.IGNORECASE,
)
# Less than this is no room; more may be a part that is kept for the system's own.
_LEAST_BYTES = 64 * 2**10
_TRIED_BYTES = 2**20


def require_room(folder: str | Path) -> None:
    """Refuse a folder that cannot be written to, or has no room, before any work.

    Parameters
    ----------
    folder : str or Path
        Made when it is not there.

    Raises
    ------
    OutputError, DiskFullError

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     require_room(folder)
    """
    folder = Path(folder)
    try:
        with told_if_full(folder / "anything"):
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as file:
                # Some disks keep what is alike once.
                file.write(os.urandom(_TRIED_BYTES))
                file.flush()
                os.fsync(file.fileno())
    except DiskFullError:
        raise
    except OSError as error:
        raise OutputError(
            f"cannot write to {folder}: {error.strerror or error}; choose another folder with "
            "--out, or have this one made writable"
        ) from error


@contextlib.contextmanager
def told_if_full(path: str | Path) -> Iterator[None]:
    """Raise `DiskFullError` for whatever a library raises when there is no room to write a file.

    Parameters
    ----------
    path : str or Path
        The file; what has been written of it must still be there.

    Examples
    --------
    >>> with told_if_full("P1.parquet"):
    ...     raise RuntimeError("file write failed: errno = 28, error message = '...'")
    Traceback (most recent call last):
    cpcnn_core.errors.DiskFullError: there is no room left on the disk to write P1.parquet; ...
    """
    try:
        yield
    except CPCNNError:
        raise
    except Exception as error:
        if not is_full(error, path):
            raise
        raise DiskFullError(
            f"there is no room left on the disk to write {path}; what was written before is whole: "
            "make room and run the same again to continue"
        ) from error


def is_full(error: BaseException, path: str | Path | None = None) -> bool:
    """Tell whether an error comes of a disk without room, or of a user's share that is used up.

    Parameters
    ----------
    error : Exception
        It, or one that it comes from.
    path : str or Path, optional
        What was written: the disk is asked where a library hides the reason.

    Examples
    --------
    >>> is_full(OSError(errno.ENOSPC, "No space left on device")), is_full(ValueError("a"))
    (True, False)
    """
    if any(isinstance(one, DiskFullError) or _says_so(one) for one in origins(error)):
        return True
    # NumPy and others raise an OSError that has no number.
    hidden = isinstance(error, (OSError, RuntimeError)) and getattr(error, "errno", None) is None
    return hidden and path is not None and _free_bytes(Path(path)) < _LEAST_BYTES


def _says_so(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno is not None:
        windows = getattr(error, "winerror", None)
        return error.errno in _NUMBERS or windows in _NUMBERS_OF_WINDOWS
    return isinstance(error, (OSError, RuntimeError)) and _TEXT.search(str(error)) is not None


def _free_bytes(path: Path) -> float:
    for folder in path.absolute().parents:
        with contextlib.suppress(OSError):
            return shutil.disk_usage(folder).free
    return float("inf")
