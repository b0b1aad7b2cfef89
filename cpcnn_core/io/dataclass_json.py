"""Dataclasses as JSON files, and back: a name that is unknown or missing is refused.

An object says of which class it is, so that a field may hold one class or another.
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Collection
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from cpcnn_core.errors import JsonError
from cpcnn_core.io.atomic import write_atomically
from cpcnn_core.io.json_files import read_json

CLASS = "class"
_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


def write_dataclass(path: str | Path, value: object) -> None:
    """Write a dataclass as JSON.

    Parameters
    ----------
    path : str or Path
        Appears when it is complete.
    value : object
        Of texts, numbers, None, dataclasses, tuples of them, and dicts with texts as keys.

    Examples
    --------
    >>> @dataclasses.dataclass
    ... class Point:
    ...     row: float
    >>> write_dataclass("point.json", Point(2.5))
    >>> Path("point.json").read_text().split()
    ['{', '"class":', '"Point",', '"row":', '2.5', '}']
    """
    text = json.dumps(as_content(value), indent=1) + "\n"
    write_atomically(path, lambda place: place.write_text(text, encoding="utf-8"))


def read_dataclass(path: str | Path, *classes: type) -> Any:  # noqa: ANN401  (one of the classes)
    """Read what `write_dataclass` wrote.

    Parameters
    ----------
    path : str or Path
    *classes : type
        Dataclasses that may be there.

    Returns
    -------
    One of these.

    Raises
    ------
    OSError
        There is no such file, or it cannot be opened.
    JsonError
        It is something else; says which name, and what was expected.

    Examples
    --------
    >>> @dataclasses.dataclass
    ... class Point:
    ...     row: float
    >>> write_dataclass("point.json", Point(2.5))
    >>> read_dataclass("point.json", Point)
    Point(row=2.5)
    """
    return from_content(read_json(path), Union[classes], str(path))  # noqa: UP007  (of a tuple)


def as_content(value: object) -> Any:  # noqa: ANN401  (JSON is anything)
    """Return what JSON can hold of a value.

    Examples
    --------
    >>> @dataclasses.dataclass
    ... class Point:
    ...     row: float
    >>> as_content((Point(2.5), "here"))
    [{'class': 'Point', 'row': 2.5}, 'here']
    """
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        inside = {name: as_content(getattr(value, name)) for name in names}
        return {CLASS: type(value).__name__, **inside}
    if isinstance(value, tuple):
        return [as_content(one) for one in value]
    if isinstance(value, dict):
        return {key: as_content(one) for key, one in value.items()}
    return value


def from_content(content: object, kind: Any, where: str) -> Any:  # noqa: ANN401
    """Return the value that `as_content` was given.

    Parameters
    ----------
    content : object
        From JSON.
    kind : type or union of types
        As a field of a dataclass is declared.
    where : str
        What an error calls the place.

    Raises
    ------
    JsonError

    Examples
    --------
    >>> from_content([["DNA", "OrigDNA"]], tuple[tuple[str, str], ...], "channels")
    (('DNA', 'OrigDNA'),)
    >>> from_content("2", float | None, "um_per_px of job.json")
    Traceback (most recent call last):
    cpcnn_core.errors.JsonError: um_per_px of job.json: expected a number or null, got "2"
    """
    choices = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    classes = {_said(one): one for one in choices if dataclasses.is_dataclass(one)}
    if isinstance(content, dict) and classes:
        return _object_from(content, classes, where)
    for one in choices:
        if get_origin(one) is tuple and isinstance(content, list):
            return _tuple_from(content, get_args(one), where)
        if get_origin(one) is dict and isinstance(content, dict):
            (_, inside) = get_args(one)
            return {k: from_content(v, inside, f"{k} of {where}") for k, v in content.items()}
        if type(content) is one or (one is float and type(content) is int):
            return content
    raise _unexpected(" or ".join(map(_said, choices)), content, where)


def _object_from(content: dict[str, object], classes: dict[str, Any], where: str) -> object:
    name = content.get(CLASS)
    if not isinstance(name, str) or name not in classes:
        raise _unexpected(f"{CLASS} {_listed(classes)}", name, where)
    cls = classes[name]
    kinds = get_type_hints(cls)
    given, known = set(content) - {CLASS}, {field.name for field in dataclasses.fields(cls)}
    if given != known:
        unknown, missing = _listed(given - known), _listed(known - given)
        wrong = [f"unknown: {unknown}"] * bool(unknown) + [f"missing: {missing}"] * bool(missing)
        raise JsonError(f"{where}: {'; '.join(wrong)}; {name} has {_listed(known)}")
    return cls(
        **{key: from_content(content[key], kinds[key], f"{key} of {where}") for key in known}
    )


def _tuple_from(content: list[object], kinds: tuple[Any, ...], where: str) -> tuple[object, ...]:
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(content)
    if len(kinds) != len(content):
        raise _unexpected(f"a list of {len(kinds)}", content, where)
    return tuple(from_content(one, kind, where) for one, kind in zip(content, kinds, strict=True))


def _said(kind: Any) -> str:  # noqa: ANN401
    if kind is types.NoneType:
        return "null"
    if get_origin(kind) in (tuple, dict):
        return "a list" if get_origin(kind) is tuple else "an object"
    name: str = _NAMES.get(kind, kind.__name__)
    return name


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names))


def _unexpected(expected: str, content: object, where: str) -> JsonError:
    return JsonError(f"{where}: expected {expected}, got {json.dumps(content)[:100]}")
