"""Text tables separated by commas, semicolons or tabs, as spreadsheets and programs write them."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import itertools
import lzma
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np

from cpcnn_core.errors import TableError
from cpcnn_core.io.numbers import MISSING, numbers_of
from cpcnn_core.io.spreadsheets import as_named
from cpcnn_core.io.untrusted_files import is_believable, refuse_claim

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from pyarrow.csv import InvalidRow

DELIMITERS = (",", "\t", ";")
# Longer than any header; a row has to fit into one block.
BLOCK_BYTES = 1 << 24
LINES_LOOKED_AT = 100
_OPENERS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError)
# A column without a name, which may hold nothing.
_UNNAMED = "\0"


class DelimitedTable:
    r"""A table of text; see `cpcnn_core.io.tables.Table`.

    Parameters
    ----------
    path : Path

    Raises
    ------
    TableError
        The file is empty, no text, or compressed and damaged.

    Notes
    -----
    Whichever of comma, semicolon and tab parts the header into most names parts the table; a
    line ``sep=;`` before it is Excel's way to say so. A first column without a name holds row
    numbers of pandas or R and is left out; other columns without a name have to be empty. Two
    header rows, of CellProfiler's combined tables (``Image,Nuclei,Cells`` above
    ``ImageNumber,ObjectNumber,Location_Center_X``), become one: ``Nuclei_ObjectNumber``. An
    apostrophe before what a spreadsheet would compute (``'=A1``) is none of the text.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "platemap.txt")
    ...     _ = path.write_text("Well\tDose\nA01\t010\nA02\tNA\n")
    ...     table = DelimitedTable(path)
    ...     table.texts().values.tolist(), table.numbers(["Dose"])["Dose"].tolist()
    ([['A01', '010'], ['A02', 'NA']], [10.0, nan])
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._encoding = "utf-8"
        with self._open() as stream:
            start = self._first_block(stream)
        self._delimiter, header, self._skipped, width = _read_header(path, start)
        names = [as_named(name.strip()) for name in header]
        names += [""] * (width - len(names))
        # Unique, so that each can be asked for.
        self._names = [name or f"{_UNNAMED}{place}" for place, name in enumerate(names)]
        self.columns = [name for name in self._names if not name.startswith(_UNNAMED)]
        if not self.columns:
            raise TableError(f"{path} has no names of columns in its first line")
        self._has_rows = width > 0

    def texts(self, names: Sequence[str] | None = None) -> pd.DataFrame:
        """Return columns as texts."""
        import pandas as pd

        names = self.columns if names is None else list(names)
        parts = [texts for texts, _ in self.parts(names, [])]
        return pd.concat(parts) if parts else pd.DataFrame(columns=names, dtype=object)

    def numbers(self, names: Sequence[str]) -> pd.DataFrame:
        """Return columns as numbers, float64."""
        import pandas as pd

        parts = [numbers for _, numbers in self.parts([], names)]
        values = np.concatenate(parts) if parts else np.empty((0, len(names)))
        return pd.DataFrame(values, columns=list(names))

    def parts(
        self,
        names: Sequence[str],
        numbers: Sequence[str],
        rows: int = 0,  # noqa: ARG002  (a part is a block of the file)
    ) -> Iterator[tuple[pd.DataFrame, np.ndarray]]:
        """Read in parts, each of a block of the file: columns as texts, columns as numbers."""
        import pandas as pd

        first = 1
        for block in self._blocks([*names, *(name for name in numbers if name not in names)]):
            index = pd.RangeIndex(first - 1, first - 1 + block.num_rows)
            texts = pd.DataFrame(
                {name: _text_values(block[name]) for name in names}, columns=names, index=index
            )
            values = np.empty((block.num_rows, len(numbers)))
            for place, name in enumerate(numbers):
                values[:, place] = _number_values(block[name], self.path, name, first)
            yield texts, values
            first += block.num_rows

    def _blocks(self, names: list[str]) -> Iterator[pa.RecordBatch]:
        """Read columns as texts, a block of the file at a time."""
        self._refuse_wrong_names(names)
        if not self._has_rows:
            return
        unnamed = [name for name in self._names if name.startswith(_UNNAMED)]
        first = 1
        wrong: list[str] = []
        with self._open() as stream:
            source = _QuoteCounter(stream)
            for block in self._named_errors(source, [*names, *unnamed], wrong):
                for name in unnamed:
                    self._refuse_unnamed_values(block[name].to_pylist(), name, first)
                first += block.num_rows
                yield block
        if source.quotes % 2:
            raise self._open_quotation()

    def _named_errors(
        self, source: _QuoteCounter, names: list[str], wrong: list[str]
    ) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        try:
            source.start(self._decoded(source.stream))
            yield from self._arrow_blocks(source, names, wrong)
        except pa.ArrowInvalid as error:
            if wrong:
                raise TableError(wrong[0]) from error
            if source.quotes % 2:
                raise self._open_quotation() from error
            raise self._unreadable(error) from error
        except (*_DAMAGE, UnicodeError) as error:
            raise self._unreadable(error) from error

    def _arrow_blocks(
        self, source: _QuoteCounter, names: list[str], wrong: list[str]
    ) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        def refuse(row: InvalidRow) -> str:
            if not row.text.strip(self._delimiter + " \t\r\n"):
                return "skip"
            # Raised here it would be lost.
            wrong.append(self._wrong_length(row))
            return "error"

        yield from arrow_csv.open_csv(
            source,
            arrow_csv.ReadOptions(
                use_threads=False,
                block_size=BLOCK_BYTES,
                column_names=self._names,
                skip_rows=self._skipped,
            ),
            arrow_csv.ParseOptions(
                delimiter=self._delimiter, newlines_in_values=True, invalid_row_handler=refuse
            ),
            arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                # None would mean all.
                include_columns=names or self._names[:1],
                null_values=[],
                strings_can_be_null=False,
            ),
        )

    def _wrong_length(self, row: InvalidRow) -> str:
        what = "more" if row.actual_columns > row.expected_columns else "fewer"
        hint = "the file may be cut: export it again" if what == "fewer" else "correct the row"
        number = f" {row.number}" if row.number else ""
        return (
            f"{self.path} has {what} values in line{number} than in its header: "
            f"{row.actual_columns}, expected {row.expected_columns}; {hint}"
        )

    def _open_quotation(self) -> TableError:
        return TableError(
            f"{self.path} has a quotation mark that no other closes, so values run into each "
            "other; the file may be cut: export it again"
        )

    def _refuse_wrong_names(self, names: list[str]) -> None:
        for name in names:
            count = self._names.count(name)
            if count != 1:
                wrong = "no column" if not count else "twice the column"
                raise TableError(f"{self.path} has {wrong} {name}")

    def _refuse_unnamed_values(self, values: list[str], name: str, first: int) -> None:
        place = self._names.index(name)
        for row, value in enumerate(values, start=first):
            # pandas and R leave the numbers of rows in a first column without a name.
            if value.strip() and not (place == 0 and value.strip().isdecimal()):
                raise TableError(
                    f"{self.path} has {value!r} in row {row} of its column {place + 1}, which has "
                    "no name in the header; name the column, or leave it out"
                )

    def _unreadable(self, error: Exception) -> TableError:
        text = " ".join(str(error).split())
        if isinstance(error, UnicodeDecodeError) and self._encoding == "utf-8":
            line = error.object[: error.start].count(b"\n") + 1
            byte = error.object[error.start]
            text = f"it is not in UTF-8 (line {line} has the byte {byte:#04x})"
        if "UTF" in text:
            text += "; save it as CSV UTF-8"
        return TableError(f"{self.path} cannot be read as a CSV table: {text}")

    def _open(self) -> IO[bytes]:
        with self.path.open("rb") as file:
            start = file.read(8)
        for magic, opener in _OPENERS.items():
            if start.startswith(magic):
                return cast("IO[bytes]", _Unpacked(opener(self.path, "rb"), self.path))
        return self.path.open("rb")

    def _decoded(self, stream: IO[bytes]) -> IO[bytes]:
        """Return the stream as UTF-8, without a mark of its encoding at the start."""
        if self._encoding == "utf-8":
            if stream.read(3) != codecs.BOM_UTF8:
                stream.seek(0)
            return stream
        return io.BytesIO(stream.read().decode(self._encoding).encode())

    def _first_block(self, stream: IO[bytes]) -> str:
        try:
            start = stream.read(BLOCK_BYTES)
            if not start.strip():
                raise TableError(f"{self.path} is empty; expected a table with a header")
            for mark, encoding in _MARKS.items():
                if start.startswith(mark):
                    self._encoding = encoding
                    start += stream.read()
            if self._encoding == "utf-8" and b"\0" in start[:4096]:
                raise TableError(f"{self.path} is no table of text: there are zero bytes in it")
            # A block may end within a sign of several bytes.
            last = len(start) < BLOCK_BYTES or self._encoding != "utf-8"
            return codecs.getincrementaldecoder(
                "utf-8-sig" if self._encoding == "utf-8" else self._encoding
            )().decode(start, last)
        except UnicodeError as error:
            raise self._unreadable(error) from error
        except _DAMAGE as error:
            raise self._unreadable(error) from error


