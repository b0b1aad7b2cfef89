"""Put the CellProfiler module where CellProfiler finds it, and say where cpcnn is.

The plugins folder afterwards::

    measurecellpaintingcnn.py       the module
    _cpcnn/                         what it needs; CellProfiler ignores the name
    _cpcnn/python.json              {"python": ..., "cpcnn": version}
"""

from __future__ import annotations

import importlib.resources
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import cpcnn_core
from cpcnn_core.errors import HostError
from cpcnn_core.io.atomic import temporary_folder
from cpcnn_core.io.json_files import read_json
from cpcnn_core.models.folders import cpcnn_home

MODULE_FILE = "measurecellpaintingcnn.py"
HELPER_FOLDER = "_cpcnn"
RECORD_FILE = "python.json"


def default_plugins_directory() -> Path:
    """Return the plugins folder used when none is named.

    Examples
    --------
    >>> default_plugins_directory().name
    'cellprofiler_plugins'
    """
    return cpcnn_home() / "cellprofiler_plugins"


def plugin_source() -> Path:
    """Return the folder of the installed package that holds the module.

    Examples
    --------
    >>> (plugin_source() / MODULE_FILE).is_file()
    True
    """
    return Path(str(importlib.resources.files("cellprofiler_plugins")))


def plugin_files() -> Iterator[Path]:
    """Yield what belongs to the module, relative to its folder.

    Examples
    --------
    >>> [path.name for path in plugin_files()][0]
    'measurecellpaintingcnn.py'
    """
    yield Path(MODULE_FILE)
    source = plugin_source()
    for path in sorted((source / HELPER_FOLDER).glob("*.py")):
        yield path.relative_to(source)


def install_plugin(
    plugins_directory: str | Path | None = None, python: str | Path | None = None
) -> Path:
    """Copy the module to a plugins folder and record a Python beside it.

    Parameters
    ----------
    plugins_directory : str or Path, optional
        Made if it is not there; other plugins in it are left alone. Default:
        `default_plugins_directory`.
    python : str or Path, optional
        The Python with cpcnn; default: this one.

    Returns
    -------
    Path
        The plugins folder.

    Raises
    ------
    HostError
        The folder cannot be written.

    Examples
    --------
    >>> with temporary_folder() as folder:
    ...     sorted(path.name for path in install_plugin(folder).iterdir())
    ['_cpcnn', 'measurecellpaintingcnn.py']
    """
    folder = Path(plugins_directory or default_plugins_directory()).expanduser().absolute()
    python = Path(python or sys.executable).absolute()
    record = {"python": str(python), "cpcnn": cpcnn_core.__version__}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        helpers = folder / HELPER_FOLDER
        with temporary_folder(folder) as temporary:
            fresh = temporary / HELPER_FOLDER
            fresh.mkdir()
            for path in plugin_files():
                shutil.copyfile(plugin_source() / path, temporary / path)
            (fresh / RECORD_FILE).write_text(json.dumps(record, indent=2) + "\n")
            # Helpers before the module: the module must never be there without them.
            shutil.rmtree(helpers, ignore_errors=True)
            fresh.replace(helpers)
            (temporary / MODULE_FILE).replace(folder / MODULE_FILE)
    except OSError as error:
        raise HostError(
            f"the module cannot be written to {folder} ({error}); choose a folder of your own "
            "with --plugins-directory"
        ) from error
    return folder


def read_record(plugins_directory: str | Path) -> dict[str, str]:
    """Read which Python was recorded beside the module; empty when none was, legibly.

    Examples
    --------
    >>> read_record("no/such/folder")
    {}
    """
    path = Path(plugins_directory) / HELPER_FOLDER / RECORD_FILE
    try:
        record = read_json(path)
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) and "python" in record else {}


def outdated_files(plugins_directory: str | Path) -> list[str]:
    """Name the module's files that are missing there or differ from this version's.

    Examples
    --------
    >>> outdated_files("no/such/folder")[0]
    'measurecellpaintingcnn.py'
    """
    folder = Path(plugins_directory)
    return [
        str(path)
        for path in plugin_files()
        if not (folder / path).is_file()
        or (folder / path).read_bytes() != (plugin_source() / path).read_bytes()
    ]
