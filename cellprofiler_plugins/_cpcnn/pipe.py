"""Our side of the worker's pipe: a JSON header, then the raw bytes of arrays.

The other side is ``cpcnn_core.worker.protocol``, which describes the layout. It is
written twice because the two sides live in different Pythons, installed apart.
"""

import json
import struct

import numpy as np

from .errors import WorkerError

LENGTH = struct.Struct("<I")
MAX_HEADER_BYTES = 1 << 24


def write_message(stream, header, arrays=None):
    """Write one message and flush; `arrays` maps names to arrays of numbers."""
    arrays = {name: np.ascontiguousarray(value) for name, value in (arrays or {}).items()}
    listed = [
        {"name": name, "dtype": value.dtype.str, "shape": value.shape}
        for name, value in arrays.items()
    ]
    head = json.dumps(dict(header, arrays=listed)).encode("utf-8")
    stream.write(LENGTH.pack(len(head)) + head)
    for value in arrays.values():
        stream.write(value.data.cast("B") if value.size else b"")
    stream.flush()


def read_message(stream):
    """Read one message as (header, arrays); None when the stream has ended."""
    start = stream.read(LENGTH.size)
    if len(start) < LENGTH.size:
        return None
    length = LENGTH.unpack(start)[0]
    if not 0 < length <= MAX_HEADER_BYTES:
        raise WorkerError("the worker answered %r instead of a message" % start)
    header = json.loads(stream.read(length).decode("utf-8"))
    return header, {entry["name"]: _read_array(stream, entry) for entry in header.pop("arrays")}


def _read_array(stream, entry):
    dtype, shape = np.dtype(entry["dtype"]), tuple(entry["shape"])
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    data = stream.read(size)
    if len(data) != size:
        raise WorkerError("the worker's answer ended after %d of %d bytes" % (len(data), size))
    return np.frombuffer(data, dtype).reshape(shape)
