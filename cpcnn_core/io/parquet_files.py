"""Parquet files in which a changed byte is noticed.

Pages have the checksums of the format, which readers of other makers compare, too. The footer
has none there: ours is told by eight bytes before it, ``CPC1`` and the CRC-32, where readers by
the format's rules do not look. What is left are the headers of pages, one byte in ten thousand.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from cpcnn_core.io.untrusted_files import is_believable, refuse_claim

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from pyarrow import parquet

_MARK = b"CPC1"
_SEAL_BYTES, _END_BYTES = 8, 8
# Of a number, or of the pointer to a text.
_VALUE_BYTES = 8


@contextmanager
def parquet_writer(
    path: str | Path, schema: pa.Schema, **how: object
) -> Iterator[parquet.ParquetWriter]:
    """Write a file in parts, with checksums.

    Parameters
    ----------
    path : str or Path
    schema : pyarrow.Schema
    **how
        Of `pyarrow.parquet.ParquetWriter`; it is compressed with zstd.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from pyarrow import parquet
    >>> table = pa.table({"Metadata_Well": ["A01", "A02"]})
    >>> with parquet_writer("P1.parquet", table.schema) as writer:
    ...     writer.write_table(table[:1])
    ...     writer.write_table(table[1:])
    >>> parquet.read_table("P1.parquet")["Metadata_Well"].to_pylist()
    ['A01', 'A02']
    """
    from pyarrow import parquet

    how = {"compression": "zstd", "write_page_checksum": True, **how}
    with parquet.ParquetWriter(path, schema, **how) as writer:
        yield writer
    _seal(path)


def write_parquet(path: str | Path, table: pa.Table, **how: object) -> None:
    """Write a table, with checksums; see `parquet_writer`.

    Examples
    --------
    >>> import tempfile
    >>> import pyarrow as pa
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_parquet(f"{folder}/a.parquet", pa.table({"x": [1, 2]}))
    ...     with open_parquet(f"{folder}/a.parquet") as file:
    ...         file.read()["x"].to_pylist()
    [1, 2]
    """
    with parquet_writer(path, table.schema, **how) as writer:
        writer.write_table(table)


def open_parquet(path: str | Path) -> parquet.ParquetFile:
    """Open a parquet file, of anybody; checksums that it has are compared.

    Columns of texts, or of bytes, come as dictionaries: a text that a small file names a million
    times is in memory once.

    Raises
    ------
    OSError, pyarrow.ArrowException
        It is damaged, or claims more than it can hold; of a page this is raised when it is read.

    Examples
    --------
    >>> open_parquet("nowhere.parquet")
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: 'nowhere.parquet'
    """
    from pyarrow import parquet

    with Path(path).open("rb") as file:
        seal, footer = _footer(file)
    if seal.startswith(_MARK) and seal != _seal_of(footer):
        raise OSError("its footer is damaged: its CRC-32 is another than that of what was written")
    about = parquet.read_metadata(path)
    claimed, stored = about.num_rows * about.num_columns * _VALUE_BYTES, Path(path).stat().st_size
    if not is_believable(claimed, stored):
        raise OSError(refuse_claim(path, "its table", claimed, stored))
    how = {"page_checksum_verification": True, "read_dictionary": _texts(about.schema)}
    return parquet.ParquetFile(path, metadata=about, **how)


def as_frame(table: pa.Table) -> pd.DataFrame:
    """Return what was read as pandas has it, with texts as objects: one for all rows that have it.

    Examples
    --------
    >>> import pyarrow as pa
    >>> as_frame(pa.table({"x": pa.array(["a", "a"]).dictionary_encode()}))["x"].dtype
    dtype('O')
    """
    frame = table.to_pandas()
    return frame.astype(dict.fromkeys(frame.select_dtypes("category"), object))


def _texts(schema: parquet.ParquetSchema) -> list[str]:
    columns = (schema.column(place) for place in range(len(schema)))
    return [one.path for one in columns if one.physical_type == "BYTE_ARRAY"]


def _seal(path: str | Path) -> None:
    with Path(path).open("r+b") as file:
        _, footer = _footer(file)
        file.seek(-len(footer), os.SEEK_END)
        file.write(_seal_of(footer) + footer)


def _seal_of(footer: bytes) -> bytes:
    return _MARK + struct.pack("<L", zlib.crc32(footer))


def _footer(file: BinaryIO) -> tuple[bytes, bytes]:
    """Return the eight bytes before the footer, and the footer to the end of the file."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _END_BYTES))
    length = int.from_bytes(file.read(4), "little") + _END_BYTES
    if length > size:
        return b"", b""
    # A table without rows has nothing but the four first bytes before its footer.
    start = max(0, size - length - _SEAL_BYTES)
    file.seek(start)
    return file.read(size - length - start), file.read()
