"""Files that anybody may have made: how much memory they may claim, and who reads them.

More memory than real data ever need is refused beforehand. Files that may crash their library are
read by another Python with limits of time and memory: the libraries of HDF5 are written in C, and
a damaged file crashes or hangs them, and the whole program with them.
``python -m cpcnn_core.io.untrusted_files MODULE FILE ...`` calls the module's
``read_here(file, folder, allow, ...)``, which writes arrays and tables into a folder of this
user alone; nothing is pickled.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from cpcnn_core import errors
from cpcnn_core.io.atomic import temporary_folder
from cpcnn_core.io.json_files import read_json

# A picture of cells compresses to a third; one of few labels, or a column of one text, to a
# hundredth. Deflate ends at 1032, other methods at far more: what is so small was made to be.
MAX_COMPRESSED = 250
# Little enough for any machine, whatever the file says.
ALWAYS_TRUSTED_BYTES = 2**29
# Slow disks bring a few MiB in a second.
SECONDS, BYTES_PER_SECOND = 120, 2**22
# What libraries take for themselves, and how often data are copied on their way.
SPARE_BYTES, COPIES = 2**30, 4
_ERROR_FILE = "error.json"
_MEMORY = "memory"
Allow = Callable[[int], None]


def is_believable(claimed: int, stored: int) -> bool:
    """Tell whether that many bytes in memory may come from that many in a file.

    Parameters
    ----------
    claimed : int
        Bytes in memory.
    stored : int
        Bytes in the file.

    Examples
    --------
    >>> is_believable(2**29, 100), is_believable(2**32, 2**22)
    (True, False)
    """
    return claimed <= ALWAYS_TRUSTED_BYTES or claimed <= MAX_COMPRESSED * stored


def refuse_claim(path: str | Path, what: str, claimed: int, stored: int) -> str:
    """Say in one sentence why it is not believed, and what to do where it is true.

    Parameters
    ----------
    path : str or Path
    what : str
        Of the file.
    claimed, stored : int
        As of `is_believable`.

    Examples
    --------
    >>> refuse_claim("a.tif", "its image", 2**32, 2**22)
    'a.tif cannot be read: its image would take 4294967296 bytes of memory, 1024 times what the \
file has (4194304); more than 250 times is not believed of files beyond 512 MiB: where it is \
right, save it without compression'
    """
    return (
        f"{path} cannot be read: {what} would take {claimed} bytes of memory, "
        f"{claimed // max(stored, 1)} times what the file has ({stored}); more than "
        f"{MAX_COMPRESSED} times is not believed of files beyond "
        f"{ALWAYS_TRUSTED_BYTES >> 20} MiB: where it is right, save it without compression"
    )


class ReadingError(Exception):
    """The file could not be read; the text says why, and does not name it."""


@contextlib.contextmanager
def read_elsewhere(module: str, path: str | Path, *more: str) -> Iterator[Path]:
    """Have a file read by another Python.

    Parameters
    ----------
    module : str
        One of ours, with a function ``read_here(path, folder, allow, *more)``; it calls `allow`
        with the bytes that the data take, once it knows that the file can hold them.
    path : str or Path
    *more : str

    Yields
    ------
    Path
        The folder with what it wrote; it is removed afterwards.

    Raises
    ------
    CPCNNError
        As it was raised there.
    ReadingError
        The library crashed, or wanted more time or memory than the file can need.

    Examples
    --------
    >>> Path("P1.h5ad").touch()
    >>> with read_elsewhere("cpcnn_core.io.anndata_files", "P1.h5ad") as folder:
    ...     sorted(folder.iterdir())
    Traceback (most recent call last):
    cpcnn_core.io.untrusted_files.ReadingError: ...(file signature not found)
    """
    limit = SECONDS + Path(path).stat().st_size // BYTES_PER_SECOND
    with temporary_folder() as folder:
        words = [module, str(path), str(folder), str(limit), *more]
        command = [sys.executable, "-P", "-m", __name__, *words]
        try:
            # This Python, a module that its caller names in the source, and paths; no shell.
            ended = subprocess.run(  # noqa: S603
                command,
                env=_environment(),
                check=False,
                timeout=limit,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        except subprocess.TimeoutExpired as error:
            raise ReadingError(f"its library had not read it after {limit} s") from error
        _raise_error(folder / _ERROR_FILE, ended)
        yield folder


def main(module: str, path: str, folder: str, seconds: str, *more: str) -> None:
    """Read a file; what this process is started for."""
    read_here = importlib.import_module(module).read_here
    _limit("RLIMIT_CORE", 0)
    # In case the process that would stop it has ended.
    _limit("RLIMIT_CPU", int(seconds))
    try:
        _allow(0)
        read_here(Path(path), Path(folder), _allow, *more)
    except Exception as error:  # noqa: BLE001  (raised again where it was asked for)
        own = isinstance(error, errors.CPCNNError)
        kind = type(error).__name__ if own else _MEMORY if _is_memory(error) else ""
        text = " ".join(str(error).split()) or type(error).__name__
        told = json.dumps({"kind": kind, "text": text[:2000]})
        Path(folder, _ERROR_FILE).write_text(told, encoding="utf-8")


def _environment() -> dict[str, str]:
    """Return ours, without what makes HDF5 load code, and with one thread for each library."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HDF5_")}
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    # Where this very package is, whatever the current folder holds.
    own = str(Path(__file__).parents[2])
    paths = os.pathsep.join(filter(None, (own, kept.get("PYTHONPATH"))))
    return {**kept, **dict.fromkeys(threads, "1"), "HDF5_PLUGIN_PRELOAD": "::", "PYTHONPATH": paths}


def _raise_error(place: Path, ended: subprocess.CompletedProcess[bytes]) -> None:
    if place.is_file():
        told = read_json(place)
        if told["kind"] == _MEMORY:
            raise ReadingError("its library wants more memory than such a file can need")
        kind = getattr(errors, told["kind"], ReadingError)
        raise kind(told["text"])
    if ended.returncode < 0:
        name = signal.Signals(-ended.returncode).name
        raise ReadingError(f"its library crashed over it ({name})")
    if ended.returncode:
        last = ended.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise ReadingError(f"its library crashed over it ({last or ended.returncode})")


def _is_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        error = error.__cause__
    return False


def _allow(claimed: int) -> None:
    """Allow memory for data of `claimed` bytes in addition to what is in use now."""
    try:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return  # neither macOS nor Windows would keep to it
    _limit("RLIMIT_AS", used + SPARE_BYTES + COPIES * claimed)


def _limit(name: str, value: int) -> None:
    try:
        import resource
    except ImportError:
        return
    _, hard = resource.getrlimit(getattr(resource, name))
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(getattr(resource, name), (value, hard))


if __name__ == "__main__":
    main(*sys.argv[1:])
