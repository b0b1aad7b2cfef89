"""Whether a session says what `save_session` writes: sessions are sent from lab to lab."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

CELLS, ABOUT, SELECTION, POSITIONS = "cells.parquet", "session.json", "selection", "positions"
_MEMBER = re.compile(r"cells\.parquet|session\.json|selection\.npy|positions\.npy|layers/\d+\.npy")
_VIEW = ("map", "color_by", "images", "library")
_LIBRARY = {"path", "controls", "by"}
_MOST_AXES = 8
# napari reads much more than images, and a .py by running it. Images of other files are in the
# session itself.
_IMAGES = (
    *(".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp", ".dib", ".gif", ".npy", ".zarr", ".n5"),
    *(".czi", ".nd2", ".lif", ".lsm", ".stk", ".ims", ".oib", ".oif", ".vsi", ".flex", ".c01"),
    *(".mrc", ".jp2", ".jxr", ".svs", ".ndpi", ".qptiff"),
)


def is_image_file(path: str | Path) -> bool:
    """Tell whether a session may have napari open a file: one that holds nothing but an image.

    Examples
    --------
    >>> is_image_file("/data/A01.ome.tif"), is_image_file("/data/A01.py")
    (True, False)
    """
    return Path(path).suffix.lower() in _IMAGES


def check_members(names: list[str]) -> None:
    """Refuse an archive that holds anything else.

    Raises
    ------
    ValueError

    Examples
    --------
    >>> check_members(["session.json", "../../.bashrc"])
    Traceback (most recent call last):
    ValueError: it holds '../../.bashrc', which no session does
    """
    for name in names:
        if not _MEMBER.fullmatch(name):
            raise ValueError(f"it holds {name!r}, which no session does")


def check_session(session: Mapping[str, Any], cells: int, arrays: Mapping[str, np.ndarray]) -> None:
    """Refuse what does not fit together, before anything of it is shown.

    Parameters
    ----------
    session : mapping
        As `parse_json` returned it.
    cells : int
        How many there are.
    arrays : mapping of str to ndarray

    Raises
    ------
    ValueError

    Examples
    --------
    >>> check_session({"layers": 3}, 0, {})
    Traceback (most recent call last):
    ValueError: its layers are 3
    """
    layers: Any = session.get("layers")
    channels: Any = session.get("channels")
    picked = session.get("picked")
    _require(isinstance(layers, list), "layers", layers)
    for number, about in enumerate(layers):
        _check_layer(about, arrays.get(f"layers/{number}"))
    _require(isinstance(channels, dict), "channels", channels)
    for names in channels.values():
        texts = isinstance(names, list) and all(isinstance(name, str) for name in names)
        _require(texts, "channels", channels)
    row = picked is None or (_is_number(picked) and picked in range(cells))
    _require(row, "picked cell", picked)
    _check_view(session.get("view"))
    selection, positions = (arrays.get(name) for name in (SELECTION, POSITIONS))
    chosen = selection is not None and selection.dtype == bool and selection.shape == (cells,)
    _require(chosen, "selection", None if selection is None else selection.shape)
    if positions is not None:
        placed = positions.dtype.kind == "f" and positions.shape == (cells, 2)
        _require(placed, "positions", positions.shape)


def _check_layer(given: object, data: np.ndarray | None) -> None:
    _require(isinstance(given, dict), "layer", given)
    about = cast("dict[str, Any]", given)
    kind, path, plugin = (about.get(name) for name in ("kind", "path", "plugin"))
    _require(kind in ("labels", "image"), "kind of layer", kind)
    for name in ("name", "blending", *(("colormap",) if kind == "image" else ())):
        _require(isinstance(about.get(name), str), name, about.get(name))
    _require(isinstance(about.get("visible"), bool), "visible", about.get("visible"))
    _require(plugin is None or isinstance(plugin, str), "plugin", plugin)
    _require(_is_number(about.get("opacity")), "opacity", about.get("opacity"))
    count = about.get("of_file")
    _require(isinstance(count, int) and count >= 0, "place in its file", count)
    for name in ("scale", "translate", *(("contrast_limits",) if kind == "image" else ())):
        _require(_are_numbers(about.get(name)), name, about.get(name))
    if data is None:
        # An image in a file of its own, on this machine: no address, nothing beside the session.
        whole = isinstance(path, str) and Path(path).is_absolute() and is_image_file(path)
        _require(whole, f"file of the layer {about['name']}", path)
        return
    kinds = "biu" if kind == "labels" else "biuf"
    shown = data.dtype.kind in kinds and 2 <= data.ndim <= _MOST_AXES
    _require(shown, f"layer {about['name']}", f"{data.dtype} {data.shape}")


def _check_view(given: object) -> None:
    _require(isinstance(given, dict) and set(given) <= set(_VIEW), "view", given)
    view = cast("dict[str, Any]", given)
    for name in _VIEW[:2]:
        _require(isinstance(view.get(name), str), name, view.get(name))
    images, library = view.get("images"), view.get("library")
    _require(images is None or isinstance(images, str), "images", images)
    if library is not None:
        texts = isinstance(library, dict) and all(
            isinstance(library.get(name), str | None) for name in _LIBRARY
        )
        known = texts and set(library) == _LIBRARY and library["path"] and library["by"]
        _require(bool(known), "library", library)


def _are_numbers(values: object) -> bool:
    if not isinstance(values, list):
        return False
    return 0 < len(values) <= _MOST_AXES and all(map(_is_number, values))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _require(right: bool, what: str, found: object) -> None:
    if not right:
        raise ValueError(f"its {what} are {found!r:.100}")