class _Unpacked(io.RawIOBase):
    """A compressed file that ends with an error where more comes out than can be in it."""

    def __init__(self, stream: IO[bytes], path: Path) -> None:
        super().__init__()
        self._stream, self._path = stream, path
        self._stored = path.stat().st_size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, place: int, whence: int = io.SEEK_SET) -> int:
        return self._stream.seek(place, whence)

    def read(self, size: int = -1) -> bytes:
        parts, left = [], size
        while left and (part := self._stream.read(BLOCK_BYTES if left < 0 else left)):
            parts.append(part)
            left -= len(part) if left > 0 else 0
            claimed = self._stream.tell()
            if not is_believable(claimed, self._stored):
                raise OSError(refuse_claim(self._path, "its text", claimed, self._stored))
        return b"".join(parts)

    def close(self) -> None:
        self._stream.close()
        super().close()


class _QuoteCounter(io.RawIOBase):
    """A stream that counts the quotation marks that pass through it."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__()
        self.stream, self.quotes = stream, 0

    def start(self, stream: IO[bytes]) -> None:
        self.stream = stream

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self.stream.read(size)
        self.quotes += data.count(b'"')
        return data


def _read_header(path: Path, text: str) -> tuple[str, list[str], int, int]:
    """Return the delimiter, the names, how many lines they take, and the first row's width."""
    # Lines end as csv and Arrow end them, and nowhere else.
    lines = list(itertools.islice(io.StringIO(text, newline=""), LINES_LOOKED_AT))
    before = next(place for place, line in enumerate(lines) if line.strip())
    marks: tuple[str, ...] = DELIMITERS
    if lines[before].lower().startswith("sep=") and len(lines[before].strip()) == len("sep=;"):
        marks = (lines[before].strip()[-1],)
        before += 1
    found = {mark: _records(path, lines[before:], mark) for mark in marks}
    if not all(found.values()):
        raise TableError(f"{path} is empty; expected a table with a header")
    mark = _choose_delimiter(path, found)
    (header, used), *rest = found[mark]
    if header[0].strip() == "Image" and rest and rest[0][0][0].strip() == "ImageNumber":
        (second, used), *rest = rest
        header = _combined(header, second)
    width = len(rest[0][0]) if rest else 0
    # Commas after the last name, which the rows may have or not.
    while len(header) > max(width, 1) and not header[-1].strip():
        header = header[:-1]
    return mark, header, before + used, max(width, len(header)) if rest else 0


