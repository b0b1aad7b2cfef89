"""How much memory a Feather file says that its compressed parts take, without unpacking them.

Arrow's file format, https://arrow.apache.org/docs/format/Columnar.html: a footer that lists the
batches, each with a header of its own, both as FlatBuffers; every compressed buffer begins with
its length when unpacked.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

from cpcnn_core.claims import is_believable, refuse_claim

_MAGIC = b"ARROW1"
_BLOCK_BYTES, _BUFFER_BYTES = 24, 16
# The places of what is read, in the tables of the format.
_DICTIONARIES, _BATCHES = 2, 3
_HEADER_KIND, _HEADER = 1, 2
_DICTIONARY_BATCH, _DICTIONARY_DATA = 2, 1
_BUFFERS, _COMPRESSION = 2, 3


def require_believable_feather(path: str | Path) -> None:
    """Refuse a file whose parts would take far more memory than it has bytes.

    Raises
    ------
    OSError
        It claims more than it can hold, or is damaged.

    Examples
    --------
    >>> require_believable_feather("nowhere.feather")
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: 'nowhere.feather'
    """
    with (
        Path(path).open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        if data[-len(_MAGIC) :] != _MAGIC:
            # Not a Feather file: the reader says so.
            return
        try:
            claimed = sum(_claims(data))
        except (struct.error, IndexError, ValueError) as error:
            raise OSError(f"its list of parts is damaged: {error}") from error
        if not is_believable(claimed, len(data)):
            raise OSError(refuse_claim(path, "its table", claimed, len(data)))


def _claims(data: mmap.mmap) -> Iterator[int]:
    """Yield the length of every compressed buffer when it is unpacked."""
    end = len(data) - len(_MAGIC) - 4
    start = end - _number(data, "<i", end)
    footer = start + _number(data, "<I", start)
    for kind in (_DICTIONARIES, _BATCHES):
        for block in _entries(data, footer, kind, _BLOCK_BYTES):
            offset, head_bytes, _ = struct.unpack_from("<qi4xq", data, block)
            # Four bytes that say that a length follows.
            message = offset + 8 + _number(data, "<I", offset + 8)
            yield from _claims_of_batch(data, message, offset + head_bytes)


def _claims_of_batch(data: mmap.mmap, message: int, body: int) -> Iterator[int]:
    batch = _table(data, message, _HEADER)
    if data[_field(data, message, _HEADER_KIND) or 0] == _DICTIONARY_BATCH:
        batch = _table(data, batch, _DICTIONARY_DATA)
    if not _field(data, batch, _COMPRESSION):
        return
    for buffer in _entries(data, batch, _BUFFERS, _BUFFER_BYTES):
        offset, length = struct.unpack_from("<qq", data, buffer)
        if length:
            # Less than nothing: it is not compressed.
            yield max(0, _number(data, "<q", body + offset))


def _number(data: mmap.mmap, kind: str, place: int) -> int:
    if place < 0:
        raise ValueError(f"it points to {place}")
    result: int = struct.unpack_from(kind, data, place)[0]
    return result


def _field(data: mmap.mmap, table: int, number: int) -> int:
    """Return where a field of a table is; 0 where the table does not have it."""
    fields = table - _number(data, "<i", table)
    place = 4 + 2 * number
    if place >= _number(data, "<H", fields):
        return 0
    offset = _number(data, "<H", fields + place)
    return table + offset if offset else 0


def _table(data: mmap.mmap, table: int, number: int) -> int:
    place = _field(data, table, number)
    if not place:
        raise ValueError("a header is missing")
    return place + _number(data, "<I", place)


def _entries(data: mmap.mmap, table: int, number: int, size: int) -> Iterator[int]:
    """Yield where the entries of a list are."""
    place = _field(data, table, number)
    if place:
        start = place + _number(data, "<I", place)
        for entry in range(_number(data, "<I", start)):
            yield start + 4 + entry * size
