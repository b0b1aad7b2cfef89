"""Tables of any format, opened by their content: nothing is guessed, what is wrong is named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from cpcnn_core.errors import TableError
from cpcnn_core.io.formats import FEATHER, PARQUET, first_bytes, format_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


class Table(Protocol):
    """A table that is open: its columns are known, its values are read when asked for.

    Attributes
    ----------
    path : Path
    columns : list of str
        Names without space around them, in order.
    """

    path: Path
    columns: list[str]

    def texts(self, names: Sequence[str] | None = None) -> pd.DataFrame:
        """Return columns (default: all) as texts without space around them.

        Rows are numbered from 0; what is missing is an empty text. Whole numbers have no
        decimal point, whatever type they are kept as; leading zeros of texts stay.

        Raises
        ------
        TableError
            A column that is not there or there twice, rows of another length than the
            header, damage.
        """

    def numbers(self, names: Sequence[str]) -> pd.DataFrame:
        """Return columns as numbers; what is missing (see `MISSING`) is NaN.

        Raises
        ------
        TableError
            As `texts`, and a value that is no number; names column, row and value.
        """


class FileTable(Table, Protocol):
    """A table that is a file of its own, which can be read in parts."""

    def parts(
        self, names: Sequence[str], numbers: Sequence[str], rows: int = 8192
    ) -> Iterator[tuple[pd.DataFrame, np.ndarray]]:
        """Read all rows, some at a time.

        Parameters
        ----------
        names : sequence of str
            Columns that are read as they are kept: texts of a table of text, values of pandas'
            plain or categorical types of others.
        numbers : sequence of str
            Columns that are read as numbers, see `numbers`.
        rows : int
            At most this many at a time, where the format can be read in parts.

        Yields
        ------
        values : pandas.DataFrame with n rows
            The columns of `names`.
        numbers : ndarray of shape (n, columns), float32 or float64

        Raises
        ------
        TableError
            As `texts` and `numbers`.
        """


def open_table(path: str | Path) -> FileTable:
    """Open a table of a known format, which its first bytes tell.

    Parameters
    ----------
    path : str or Path
        Text separated by commas, semicolons or tabs (UTF-8, or UTF-16 with its mark), as it is
        or compressed (gzip, bzip2, xz); parquet; Feather.

    Returns
    -------
    FileTable

    Raises
    ------
    TableError
        No such file, or none of these.

    Examples
    --------
    >>> open_table("nowhere.csv")
    Traceback (most recent call last):
    cpcnn_core.errors.TableError: there is no table nowhere.csv
    """
    from cpcnn_core.io.columnar import ColumnarTable
    from cpcnn_core.io.delimited import DelimitedTable

    path = Path(path)
    if not path.is_file():
        raise TableError(f"there is no table {path}")
    try:
        found = format_of(first_bytes(path))
    except OSError as error:
        raise TableError(f"{path} cannot be read: {error.strerror}") from error
    if found is not None and found.no_table:
        raise TableError(f"{path} is {found.no_table}")
    if found in (PARQUET, FEATHER):
        return ColumnarTable(path, is_parquet=found is PARQUET)
    if path.suffix.lower() in (*PARQUET.endings, *FEATHER.endings):
        raise TableError(
            f"{path} cannot be read as a table: by its name it is {path.suffix[1:].lower()}, and "
            "it does not begin so; it may be damaged, or text of another name"
        )
    return DelimitedTable(path)


def read_text_table(path: str | Path, required: Sequence[str] = ()) -> pd.DataFrame:
    """Read a whole table with every value as text; "NA" stays "NA".

    Parameters
    ----------
    path : str or Path
        See `open_table`.
    required : sequence of str
        Columns that have to be there.

    Returns
    -------
    pandas.DataFrame
        See `Table.texts`; empty rows at the end, which spreadsheets leave, are not in it.

    Raises
    ------
    TableError
        No such file, no table, or a column that is missing; names those there are.

    Examples
    --------
    >>> read_text_table("nowhere.csv")
    Traceback (most recent call last):
    cpcnn_core.errors.TableError: there is no table nowhere.csv
    """
    table = open_table(path)
    require_columns(table, required)
    texts = without_empty_end(table.texts())
    again = (texts == texts.columns).all(axis=1).to_numpy().nonzero()[0]
    if len(again) and len(texts.columns) > 1:
        raise TableError(
            f"{path} has its header again in row {again[0] + 1}, as where tables were appended; "
            "leave that line out"
        )
    return texts


def require_columns(table: Table, required: Sequence[str]) -> None:
    """Raise where a table lacks a column.

    Raises
    ------
    TableError
        Names those that are missing, and those that are there.

    Examples
    --------
    >>> import pandas as pd
    >>> pd.DataFrame(columns=["Metadata_Well", "FileName_DNA"]).to_csv("load_data.csv", index=False)
    >>> require_columns(open_table("load_data.csv"), ["Metadata_Plate"])
    Traceback (most recent call last):
    cpcnn_core.errors.TableError: load_data.csv has no column Metadata_Plate; \
it has: Metadata_Well, FileName_DNA
    """
    missing = [name for name in required if name not in table.columns]
    if missing:
        raise TableError(
            f"{table.path} has no column {' or '.join(missing)}; it has: "
            f"{', '.join(table.columns[:30])}{', ...' if len(table.columns) > 30 else ''}"
        )


def without_empty_end(texts: pd.DataFrame) -> pd.DataFrame:
    """Leave out the empty rows at the end.

    Examples
    --------
    >>> import pandas as pd
    >>> len(without_empty_end(pd.DataFrame({"Well": ["A01", "", "B01", "", ""]})))
    3
    """
    filled = (texts != "").any(axis=1).to_numpy().nonzero()[0]
    return texts.iloc[: int(filled[-1]) + 1 if len(filled) else 0]
