"""A session in one file: cells, map, selection, labels, and where the images are.

Layout of ``NAME.cpcnn``, a zip archive: ``session.json``; ``cells.parquet``, a table that other
programs read too; ``positions.npy`` and ``selection.npy``; ``layers/N.npy`` for labels, and for
images that are in no file, or in one that is no image's. Images that are in files stay there.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any, cast

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import AVAILABLE_COLORMAPS

from cpcnn_core.archives import extract_member, open_archive, read_array, seal
from cpcnn_core.atomic import temporary_folder, write_atomically
from cpcnn_core.errors import CPCNNError, ProfileError
from cpcnn_core.json_texts import parse_json
from cpcnn_core.profiles.files import read_profiles, write_profiles
from cpcnn_core.tables.profiles import Profiles
from napari_cpcnn.explorer import LAYER, Explorer
from napari_cpcnn.linking import ViewerLink
from napari_cpcnn.planes import pixels
from napari_cpcnn.session_checks import (
    ABOUT,
    CELLS,
    POSITIONS,
    SELECTION,
    check_members,
    check_session,
    is_image_file,
)

SUFFIX, FORMAT = ".cpcnn", 1
SHOWN = ("visible", "opacity", "blending")


def save_session(
    path: str | Path,
    viewer: ViewerModel,
    explorer: Explorer,
    link: ViewerLink,
    view: dict[str, object],
) -> None:
    """Write a session whole, or not at all.

    Parameters
    ----------
    path : str or Path
    viewer : napari.Viewer
    explorer : Explorer
    link : ViewerLink
    view : dict
        What else to restore; anything JSON can hold.

    Raises
    ------
    ProfileError
        There are no cells.
    """
    if explorer.cells is None:
        raise ProfileError("there are no cells to save; embed some, or open a table of cells")
    cells = explorer.cells
    channels = _channels(viewer, explorer, link)
    layers = [viewer.layers[name] for name in dict.fromkeys(_names(channels))]
    session = {
        "format": FORMAT,
        "layers": [_describe(layer, viewer) for layer in layers],
        "channels": channels,
        "picked": explorer.picked,
        "view": view,
    }

    def write(place: Path) -> None:
        with zipfile.ZipFile(place, "w") as archive, temporary_folder() as folder:
            # Members without a time: the same session is the same bytes.
            archive.writestr(zipfile.ZipInfo(ABOUT), json.dumps(session, indent=1))
            write_profiles(cells, Path(folder, CELLS))
            archive.writestr(zipfile.ZipInfo(CELLS), Path(folder, CELLS).read_bytes())
            _write_array(archive, SELECTION, explorer.selection)
            if explorer.positions is not None:
                _write_array(archive, POSITIONS, explorer.positions)
            for number, layer in enumerate(layers):
                if isinstance(layer, Labels) or not is_image_file(layer.source.path or ""):
                    _write_array(archive, f"layers/{number}", np.asarray(pixels(layer)))

        # What changes on its way is noticed.
        seal(place)

    write_atomically(path, write)


def open_session(
    path: str | Path, viewer: ViewerModel, explorer: Explorer, link: ViewerLink
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
    explorer.set_cells(cells)
    for labels, images in session["channels"].items():
        if all(name in viewer.layers for name in (labels, *images)):
            link.set_channels(viewer.layers[labels], [viewer.layers[name] for name in images])
    explorer.select(arrays[SELECTION])
    explorer.pick(session["picked"])
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


def _channels(viewer: ViewerModel, explorer: Explorer, link: ViewerLink) -> dict[str, list[str]]:
    """Name the labels layers that have cells, each with the image layers of its channels."""
    metadata = cast("Profiles", explorer.cells).metadata
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
