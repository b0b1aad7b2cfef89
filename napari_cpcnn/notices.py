"""What is said to users: errors on their way to napari's notifications, and counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from napari.utils import notifications

from cpcnn_core.errors import CPCNNError
from napari_cpcnn.plain_text import as_text


def show_error(text: str) -> None:
    """Notify of an error, in words that may hold names from a file.

    Examples
    --------
    >>> show_error("there is no treatment <b>")  # doctest: +SKIP
    """
    notifications.show_error(as_text(text))


def show_warning(text: str) -> None:
    """Notify of something that may be meant, as `show_error`.

    Examples
    --------
    >>> show_warning("not found any more: <b>")  # doctest: +SKIP
    """
    notifications.show_warning(as_text(text))


def show_info(text: str) -> None:
    """Notify of what was done, as `show_error`.

    Examples
    --------
    >>> show_info("saved <b>.zip")  # doctest: +SKIP
    """
    notifications.show_info(as_text(text))


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
