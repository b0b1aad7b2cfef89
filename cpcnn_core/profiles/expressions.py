"""Rows chosen by an expression in a small language of its own: parsed, never evaluated.

``--controls``, ``--where``, ``--query`` and ``--ask`` take it, and tables of profiles carry it.
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
import re
from collections.abc import Callable
from typing import cast

import numpy as np
import pandas as pd

from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.comparing import OPERATORS, Value, compare_values
from cpcnn_core.tables.profiles import Profiles
from cpcnn_core.tables.values import texts_of

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
