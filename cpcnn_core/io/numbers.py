"""Numbers in tables of text: missing ones are recognized, all else is refused by name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cpcnn_core.errors import TableError

# What programs write where a number or a label is missing; letter case does not matter.
MISSING = (
    *("", "NA", "N/A", "<NA>", "#N/A", "NaN", "-NaN", "NULL", "None", "NaT"),
    # C and Excel, where something was divided by zero.
    *("nan(ind)", "-nan(ind)", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
    *("#NUM!", "#DIV/0!", "#VALUE!"),
)
_MISSING = frozenset(text.casefold() for text in MISSING)
# What C on Windows writes, and float() does not know.
_ENDLESS = {"1.#inf": float("inf"), "-1.#inf": float("-inf")}


def is_missing(text: str) -> bool:
    """Tell whether a text says that there is no value.

    Examples
    --------
    >>> [text for text in ("NA", " nan", "", "0", "Nantes") if is_missing(text)]
    ['NA', ' nan', '']
    """
    return text.strip().casefold() in _MISSING


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
