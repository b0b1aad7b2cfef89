"""A column of metadata compared with a value, both as numbers or both as texts."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from cpcnn_core.errors import ProfileError
from cpcnn_core.readers.numbers import is_missing, number_of
from cpcnn_core.tables.values import texts_of

Value = str | int | float | bool | None | list[Any] | tuple[Any, ...] | set[Any]
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_EQUALITY = ("==", "!=")
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}


def compare_values(column: pd.Series, sign: str, value: Value) -> np.ndarray:
    """Tell for which rows a comparison is true.

    Parameters
    ----------
    column : pandas.Series of shape (n,)
        Its name is that of the messages.
    sign : str
        ``==``, ``!=``, ``<``, ``<=``, ``>`` or ``>=``.
    value : str, int, float, bool, None, or several of them
        Of several: equal to one of them. An empty text, or None, means no value.

    Returns
    -------
    ndarray of shape (n,), bool
        Numbers and texts are compared as numbers. What has no value is unequal to all others,
        and neither more nor less.

    Raises
    ------
    ProfileError
        They cannot be compared.

    Examples
    --------
    >>> dose = pd.Series([1.0, 10.0, np.nan], name="Dose")
    >>> compare_values(dose, "==", "10"), compare_values(dose, "!=", "")
    (array([False,  True, False]), array([ True,  True, False]))
    >>> compare_values(dose, "==", "high")
    Traceback (most recent call last):
    cpcnn_core.errors.ProfileError: Dose holds numbers, and 'high' is none; ...
    """
    if isinstance(value, list | tuple | set):
        if sign not in _EQUALITY:
            raise ProfileError(f"{column.name} {sign} cannot be asked of several values {value!r}")
        # One after the other: several thousand at once would fill the memory.
        found = (compare_values(column, "==", one) for one in value)
        equal = functools.reduce(np.logical_or, found, np.zeros(len(column), bool))
        return equal if sign == "==" else ~equal
    kind = column.dtype.kind
    value = "" if value is None else value
    if kind in "iuf":
        return _of_numbers(column, sign, value)
    if kind == "b":
        return _compared(sign, column.to_numpy(), _truth(value, column.name))
    if kind == "M":
        return _of_times(column, sign, value)
    if kind == "m":
        return _of_durations(column, sign, value)
    if kind != "O":
        raise ProfileError(f"{column.name} holds {column.dtype}, which cannot be compared")
    texts = texts_of(column)
    if isinstance(value, bool):
        value, texts = str(value), np.array([text.capitalize() for text in texts], object)
    if isinstance(value, str):
        return _of_texts(texts, sign, value.strip(), column.name)
    return _compared(sign, _numbers(texts, sign, value, column.name), value)


def _of_numbers(column: pd.Series, sign: str, value: str | float) -> np.ndarray:
    if isinstance(value, str):
        if is_missing(value):
            return _of_missing(column.isna().to_numpy(), sign, column.name)
        number = number_of(value)
        if number is None:
            raise ProfileError(
                f"{column.name} holds numbers, and {value!r} is none; compare it with a number"
            )
        value = number
    return _compared(sign, column.to_numpy(), value)


def _compared(sign: str, values: np.ndarray, value: object) -> np.ndarray:
    result: np.ndarray = OPERATORS[sign](values, value)
    return result


def _of_times(column: pd.Series, sign: str, value: str | float) -> np.ndarray:
    if isinstance(value, str) and is_missing(value):
        return _of_missing(column.isna().to_numpy(), sign, column.name)
    try:
        time = pd.Timestamp(value) if isinstance(value, str) else None
    except ValueError:
        time = None
    if time is None:
        raise ProfileError(
            f"{column.name} holds times, and {value!r} is none; write one like '2020-01-31'"
        )
    zone = column.dt.tz
    if time.tzinfo is None:
        time = time.tz_localize(zone)
    elif zone is None:
        time = time.tz_convert(None)
    result: np.ndarray = OPERATORS[sign](column, time).to_numpy()
    return result


def _of_durations(column: pd.Series, sign: str, value: str | float) -> np.ndarray:
    if isinstance(value, str) and is_missing(value):
        return _of_missing(column.isna().to_numpy(), sign, column.name)
    try:
        duration = pd.Timedelta(value) if isinstance(value, str) else None
    except ValueError:
        duration = None
    if duration is None:
        raise ProfileError(
            f"{column.name} holds durations, and {value!r} is none; write one like '2 days'"
        )
    result: np.ndarray = OPERATORS[sign](column, duration).to_numpy()
    return result


def _of_missing(missing: np.ndarray, sign: str, name: object) -> np.ndarray:
    if sign not in _EQUALITY:
        raise ProfileError(f"{name} {sign} cannot be asked of no value; write == '' or != ''")
    return missing if sign == "==" else ~missing


def _of_texts(texts: np.ndarray, sign: str, value: str, name: object) -> np.ndarray:
    if value == "":
        return _of_missing(texts == "", sign, name)
    if is_missing(value) and value not in texts:
        raise ProfileError(
            f"{name} {sign} {value!r}: {value} says that there is no value; ask for {name} "
            f"{'==' if sign not in _EQUALITY else sign} '', or read the table with "
            f"--keep-label {value} where it is a name"
        )
    found: np.ndarray = OPERATORS[sign](texts, value).astype(bool)
    return found if sign in _EQUALITY else np.asarray(found & (texts != ""))


def _numbers(texts: np.ndarray, sign: str, value: float, name: object) -> np.ndarray:
    """Return texts as numbers (n,), float64; what is none is NaN, where that is no matter."""
    known = {text: number_of(text) for text in dict.fromkeys(texts)}
    strange = [text for text, number in known.items() if number is None]
    commas = [text for text in strange if number_of(text.replace(",", ".")) is not None]
    nothing = all(number is None or number != number for number in known.values())
    if strange and (commas or nothing or sign not in _EQUALITY):
        example = (commas or strange)[0]
        raise ProfileError(
            f"{name} {sign} {value}: {name} holds texts such as {example!r}, which is no number; "
            f"compare it with a text, or correct the table"
        )
    return np.array([np.nan if known[text] is None else known[text] for text in texts], float)


def _truth(value: str | float, name: object) -> bool:
    truth = _TRUTHS.get(str(value).casefold())
    if truth is None:
        raise ProfileError(f"{name} says yes or no, got {value!r}; compare it with True or False")
    return truth
