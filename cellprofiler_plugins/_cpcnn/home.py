"""The folder of this user's models and answers, the same as in ``cpcnn_core.models.folders``."""

import os
import sys
from pathlib import Path


def cpcnn_home():
    """Return this user's folder of cpcnn; the variable ``CPCNN_HOME`` moves it."""
    home = os.environ.get("CPCNN_HOME") or os.path.join(_data_folder(), "cpcnn")
    return Path(os.path.abspath(os.path.expanduser(home)))


def _data_folder():
    """Return where the system wants programs to keep a user's data, as platformdirs does."""
    if sys.platform == "win32":
        return os.environ.get("LOCALAPPDATA") or os.path.join("~", "AppData", "Local")
    own = os.environ.get("XDG_DATA_HOME", "").strip()
    if os.path.isabs(own):
        return own
    if sys.platform == "darwin":
        return os.path.join("~", "Library", "Application Support")
    return os.path.join("~", ".local", "share")
