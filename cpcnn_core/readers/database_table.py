"""One table of an SQLite database, read like any other table."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cpcnn_core.errors import TableError
from cpcnn_core.readers.numbers import numbers_of
from cpcnn_core.tables.values import text_of

if TYPE_CHECKING:
    import pandas as pd

MAGIC = b"SQLite format 3\x00"


class DatabaseTable:
    """A table or view of a database; see `cpcnn_core.readers.tables.Table`.

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
    >>> DatabaseTable(Path("run.db"), "MyExpt_Per_Image").columns  # doctest: +SKIP
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

    def _frame(self, names: list[str], convert) -> pd.DataFrame:  # noqa: ANN001
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
            rows = db.execute(f"select {wanted} from {_quoted(self._name)}").fetchall()  # noqa: S608
        columns = zip(*rows, strict=True) if rows else ([] for _ in names)
        values = {name: convert(own, name) for name, own in zip(names, columns, strict=True)}
        return pd.DataFrame(values, columns=names, index=pd.RangeIndex(len(rows)))

    def _text(self, value: object, name: str) -> str:
        if isinstance(value, bytes):
            raise TableError(f"{self.path} has bytes in the column {name}; expected text")
        return text_of(value)

    def _numbers(self, values: Sequence[object], name: str) -> np.ndarray:
        if all(value is None or isinstance(value, (int, float)) for value in values):
            return np.array([np.nan if v is None else float(v) for v in values], np.float64)
        return numbers_of([self._text(value, name) for value in values], self.path, name)


def table_names(database: Path) -> list[str]:
    """Return the names of all tables and views.

    Raises
    ------
    TableError
        It is no database.

    Examples
    --------
    >>> table_names(Path("run.db"))  # doctest: +SKIP
    ['MyExpt_Per_Image', 'MyExpt_Per_Object']
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
    >>> with opened(Path("run.db")) as db:  # doctest: +SKIP
    ...     db.execute("select 1")
    """
    try:
        uri = f"{database.absolute().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as db:
            yield db
    except (sqlite3.Error, OverflowError, UnicodeDecodeError, MemoryError) as error:
        # SQLite shows what it stumbled over, several lines perhaps.
        text = " ".join(str(error).split())
        raise TableError(
            f"{database} cannot be read as an SQLite database of CellProfiler: {text}"
        ) from error


def _quoted(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))
