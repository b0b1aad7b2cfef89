"""Rows chosen by an expression in a small language of its own: parsed, never evaluated.

``--controls``, ``--where`` and ``--query`` take it, and tables of profiles carry it.
What may be written: columns (with or without ``Metadata_``; odd names in backticks), texts,
numbers, True, False, None, and lists of them; ``==``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, ``in``,
``not in``; ``and``, ``or``, ``not`` (also ``&``, ``|``, ``~``) and parentheses; and the tests of
`TESTS`, as functions, ``startswith(Treatment, 'tax')``, or as pandas writes them,
``Treatment.str.startswith('tax')``, ``Dose.isna()``.

A column of numbers compared with a text (``Dose == '10'``), or one of texts with a number
(``Site == 1``), is compared as numbers, or refused where that means nothing; it is never
silently false.
"""

from __future__ import annotations

import ast
import functools
import operator
import re
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pandas as pd

from cpcnn_core.errors import ProfileError
from cpcnn_core.io.numbers import is_missing, number_of
from cpcnn_core.schema.profiles import Profiles
from cpcnn_core.schema.values import texts_of

LONGEST, DEEPEST, SHOWN = 20_000, 100, 200
# Beyond it whole numbers and those of columns are not told apart.
LARGEST = 2**63
_SIGNS = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "==",
    ast.NotIn: "!=",
}
_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
# Up to the end where the closing mark is missing: each sign is looked at once.
_QUOTED = re.compile(r"('(?:[^'\\]|\\.)*'?|\"(?:[^\"\\]|\\.)*\"?)", re.DOTALL)
_NAME = re.compile(r"`([^`]+)`")
_PLAIN = "_column_in_backticks_"


def _texts(test: Callable[[str, str], bool]) -> Callable[[pd.Series, str], np.ndarray]:
    def ask(column: pd.Series, part: str) -> np.ndarray:
        return np.array([test(text, part) for text in texts_of(column)], bool)

    return ask


def _is_missing(column: pd.Series) -> np.ndarray:
    result: np.ndarray = (column.isna() | (texts_of(column) == "")).to_numpy(bool)
    return result


# By name: how many texts follow the column, and the test.
TESTS: dict[str, tuple[int, Callable[..., np.ndarray]]] = {
    "startswith": (1, _texts(str.startswith)),
    "endswith": (1, _texts(str.endswith)),
    "contains": (1, _texts(lambda text, part: part in text)),
    "isna": (0, _is_missing),
    "isnull": (0, _is_missing),
    "notna": (0, lambda column: ~_is_missing(column)),
    "notnull": (0, lambda column: ~_is_missing(column)),
}
_ALLOWED = (
    "write columns, texts, numbers, == != < <= > >= in, and or not, parentheses and "
    f"{', '.join(f'{name}()' for name in TESTS)}, like Treatment == 'DMSO'"
)


def choose_rows(profiles: Profiles, expression: str) -> np.ndarray:
    """Return which rows an expression chooses.

    Parameters
    ----------
    profiles : Profiles
    expression : str
        See the module. Numbers may be written as texts and the other way round; ``== ''`` is
        true where there is no value.

    Returns
    -------
    ndarray of shape (n,), bool

    Raises
    ------
    ProfileError
        It cannot be understood, names a column that is not there, compares what cannot be
        compared, or chooses nothing.

    Examples
    --------
    >>> rows = pd.DataFrame({"Metadata_Treatment": ["DMSO", "taxol"], "Metadata_Dose": [0, 10]})
    >>> profiles = Profiles(np.ones((2, 1)), rows, ["a"])
    >>> choose_rows(profiles, "Treatment == 'DMSO'")
    array([ True, False])
    >>> choose_rows(profiles, "Dose == '10'"), choose_rows(profiles, "Dose > 1")
    (array([False,  True]), array([False,  True]))
    >>> choose_rows(profiles, "Treatment.to_csv('x') == None")
    Traceback (most recent call last):
    cpcnn_core.errors.ProfileError: cannot understand "Treatment.to_csv('x') == None": ...
    """
    metadata = profiles.metadata
    short = {str(name).removeprefix("Metadata_"): values for name, values in metadata.items()}
    columns = {str(name): values for name, values in metadata.items()} | short
    question = _Question(expression, columns, list(short))
    chosen = question.answer()
    if not chosen.any():
        raise ProfileError(f"{expression} is true for none of the {len(metadata)} rows")
    return chosen


