"""Progress bars: on stderr, if that is a terminal and ``--quiet`` was not given."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Self

from cpcnn_core.cli.messages import shows_notices

if TYPE_CHECKING:
    from tqdm import tqdm

    from cpcnn_core.screen.report import SiteReport


def progress_bar(total: int | None, unit: str, **how: object) -> tqdm:
    """Return a bar that is only shown where it can be seen.

    Parameters
    ----------
    total : int or None
        None where it is not known.
    unit : str
        What is counted.
    **how
        See `tqdm.tqdm`.

    Examples
    --------
    >>> with progress_bar(2, "site") as bar:
    ...     bar.update()
    """
    from tqdm import tqdm

    # None: where stderr is no terminal.
    hidden = None if shows_notices() else True
    return tqdm(total=total, unit=unit, disable=hidden, file=sys.stderr, **how)


class SiteBar:
    """A progress bar on a terminal: sites, time left, cells per second."""

    def __init__(self, total: int) -> None:
        self._total, self._cells = total, 0

    def __enter__(self) -> Self:
        self._bar = progress_bar(self._total, "site")
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
