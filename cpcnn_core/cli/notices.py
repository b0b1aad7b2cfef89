"""What is not an error but has to be said, as lines of a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable


def say_once(*, beside: bool = False) -> Callable[[str], None]:
    """Return a function that prints a line, the same one once only.

    Parameters
    ----------
    beside : bool
        Print to stderr, where the output itself is read by programs.

    Examples
    --------
    >>> say = say_once()
    >>> say("1 of 48 wells is left out")
    1 of 48 wells is left out
    >>> say("1 of 48 wells is left out")
    """
    said: set[str] = set()

    def say(text: str) -> None:
        if text not in said:
            said.add(text)
            print(text, file=sys.stderr if beside else sys.stdout, flush=True)

    return say
