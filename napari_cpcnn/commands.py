"""Functions that napari calls by name: the reader of tables, and the command for a selection."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari

from napari_cpcnn.session import SUFFIX

# Tells napari that a file was read and gives no layer.
NO_LAYERS = [(None,)]


def table_reader(path: str | list[str]) -> Callable[[str | list[str]], list[Any]] | None:
    """Return what opens a table of cells or a session, or None for other files.

    Examples
    --------
    >>> table_reader("image.tif") is None
    True
    """
    paths = [path] if isinstance(path, str) else list(path)
    if not all(Path(one).suffix in (".parquet", ".h5ad", SUFFIX) for one in paths):
        return None
    return _read


def _read(path: str | list[str]) -> list[Any]:
    from napari_cpcnn.widget import widget_of

    widget = widget_of(napari.current_viewer())
    for one in [path] if isinstance(path, str) else path:
        if Path(one).suffix == SUFFIX:
            widget.open_session(one)
        else:
            widget.open_table(one)
    return NO_LAYERS


def selection_to_layer(viewer: napari.Viewer) -> None:
    """Put the selected cells into a labels layer of their own."""
    from napari_cpcnn.widget import widget_of

    widget_of(viewer).selection_to_layer()
