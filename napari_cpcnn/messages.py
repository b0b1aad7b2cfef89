"""Messages to users, by napari's notifications and this package's logger.

Names that come with tables, models and images are shown as text: Qt takes some for HTML.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import NamedTuple

from napari.utils import notifications
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel

from cpcnn_core.errors import CPCNNError
from cpcnn_core.user_messages import printable

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
    """
    text = _lines(error)
    # A sentence for the user, without a traceback.
    LOGGER.error("%s", text)
    notifications.show_error(as_text(text))


def tell_warning(text: str) -> None:
    """Say what was done otherwise than was asked for."""
    text = _lines(text)
    LOGGER.warning("%s", text)
    notifications.show_warning(as_text(text))


def tell(text: str) -> None:
    """Say what is worth to know."""
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


# No space, no width: behind it nothing is a tag any more.
_JOINER = "\N{WORD JOINER}"


def as_text(text: str) -> str:
    """Return a text that tooltips, questions and notifications show as it is.

    They have no other way to be told that ``<img src=...>`` is a name.

    Examples
    --------
    >>> as_text("taxol"), as_text("<b>") == "<b>"
    ('taxol', False)
    """
    return re.sub(r"<|&(?=lt;)", rf"\g<0>{_JOINER}", text)


class PlainLabel(QLabel):
    """A label that shows its text as it is."""

    def __init__(self, text: str = "", *, wordWrap: bool = False) -> None:  # noqa: N803
        super().__init__(text, textFormat=Qt.TextFormat.PlainText, wordWrap=wordWrap)
