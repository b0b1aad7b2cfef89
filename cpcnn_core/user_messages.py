"""Notices that are not errors: for a host's own line, else as a warning."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping

from cpcnn_core.errors import ProfileWarning, some_of

# Takes one sentence; the command line prints it, a window shows it.
Tell = Callable[[str], None]
SHOWN = 10


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
