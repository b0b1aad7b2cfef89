"""Rows chosen by an expression, whose comparisons mean what they say.

A column of numbers compared with a text (``Dose == '10'``), or one of texts with a number
(``Site == 1``), is compared as numbers, or refused where that means nothing; it is never
silently false.
"""

from __future__ import annotations

import ast
import re

import numpy as np
import pandas as pd

from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.comparing import compare_values
from cpcnn_core.tables.profiles import Profiles

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
_QUOTED = re.compile(r"('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")")
_NAME = re.compile(r"`([^`]+)`")


def choose_rows(profiles: Profiles, expression: str) -> np.ndarray:
    """Return which rows an expression chooses.

    Parameters
    ----------
    profiles : Profiles
    expression : str
        As in pandas' ``DataFrame.query``; columns may be named without ``Metadata_``. Numbers
        may be written as texts and the other way round; ``== ''`` is true where there is no
        value.

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
    """
    metadata = profiles.metadata
    short = {str(name).removeprefix("Metadata_"): values for name, values in metadata.items()}
    columns = {str(name): values for name, values in metadata.items()} | short
    try:
        text, answers = _answered(expression, columns)
        frame = pd.DataFrame(columns | answers, index=metadata.index)
        chosen = frame.eval(text, engine="python")
    except ProfileError:
        raise
    except SyntaxError as error:
        raise ProfileError(
            f"cannot understand {expression!r} ({error.msg}): it does not say yes or no for every "
            "row; write it like Treatment == 'DMSO'"
        ) from error
    except pd.errors.UndefinedVariableError as error:
        raise ProfileError(
            f"{expression}: {error}; there are the columns {', '.join(short)}"
        ) from error
    except Exception as error:
        raise ProfileError(
            f"cannot understand {expression!r} ({error}); write it like Treatment == 'DMSO'"
        ) from error
    chosen = np.asarray(chosen)
    if chosen.dtype != bool or chosen.shape != (len(frame),):
        raise ProfileError(
            f"{expression!r} does not say yes or no for every row; write it like "
            "Treatment == 'DMSO'"
        )
    if not chosen.any():
        raise ProfileError(f"{expression} is true for none of the {len(frame)} rows")
    return chosen


def _answered(
    expression: str, columns: dict[str, pd.Series]
) -> tuple[str, dict[str, np.ndarray | pd.Series]]:
    """Return the expression with names in place of comparisons, and their answers."""
    comparisons = _Comparisons(expression, columns)
    # Every second part is a text in quotation marks.
    parts = _QUOTED.split(expression.strip())
    parts[::2] = [comparisons.plain(part) for part in parts[::2]]
    tree = ast.parse("".join(parts), mode="eval")
    return ast.unparse(comparisons.visit(tree)), comparisons.answers


class _Comparisons(ast.NodeTransformer):
    """Puts, for a column compared with a value, the answer in place of the question."""

    def __init__(self, expression: str, columns: dict[str, pd.Series]) -> None:
        self.answers: dict[str, np.ndarray | pd.Series] = {}
        self._expression, self._columns = expression, columns
        # What names in quotation marks are called here, and in messages.
        self._quoted: dict[str, str] = {}

    def plain(self, text: str) -> str:
        """Return a part of the expression as Python reads it: words for signs, plain names."""
        text = _NAME.sub(self._plain_name, text)
        return text.replace("&", " and ").replace("|", " or ")

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        sides = [node.left, *node.comparators]
        pairs = [
            self._compared(left, sign, right)
            for left, sign, right in zip(sides[:-1], node.ops, sides[1:], strict=True)
        ]
        return pairs[0] if len(pairs) == 1 else ast.BoolOp(ast.And(), pairs)

    def _compared(self, left: ast.expr, sign: ast.cmpop, right: ast.expr) -> ast.expr:
        asked = ast.Compare(self.visit(left), [sign], [self.visit(right)])
        mark, values = _SIGNS.get(type(sign)), [self._column(side) for side in (left, right)]
        if mark is None or not any(values is not None for values in values):
            return asked
        if all(column is not None for column in values):
            self._require_alike(*values)
            return asked
        value = _literal(right if values[0] is not None else left)
        if value is None:
            return asked
        column = values[0] if values[0] is not None else values[1]
        answer = compare_values(column, mark if values[0] is not None else _TURNED[mark], value[0])
        return asked if answer is None else self._named(answer)

    def _column(self, node: ast.expr) -> pd.Series | None:
        name = self._quoted.get(node.id, node.id) if isinstance(node, ast.Name) else None
        return self._columns[name].rename(name) if name in self._columns else None

    def _require_alike(self, one: pd.Series, other: pd.Series) -> None:
        texts = [column.dtype.kind == "O" for column in (one, other)]
        if texts[0] != texts[1]:
            text, number = (one.name, other.name) if texts[0] else (other.name, one.name)
            raise ProfileError(
                f"{self._expression}: {text} holds texts and {number} does not, so they are never "
                "the same"
            )

    def _plain_name(self, found: re.Match[str]) -> str:
        name = found[1]
        if name not in self._columns:
            known = [column for column in self._columns if not column.startswith("Metadata_")]
            raise ProfileError(
                f"{self._expression}: name {name!r} is not defined; there are the columns "
                f"{', '.join(known)}"
            )
        plain = self._named(self._columns[name]).id
        self._quoted[plain] = name
        return plain

    def _named(self, values: np.ndarray | pd.Series) -> ast.Name:
        name = f"_answer_{len(self.answers)}"
        self.answers[name] = values
        return ast.Name(name)


def _literal(node: ast.expr) -> tuple[object] | None:
    """Return a value that is written down; None where it is none."""
    try:
        return (ast.literal_eval(node),)
    except (ValueError, TypeError, SyntaxError):
        return None
