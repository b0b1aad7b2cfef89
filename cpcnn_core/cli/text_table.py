"""Tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from cpcnn_core.printable import printable


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
