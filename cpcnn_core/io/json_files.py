"""JSON that others wrote: read as what it is, and not nested deeper than it can be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cpcnn_core.errors import JsonError

# Ours are four deep. What is much deeper was made so that reading, printing or writing it ends
# in Python's own limit, which is another in every version of Python.
DEEPEST = 100
_TOO_DEEP = f"it is nested too deeply, in more than {DEEPEST} lists and objects"


def parse_json(text: str | bytes) -> Any:  # noqa: ANN401  (JSON is anything)
    """Return what a text says in JSON; as `json.loads`, also of NaN and Infinity.

    The one place where JSON is read; the caller says what the text was to be, and which file
    it is from.

    Parameters
    ----------
    text : str or bytes
        Bytes are UTF-8, UTF-16 or UTF-32.

    Raises
    ------
    ValueError
        It is no JSON, or nested too deeply.

    Examples
    --------
    >>> parse_json('{"cells": 3}')
    {'cells': 3}
    >>> parse_json("[" * 1000 + "]" * 1000)
    Traceback (most recent call last):
    ValueError: it is nested too deeply, in more than 100 lists and objects
    """
    try:
        content = json.loads(text)
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    level = [content]
    for _ in range(DEEPEST):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return content
    raise ValueError(_TOO_DEEP)


def read_json(path: str | Path) -> Any:  # noqa: ANN401  (JSON is anything)
    """Return what a file says in JSON, as `parse_json`.

    Parameters
    ----------
    path : str or Path
        In UTF-8.

    Raises
    ------
    OSError
        There is no such file, or it cannot be opened.
    JsonError
        It is no JSON; what is wrong with it.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a.json").write_text('{"cells": 3')
    ...     read_json(f"{folder}/a.json")
    Traceback (most recent call last):
    cpcnn_core.errors.JsonError: ...a.json cannot be read as JSON (Expecting ',' delimiter: ...
    """
    try:
        return parse_json(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise JsonError(
            f"{path} cannot be read as JSON ({error}); make or get the file again"
        ) from error


def _inside(content: object) -> list[object]:
    """Return the lists and objects that are directly inside one."""
    if isinstance(content, dict):
        content = content.values()
    elif not isinstance(content, list):
        return []
    return [one for one in content if isinstance(one, dict | list)]
