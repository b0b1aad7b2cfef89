"""A session in one file: cells, map, selection, labels, and where the images are.

Layout of ``NAME.cpcnn``, a zip archive: ``session.json``; ``cells.parquet``, a table that other
programs read too; ``positions.npy`` and ``selection.npy``; ``layers/N.npy`` for labels, and for
images that are in no file, or in one that is no image's. Images that are in files stay there.

Sessions are sent from lab to lab: one that says anything but what `save_session` writes is
refused.
"""

from __future__ import annotations

import json
import math
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import AVAILABLE_COLORMAPS

from cpcnn_core.errors import CPCNNError, ProfileError
from cpcnn_core.io.archives import extract_member, open_archive, read_array, seal
from cpcnn_core.io.atomic import temporary_folder, write_atomically
from cpcnn_core.io.json_files import parse_json
from cpcnn_core.io.profile_files import read_profiles, write_profiles
from cpcnn_core.schema.profiles import Profiles
from napari_cpcnn.layer_links import ViewerLink
from napari_cpcnn.planes import pixels
from napari_cpcnn.shared_state import LAYER, SharedState

SUFFIX, FORMAT = ".cpcnn", 1
SHOWN = ("visible", "opacity", "blending")


def save_session(
    path: str | Path,
    viewer: ViewerModel,
    state: SharedState,
    link: ViewerLink,
    view: dict[str, object],
) -> None:
    """Write a session whole, or not at all.

    Parameters
    ----------
    path : str or Path
    viewer : napari.Viewer
    state : SharedState
    link : ViewerLink
    view : dict
        What else to restore; anything JSON can hold.

    Raises
    ------
    ProfileError
        There are no cells.
    """
    if state.cells is None:
        raise ProfileError("there are no cells to save; embed some, or open a table of cells")
    cells = state.cells
    channels = _channels(viewer, state, link)
    layers = [viewer.layers[name] for name in dict.fromkeys(_names(channels))]
    session = {
        "format": FORMAT,
        "layers": [_describe(layer, viewer) for layer in layers],
        "channels": channels,
        "picked": state.picked,
        "view": view,
    }

    def write(place: Path) -> None:
        with zipfile.ZipFile(place, "w") as archive, temporary_folder() as folder:
            # Members without a time: the same session is the same bytes.
            archive.writestr(zipfile.ZipInfo(ABOUT), json.dumps(session, indent=1))
            write_profiles(cells, Path(folder, CELLS))
            archive.writestr(zipfile.ZipInfo(CELLS), Path(folder, CELLS).read_bytes())
            _write_array(archive, SELECTION, state.selection)
            if state.positions is not None:
                _write_array(archive, POSITIONS, state.positions)
            for number, layer in enumerate(layers):
                if isinstance(layer, Labels) or not is_image_file(layer.source.path or ""):
                    _write_array(archive, f"layers/{number}", np.asarray(pixels(layer)))

        # What changes on its way is noticed.
        seal(place)

    write_atomically(path, write)


def open_session(
    path: str | Path, viewer: ViewerModel, state: SharedState, link: ViewerLink
) -> tuple[dict[str, Any], np.ndarray | None, list[str]]:
    """Open a session; layers of the same name that are there already are kept.

    Returns
    -------
    view : dict
        What `save_session` was given.
    positions : ndarray of shape (n, 2), float32, or None
        The map that was shown.
    missing : list of str
        Files of images that are not where they were.

    Raises
    ------
    ProfileError
        No session of ours, a damaged one, or one of a newer version; then nothing is changed.
    """
    try:
        session, cells, arrays = _read(path)
    except CPCNNError:
        raise
    except Exception as error:
        # A damaged archive fails in as many ways as it has parts.
        why = " ".join(str(error).split()) or type(error).__name__
        raise ProfileError(f"{path} is no session of this widget ({why})") from error
    missing = _open_layers(viewer, session["layers"], arrays)
    state.set_cells(cells)
    for labels, images in session["channels"].items():
        if all(name in viewer.layers for name in (labels, *images)):
            link.set_channels(viewer.layers[labels], [viewer.layers[name] for name in images])
    state.select(arrays[SELECTION])
    state.pick(session["picked"])
    return session["view"], arrays.get(POSITIONS), missing


