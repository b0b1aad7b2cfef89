"""Messages on a byte stream: a JSON header, then the raw bytes of arrays.

Layout: uint32 little endian, the length of the header; the header in UTF-8, whose
entry ``arrays`` lists name, dtype and shape; then each array's bytes in C order.

Both ends of the worker's pipe read and write with this file. They live in different Pythons,
installed apart, so it stands twice, in equal words (a test compares them):
``cpcnn_core/worker/protocol.py`` and ``cellprofiler_plugins/_cpcnn/protocol.py``. It is written
for Python 3.8, with the standard library and NumPy alone.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

# Of the requests and answers, which `cpcnn_core.worker` lists.
PROTOCOL_VERSION = 3
_LENGTH = struct.Struct("<I")
_MAX_HEADER_BYTES = 1 << 24
# Plain numbers only: an object array would have to be unpickled.
_KINDS = "biuf"


class MessageError(RuntimeError):
    """What came is no message of ours, or a part of one."""


def write_message(
    stream: BinaryIO, header: Mapping[str, object], arrays: Mapping[str, np.ndarray] | None = None
) -> None:
    """Write one message and flush.

    Parameters
    ----------
    stream : binary file
    header : mapping
        Anything JSON can hold, with an entry ``type``.
    arrays : mapping of str to ndarray of numbers

    Examples
    --------
    >>> import io
    >>> stream = io.BytesIO()
    >>> write_message(stream, {"type": "features"}, {"features": np.ones(2, "f4")})
    >>> len(stream.getvalue())
    96
    """
    arrays = {name: np.ascontiguousarray(value) for name, value in (arrays or {}).items()}
    listed = [
        {"name": name, "dtype": value.dtype.str, "shape": value.shape}
        for name, value in arrays.items()
    ]
    head = json.dumps({**header, "arrays": listed}).encode()
    stream.write(_LENGTH.pack(len(head)) + head)
    for value in arrays.values():
        stream.write(value.data.cast("B") if value.size else b"")
    stream.flush()


def read_message(stream: BinaryIO) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
    """Read one message; None when the stream ended between messages.

    Returns
    -------
    header : dict
    arrays : dict of str to ndarray

    Raises
    ------
    MessageError
        The stream ended inside a message, or what came is no message of ours.

    Examples
    --------
    >>> import io
    >>> stream = io.BytesIO()
    >>> write_message(stream, {"type": "features"}, {"features": np.ones(2, "f4")})
    >>> read_message(io.BytesIO(stream.getvalue()))
    ({'type': 'features'}, {'features': array([1., 1.], dtype=float32)})
    """
    start = stream.read(_LENGTH.size)
    if not start:
        return None
    length = _LENGTH.unpack(start)[0] if len(start) == _LENGTH.size else 0
    if not 0 < length <= _MAX_HEADER_BYTES:
        raise MessageError(f"expected the length of a message header, got {start!r}")
    try:
        header = json.loads(_read_exactly(stream, length))
        listed = header.pop("arrays")
        return header, {entry["name"]: _read_array(stream, entry) for entry in listed}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MessageError(
            f"expected a message header in JSON, got something else: {error!r}"
        ) from error


def _read_array(stream: BinaryIO, entry: dict[str, Any]) -> np.ndarray:
    dtype, shape = np.dtype(entry["dtype"]), tuple(entry["shape"])
    if dtype.kind not in _KINDS:
        raise MessageError(f"expected an array of numbers for {entry['name']}, got dtype {dtype}")
    array = np.empty(shape, dtype)
    if array.size:
        view = array.reshape(-1).view(np.uint8).data
        filled = 0
        while filled < len(view):
            # Binary files have it, though their type does not say so.
            got: int = stream.readinto(view[filled:])  # type: ignore[attr-defined]
            if not got:
                raise MessageError(f"the stream ended after {filled} of {len(view)} bytes")
            filled += got
    return array


def _read_exactly(stream: BinaryIO, length: int) -> bytes:
    data = stream.read(length)
    if len(data) != length:
        raise MessageError(f"the stream ended after {len(data)} of {length} bytes")
    return data
