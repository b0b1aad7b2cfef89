"""Names that come with tables, models and images are shown as text: Qt takes some for HTML."""

from __future__ import annotations

import re

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel

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
    """A label that shows its text as it is.

    Examples
    --------
    >>> PlainLabel("<b>")  # doctest: +SKIP
    """

    def __init__(self, text: str = "", *, wordWrap: bool = False) -> None:  # noqa: N803
        super().__init__(text, textFormat=Qt.TextFormat.PlainText, wordWrap=wordWrap)