def _read(path: str | Path) -> tuple[dict[str, Any], Profiles, dict[str, np.ndarray]]:
    with open_archive(path, compressed=".npy") as archive, temporary_folder() as folder:
        session = parse_json(archive.read(ABOUT))
        if session["format"] != FORMAT:
            raise ProfileError(
                f"{path} has format {session['format']}, this cpcnn reads {FORMAT}; upgrade "
                "with: pip install --upgrade cpcnn"
            )
        names = archive.namelist()
        check_members(names)
        cells = read_profiles(extract_member(archive, CELLS, Path(folder, CELLS)))
        arrays = {
            name.removesuffix(".npy"): read_array(archive, name.removesuffix(".npy"))
            for name in names
            if name.endswith(".npy")
        }
    check_session(session, len(cells.metadata), arrays)
    return session, cells, arrays


def _channels(viewer: ViewerModel, state: SharedState, link: ViewerLink) -> dict[str, list[str]]:
    """Name the labels layers that have cells, each with the image layers of its channels."""
    metadata = cast("Profiles", state.cells).metadata
    if LAYER not in metadata.columns:
        return {}
    names = [name for name in metadata[LAYER].unique() if name in viewer.layers]
    return {name: [layer.name for layer in link.channel_layers(name)] for name in names}


def _names(channels: dict[str, list[str]]) -> list[str]:
    return [name for labels, images in channels.items() for name in (*images, labels)]


def _describe(layer: Layer, viewer: ViewerModel) -> dict[str, object]:
    source = layer.source
    same = [other for other in viewer.layers if source.path and other.source.path == source.path]
    about = {
        "name": layer.name,
        "kind": "labels" if isinstance(layer, Labels) else "image",
        "path": None if source.path is None else str(Path(source.path).absolute()),
        "plugin": source.reader_plugin,
        # Which of the layers that were read from this file.
        "of_file": same.index(layer) if layer in same else 0,
        "scale": [float(value) for value in layer.scale],
        "translate": [float(value) for value in layer.translate],
        **{name: getattr(layer, name) for name in SHOWN},
    }
    if isinstance(layer, Image):
        about["contrast_limits"] = [float(value) for value in layer.contrast_limits]
        about["colormap"] = layer.colormap.name
    result: dict[str, object] = parse_json(json.dumps(about, default=str))
    return result


def _open_layers(
    viewer: ViewerModel, layers: list[dict[str, Any]], arrays: dict[str, np.ndarray]
) -> list[str]:
    missing, opened = [], {}
    for number, about in enumerate(layers):
        if about["name"] in viewer.layers:
            continue
        options = {name: about[name] for name in ("name", "scale", "translate", *SHOWN)}
        if about["kind"] == "image":
            options["contrast_limits"] = about["contrast_limits"]
            if about["colormap"] in AVAILABLE_COLORMAPS:
                options["colormap"] = about["colormap"]
        data = arrays.get(f"layers/{number}")
        if data is not None:
            getattr(viewer, f"add_{about['kind']}")(data, **options)
            continue
        if about["path"] not in opened:
            opened[about["path"]] = _open_file(viewer, about)
        found = opened[about["path"]]
        if about["of_file"] >= len(found):
            missing.append(about["path"])
            continue
        for name, value in options.items():
            setattr(found[about["of_file"]], name, value)
    return missing


def _open_file(viewer: ViewerModel, about: dict[str, Any]) -> list[Layer]:
    if not Path(about["path"]).exists():
        return []
    return list(viewer.open(about["path"], plugin=about["plugin"] or "napari"))


def _write_array(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    info = zipfile.ZipInfo(f"{name}.npy")
    info.compress_type = zipfile.ZIP_DEFLATED
    with archive.open(info, "w", force_zip64=True) as file:
        np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)


CELLS, ABOUT, SELECTION, POSITIONS = "cells.parquet", "session.json", "selection", "positions"
_MEMBER = re.compile(r"cells\.parquet|session\.json|selection\.npy|positions\.npy|layers/\d+\.npy")
_VIEW = ("map", "color_by", "images", "library")
_LIBRARY = {"path", "controls", "by"}
_MAX_AXES = 8
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
    shown = data.dtype.kind in kinds and 2 <= data.ndim <= _MAX_AXES
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
    return 0 < len(values) <= _MAX_AXES and all(map(_is_number, values))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _require(right: bool, what: str, found: object) -> None:
    if not right:
        raise ValueError(f"its {what} are {found!r:.100}")
