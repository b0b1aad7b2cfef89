"""Where this user's models and answers lie."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cpcnn_home() -> Path:
    """Return this user's folder of cpcnn; the variable ``CPCNN_HOME`` moves it.

    Examples
    --------
    >>> cpcnn_home().is_absolute()
    True
    """
    home = os.environ.get("CPCNN_HOME") or platformdirs.user_data_dir("cpcnn", appauthor=False)
    return Path(home).expanduser().absolute()
