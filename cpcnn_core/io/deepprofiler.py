"""A DeepProfiler project as it is: its users switch by changing one word.

Layout (docs/method.md#deepprofiler-projects)::

    inputs/config/*.json                          which channels, box size, masks, compression
    inputs/metadata/index.csv                     one row per site, a column per channel
    inputs/metadata/outlines.csv                  label images, when masks are used
    inputs/images/, inputs/outlines/
    inputs/locations/<plate>/<well>-<site>-Nuclei.csv
    outputs/compressed/images/                    read instead when compression is on
    outputs/<experiment>/checkpoint/              the Keras weights

Location files are also read for other screens, by themselves.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cpcnn_core.errors import ImageError, SiteError, TableError
from cpcnn_core.io.atomic import is_temporary
from cpcnn_core.io.cellprofiler_tables import CENTERS
from cpcnn_core.io.images import read_plane
from cpcnn_core.io.json_files import parse_json
from cpcnn_core.io.load_data import index_keys, require_keys
from cpcnn_core.io.numbers import number_of
from cpcnn_core.io.object_sources import (
    ObjectSource,
    SiteFiles,
    key_of,
    refuse_infinite,
    without_centre,
)
from cpcnn_core.io.site_keys import KeyIndex
from cpcnn_core.io.sites import ImageFile, Objects, Site
from cpcnn_core.io.tables import Table, open_table, read_text_table

if TYPE_CHECKING:
    import pandas as pd

# The reference replaces every such string of the index, with a dot that matches anything.
_TIFF = re.compile(r".tiff?\b")
END = "-Nuclei.csv"
# What DeepProfiler itself reads, then what CellProfiler's own tables have.
_PREFIXES = ("Nuclei_", "")
_NUMBERS = ("Number_Object_Number", "ObjectNumber")


@dataclass(frozen=True)
class DeepProfilerProject:
    """The parts of a project's configuration that matter for embedding.

    Attributes
    ----------
    root : Path
    channels : tuple of str
        In the order of the configuration; images are taken by name.
    size : (height, width) in pixels, or None where the configuration names none
    box_px : int
        Side of the crops.
    mask_objects : bool
    compressed : bool
        Whether the 8-bit images under ``outputs/compressed`` are read.
    feature_layer, checkpoint, model_name : str
    bits, down_scale, median_px : int
        How compressed images are made; see `cpcnn_core.imaging.compression`.

    Examples
    --------
    >>> read_project("nowhere")
    Traceback (most recent call last):
    cpcnn_core.errors.SiteError: nowhere is no DeepProfiler project: it has no folder inputs...
    """

    root: Path
    channels: tuple[str, ...]
    size: tuple[int, int] | None
    box_px: int
    mask_objects: bool
    compressed: bool
    feature_layer: str
    checkpoint: str
    model_name: str
    bits: int
    down_scale: int
    median_px: int

    def with_compression(self, *, on: bool) -> DeepProfilerProject:
        """Return the same project, reading its compressed or its original images."""
        return dataclasses.replace(self, compressed=on)


def read_project(root: str | Path, config: str | Path | None = None) -> DeepProfilerProject:
    """Read a project's configuration.

    Parameters
    ----------
    root : str or Path
    config : str or Path, optional
        Configuration file, as a path or a name in ``inputs/config``. Default: the
        only one there.

    Returns
    -------
    DeepProfilerProject

    Raises
    ------
    SiteError
        No project, several configurations, or an entry that is missing.

    Examples
    --------
    >>> read_project("nowhere")
    Traceback (most recent call last):
    cpcnn_core.errors.SiteError: nowhere is no DeepProfiler project: it has no folder inputs...
    """
    root = Path(root)
    if not (root / "inputs").is_dir():
        raise SiteError(f"{root} is no DeepProfiler project: it has no folder inputs")
    path = _config_path(root / "inputs" / "config", config)
    try:
        values = parse_json(path.read_text(encoding="utf-8"))
        images = values["dataset"]["images"]
        locations = values["dataset"]["locations"]
        prepare, profile = values.get("prepare", {}), values.get("profile", {})
        correction = prepare.get("illumination_correction", {})
        scaling = prepare.get("compression", {}).get("scaling_factor", 1.0)
        if scaling != 1.0:
            raise SiteError(f"{path} asks for images scaled by {scaling}; only 1.0 is supported")
        mode = locations.get("mode", "single_cells")
        if mode != "single_cells":
            raise SiteError(f"{path} asks for the mode {mode}; only single_cells is supported")
        size = (int(images["height"]), int(images["width"])) if "height" in images else None
        return DeepProfilerProject(
            root=root,
            channels=tuple(images["channels"]),
            size=size,
            box_px=int(locations.get("box_size", 128)),
            mask_objects=bool(locations.get("mask_objects", False)),
            compressed=bool(prepare.get("compression", {}).get("implement", False)),
            feature_layer=profile.get("feature_layer", "block6a_activation"),
            checkpoint=profile.get("checkpoint", ""),
            model_name=values.get("train", {}).get("model", {}).get("name", ""),
            bits=int(images.get("bits", 16)),
            down_scale=int(correction.get("down_scale_factor", 4)),
            median_px=int(correction.get("median_filter_size", 24)),
        )
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        if isinstance(error, SiteError):
            raise
        raise SiteError(f"{path} is no configuration of DeepProfiler: {error!r}") from error


def read_sites(project: DeepProfilerProject) -> list[Site]:
    """List the sites of a project's index, in its order.

    Parameters
    ----------
    project : DeepProfilerProject

    Returns
    -------
    list of Site
        Metadata: every column of the index but the channels' files; ``Metadata_``
        is cut off.

    Raises
    ------
    SiteError
        A table that is missing, lacks a column, or has a site twice.

    Examples
    --------
    >>> sites = read_sites(project)
    >>> [str(site) for site in sites]
    ['P1/A01/1', 'P1/A01/2', 'P1/B02/3', 'P1/B03/4']
    >>> sites[0].metadata["Treatment"]
    'DMSO@0'
    """
    index_path = project.root / "inputs" / "metadata" / "index.csv"
    index = read_text_table(index_path, project.channels)
    keys = require_keys(index.columns, index_path)
    if project.compressed and not (project.root / "outputs" / "compressed" / "images").is_dir():
        raise SiteError(
            f"{project.root} is set to use compressed images and has none yet; make them with: "
            f"cpcnn prepare {project.root}"
        )
    rows = index.to_dict("records")
    metadata = [_metadata(row, keys, project.channels) for row in rows]
    index_keys(metadata, index_path)
    locations = LocationReader(project.root / "inputs" / "locations")
    outlines = _Outlines(project) if project.mask_objects else None
    sites = []
    for number, (row, known) in enumerate(zip(rows, metadata, strict=True), start=1):
        images = {name: ImageFile(_image_path(project, row[name])) for name in project.channels}
        find = functools.partial(_read_objects, locations, outlines, number, known)
        own = functools.partial(_object_files, locations, outlines, known)
        sites.append(Site(known, images, find, number, project.size, object_files=own))
    return sites


def objects_from_locations(folder: str | Path) -> ObjectSource:
    """Return what reads a site's location file.

    Parameters
    ----------
    folder : str or Path
        DeepProfiler's ``inputs/locations``, or a folder like it.

    Returns
    -------
    ObjectSource
        None for a site without a file.

    Examples
    --------
    >>> site = {"Plate": "P1", "Well": "A01", "Site": "1"}
    >>> objects_from_locations("nowhere")(1, site) is None
    True
    """
    return LocationReader(Path(folder))


class LocationReader(SiteFiles):
    """A folder of location files.

    Parameters
    ----------
    folder : Path

    Examples
    --------
    >>> site = {"Plate": "P1", "Well": "A01", "Site": "1"}
    >>> LocationReader(Path("nowhere")).file_of(site) is None
    True
    """

    def __init__(self, folder: Path) -> None:
        super().__init__("location file", folder)

    def plain_file(self, metadata: Mapping[str, str]) -> Path:
        """See `SiteFiles.plain_file`."""
        plate, well, site = key_of(metadata)
        return self._folder / plate / f"{well}-{site}{END}"

    def all_files(self) -> tuple[KeyIndex, list[Path]]:
        """See `SiteFiles.all_files`."""
        paths = sorted(p for p in self._folder.glob(f"*/*-*{END}") if not is_temporary(p))
        keys = [(p.parent.name, *p.name.removesuffix(END).rsplit("-", 1)) for p in paths]
        return KeyIndex(keys, self._folder), paths

    def read(self, path: Path) -> Objects | None:
        """See `SiteFiles.read`."""
        return read_locations(path)


def read_locations(path: str | Path) -> Objects | None:
    """Read one location file; None where there is none.

    Returns
    -------
    Objects
        Numbered as the file says (``ObjectNumber``, ``Nuclei_ObjectNumber``, ...), else from 1
        to n. `locations`: x and y, then every other column in its order, int64 where all of
        them are whole, else float64; for DeepProfiler's own files what it stores itself
        (docs/method.md#deepprofiler-projects). An object without a centre is named and left out.

    Raises
    ------
    SiteError
        A column that is missing, or a value that is not a number.

    Examples
    --------
    >>> read_locations("nowhere.csv") is None
    True
    """
    path = Path(path)
    if not path.is_file():
        return None
    table = open_table(path)
    x, y = _center_columns(table)
    rest = [name for name in table.columns if name not in (x, y) and _is_numeric(table, name)]
    values = table.numbers([x, y, *rest])
    filled = values.notna().any(axis=1).to_numpy()
    values = values[filled]
    positions = values[[y, x]].to_numpy(np.float64)
    refuse_infinite(values[[y, x]], path)
    numbers = _object_numbers(table, values)
    placed = np.isfinite(positions).all(axis=1)
    values = values[placed]
    whole = bool((values == np.floor(values)).all(axis=None))
    return Objects(
        positions[placed],
        numbers[placed],
        locations=values.to_numpy(np.int64 if whole else np.float64),
        notes=without_centre(numbers[~placed].tolist(), path),
    )


def _config_path(folder: Path, config: str | Path | None) -> Path:
    if config is not None:
        named = next((p for p in (folder / config, Path(config)) if p.is_file()), None)
        if named is None:
            raise SiteError(f"there is no configuration {config}, nor one of that name in {folder}")
        return named
    found: Sequence[Path] = sorted(p for p in folder.glob("*.json") if not is_temporary(p))
    if len(found) != 1:
        raise SiteError(
            f"expected one configuration in {folder}, got {len(found)}"
            + (f" ({', '.join(p.name for p in found)}); name one with --config" if found else "")
        )
    return found[0]


def _metadata(
    row: Mapping[str, str], keys: Mapping[str, str], channels: Sequence[str]
) -> dict[str, str]:
    own = {
        name.removeprefix("Metadata_"): value for name, value in row.items() if name not in channels
    }
    return {name: row[column] for name, column in keys.items()} | own


def _image_path(project: DeepProfilerProject, entry: str) -> Path:
    if project.compressed:
        return project.root / "outputs" / "compressed" / "images" / _TIFF.sub(".png", entry)
    # An absolute path wins over the folder before it, as in the reference.
    return project.root / "inputs" / "images" / entry


def _read_objects(
    locations: LocationReader,
    outlines: _Outlines | None,
    number: int,
    metadata: Mapping[str, str],
) -> Objects | None:
    objects = locations(number, metadata)
    if objects is None or outlines is None:
        return objects
    labels = _label_regions(read_plane(outlines.file_of(key_of(metadata))))
    return objects._replace(labels=labels, numbers_are_labels=False)


def _object_files(
    locations: LocationReader, outlines: _Outlines | None, metadata: Mapping[str, str]
) -> tuple[Path, ...]:
    files = locations.files(metadata)
    if not files or outlines is None:
        return files
    return (*files, outlines.file_of(key_of(metadata)))


def _label_regions(outlines: np.ndarray) -> np.ndarray:
    """Give every region of equal value, 8-connected, a number; value 1 is background."""
    from skimage.measure import label

    result: np.ndarray = label(outlines, background=1, connectivity=2)
    return result


class _Outlines:
    """The label images that ``outlines.csv`` names."""

    def __init__(self, project: DeepProfilerProject) -> None:
        path = project.root / "inputs" / "metadata" / "outlines.csv"
        table = read_text_table(path, ["Outlines"])
        keys = require_keys(table.columns, path)
        rows = table[list(keys.values())].itertuples(index=False, name=None)
        self._keys = KeyIndex(rows, path)
        folder = project.root / "inputs" / "outlines"
        self._files = [folder / name for name in table["Outlines"]]

    def file_of(self, key: tuple[str, ...]) -> Path:
        place = self._keys.get(key)
        if place is None:
            raise ImageError(
                f"inputs/metadata/outlines.csv names no outlines of site {'/'.join(key)}"
            )
        result: Path = self._files[place]
        return result


def _is_numeric(table: Table, name: str) -> bool:
    # Columns of text are no part of what DeepProfiler stores.
    return all(number_of(text) is not None for text in table.texts([name])[name].unique())


def _center_columns(table: Table) -> tuple[str, str]:
    names = [f"{prefix}{kind}" for kind in CENTERS for prefix in _PREFIXES]
    for name in names:
        if {f"{name}_X", f"{name}_Y"} <= set(table.columns):
            return f"{name}_X", f"{name}_Y"
    raise TableError(
        f"{table.path} has no column {names[0]}_X or {names[0]}_Y; it has: "
        f"{', '.join(table.columns)}"
    )


def _object_numbers(table: Table, values: pd.DataFrame) -> np.ndarray:
    names = [f"{prefix}{name}" for prefix in _PREFIXES for name in _NUMBERS]
    name = next((name for name in names if name in table.columns), None)
    if name is None:
        return np.arange(1, len(values) + 1)
    if name not in values:
        raise TableError(f"{table.path} has texts in its column {name}; expected whole numbers")
    numbers = values[name].to_numpy(np.float64)
    wrong = ~(np.isfinite(numbers) & (numbers == np.floor(numbers)))
    if wrong.any():
        raise TableError(
            f"{table.path} has no whole number in row {int(values.index[wrong][0]) + 1} of the "
            f"column {name}; every object must have its own"
        )
    if len(np.unique(numbers)) != len(numbers):
        first = next(n for n in numbers.tolist() if (numbers == n).sum() > 1)
        raise SiteError(f"{table.path} has the object {first:.0f} twice in its column {name}")
    result: np.ndarray = numbers.astype(np.int64)
    return result
