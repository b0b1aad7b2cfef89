"""Logging: every module has a logger of its own name, below the package's ``cpcnn_core``.

As in any library nothing is heard of them until a program adds handlers: `cpcnn` does
(`cpcnn_core.cli.messages`), napari and notebooks may::

    logging.basicConfig(level=logging.INFO)
"""

from __future__ import annotations

import logging

# The `extra` of what its user is told in another way too: one of many sites that a summary
# counts, say. A terminal does not show it twice.
TOLD = {"told": True}


def is_told(record: logging.LogRecord) -> bool:
    """Tell whether a record has the mark `TOLD`.

    Examples
    --------
    >>> is_told(logging.makeLogRecord(TOLD)), is_told(logging.makeLogRecord({}))
    (True, False)
    """
    return getattr(record, "told", False)
