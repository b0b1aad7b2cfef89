"""Texts in CSV tables that no spreadsheet takes for a formula, and that are read as they were.

A spreadsheet computes what begins with ``=``, ``+``, ``-`` or ``@``, and may start programs for
it. A treatment's name can be made by anybody, and ``+/-JQ1`` is an honest one. No way of quoting
hides the first sign from a spreadsheet and not from other readers, so an apostrophe is put before
it, as spreadsheets do themselves; cpcnn takes it off again when it reads a table. Numbers, also
those kept as text, stay as they are.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

MARK = "'"
# Spreadsheets of East Asia take the wide signs, too.
_SIGN = "[=+\\-@＝＋－＠]"  # noqa: RUF001
# A cell begins with the text, and where a spreadsheet parts it by other separators than ours.
_FORMULA = re.compile(rf"(?:^(?=[\s']*{_SIGN})|(?<=[;\t\r\n])(?=[ ']*{_SIGN}))('*)")
_NUMBER = re.compile(
    r"[+-]?((\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?|inf(inity)?|nan(\(ind\))?|1\.#[a-z]+)",
    re.ASCII | re.IGNORECASE,
)
_REMEMBERED = 1 << 16


@functools.lru_cache(_REMEMBERED)
def harmless(text: str) -> str:
    """Return a text as it is written to a CSV table.

    Examples
    --------
    >>> harmless("=1+1"), harmless("+/-JQ1"), harmless("-1.5"), harmless("JQ1")
    ("'=1+1", "'+/-JQ1", '-1.5', 'JQ1')
    """
    if _NUMBER.fullmatch(text):
        return text
    # One more than there are, so that none is lost when one is taken off.
    return _FORMULA.sub(rf"\1{MARK}", text)


@functools.lru_cache(_REMEMBERED)
def as_named(text: str) -> str:
    """Return a text as it was before `harmless`.

    Examples
    --------
    >>> as_named("'=1+1"), as_named(harmless("'=1+1")), as_named("5'-azacytidine")
    ('=1+1', "'=1+1", "5'-azacytidine")
    """
    if MARK not in text:
        return text
    return _FORMULA.sub(lambda found: found[1][:-1], text)


def harmless_row(row: Mapping[str, object]) -> dict[str, object]:
    """Return a row of a table, its names and texts as they are written.

    Examples
    --------
    >>> harmless_row({"Treatment": "@home", "Dose": -1.5})
    {'Treatment': "'@home", 'Dose': -1.5}
    """
    return {str(_written(name)): _written(value) for name, value in row.items()}


def harmless_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table with names and texts as they are written; the table itself stays.

    Examples
    --------
    >>> import pandas as pd
    >>> harmless_table(pd.DataFrame({"Treatment": ["=A1", None], "Dose": [1, 2]})).values.tolist()
    [["'=A1", 1], [None, 2]]
    """
    table = frame.copy(deep=False)
    for place, kind in enumerate(frame.dtypes):
        if isinstance(kind, np.dtype) and kind.kind != "O":
            continue
        values = list(frame.iloc[:, place])
        if any(isinstance(value, str) for value in values):
            table.isetitem(place, [_written(value) for value in values])
    table.columns = [_written(name) for name in frame.columns]
    return table


def write_csv(frame: pd.DataFrame, path: Path, float_format: str | None = None) -> None:
    """Write a table as CSV that spreadsheets open without computing anything in it.

    Parameters
    ----------
    frame : pandas.DataFrame
        Its index is not written.
    path : Path
        Compressed where its name says so, as in ``.csv.gz``.
    float_format : str, optional
        Of numbers, such as ``"%.6g"``.

    Examples
    --------
    >>> import pandas as pd
    >>> from pathlib import Path
    >>> write_csv(pd.DataFrame({"Treatment": ["@home"], "Dose": [-1.5]}), Path("matches.csv"))
    >>> print(Path("matches.csv").read_text())
    Treatment,Dose
    '@home,-1.5
    """
    table = harmless_table(frame)
    others = table.select_dtypes(exclude="number")
    texts = itertools.chain(table.columns, *(others[name] for name in others))
    # Only where lines end with it is a carriage return within a text put into quotes.
    ends = "\r\n" if any("\r" in str(text) for text in texts) else os.linesep
    table.to_csv(path, index=False, float_format=float_format, lineterminator=ends)


def _written(value: object) -> object:
    return harmless(value) if isinstance(value, str) else value
