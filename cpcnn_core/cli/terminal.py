"""What commands show: results on standard output, everything else on standard error.

Progress bars are shown on standard error, if that is a terminal and ``--quiet`` was not given.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Self

from cpcnn_core.cli.messages import shows_notices
from cpcnn_core.user_messages import TOLD, printable

if TYPE_CHECKING:
    from tqdm import tqdm

    from cpcnn_core.screen.reports import SiteReport

LOGGER = logging.getLogger(__name__)


def show(*lines: str) -> None:
    r"""Print lines of the result; the log has them too.

    Parameters
    ----------
    *lines : str
        What is no visible character of them is written out.

    Examples
    --------
    >>> show("wrote P1\x1b[2J.parquet", "done")
    wrote P1\x1b[2J.parquet
    done
    """
    for line in lines:
        LOGGER.info("%s", line, extra=TOLD)
        print_out(printable(line))


def print_out(text: str) -> None:
    """Print a table of the result, which is too long for the log.

    Parameters
    ----------
    text : str
        Its lines; the caller makes sure that no cell holds a line break.

    Examples
    --------
    >>> print_out("one")
    one
    """
    shown = "\n".join(map(printable, text.split("\n")))
    encoding = sys.stdout.encoding or "utf-8"
    # Such as Greek letters on a terminal that has none.
    print(shown.encode(encoding, "backslashreplace").decode(encoding), flush=True)


def notice(text: str) -> None:
    """Say on stderr what is no error and no result.

    Examples
    --------
    >>> notice("no illumination functions: pixels are taken as stored")
    """
    LOGGER.info("%s", text)


def say_once() -> Callable[[str], None]:
    """Return a function that says a notice, the same one once only.

    Examples
    --------
    >>> say = say_once()
    >>> say("1 of 48 wells is left out")
    """
    said: set[str] = set()

    def say(text: str) -> None:
        if text not in said:
            said.add(text)
            notice(text)

    return say


def as_text(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay a table out for a terminal; no cell can write a line of its own.

    Examples
    --------
    >>> print(as_text(["model", "MiB"], [("a", "900"), ("long name", "10")]))
    model      MiB
    a          900
    long name  10
    """
    lines = [[printable(text) for text in line] for line in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(f"{text:{width}}" for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


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
