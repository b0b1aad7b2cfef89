"""What a run did, as JSON lines: one per site, and one at the end."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from cpcnn_core.errors import SiteError
from cpcnn_core.screen.report import SiteReport

LOG_FILE = "embed.jsonl"


class RunLog:
    """Append to a file, a line at a time, flushed, so that a crash loses none.

    Examples
    --------
    >>> with RunLog("out") as log:  # doctest: +SKIP
    ...     log.write({"event": "start"})
    """

    def __init__(self, out: str | Path, name: str = LOG_FILE) -> None:
        self.path = Path(out) / name

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a", encoding="utf-8")
        except OSError as error:
            raise SiteError(
                f"cannot write to {self.path.parent}: {error.strerror}; choose another folder "
                "with --out, or have this one made writable"
            ) from error
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def write(self, entry: dict) -> None:
        """Write one line, with the time."""
        stamped = {"time": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"), **entry}
        self._file.write(json.dumps(stamped) + "\n")
        self._file.flush()

    def write_site(self, report: SiteReport) -> None:
        """Write what became of a site."""
        self.write(
            {
                "event": "site",
                "site": report.site,
                "state": report.state,
                "cells": report.cells,
                "seconds": round(report.seconds, 4),
                "reason": report.reason,
            }
        )


def summary(reports: Sequence[SiteReport], seconds: float, done: str = "embedded") -> list[str]:
    """Say in a few lines what a run did, the failures last and by name.

    Examples
    --------
    >>> summary([], 1.0)
    ['0 sites; 0 cells embedded in 1 s']
    """
    cells = sum(report.cells for report in reports)
    states = Counter(report.state for report in reports)
    parts = "".join(f"; {count} {state}" for state, count in states.items())
    rate = f" ({cells / seconds:.0f} cells/s)" if cells else ""
    lines = [f"{len(reports)} sites{parts}; {cells} cells {done} in {seconds:.0f} s{rate}"]
    troubled = [report for report in reports if report.state in ("failed", "no locations")]
    return [*lines, *(f"  {r.site}: {r.state} {r.reason}".rstrip() for r in troubled)]
