"""The names that plates, wells and sites may have, so that files can be named after them."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from cpcnn_core.errors import SiteError, some_of
from cpcnn_core.io.atomic import LONGEST_NAME, temporary_folder
from cpcnn_core.io.formats import CONSENSUS_ENDING

Key = tuple[str, str, str]
KINDS = ("plate", "well", "site")
# What may be put behind a plate's name, and a site's.
LONGEST_ENDINGS = (CONSENSUS_ENDING, "", ".parquet")
_UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
_OF_WINDOWS = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9¹²³])(\..*)?", re.IGNORECASE)
# Tables of plates that are called so are passed over as made by cpcnn profile.
_NO_PLATE = CONSENSUS_ENDING.removesuffix(".parquet")


def require_names(keys: Iterable[Key], *, windows: bool = os.name == "nt") -> None:
    """Refuse plates, wells and sites that no file can be called after, before any work.

    Parameters
    ----------
    keys : iterable of (plate, well, site)
    windows : bool
        Whether also what Windows does not allow is refused. Default: there.

    Raises
    ------
    SiteError
        Says which, and why.

    Examples
    --------
    >>> require_names([("P1", "A01", "1")])
    >>> require_names([("../P1", "A01", "1")])
    Traceback (most recent call last):
    cpcnn_core.errors.SiteError: plate '../P1' cannot name a file: it has '/'; ...
    """
    seen: tuple[dict[str, None], ...] = ({}, {}, {})
    for key in keys:
        for names, name in zip(seen, key, strict=True):
            names[name] = None
    wrong = [
        f"{kind} {_shown(name)} cannot name a file: {why}"
        for kind, names, ending in zip(KINDS, seen, LONGEST_ENDINGS, strict=True)
        for name in names
        if (why := _why_not(name, kind, ending, windows=windows))
    ]
    if wrong:
        more = f" ({len(wrong) - 1} more like it)" if len(wrong) > 1 else ""
        raise SiteError(f"{wrong[0]}{more}; change the name in the screen's table")


def require_apart(keys: Iterable[Key], folder: str | Path) -> None:
    """Refuse plates and sites that a folder's disk takes for one, as ``p1`` and ``P1``.

    Parameters
    ----------
    keys : iterable of (plate, well, site)
    folder : str or Path
        It is there, and can be written to.

    Raises
    ------
    SiteError

    Examples
    --------
    >>> require_apart([("P1", "A01", "1"), ("P1", "A02", "1")], ".")
    """
    case, form = _taken_for_one(folder)
    found: dict[object, tuple[str, ...]] = {}
    for key in dict.fromkeys(keys):
        for part in (key[:1], key):
            same = tuple(_folded(name, case=case, form=form) for name in part)
            other = found.setdefault(same, part)
            if other != part:
                raise SiteError(
                    f"the disk of {folder} takes {'/'.join(other)} and {'/'.join(part)} for one "
                    "name; rename one of them in the screen's table, or choose another disk"
                )


def _why_not(name: str, kind: str, ending: str, *, windows: bool) -> str:
    """Return why a name can name no file; an empty text where it can."""
    odd = list(dict.fromkeys(_UNSAFE.findall(name)))
    try:
        size = len(os.fsencode(name + ending))
    except UnicodeEncodeError:
        return "it has characters that file names cannot have"
    if not name:
        return "it is empty"
    if name in (".", ".."):
        return "it stands for a folder"
    if odd:
        return f"it has {some_of(map(repr, odd))}"
    if size > LONGEST_NAME:
        return f"with {ending} it has {size} bytes, and {LONGEST_NAME} are allowed"
    if kind == KINDS[0] and (name.startswith(".") or name.endswith(_NO_PLATE)):
        return "programs that read the folder would skip its table"
    if windows and name != name.rstrip(" ."):
        return "Windows allows no space or point at the end"
    if windows and _OF_WINDOWS.fullmatch(name):
        return "Windows keeps this name for a device"
    return ""


def _shown(name: str) -> str:
    return repr(name if len(name) <= 60 else f"{name[:50]}...")


def _taken_for_one(folder: str | Path) -> tuple[bool, bool]:
    """Ask a disk whether names are one that differ by case, or by how an accent is written."""
    with temporary_folder(folder) as probe:
        (probe / "a").touch()
        (probe / "\u00e9").touch()
        return (probe / "A").exists(), (probe / "e\u0301").exists()


def _folded(name: str, *, case: bool, form: bool) -> str:
    name = unicodedata.normalize("NFC", name) if form else name
    return name.casefold() if case else name
