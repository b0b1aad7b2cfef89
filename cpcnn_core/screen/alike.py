"""Many faults in few lines: those that differ only in names, numbers and files are one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from cpcnn_core.printable import printable

# Kinds of faults that are shown, and letters of one.
SHOWN, LONGEST = 20, 600
_WORD = re.compile(r"[^\s,;:()\[\]{}'\"=]+")
_PART = re.compile(r"[^\W_]+")
_NUMBER = re.compile(r"[\d.+x%-]*\d[\d.+x%-]*")
_HASH = re.compile(r"(?=.*\d)[0-9a-f-]{8,}")
_FILE = re.compile(r".*[/\\].*|.*\.[A-Za-z]\w{0,6}")


def kind_of(name: str, reason: str) -> str:
    """Return what a fault has in common with the same fault of others.

    Parameters
    ----------
    name : str
        Of what has it: a site's ``plate/well/site``.
    reason : str

    Returns
    -------
    str
        The reason without files, numbers, and the names that `name` consists of.

    Examples
    --------
    >>> one = kind_of("P1/A01/2", "there is no image file /data/P1/A01_2.tif")
    >>> one == kind_of("P9/H12/1", "there is no image file /data/P9/H12_1.tif")
    True
    >>> one == kind_of("P1/A01/2", "there is no channel DNA")
    False
    """
    own = {part for part in name.split("/") if part}
    for part in sorted(own, key=len, reverse=True):
        # Other names are words of the text.
        if not part.isalnum():
            reason = reason.replace(part, "~")

    def common(word: re.Match[str]) -> str:
        text = word[0]
        if any(pattern.fullmatch(text) for pattern in (_FILE, _NUMBER, _HASH)):
            return "~"
        return _PART.sub(lambda part: "~" if part[0] in own else part[0], text)

    return _WORD.sub(common, reason[:LONGEST])


def told_together(faults: Iterable[tuple[str, str]], many: str, where: str) -> list[str]:
    """Say in few lines what is wrong with many: a line for every kind, with the count.

    Parameters
    ----------
    faults : iterable of (str, str)
        What each is called, and what is to be said of it.
    many : str
        What several are called, such as ``sites``.
    where : str
        Says where all are listed by name.

    Examples
    --------
    >>> faults = [(f"P1/A01/{i}", f"failed there is no file {i}.tif") for i in range(10_000)]
    >>> told_together([*faults, ("P1/B01/1", "no objects")], "sites", "all are in the log")
    ['  10000 sites like P1/A01/0: failed there is no file 0.tif (all are in the log)',
     '  P1/B01/1: no objects']
    """
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, reason in faults:
        groups.setdefault(kind_of(name, reason), []).append((name, reason))
    ordered = sorted(groups.values(), key=len, reverse=True)
    lines = [_line(group, many, where) for group in ordered[:SHOWN]]
    if rest := ordered[SHOWN:]:
        count = sum(map(len, rest))
        lines.append(f"  and {count} more {many}, with {len(rest)} other reasons ({where})")
    return lines


def _line(group: Sequence[tuple[str, str]], many: str, where: str) -> str:
    name, reason = group[0]
    text = printable(f"{name}: {reason}".rstrip())
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]} ..."
    return f"  {text}" if len(group) == 1 else f"  {len(group)} {many} like {text} ({where})"
