"""The crops of one site in one ``.npy`` file, each with a checksum of its own.

The file is NumPy's own format, version 1.0, uncompressed: any crop is read from its
place without the others, and anything that reads ``.npy`` reads it.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterable
from io import SEEK_END, BytesIO, RawIOBase
from pathlib import Path

import numpy as np

from cpcnn_core.errors import CropStoreError, DiskFullError
from cpcnn_core.io.atomic import remove_leftovers, set_time, write_atomically

# However large a site is: how many are held at a time where all are checked.
CROPS_AT_A_TIME = 64
_MAGIC = b"\x93NUMPY\x01\x00"
_RUN_AGAIN = "run the same cpcnn crops again: it replaces what is missing or damaged"


def write_crops(
    path: str | Path,
    parts: Iterable[np.ndarray],
    count: int,
    shape: tuple[int, int, int],
    dtype: np.dtype,
) -> np.ndarray:
    """Write the crops of a site, a part at a time; equal crops give equal bytes.

    Parameters
    ----------
    path : str or Path
    parts : iterable of ndarray of shape (k, c, crop_px, crop_px), of `dtype`
        Together the crops of the site, in order; one part is held at a time.
    count : int
        Number of crops in all parts.
    shape : (c, crop_px, crop_px)
    dtype : numpy.dtype

    Returns
    -------
    ndarray of shape (count,), uint32
        The CRC-32 of every crop.

    Raises
    ------
    OSError
        The file cannot be written; it names the file, and nothing is left of it.

    Examples
    --------
    >>> import tempfile
    >>> crops = np.arange(8, dtype="u1").reshape(2, 1, 2, 2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_crops(f"{folder}/1.npy", [crops], 2, (1, 2, 2), crops.dtype).tolist()
    [2344191507, 1624488069]
    """
    sums: list[int] = []
    header = _header(count, shape, dtype)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            file.write(header)
            for part in parts:
                whole = np.ascontiguousarray(part, dtype)
                file.write(whole.data)
                sums.extend(zlib.crc32(crop) for crop in whole)

    try:
        write_atomically(path, write)
    except DiskFullError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    # Left by a run that was killed: a site belongs to one shard, so no other run writes it.
    remove_leftovers(path)
    return np.array(sums, np.uint32)


def read_crops(path: Path, places: np.ndarray, checksums: np.ndarray, out: np.ndarray) -> None:
    """Read some crops of a site from their places in its file.

    Parameters
    ----------
    path : Path
    places : ndarray of shape (n,), integer
        Which crops of the file.
    checksums : ndarray of shape (n,), uint32
        Their expected CRC-32.
    out : ndarray of shape (n, c, crop_px, crop_px), contiguous
        Written to.

    Raises
    ------
    CropStoreError
        The file is missing, too short, or a crop has another checksum; the next
        ``cpcnn crops`` then looks at it, whatever time it had.

    Examples
    --------
    >>> read_crops(Path("nowhere.npy"), np.array([0]), np.array([0]), np.zeros((1, 1, 2, 2)))
    Traceback (most recent call last):
    cpcnn_core.errors.CropStoreError: there is no file nowhere.npy; run the same cpcnn crops ...
    """
    try:
        # One read a crop, straight into its place. A memory map would be no faster, and
        # a file that became shorter would kill the process instead of raising.
        with path.open("rb", buffering=0) as file:
            start = _data_start(file, path)
            for place, checksum, crop in zip(places.tolist(), checksums.tolist(), out, strict=True):
                file.seek(start + place * crop.nbytes)
                if file.readinto(crop) != crop.nbytes:
                    raise CropStoreError(f"{path} ends before its crop {place}; {_RUN_AGAIN}")
                if zlib.crc32(crop) != checksum:
                    # A file without the time of its facts is read by the next run, and set aside.
                    set_time(path, time.time_ns())
                    raise CropStoreError(
                        f"{path} is damaged: its crop {place} is not what was written (its CRC-32 "
                        f"differs); {_RUN_AGAIN}"
                    )
    except FileNotFoundError as error:
        raise CropStoreError(f"there is no file {path}; {_RUN_AGAIN}") from error


def is_whole(path: Path, count: int, shape: tuple[int, int, int], dtype: np.dtype) -> bool:
    """Tell whether a site's file is there, begins as it should and is as long as its crops.

    Examples
    --------
    >>> is_whole(Path("nowhere.npy"), 1, (5, 128, 128), np.dtype("u1"))
    False
    """
    header = _header(count, shape, dtype)
    try:
        with path.open("rb") as file:
            begins = file.read(len(header)) == header
            size = file.seek(0, SEEK_END)
    except OSError:
        return False
    return begins and size == len(header) + count * int(np.prod(shape)) * dtype.itemsize


def _header(count: int, shape: tuple[int, int, int], dtype: np.dtype) -> bytes:
    said = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False}
    header = BytesIO()
    np.lib.format.write_array_header_1_0(header, said | {"shape": (count, *shape)})
    return header.getvalue()


def _data_start(file: RawIOBase, path: Path) -> int:
    head = file.read(len(_MAGIC) + 2)
    if len(head) < len(_MAGIC) + 2 or not head.startswith(_MAGIC):
        raise CropStoreError(f"{path} is damaged: it does not begin as a .npy file; {_RUN_AGAIN}")
    return len(head) + int.from_bytes(head[-2:], "little")
