"""Zip archives of arrays (NumPy's npz, sessions): read as declared, or not at all.

Nothing is unpacked under a name that the archive gives, nothing is unpickled, and no memory is
taken before it is known that the bytes are there. A member that changed since it was written is
detected by its CRC-32, and a change to any byte of the file by the CRC-32 of the whole, which is
kept in the archive's comment (archives of an earlier cpcnn have none).
"""

from __future__ import annotations

import io
import math
import shutil
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from cpcnn_core.io.untrusted_files import is_believable, refuse_claim

# Of a directory of members; one takes about a hundred bytes, and memory ten times as much.
MAX_DIRECTORY_BYTES = 2**20
_END, _END_BYTES, _LONGEST_COMMENT = b"PK\x05\x06", 22, 2**16
_SEAL = "cpcnn: CRC-32 {:08x}"
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 1
_LONGEST_HEADER = 10_000
_AT_A_TIME = 2**20
LAST_LETTER = 0x10FFFF


@contextmanager
def open_archive(
    path: str | Path, *, compressed: str = "", whole: bool = True
) -> Iterator[zipfile.ZipFile]:
    """Open an archive whose members are each there once, readable, and not too many.

    Parameters
    ----------
    path : str or Path
    compressed : str
        What the names of members end in that may be deflated, such as ``.npy``. What is read
        as JSON, or as a file with claims of its own, takes more memory than its bytes.
    whole : bool
        Whether to compare the checksum of the whole file, which has to be read for it.

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
        _check_end(file, path.stat().st_size, whole=whole)
        with zipfile.ZipFile(file) as archive:
            _check_members(archive, path, compressed)
            yield archive


def write_arrays(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as NumPy's npz, uncompressed, with a checksum of the whole.

    Parameters
    ----------
    path : str or Path
        See `cpcnn_core.io.atomic.write_atomically`.
    arrays : mapping of str to ndarray

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_arrays(f"{folder}/a.npz", {"x": np.arange(3)})
    ...     with np.load(f"{folder}/a.npz") as file:
    ...         file["x"].tolist()
    [0, 1, 2]
    """
    with Path(path).open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # none is called allow_pickle
    seal(path)


def seal(path: str | Path) -> None:
    """Write the checksum of an archive into its comment; equal archives stay equal.

    Examples
    --------
    >>> np.savez("session.npz", x=np.arange(3))
    >>> seal("session.npz")
    >>> with zipfile.ZipFile("session.npz") as archive:
    ...     archive.comment
    b'cpcnn: CRC-32 ...'
    """
    with Path(path).open("r+b") as file:
        comment = _seal_of(file, file.seek(0, io.SEEK_END))
        # The end of an archive without a comment says last how long that is.
        file.seek(-2, io.SEEK_END)
        file.write(struct.pack("<H", len(comment)) + comment)


def _seal_of(file: io.BufferedIOBase, size: int) -> bytes:
    """Return the comment of an archive that has `size` bytes without it."""
    file.seek(0)
    checksum, left = 0, size - 2
    while left and (part := file.read(min(_AT_A_TIME, left))):
        checksum, left = zlib.crc32(part, checksum), left - len(part)
    return _SEAL.format(checksum).encode()


def _check_end(file: io.BufferedReader, size: int, *, whole: bool) -> None:
    file.seek(max(0, size - _END_BYTES - _LONGEST_COMMENT))
    last = file.read()
    start = last.rfind(_END)
    end = last[start:]
    if start < 0 or len(end) < _END_BYTES:
        raise ValueError("it is no zip archive, or it is cut")
    directory, comment = struct.unpack("<L4xH", end[12:_END_BYTES])
    if directory > MAX_DIRECTORY_BYTES:
        raise ValueError(f"it has a directory of {directory} bytes, too many for what we write")
    if comment != len(end) - _END_BYTES:
        raise ValueError("it is cut, or something was appended to it")
    if whole and comment and end[_END_BYTES:] != _seal_of(file, size - comment):
        raise ValueError("its CRC-32 is another than that of what was written")


def _check_members(archive: zipfile.ZipFile, path: Path, compressed: str) -> None:
    members = archive.infolist()
    names = [member.filename for member in members]
    if len(set(names)) < len(names):
        raise ValueError(f"it has twice the member {max(names, key=names.count)!r}")
    if any(one.flag_bits & _ENCRYPTED or not _is_ours(one, compressed) for one in members):
        raise ValueError("its parts are compressed or encrypted otherwise than we write them")
    # Members that share their bytes would together claim more than each.
    claimed = sum(member.file_size for member in members)
    stored = sum(member.compress_size for member in members)
    if stored > path.stat().st_size:
        raise ValueError("its members overlap")
    if not is_believable(claimed, stored):
        raise ValueError(refuse_claim(path, "its content", claimed, stored))


def _is_ours(member: zipfile.ZipInfo, compressed: str) -> bool:
    deflated = bool(compressed) and member.filename.endswith(compressed)
    return member.compress_type in (_METHODS if deflated else _METHODS[:1])


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
    >>> write_arrays("cells.npz", {"features": np.ones((120, 672), np.float32)})
    >>> with open_archive("cells.npz") as archive:
    ...     read_array(archive, "features").shape
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
    >>> write_arrays("cells.npz", {"features": np.ones(3)})
    >>> with open_archive("cells.npz") as archive:
    ...     np.load(extract_member(archive, "features.npy", "mine.npy"))
    array([1., 1., 1.])
    """
    with archive.open(name) as file, Path(place).open("wb") as written:
        shutil.copyfileobj(file, written, _AT_A_TIME)
    return Path(place)


def _read_header(file: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype, int]:
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
    read = (
        np.lib.format.read_array_header_1_0 if width == 2 else np.lib.format.read_array_header_2_0
    )
    with warnings.catch_warnings():
        # Of damaged headers NumPy warns as if an old Python had written them.
        warnings.simplefilter("error")
        shape, fortran, dtype = read(head)
    if any(length < 0 for length in shape):
        raise ValueError(f"{name} has the shape {shape}")
    return shape, fortran, dtype, whole


def _fill(file: IO[bytes], out: np.ndarray) -> None:
    view, done = out.data, 0
    while done < len(view):
        part = file.read(min(_AT_A_TIME, len(view) - done))
        if not part:
            raise ValueError("it is cut")
        view[done : done + len(part)] = part
        done += len(part)
    # At its end zipfile compares the checksum.
    file.read(1)
