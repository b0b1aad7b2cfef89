"""Messages to users: notices that are not errors, and texts that are safe to show.

A notice goes to a host's own line, else it is a warning. Every module also has a logger of its own
name, below the package's ``cpcnn_core``. As in any library nothing is heard of them until a program
adds handlers: `cpcnn` does (`cpcnn_core.cli.messages`), napari and notebooks may::

    logging.basicConfig(level=logging.INFO)
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Mapping

from cpcnn_core.errors import ProfileWarning, some_of

# Takes one sentence; the command line prints it, a window shows it.
Tell = Callable[[str], None]
SHOWN = 10
# The `extra` of what its user is told in another way too: one of many sites that a summary
# counts, say. A terminal does not show it twice.
TOLD = {"told": True}


def warn(text: str) -> None:
    """Issue a `ProfileWarning`, where no host takes the notice.

    Examples
    --------
    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     warn("1 of 48 wells is left out")
    >>> str(caught[0].message)
    '1 of 48 wells is left out'
    """
    warnings.warn(text, ProfileWarning, stacklevel=3)


def listed(names: Iterable[object], shown: int = SHOWN) -> str:
    """Name a few of many.

    Examples
    --------
    >>> listed(["A01", "A02"]), listed(["A01", "A02", "A03"], 1)
    ('A01, A02', 'A01 and 2 more')
    """
    return some_of(names, shown)


def counted(counts: Mapping[str, int], shown: int = SHOWN) -> str:
    """Name a few with their counts, the most frequent first.

    Examples
    --------
    >>> counted({"nan": 2, "NA": 12})
    'NA (12), nan (2)'
    """
    order = sorted(counts.items(), key=lambda pair: -pair[1])
    return listed((f"{name} ({count})" for name, count in order), shown)


def some(count: int, what: str) -> str:
    """Say how many, in singular or plural.

    Examples
    --------
    >>> some(1, "well"), some(2, "well")
    ('1 well', '2 wells')
    """
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def printable(text: object) -> str:
    r"""Return a text with everything written out that is no visible character.

    File names, labels of tables and messages of other libraries may hold line ends, which would
    look like lines of ours, escape sequences, which a terminal obeys, and signs that turn the
    direction of writing.

    Parameters
    ----------
    text : object
        Its text is meant.

    Returns
    -------
    str
        On one line, and writable in any encoding of Unicode.

    Examples
    --------
    >>> print(printable("P1\nerror: \x1b[31mall is lost"), printable("3 µm"))
    P1\nerror: \x1b[31mall is lost 3 µm
    """
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii")
        for sign in shown
    )


def is_told(record: logging.LogRecord) -> bool:
    """Tell whether a record has the mark `TOLD`.

    Examples
    --------
    >>> is_told(logging.makeLogRecord(TOLD)), is_told(logging.makeLogRecord({}))
    (True, False)
    """
    return getattr(record, "told", False)
