"""The progress bar of a screen."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from cpcnn_core.screen.report import SiteReport


class SiteBar:
    """A progress bar on a terminal: sites, time left, cells per second."""

    def __init__(self, total: int) -> None:
        self._total, self._cells = total, 0

    def __enter__(self) -> Self:
        from tqdm import tqdm

        self._bar = tqdm(total=self._total, unit="site", disable=None, file=sys.stderr)
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def add(self, report: SiteReport) -> None:
        """Count a site."""
        self._cells += report.cells
        self._bar.update()
        elapsed = self._bar.format_dict.get("elapsed")
        if elapsed:
            self._bar.set_postfix_str(f"{self._cells / elapsed:.0f} cells/s", refresh=False)
