"""Messages: the layout byte by byte, and whatever is no message refused."""

import io
import json
import os
import struct
import threading

import numpy as np
import pytest

from cpcnn_core.worker.protocol import MessageError, read_message, write_message

IMAGE = np.arange(24, dtype="<f4").reshape(2, 3, 4)
IDS = np.array([7, -1, 1 << 40], "<i8")


def packed(header, *data):
    """A message made by hand, as the module's docstring lays it out."""
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<I", len(head)) + head + b"".join(data)


def embed_message():
    arrays = [
        {"name": "image", "dtype": "<f4", "shape": [2, 3, 4]},
        {"name": "ids", "dtype": "<i8", "shape": [3]},
    ]
    header = {"type": "embed", "model": "µ", "arrays": arrays}
    return packed(header, IMAGE.tobytes(), IDS.tobytes())


def written(header, arrays=None):
    stream = io.BytesIO()
    write_message(stream, header, arrays)
    return stream.getvalue()


def test_a_message_is_read_from_its_bytes():
    header, arrays = read_message(io.BytesIO(embed_message()))
    assert header == {"type": "embed", "model": "µ"}
    assert list(arrays) == ["image", "ids"]
    np.testing.assert_array_equal(arrays["image"], IMAGE)
    np.testing.assert_array_equal(arrays["ids"], IDS)
    assert (arrays["image"].dtype, arrays["ids"].dtype) == (np.float32, np.int64)


def test_a_message_is_written_as_its_bytes():
    data = written({"type": "embed", "model": "µ"}, {"image": IMAGE, "ids": IDS})
    (length,) = struct.unpack("<I", data[:4])
    assert json.loads(data[4 : 4 + length]) == {
        "type": "embed",
        "model": "µ",
        "arrays": [
            {"name": "image", "dtype": "<f4", "shape": [2, 3, 4]},
            {"name": "ids", "dtype": "<i8", "shape": [3]},
        ],
    }
    assert data[4 + length :] == IMAGE.tobytes() + IDS.tobytes()


@pytest.mark.parametrize("dtype", ["?", "i1", "<u2", ">u2", "<i4", ">i8", "<f2", "<f4", ">f8"])
@pytest.mark.parametrize("shape", [(0,), (1,), (3, 0, 2), (5,), (2, 3, 4)])
def test_arrays_of_numbers_survive(dtype, shape):
    array = (np.random.default_rng(0).random(shape) * 100).astype(dtype)
    _, found = read_message(io.BytesIO(written({"type": "x"}, {"a": array})))
    assert (found["a"].shape, found["a"].dtype) == (shape, np.dtype(dtype))
    np.testing.assert_array_equal(found["a"], array)


def test_arrays_that_lie_across_memory_survive():
    array = np.arange(60).reshape(3, 4, 5)
    views = {"turned": array.T, "every second": array[:, ::2, ::-1], "fortran": array.copy("F")}
    _, found = read_message(io.BytesIO(written({"type": "x"}, views)))
    for name, view in views.items():
        np.testing.assert_array_equal(found[name], view)


def test_what_was_read_can_be_written_to():
    _, arrays = read_message(io.BytesIO(embed_message()))
    arrays["image"] += 1
    assert arrays["image"][0, 0, 0] == 1


def test_messages_follow_each_other():
    stream = io.BytesIO(embed_message() + packed({"type": "models", "arrays": []}))
    assert read_message(stream)[0]["type"] == "embed"
    assert read_message(stream) == ({"type": "models"}, {})
    assert read_message(stream) is None


def test_an_end_between_messages_is_none():
    assert read_message(io.BytesIO()) is None


def test_an_end_anywhere_inside_a_message_is_an_error():
    whole = embed_message()
    for length in range(1, len(whole)):
        with pytest.raises(MessageError):
            read_message(io.BytesIO(whole[:length]))


def test_a_large_message_comes_through_a_pipe_in_pieces():
    image = np.random.default_rng(1).random((5, 300, 400))
    out, into = os.pipe()
    data = written({"type": "embed"}, {"image": image})

    def send():
        with open(into, "wb", buffering=0) as stream:  # noqa: PTH123  (a descriptor)
            for start in range(0, len(data), 99_991):
                stream.write(data[start : start + 99_991])

    thread = threading.Thread(target=send)
    thread.start()
    with open(out, "rb") as stream:  # noqa: PTH123  (a descriptor)
        _, arrays = read_message(stream)
        assert read_message(stream) is None
    thread.join()
    np.testing.assert_array_equal(arrays["image"], image)


@pytest.mark.parametrize(
    "data",
    [
        b"hello, worker\n",
        b"\0\0\0\0",
        struct.pack("<I", 1 << 31),
        packed(b"not JSON"),
        packed(b"\xff\xfe\xfd"),
        packed([1, 2]),
        packed(None),
        packed({"type": "models"}),
        packed({"type": "models", "arrays": 3}),
        packed({"type": "models", "arrays": [3]}),
        packed({"type": "models", "arrays": [{"name": "a"}]}),
    ],
)
def test_what_is_no_message_is_an_error(data):
    with pytest.raises(MessageError):
        read_message(io.BytesIO(data))


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [
        ("|O", [1]),
        ("<U3", [1]),
        ("S4", [1]),
        ("<c8", [1]),
        ("V8", [1]),
        ("<M8[s]", [1]),
        ("f4,f4", [1]),
        ("nonsense", [1]),
        ("<f4", [-1]),
        ("<f4", ["2"]),
        ("<f4", [1.5]),
        ("<f4", None),
    ],
)
def test_an_array_of_anything_but_numbers_is_an_error(dtype, shape):
    listed = [{"name": "a", "dtype": dtype, "shape": shape}]
    with pytest.raises(MessageError):
        read_message(io.BytesIO(packed({"type": "x", "arrays": listed}, bytes(64))))
