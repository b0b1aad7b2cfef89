"""What is said to users: errors on their way to napari's notifications, and counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from napari.utils.notifications import show_error

from cpcnn_core.errors import CPCNNError


class Refusal(NamedTuple):
    """An error as a result: what a worker returns bare, it raises."""

    error: CPCNNError


def or_error(work: Callable[[], object]) -> bool:
    """Do something; if it cannot be done, say why and return False.

    Examples
    --------
    >>> or_error(lambda: 1)
    True
    """
    try:
        work()
    except (CPCNNError, OSError) as error:
        show_error(str(error))
        return False
    return True


def counted(count: int, what: str) -> str:
    """Say how many there are of something.

    Examples
    --------
    >>> counted(1, "cell"), counted(1234, "cell")
    ('1 cell', '1,234 cells')
    """
    return f"{count:,} {what}" + ("" if count == 1 else "s")
