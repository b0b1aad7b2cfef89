"""The log of a run, as JSON lines: one per site, and one at the end.

Many faults make few lines: those that differ only in names, numbers and files are told as one.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

from cpcnn_core.errors import SiteError
from cpcnn_core.io.disk import told_if_full
from cpcnn_core.screen.examination import TO_DO
from cpcnn_core.screen.reports import SiteReport
from cpcnn_core.user_messages import TOLD, printable

LOGGER = logging.getLogger(__name__)
LOG_FILE = "embed.jsonl"
ASK_FOR_ALL = "--verbose or --log FILE names all"
_TROUBLED = ("failed", "no locations")


class RunLog:
    """Append to a file, a line at a time, so that a crash loses none.

    Where a full disk or a kill left half a line, the next one begins a new line.

    Examples
    --------
    >>> with RunLog("out") as log:
    ...     log.write({"event": "start"})
    >>> '"event": "start"' in Path("out/embed.jsonl").read_text()
    True
    """

    def __init__(self, out: str | Path, name: str = LOG_FILE) -> None:
        self.path = Path(out) / name

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("ab+", buffering=0)
            self._end_line()
        except OSError as error:
            raise SiteError(
                f"cannot write to {self.path.parent}: {error.strerror}; choose another folder "
                "with --out, or have this one made writable"
            ) from error
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def write(self, entry: Mapping[str, object]) -> None:
        """Write one line, with the time."""
        stamped = {"time": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"), **entry}
        self._append(json.dumps(stamped).encode() + b"\n")

    def write_site(self, report: SiteReport) -> None:
        """Write what became of a site."""
        log_sites([report])
        self.write(
            {
                "event": "site",
                "site": report.site,
                "state": report.state,
                "cells": report.cells,
                "seconds": round(report.seconds, 4),
                "reason": report.reason,
                "redone": report.redone,
            }
        )

    def _end_line(self) -> None:
        """End a line within which an earlier run was killed."""
        end = self._file.seek(0, os.SEEK_END)
        if end:
            self._file.seek(end - 1)
            if self._file.read(1) != b"\n":
                self._append(b"\n")

    def _append(self, data: bytes) -> None:
        with told_if_full(self.path):
            while data:
                data = data[self._file.write(data) :]


def log_sites(reports: Sequence[SiteReport]) -> None:
    """Tell Python's own logging of sites, one by one; the summary tells of them together.

    Examples
    --------
    >>> log_sites([SiteReport("P1/A01/1", "embedded", 2)])
    """
    for report in reports:
        # The terminal's handler shows these only when it is asked for all.
        level = logging.WARNING if report.state == "failed" else logging.DEBUG
        said = f"{report.cells} cells in {report.seconds:.2f} s" if report.cells else ""
        parts = [part for part in (said, report.redone, report.reason) if part]
        text = f"{report.site}: {report.state}" + (f"; {'; '.join(parts)}" if parts else "")
        LOGGER.log(level, "%s", text, extra=TOLD)


def summary(
    reports: Sequence[SiteReport], seconds: float, log: Path, done: str = "embedded"
) -> list[str]:
    """Say in a few lines what a run did; what failed, and what was odd, last and together.

    Parameters
    ----------
    reports : sequence of SiteReport
    seconds : float
    log : Path
        Where every site is written down.
    done : str
        What was done to the cells.

    Examples
    --------
    >>> summary([], 1.0, Path("log"))
    ['0 sites; 0 cells embedded in 1 s']
    >>> report = SiteReport("P1/A01/1", "embedded", 2, "an object has no centre: 3")
    >>> summary([report], 1.0, Path("log"))[1]
    '  P1/A01/1: an object has no centre: 3'
    """
    cells = sum(report.cells for report in reports)
    states = Counter(report.state for report in reports)
    parts = "".join(f"; {count} {state}" for state, count in states.items())
    rate = f" ({cells / seconds:.0f} cells/s)" if cells else ""
    lines = [f"{len(reports)} sites{parts}; {cells} cells {done} in {seconds:.0f} s{rate}"]
    if redone := redone_line(reports):
        lines.append(redone)
    troubled = [report for report in reports if report.state in _TROUBLED]
    odd = [report for report in reports if report.reason and report.state not in _TROUBLED]
    where = f"all are in {log}"
    lines += told_together([(r.site, f"{r.state} {r.reason}") for r in troubled], "sites", where)
    return lines + told_together([(r.site, r.reason) for r in odd], "sites", where)


def redone_line(reports: Sequence[SiteReport]) -> str:
    """Say how many sites were done again, and why; nothing where none was.

    Examples
    --------
    >>> redone_line([SiteReport("P1/A01/1", "embedded", redone="its objects moved")])
    '1 site is done again: 1 because its objects moved'
    """
    reasons = Counter(report.redone for report in reports if report.redone and report.counted)
    if not reasons:
        return ""
    count = reasons.total()
    parts = ", ".join(f"{number} because {why}" for why, number in _most_first(reasons))
    return f"{count} site{' is' if count == 1 else 's are'} done again: {parts}"


def check_lines(reports: Sequence[SiteReport]) -> list[str]:
    """Say in a few lines what there is to do, and why, of sites that were only looked at.

    Examples
    --------
    >>> done, new = SiteReport("P1/A01/1", "already done"), SiteReport("P1/A01/2", "to do")
    >>> again = SiteReport("P1/A01/3", "to do", redone="the pixels of DNA changed")
    >>> check_lines([done, new, again])
    ['3 sites: 1 already done, 1 to do (no file yet), 1 to do again (the pixels of DNA changed)']
    """
    states = Counter(
        f"to do again ({report.redone})"
        if report.redone and report.state == TO_DO
        else {TO_DO: "to do (no file yet)", "failed": "cannot be read"}.get(
            report.state, report.state
        )
        for report in reports
    )
    parts = ", ".join(
        f"{number} {what}" for what, number in sorted(_most_first(states), key=_order)
    )
    log_sites(reports)
    failed = [(report.site, report.reason) for report in reports if report.state == "failed"]
    lines = told_together(failed, "sites", ASK_FOR_ALL)
    return [f"{len(reports)} sites: {parts}" if reports else "0 sites", *lines]


def _most_first(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _order(item: tuple[str, int]) -> int:
    """Put what is done first, then what is to do, then the rest."""
    starts = ("already done", "to do (", "to do again")
    return next((i for i, start in enumerate(starts) if item[0].startswith(start)), len(starts))


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