def _choose_delimiter(path: Path, found: dict[str, list[tuple[list[str], int]]]) -> str:
    widths = {mark: len(records[0][0]) for mark, records in found.items()}
    parting = [mark for mark in found if widths[mark] > 1]
    # Of a header such as "Well;Treatment, dose" the rows tell.
    even = [mark for mark in parting if len({len(record) for record, _ in found[mark]}) == 1]
    pool = even or parting or list(found)
    widest = [mark for mark in pool if widths[mark] == max(widths[m] for m in pool)]
    if len(widest) > 1 and pool is even:
        raise TableError(
            f"{path} may be separated by {' or '.join(map(repr, widest))}; save it with one of "
            "them only"
        )
    return widest[0]


def _records(path: Path, lines: list[str], delimiter: str) -> list[tuple[list[str], int]]:
    """Return the first three records that are not empty, each with the lines up to its end."""
    reader = csv.reader(lines, delimiter=delimiter)
    records = ((record, reader.line_num) for record in reader if any(map(str.strip, record)))
    try:
        return list(itertools.islice(records, 3))
    except csv.Error as error:
        raise TableError(f"{path} cannot be read as a CSV table: {error}") from error


def _combined(objects: list[str], names: list[str]) -> list[str]:
    """Join CellProfiler's two header rows."""
    pairs = zip(objects, names, strict=False)
    return [name if of.strip() == "Image" else f"{of.strip()}_{name.strip()}" for of, name in pairs]


def _text_values(column: pa.Array) -> np.ndarray:
    """Return texts without space around them, object; equal ones are one object."""
    encoded = column.dictionary_encode()
    names = (text.strip() for text in encoded.dictionary.to_pylist())
    values = np.array([as_named(name) for name in names], object)
    result: np.ndarray = values[encoded.indices.to_numpy()]
    return result


def _number_values(column: pa.Array, path: Path, name: str, first: int) -> np.ndarray:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        numbers: np.ndarray = pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        pass
    else:
        return numbers
    texts = pc.utf8_trim_whitespace(column)
    missing = pc.is_in(pc.utf8_lower(texts), pa.array([text.lower() for text in MISSING]))
    try:
        known = pc.if_else(missing, None, texts)
        numbers = pc.cast(known, pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        return numbers_of(column.to_pylist(), path, name, first)
    return numbers
