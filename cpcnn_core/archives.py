"""Zip archives of arrays (NumPy's npz, sessions): read as declared, or not at all.

Nothing is unpacked under a name that the archive gives, nothing is unpickled, and no memory is
taken before it is known that the bytes are there. A member that changed since it was written is
noticed by its CRC-32.
"""

from __future__ import annotations

import io
import math
import shutil
import struct
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from cpcnn_core.claims import is_believable, refuse_claim

# Of a directory of members; one takes about a hundred bytes, and memory ten times as much.
MOST_DIRECTORY_BYTES = 2**20
_END, _LONGEST_END = b"PK\x05\x06", 22 + 2**16
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 1
_LONGEST_HEADER = 10_000
_AT_A_TIME = 2**20
LAST_LETTER = 0x10FFFF


@contextmanager
def open_archive(path: str | Path, *, compressed: bool = False) -> Iterator[zipfile.ZipFile]:
    """Open an archive whose members are each there once, readable, and not too many.

    Parameters
    ----------
    path : str or Path
    compressed : bool
        Whether members may be deflated.

    Raises
    ------
    ValueError
        It is none such; what is wrong with it.
    Exception
        Whatever zipfile raises over a damaged archive.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/a.npz", x=np.arange(3))
    ...     with open_archive(f"{folder}/a.npz") as archive:
    ...         read_array(archive, "x").tolist()
    [0, 1, 2]
    """
    path = Path(path)
    with path.open("rb") as file:
        _check_directory(file, path.stat().st_size)
        with zipfile.ZipFile(file) as archive:
            _check_members(archive, path, _METHODS if compressed else _METHODS[:1])
            yield archive


def _check_directory(file: io.BufferedReader, size: int) -> None:
    file.seek(max(0, size - _LONGEST_END))
    end = file.read()
    start = end.rfind(_END)
    if start < 0 or len(end) < start + 22:
        raise ValueError("it is no zip archive, or it is cut")
    (directory,) = struct.unpack("<L", end[start + 12 : start + 16])
    if directory > MOST_DIRECTORY_BYTES:
        raise ValueError(f"it has a directory of {directory} bytes, too many for what we write")


def _check_members(archive: zipfile.ZipFile, path: Path, methods: tuple[int, ...]) -> None:
    members = archive.infolist()
    names = [member.filename for member in members]
    if len(set(names)) < len(names):
        raise ValueError(f"it has twice the member {max(names, key=names.count)!r}")
    if any(one.flag_bits & _ENCRYPTED or one.compress_type not in methods for one in members):
        raise ValueError("its parts are compressed or encrypted otherwise than we write them")
    # Members that share their bytes would together claim more than each.
    claimed = sum(member.file_size for member in members)
    stored = sum(member.compress_size for member in members)
    if stored > path.stat().st_size:
        raise ValueError("its members overlap")
    if not is_believable(claimed, stored):
        raise ValueError(refuse_claim(path, "its content", claimed, stored))


def read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """Read an array after its header was compared with the bytes that are there.

    Parameters
    ----------
    archive : ZipFile
        Of `open_archive`.
    name : str
        Without ``.npy``.

    Returns
    -------
    ndarray
        Of whole, real or yes/no numbers, or of texts.

    Raises
    ------
    KeyError
        There is no such member.
    ValueError
        It is no such array; what is wrong with it.
    Exception
        Whatever zipfile raises over a damaged archive.

    Examples
    --------
    >>> read_array(archive, "features").shape  # doctest: +SKIP
    (120, 672)
    """
    member = archive.getinfo(f"{name}.npy")
    with archive.open(member) as file:
        shape, fortran, dtype, start = _read_header(file, name)
        count = math.prod(shape)
        there = member.file_size - start
        if dtype.kind not in "fbuiU" or count * dtype.itemsize != there:
            raise ValueError(f"{name} is {dtype} {shape} in {there} bytes")
        flat = np.empty(count, dtype)
        _fill(file, flat.view(np.uint8) if count else np.empty(0, np.uint8))
    if dtype.kind == "b" and count and flat.view(np.uint8).max() > 1:
        raise ValueError(f"{name} is neither yes nor no")
    if dtype.kind == "U" and count:
        letters = flat.view(np.dtype(np.uint32).newbyteorder(dtype.byteorder))
        if letters.max(initial=0) > LAST_LETTER:
            raise ValueError(f"{name} has letters that there are none of")
    return flat.reshape(shape, order="F" if fortran else "C")


def extract_member(archive: zipfile.ZipFile, name: str, place: str | Path) -> Path:
    """Write a member to a place that is ours to choose.

    Examples
    --------
    >>> extract_member(archive, "cells.parquet", "temporary/cells.parquet")  # doctest: +SKIP
    """
    with archive.open(name) as file, Path(place).open("wb") as written:
        shutil.copyfileobj(file, written, _AT_A_TIME)
    return Path(place)


def _read_header(file: zipfile.ZipExtFile, name: str) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    start = io.BytesIO(file.read(12))
    version = np.lib.format.read_magic(start)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"{name} has NumPy's format {version}")
    width = 2 if version == (1, 0) else 4
    length = int.from_bytes(start.getvalue()[8 : 8 + width], "little")
    if length > _LONGEST_HEADER:
        raise ValueError(f"{name} has a header of {length} bytes")
    whole = 8 + width + length
    head = io.BytesIO(start.getvalue() + file.read(whole - 12))
    head.seek(8)
    read = np.lib.format.read_array_header_1_0 if width == 2 else np.lib.format.read_array_header_2_0
    with warnings.catch_warnings():
        # Of damaged headers NumPy warns as if an old Python had written them.
        warnings.simplefilter("error")
        shape, fortran, dtype = read(head)
    if any(length < 0 for length in shape):
        raise ValueError(f"{name} has the shape {shape}")
    return shape, fortran, dtype, whole


def _fill(file: zipfile.ZipExtFile, out: np.ndarray) -> None:
    view, done = memoryview(out), 0
    while done < len(view):
        part = file.read(min(_AT_A_TIME, len(view) - done))
        if not part:
            raise ValueError("it is cut")
        view[done : done + len(part)] = part
        done += len(part)
    # At its end zipfile compares the checksum.
    file.read(1)
