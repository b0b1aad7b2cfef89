"""CSV tables as text: nothing is guessed, and a missing column is named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cpcnn_core.errors import SiteError

if TYPE_CHECKING:
    import pandas as pd


def read_text_table(path: str | Path, required: Sequence[str] = ()) -> pd.DataFrame:
    """Read a CSV file (.tsv: parted by tabs) with every value as text; "NA" stays "NA".

    Parameters
    ----------
    path : str or Path
    required : sequence of str
        Columns that have to be there.

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    SiteError
        No such file, no table, or a column that is missing; names those there are.

    Examples
    --------
    >>> read_text_table("nowhere.csv")
    Traceback (most recent call last):
    cpcnn_core.errors.SiteError: there is no table nowhere.csv
    """
    import pandas as pd

    path = Path(path)
    if not path.is_file():
        raise SiteError(f"there is no table {path}")
    try:
        parted_by = "\t" if path.suffix == ".tsv" else ","
        table = pd.read_csv(
            path, sep=parted_by, dtype=str, keep_default_na=False, encoding="utf-8-sig"
        )
    except (ValueError, OSError) as error:
        raise SiteError(f"{path} cannot be read as a CSV table: {error}") from error
    missing = [name for name in required if name not in table.columns]
    if missing:
        raise SiteError(
            f"{path} has no column {' or '.join(missing)}; it has: {', '.join(table.columns)}"
        )
    return table
