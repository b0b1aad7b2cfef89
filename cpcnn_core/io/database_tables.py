"""One table of an SQLite database, read like any other table."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cpcnn_core.errors import TableError
from cpcnn_core.io.numbers import numbers_of
from cpcnn_core.io.untrusted_files import BYTES_PER_SECOND, SECONDS, is_believable, refuse_claim
from cpcnn_core.schema.values import text_of

if TYPE_CHECKING:
    import pandas as pd

# Steps of SQLite's machine between two looks at the clock; the shortest limit of a value.
_STEPS, _LEAST_LENGTH = 100_000, 2**20
# What a number takes in a row of Python's.
_VALUE_BYTES = 40
# Where the header says that writers keep what is new in a file beside it, and how.
_WAL_PLACE, _WAL = 19, b"\x02"


class DatabaseTable:
    """A table or view of a database; see `cpcnn_core.io.tables.Table`.

    Parameters
    ----------
    database : Path
    name : str
        Of the table, as `table_names` gives it.

    Raises
    ------
    TableError
        The database is damaged.

    Examples
    --------
    >>> with contextlib.closing(sqlite3.connect("run.db")) as db:
    ...     _ = db.execute("create table Per_Image (ImageNumber, Image_Metadata_Well)")
    >>> DatabaseTable(Path("run.db"), "Per_Image").columns
    ['ImageNumber', 'Image_Metadata_Well']
    """

    def __init__(self, database: Path, name: str) -> None:
        self._database, self._name = database, name
        # What messages name.
        self.path = Path(f"{database}, table {name}")
        with opened(database) as db:
            self.columns = [row[1] for row in db.execute(f"pragma table_info({_quoted(name)})")]

    def texts(self, names: Sequence[str] | None = None) -> pd.DataFrame:
        """Return columns as texts."""
        names = self.columns if names is None else list(names)
        return self._frame(names, lambda values, name: [self._text(v, name) for v in values])

    def numbers(self, names: Sequence[str]) -> pd.DataFrame:
        """Return columns as numbers, float64."""
        return self._frame(list(names), self._numbers)

    def _frame(
        self, names: list[str], convert: Callable[[Sequence[object], str], object]
    ) -> pd.DataFrame:
        import pandas as pd

        missing = [name for name in names if name not in self.columns]
        if missing:
            raise TableError(f"{self.path} has no column {', '.join(missing)}")
        if not names:
            with opened(self._database) as db:
                # Names are quoted, and come from the database itself.
                count = db.execute(f"select count(*) from {_quoted(self._name)}")  # noqa: S608
                return pd.DataFrame(index=pd.RangeIndex(count.fetchone()[0]))
        wanted = ", ".join(map(_quoted, names))
        with opened(self._database) as db:
            rows = self._rows(db.execute(f"select {wanted} from {_quoted(self._name)}"))  # noqa: S608
        columns = zip(*rows, strict=True) if rows else ([] for _ in names)
        values = {name: convert(own, name) for name, own in zip(names, columns, strict=True)}
        return pd.DataFrame(values, columns=names, index=pd.RangeIndex(len(rows)))

    def _rows(self, found: sqlite3.Cursor) -> list[tuple[object, ...]]:
        """Return all rows; a view, or a damaged table, may have far more than the file holds."""
        rows, claimed, stored = [], 0, self._database.stat().st_size
        for row in found:
            texts = sum(len(value) for value in row if isinstance(value, (str, bytes)))
            claimed += _VALUE_BYTES * len(row) + texts
            if not is_believable(claimed, stored):
                raise TableError(refuse_claim(self.path, "what was read", claimed, stored))
            rows.append(row)
        return rows

    def _text(self, value: object, name: str) -> str:
        if isinstance(value, bytes):
            raise TableError(f"{self.path} has bytes in the column {name}; expected text")
        return text_of(value)

    def _numbers(self, values: Sequence[object], name: str) -> np.ndarray:
        numbers = [v for v in values if v is None or isinstance(v, (int, float))]
        if len(numbers) == len(values):
            return np.array([np.nan if v is None else float(v) for v in numbers], np.float64)
        return numbers_of([self._text(value, name) for value in values], self.path, name)


def table_names(database: Path) -> list[str]:
    """Return the names of all tables and views.

    Raises
    ------
    TableError
        It is no database.

    Examples
    --------
    >>> with contextlib.closing(sqlite3.connect("run.db")) as db:
    ...     _ = db.execute("create table Per_Image (ImageNumber)")
    ...     _ = db.execute("create view Per_Object as select * from Per_Image")
    >>> table_names(Path("run.db"))
    ['Per_Image', 'Per_Object']
    """
    with opened(database) as db:
        kinds = "select name from sqlite_master where type in ('table', 'view')"
        return [str(row[0]) for row in db.execute(kinds)]


@contextlib.contextmanager
def opened(database: Path) -> Iterator[sqlite3.Connection]:
    """Open a database for reading only.

    Raises
    ------
    TableError
        It is damaged, or none.

    Examples
    --------
    >>> Path("empty.db").touch()
    >>> with opened(Path("empty.db")) as db:
    ...     db.execute("select 1").fetchone()
    (1,)
    >>> with opened(Path("empty.db")) as db:
    ...     db.execute("create table Per_Image (ImageNumber)")
    Traceback (most recent call last):
    cpcnn_core.errors.TableError: empty.db cannot be read as an SQLite database of CellProfiler: \
attempt to write a readonly database
    """
    limit = SECONDS
    try:
        size = database.stat().st_size
        limit += size // BYTES_PER_SECOND
        uri = f"{database.absolute().as_uri()}?mode=ro{_without_companions(database)}"
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as db:
            # Views are the stranger's own questions: they may ask without an end.
            end = time.monotonic() + limit
            db.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
            db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max(size, _LEAST_LENGTH))
            db.execute("pragma trusted_schema = off")
            yield db
    except (OSError, sqlite3.Error, OverflowError, UnicodeDecodeError, MemoryError) as error:
        # SQLite shows what it stumbled over, several lines perhaps.
        text = " ".join(str(error).split())
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
            text = f"it had not answered after {limit} s"
        raise TableError(
            f"{database} cannot be read as an SQLite database of CellProfiler: {text}"
        ) from error


def _without_companions(database: Path) -> str:
    """Keep SQLite from making files beside a database of several writers that has none now."""
    with database.open("rb") as file:
        several = file.read(_WAL_PLACE + 1)[_WAL_PLACE:] == _WAL
    beside = f"{database.resolve()}-wal"
    return "&immutable=1" if several and not Path(beside).exists() else ""


def _quoted(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))
