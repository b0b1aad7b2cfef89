"""Tables of any format, opened by their content: nothing is guessed, what is wrong is named.

Numbers in tables of text, too: missing ones are recognized, all else is refused by name.
"""

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

# What programs write where a number or a label is missing; letter case does not matter.
MISSING = (
    *("", "NA", "N/A", "<NA>", "#N/A", "NaN", "-NaN", "NULL", "None", "NaT"),
    # C and Excel, where something was divided by zero.
    *("nan(ind)", "-nan(ind)", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
    *("#NUM!", "#DIV/0!", "#VALUE!"),
)
_MISSING_TEXTS = frozenset(text.casefold() for text in MISSING)
# What C on Windows writes, and float() does not know.
_ENDLESS = {"1.#inf": float("inf"), "-1.#inf": float("-inf")}


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


def is_missing(text: str) -> bool:
    """Tell whether a text says that there is no value.

    Examples
    --------
    >>> [text for text in ("NA", " nan", "", "0", "Nantes") if is_missing(text)]
    ['NA', ' nan', '']
    """
    return text.strip().casefold() in _MISSING_TEXTS


def number_of(text: str) -> float | None:
    """Return a text's number, NaN where it says that there is none, None where it is neither.

    Examples
    --------
    >>> number_of(" 1e3"), number_of("NULL"), number_of("1,5"), number_of("1_0")
    (1000.0, nan, None, None)
    """
    if is_missing(text):
        return float("nan")
    try:
        # Python alone takes 1_000, and digits of all scripts, for a number.
        return None if "_" in text or not text.isascii() else float(text)
    except ValueError:
        return _ENDLESS.get(text.strip().casefold())


def numbers_of(texts: Sequence[str], source: object, column: str, first: int = 1) -> np.ndarray:
    """Return a column of texts as numbers (n,), float64; what is missing is NaN.

    Parameters
    ----------
    texts : sequence of n str
    source, column : str
    first : int
        Where they come from, and the number of their first row, for the message.

    Raises
    ------
    TableError
        A text that is neither a number nor one of `MISSING`; names row and value.

    Examples
    --------
    >>> numbers_of(["1.5", "NA"], "wells.csv", "Dose").tolist()
    [1.5, nan]
    >>> numbers_of(["1.5", "1,5"], "wells.csv", "Dose")
    Traceback (most recent call last):
    cpcnn_core.errors.TableError: wells.csv has '1,5' in row 2 of the column Dose; expected a ...
    """
    values = np.empty(len(texts))
    known: dict[str, float | None] = {}
    for row, text in enumerate(texts):
        if text not in known:
            known[text] = number_of(text)
        value = known[text]
        if value is None:
            raise TableError(
                f"{source} has {text!r} in row {row + first} of the column {column}; expected a "
                f"number{_hint(text, column)}"
            )
        values[row] = value
    return values


def _hint(text: str, column: str) -> str:
    if text == column:
        return "; the header is repeated there: tables were appended, give each by itself"
    if number_of(text.replace(",", ".")) is not None:
        return " with a decimal point, not a comma: save the table with points"
    return ", or nothing where it is missing"
