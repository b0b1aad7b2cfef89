"""Damaged files of our own: recognised, and set aside, so that they are made again."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cpcnn_core.io.atomic import set_time, write_atomically
from cpcnn_core.io.json_files import parse_json

SUFFIX = ".damaged"
_CHECKSUM = "checksum"


def set_aside(path: str | Path) -> Path:
    """Rename a damaged file, so that nothing reads it and its owner may look at it.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Path
        Beside it, ``NAME.damaged``; where there is one already, ``NAME.damaged-2`` and so on.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "1.npz")
    ...     [path.write_text("?") and set_aside(path).name for _ in range(2)]
    ['1.npz.damaged', '1.npz.damaged-2']
    """
    path = Path(path)
    aside, count = path.with_name(path.name + SUFFIX), 1
    while aside.exists():
        count += 1
        aside = path.with_name(f"{path.name}{SUFFIX}-{count}")
    return path.rename(aside)


def said_aside(path: str | Path, aside: Path) -> str:
    """Say in a sentence what was done with a damaged file.

    Examples
    --------
    >>> said_aside("out/1.npz", Path("out/1.npz.damaged"))
    'out/1.npz was damaged: it is kept as 1.npz.damaged, and made again'
    """
    return f"{path} was damaged: it is kept as {aside.name}, and made again"


def write_checked(
    path: str | Path,
    content: Mapping[str, object],
    *,
    indent: int | None = None,
    moment_ns: int | None = None,
) -> None:
    r"""Write a JSON object whose last entry is a checksum of all before it.

    Parameters
    ----------
    path : str or Path
    content : mapping
        What JSON can hold; with one entry or more.
    indent : int, optional
        As of `json.dumps`.
    moment_ns : int, optional
        Becomes the file's time. Default: now.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_checked(f"{folder}/a.json", {"cells": 3})
    ...     Path(folder, "a.json").read_text(), read_checked(f"{folder}/a.json")
    ('{"cells": 3,\n"checksum": "840895e0"}\n', {'cells': 3})
    """
    body = json.dumps(content, indent=indent)[:-1].rstrip("\n")
    text = body + _ending(body)

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        if moment_ns is not None:
            set_time(temporary, moment_ns)

    write_atomically(path, write)


def read_checked(path: str | Path) -> dict[str, Any]:
    """Read what `write_checked` wrote, or an earlier cpcnn, without a checksum.

    Raises
    ------
    OSError
        There is no such file.
    ValueError
        It is no JSON object, or not what was written.

    Examples
    --------
    >>> read_checked("nowhere.json")
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: 'nowhere.json'
    """
    # Not as text, in which some changed bytes would be line ends again.
    text = Path(path).read_bytes().decode()
    length = len(_ending(""))
    body, ending = text[:-length], text[-length:]
    same = sum(a == b for a, b in zip(ending, _ending(body), strict=False))
    content = parse_json(text)
    if not isinstance(content, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004  (of the file, not of an argument)
    # An ending that is nearly one of ours is ours: that of an earlier cpcnn is another altogether.
    if same < length and (same > length // 2 or _CHECKSUM in content):
        raise ValueError("its checksum does not match its contents")
    content.pop(_CHECKSUM, None)
    return content


def _ending(body: str) -> str:
    return f',\n"{_CHECKSUM}": "{zlib.crc32(body.encode()):08x}"}}\n'
