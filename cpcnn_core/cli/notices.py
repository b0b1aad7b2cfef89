"""Output of commands: results on standard output, everything else on standard error."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from cpcnn_core.logs import TOLD
from cpcnn_core.printable import printable

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
