"""The folders in which this user's models and answers are kept."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import platformdirs

from cpcnn_core.errors import PrivacyError


def cpcnn_home() -> Path:
    """Return this user's folder of cpcnn; the variable ``CPCNN_HOME`` moves it.

    Examples
    --------
    >>> cpcnn_home().is_absolute()
    True
    """
    home = os.environ.get("CPCNN_HOME") or platformdirs.user_data_dir("cpcnn", appauthor=False)
    return Path(home).expanduser().absolute()


def private_folder() -> Path:
    """Return a folder that only this user can write to, which is made when it is missing.

    This holds even if ``CPCNN_HOME`` is shared: no other user can put a file there that this
    user then opens.

    Raises
    ------
    PrivacyError
        It cannot be made, or belongs to another user.

    Examples
    --------
    >>> private_folder().parent == cpcnn_home()
    True
    """
    user = str(os.getuid()) if hasattr(os, "getuid") else os.environ.get("USERNAME", "")
    folder = cpcnn_home() / f"private-{user}"
    cure = "set CPCNN_HOME to a folder of your own"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise PrivacyError(f"{folder} cannot be made ({error.strerror}); {cure}") from error
    if not hasattr(os, "getuid"):
        return folder
    mine = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    if not mine or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PrivacyError(f"{folder} is no folder that you alone can write; {cure}")
    return folder
