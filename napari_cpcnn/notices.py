"""Notices to users, by napari's notifications and this package's logger; and counts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

from napari.utils import notifications

from cpcnn_core.errors import CPCNNError
from cpcnn_core.printable import printable
from napari_cpcnn.plain_text import as_text

LOGGER = logging.getLogger(__name__)


class Refusal(NamedTuple):
    """An error as a result: what a worker returns bare, it raises."""

    error: CPCNNError


def tell_error(error: object) -> None:
    """Say what cannot be done, and why, in words that may hold names from a file.

    Parameters
    ----------
    error : object
        Its text is meant.

    Examples
    --------
    >>> tell_error("select cells first")  # doctest: +SKIP
    """
    text = _lines(error)
    # A sentence for the user, without a traceback.
    LOGGER.error("%s", text)
    notifications.show_error(as_text(text))


def tell_warning(text: str) -> None:
    """Say what was done otherwise than was asked for.

    Examples
    --------
    >>> tell_warning("not found any more: moa.csv")  # doctest: +SKIP
    """
    text = _lines(text)
    LOGGER.warning("%s", text)
    notifications.show_warning(as_text(text))


def tell(text: str) -> None:
    """Say what is worth to know.

    Examples
    --------
    >>> tell("12 nuclei")  # doctest: +SKIP
    """
    text = _lines(text)
    LOGGER.info("%s", text)
    notifications.show_info(as_text(text))


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
        tell_error(error)
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


def _lines(text: object) -> str:
    return "\n".join(map(printable, str(text).split("\n")))