class _Question:
    """An expression, and the columns that it is asked of."""

    def __init__(self, expression: str, columns: dict[str, pd.Series], names: list[str]) -> None:
        self._expression, self._columns, self._names = expression, columns, names
        # What names in backticks are called by Python's parser.
        self._quoted: dict[str, str] = {}

    def answer(self) -> np.ndarray:
        """Return yes or no for every row, (n,) bool."""
        return self._truth(self._parse(), 0)

    def _parse(self) -> ast.expr:
        if len(self._expression) > LONGEST:
            raise ProfileError(
                f"an expression of {len(self._expression)} letters is too long; expected at most "
                f"{LONGEST}"
            )
        # Every second part is a text in quotation marks.
        parts = _QUOTED.split(self._expression.strip())
        parts[::2] = [self._plain(part) for part in parts[::2]]
        try:
            return ast.parse("".join(parts), mode="eval").body
        except SyntaxError as error:
            raise ProfileError(
                f"cannot understand {self._shown()} ({error.msg}): it does not say yes or no "
                "for every row; write it like Treatment == 'DMSO'"
            ) from error
        except (ValueError, RecursionError, MemoryError) as error:
            raise self._refusal("it cannot be parsed") from error

    def _plain(self, text: str) -> str:
        """Return part of the expression as Python reads it: words for signs, plain names."""
        text = _NAME.sub(self._plain_name, text)
        text = re.sub(r"~", " not ", text)
        return text.replace("&", " and ").replace("|", " or ")

    def _plain_name(self, found: re.Match[str]) -> str:
        plain = f"{_PLAIN}{len(self._quoted)}"
        self._quoted[plain] = found[1]
        return plain

    def _truth(self, node: ast.expr, depth: int) -> np.ndarray:
        if depth > DEEPEST:
            raise self._refusal(f"it is nested more than {DEEPEST} times")
        if isinstance(node, ast.BoolOp):
            join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
            parts = (self._truth(part, depth + 1) for part in node.values)  # noqa: PD011
            return functools.reduce(join, parts)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return ~self._truth(node.operand, depth + 1)
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            pairs = zip(sides[:-1], node.ops, sides[1:], strict=True)
            return functools.reduce(np.logical_and, (self._compared(*pair) for pair in pairs))
        if isinstance(node, ast.Call):
            return self._tested(node)
        if isinstance(node, ast.Name):
            return self._said(self._column(node))
        raise self._refusal("it does not say yes or no for every row")

    def _compared(self, left: ast.expr, sign: ast.cmpop, right: ast.expr) -> np.ndarray:
        mark = _SIGNS.get(type(sign))
        if mark is None:
            raise self._refusal("is and is not are no comparisons here")
        if isinstance(left, ast.Name) and isinstance(right, ast.Name):
            return self._both(self._column(left), mark, self._column(right))
        if isinstance(left, ast.Name):
            return compare_values(self._column(left), mark, cast("Value", self._literal(right)))
        if isinstance(right, ast.Name):
            return compare_values(
                self._column(right), _TURNED[mark], cast("Value", self._literal(left))
            )
        raise self._refusal("a comparison needs a column")

    def _both(self, one: pd.Series, mark: str, other: pd.Series) -> np.ndarray:
        texts = [column.dtype.kind == "O" for column in (one, other)]
        if texts[0] != texts[1]:
            text, number = (one.name, other.name) if texts[0] else (other.name, one.name)
            raise ProfileError(
                f"{self._expression}: {text} holds texts and {number} does not, so they are never "
                "the same"
            )
        values = [texts_of(c) if texts[0] else c.to_numpy() for c in (one, other)]
        try:
            return np.asarray(OPERATORS[mark](*values), bool)
        except TypeError as error:
            raise self._refusal(f"{one.name} and {other.name} cannot be compared") from error

    def _tested(self, node: ast.Call) -> np.ndarray:
        function, arguments = node.func, list(node.args)
        if isinstance(function, ast.Attribute):
            # As pandas writes it: Treatment.str.startswith('tax').
            name, owner = function.attr, function.value
            if isinstance(owner, ast.Attribute) and owner.attr == "str":
                owner = owner.value
            arguments.insert(0, owner)
        else:
            name = function.id if isinstance(function, ast.Name) else ""
        if name == "isin" and len(arguments) == 2 and isinstance(arguments[0], ast.Name):
            return self._compared(arguments[0], ast.In(), arguments[1])
        count, test = TESTS.get(name, (-1, None))
        fitting = test is not None and len(arguments) == 1 + count and not node.keywords
        if not fitting or not isinstance(arguments[0], ast.Name):
            raise self._refusal("there is no such test")
        parts = [self._literal(argument) for argument in arguments[1:]]
        if not all(isinstance(part, str) for part in parts):
            raise self._refusal(f"{name} takes a text")
        return cast("Callable[..., np.ndarray]", test)(self._column(arguments[0]), *parts)

    def _said(self, column: pd.Series) -> np.ndarray:
        if column.dtype.kind != "b":
            raise ProfileError(
                f"{self._expression!r}: {column.name} does not say yes or no for every row; write "
                "it like Treatment == 'DMSO'"
            )
        result: np.ndarray = column.to_numpy(bool, copy=True)
        return result

    def _column(self, node: ast.Name) -> pd.Series:
        name = self._quoted.get(node.id, node.id)
        if name not in self._columns:
            raise ProfileError(
                f"{self._expression}: name {name!r} is not defined; there are the columns "
                f"{', '.join(self._names)}"
            )
        return self._columns[name].rename(name)

    def _literal(self, node: ast.expr) -> object:
        try:
            value = ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
            raise self._refusal("what a column is compared with has to be written down") from error
        several = value if isinstance(value, list | tuple | set) else [value]
        if not all(map(_is_plain, several)):
            raise self._refusal("expected a text or a number")
        return value

    def _refusal(self, why: str) -> ProfileError:
        return ProfileError(f"cannot understand {self._shown()}: {why}; {_ALLOWED}")

    def _shown(self) -> str:
        """Return the expression as a message shows it."""
        more = " ..." if len(self._expression) > SHOWN else ""
        return f"{self._expression[:SHOWN]!r}{more}"


def _is_plain(value: object) -> bool:
    if isinstance(value, int):
        return abs(value) < LARGEST
    return value is None or isinstance(value, str | float)


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
