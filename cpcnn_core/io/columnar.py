"""Parquet and Feather tables, whose values have types, as texts or numbers.

How much memory a Feather file needs is read from its headers, without unpacking anything. Arrow's
file format, https://arrow.apache.org/docs/format/Columnar.html: a footer that lists the batches,
each with a header of its own, both as FlatBuffers; every compressed buffer begins with its length
when unpacked.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from cpcnn_core.errors import TableError
from cpcnn_core.io.formats import FEATHER
from cpcnn_core.io.numbers import numbers_of
from cpcnn_core.io.parquet_files import open_parquet
from cpcnn_core.io.untrusted_files import is_believable, refuse_claim
from cpcnn_core.schema.values import text_of

if TYPE_CHECKING:
    from types import ModuleType

    import pandas as pd
    import pyarrow as pa

T = TypeVar("T")
ROWS = 1 << 16


class ColumnarTable:
    """A parquet or Feather file; see `cpcnn_core.io.tables.Table`.

    Parameters
    ----------
    path : Path
    is_parquet : bool
        Else it is Feather.

    Raises
    ------
    TableError
        The file is damaged, or has columns without a name.

    Examples
    --------
    >>> import pandas as pd
    >>> pd.DataFrame({"Metadata_Well": ["A01"], "Cells_CPCNN_000": [0.5]}).to_parquet("P1.parquet")
    >>> table = ColumnarTable(Path("P1.parquet"), is_parquet=True)
    >>> table.columns
    ['Metadata_Well', 'Cells_CPCNN_000']
    >>> table.numbers(["Cells_CPCNN_000"]).values
    array([[0.5]])
    """

    def __init__(self, path: Path, *, is_parquet: bool) -> None:
        self.path, self._is_parquet = path, is_parquet
        self.schema = self._try(self._read_schema)
        # pandas keeps its row numbers in a column of such a name.
        names = self._try(lambda: self.schema.names)
        own = [name for name in names if not name.startswith("__index_level_")]
        self._real = {name.strip(): name for name in own}
        self.columns = list(self._real)
        if len(self._real) != len(own):
            twice = [name.strip() for name in own if self._real[name.strip()] != name]
            raise TableError(f"{path} has a column twice: {', '.join(twice) or own[0]}")

    def texts(self, names: Sequence[str] | None = None) -> pd.DataFrame:
        """Return columns as texts."""
        names = self.columns if names is None else list(names)
        return self._whole(names, self._texts)

    def numbers(self, names: Sequence[str]) -> pd.DataFrame:
        """Return columns as numbers: float64, or float32 where they are kept so."""
        return self._whole(list(names), self._numbers)

    def parts(
        self, names: Sequence[str], numbers: Sequence[str], rows: int = 8192
    ) -> Iterator[tuple[pd.DataFrame, np.ndarray]]:
        """Read in parts: columns in their own types, columns as numbers."""
        import pandas as pd
        import pyarrow as pa

        real = self._real_names([*names, *(name for name in numbers if name not in names)])
        first = 1
        try:
            for part in self._batches(real, rows):
                index = pd.RangeIndex(first - 1, first - 1 + part.num_rows)
                columns = dict(zip(part.schema.names, part.columns, strict=True))
                kept = {name: self._kept(columns[self._real[name]], name) for name in names}
                values = np.empty((part.num_rows, len(numbers)), self._precision(numbers))
                for place, name in enumerate(numbers):
                    values[:, place] = self._numbers(columns[self._real[name]], name, first)
                yield pd.DataFrame(kept, columns=list(names), index=index), values
                first += part.num_rows
        except _damage(pa) as error:
            raise self._unreadable(error) from error

    def numeric_columns(self) -> list[str]:
        """Name the columns that are kept as numbers."""
        return [name for name in self.columns if _is_number(_plain(self._type_of(name)))]

    def _type_of(self, name: str) -> pa.DataType:
        return self.schema.field(self._real[name]).type

    def _read_schema(self) -> pa.Schema:
        import pyarrow as pa

        if self._is_parquet:
            with open_parquet(self.path) as file:
                return file.schema_arrow
        require_believable_feather(self.path)
        with pa.memory_map(str(self.path)) as file, pa.ipc.open_file(file) as reader:
            return reader.schema

    def _real_names(self, names: Sequence[str]) -> list[str]:
        missing = [name for name in names if name not in self._real]
        if missing:
            raise TableError(f"{self.path} has no column {', '.join(missing)}")
        return [self._real[name] for name in names]

    def _whole(
        self, names: list[str], convert: Callable[[pa.Array, str], np.ndarray]
    ) -> pd.DataFrame:
        import pandas as pd
        import pyarrow as pa

        real = self._real_names(names)
        schema = pa.schema([self.schema.field(name) for name in real])

        def read() -> pd.DataFrame:
            table = pa.Table.from_batches(list(self._batches(real, ROWS)), schema)
            values = {
                name: convert(table[place].combine_chunks(), name)
                for place, name in enumerate(names)
            }
            return pd.DataFrame(values, columns=names, index=pd.RangeIndex(len(table)))

        return self._try(read)

    def _batches(self, real: list[str], rows: int) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        if not real:
            return
        if self._is_parquet:
            with open_parquet(self.path) as file:
                for batch in file.iter_batches(rows, columns=real):
                    yield batch.select(real)
            return
        with pa.memory_map(str(self.path)) as file, pa.ipc.open_file(file) as reader:
            for place in range(reader.num_record_batches):
                batch = reader.get_batch(place).select(real)
                # What is damaged would else be read from wherever it points to.
                batch.validate(full=True)
                for start in range(0, batch.num_rows, rows):
                    yield batch.slice(start, rows)

    def _try(self, read: Callable[[], T]) -> T:
        import pyarrow as pa

        try:
            return read()
        except _damage(pa) as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> TableError:
        if isinstance(error, TableError):
            return error
        text = " ".join(str(error).split())
        return TableError(f"{self.path} cannot be read as a table: {text}")

    def _precision(self, names: Sequence[str]) -> type:
        import pyarrow as pa

        single = all(_plain(self._type_of(name)) == pa.float32() for name in names)
        return np.float32 if single and names else float

    def _kept(self, column: pa.Array, name: str) -> pd.Series | np.ndarray:
        """Return values of pandas' types; those that it has none for as numbers or texts."""
        import pyarrow as pa

        kind = _plain(column.type)
        if pa.types.is_decimal(kind) or kind == pa.float16():
            return self._numbers(column, name)
        if _is_text(kind) and pa.types.is_dictionary(column.type):
            return _from_dictionary(column, column.dictionary.to_pylist(), None)
        known = (
            pa.types.is_boolean(kind)
            or pa.types.is_integer(kind)
            or pa.types.is_floating(kind)
            or pa.types.is_timestamp(kind)
            or _is_text(kind)
        )
        return column.to_pandas().array if known else self._texts(column, name)

    def _texts(self, column: pa.Array, name: str) -> np.ndarray:
        import pyarrow as pa

        kind = _plain(column.type)
        if not (_is_text(kind) or _is_plain(kind)):
            raise TableError(
                f"{self.path} has values of type {kind} in the column {name}; expected texts or "
                "numbers: write them so, or leave the column out"
            )
        if pa.types.is_null(kind):
            return np.full(len(column), "", object)
        encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        # 0.1 is written as 0.1, whatever its precision.
        as_kept = np.float32 if kind == pa.float32() else float
        real = pa.types.is_floating(kind) or pa.types.is_decimal(kind)
        known = [
            _text(value, as_kept if real else None) for value in encoded.dictionary.to_pylist()
        ]
        return _from_dictionary(encoded, known, "")

    def _numbers(self, column: pa.Array, name: str, first: int = 1) -> np.ndarray:
        import pyarrow as pa

        values = _decoded(column)
        kind = values.type
        if kind in (pa.float32(), pa.float64()):
            result: np.ndarray = values.to_numpy(zero_copy_only=False)
            return result
        if pa.types.is_boolean(kind):
            values = values.cast(pa.int8())
        if pa.types.is_boolean(kind) or _is_number(kind):
            numbers: np.ndarray = values.cast(pa.float64(), safe=False).to_numpy(
                zero_copy_only=False
            )
            return numbers
        if pa.types.is_temporal(kind):
            raise TableError(f"{self.path} has {kind} in the column {name}; expected numbers")
        return numbers_of(self._texts(column, name).tolist(), self.path, name, first)


def _damage(pa: ModuleType) -> tuple[type[Exception], ...]:
    return OSError, ValueError, KeyError, MemoryError, pa.ArrowException


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow as pa

    result: bool = (
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )
    return result


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    result: bool = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return result


def _is_plain(kind: pa.DataType) -> bool:
    """Tell whether values are such that their texts say what they are."""
    import pyarrow as pa

    return (
        _is_number(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_temporal(kind)
        or pa.types.is_null(kind)
    )


def _plain(kind: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _from_dictionary(
    column: pa.DictionaryArray, known: Sequence[object], missing: object
) -> np.ndarray:
    """Return what a column says of every row, (n,) object; equal values are one object."""
    import pyarrow as pa

    # The last is that of values that are missing.
    codes = column.indices.cast(pa.int64()).fill_null(len(known)).to_numpy(zero_copy_only=False)
    values = np.empty(len(known) + 1, object)
    values[:-1], values[-1] = known, missing
    result: np.ndarray = values[codes]
    return result


def _decoded(column: pa.Array) -> pa.Array:
    import pyarrow as pa

    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _text(value: object, as_kept: type | None) -> str:
    return text_of(value if value is None or as_kept is None else as_kept(value))


_MAGIC = FEATHER.begins[0]
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
