"""CellProfiler's LoadData table: one row per image set, files by image name.

The columns of the images and of their illumination functions are those of
`cpcnn_core.readers.image_columns`. ``Metadata_*`` are kept; ``Metadata_UmPerPx`` is the scale of
the site, see `cpcnn_core.readers.sites.with_scale`.
"""

from __future__ import annotations

import functools
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path

from cpcnn_core.errors import TableError
from cpcnn_core.readers.image_columns import (
    image_files,
    match_images,
    refuse_nameless,
    unfit_illumination,
)
from cpcnn_core.readers.keys import KEYS, KeyIndex, find_keys
from cpcnn_core.readers.object_sources import ObjectSource, ScreenRows, base_name, key_of
from cpcnn_core.readers.sites import Objects, Site
from cpcnn_core.readers.tables import read_text_table

_METADATA = re.compile(r"(?:Image_)?Metadata_(.+)", re.IGNORECASE | re.DOTALL)


def read_load_data(
    path: str | Path,
    channels: Sequence[str],
    images: Mapping[str, str] | None = None,
    objects: ObjectSource | None = None,
) -> list[Site]:
    """List the sites of a LoadData table, in its order.

    Parameters
    ----------
    path : str or Path
    channels : sequence of str
        The channels wanted, by the model's names.
    images : mapping of str to str, optional
        The image of each channel in this table. Default: an image of the channel's
        name, or of that name after ``Orig``.
    objects : ObjectSource, optional
        Where the objects of a row are; it is told of all rows first.

    Returns
    -------
    list of Site

    Raises
    ------
    SiteError
        A missing column, a row without plate, well or site, a site twice.
    ChannelError
        A channel whose image cannot be told; names the images there are.

    Examples
    --------
    >>> read_load_data("load_data.csv", ("DNA",))
    Traceback (most recent call last):
    cpcnn_core.errors.TableError: there is no table load_data.csv
    """
    path = Path(path)
    table = read_text_table(path)
    keys = require_keys(table.columns, path)
    names = match_images(table.columns, channels, images or {}, path)
    unfit = unfit_illumination(table.columns, names)
    rows = table.to_dict("records")
    if not rows:
        raise TableError(f"{path} has no rows below its header; expected one for every site")
    metadata = [_metadata(row, keys) for row in rows]
    screen = ScreenRows(path, index_keys(metadata, path), [_file_names(row) for row in rows])
    if objects is not None:
        objects.match(screen)
    sites = []
    for number, (row, known) in enumerate(zip(rows, metadata, strict=True), start=1):
        files = image_files(row, names, path, number)
        find = _no_objects if objects is None else functools.partial(objects, number, known)
        own = tuple if objects is None else functools.partial(objects.files, known)
        sites.append(Site(known, files, find, number, object_files=own, unfit_illumination=unfit))
    refuse_nameless([site.images for site in sites])
    return sites


def require_keys(columns: Sequence[str], source: Path) -> dict[str, str]:
    """Return the columns of plate, well and site.

    Raises
    ------
    TableError
        One is missing; names the columns there are.

    Examples
    --------
    >>> require_keys(["Metadata_Plate", "Metadata_Well", "Metadata_FieldID"], Path("l.csv"))
    {'Plate': 'Metadata_Plate', 'Well': 'Metadata_Well', 'Site': 'Metadata_FieldID'}
    """
    keys = find_keys(columns, source)
    missing = [f"Metadata_{name}" for name in KEYS if name not in keys]
    if missing:
        raise TableError(
            f"{source} has no column {' or '.join(missing)}; it has: {', '.join(columns)}"
        )
    return keys


def index_keys(metadata: Sequence[Mapping[str, str]], source: Path) -> KeyIndex:
    """Index the plates, wells and sites of a screen's table.

    Raises
    ------
    TableError
        A row without one of them, or two rows of one site; names the rows.

    Examples
    --------
    >>> index_keys([{"Plate": "P1", "Well": "A01", "Site": ""}], Path("load_data.csv"))
    Traceback (most recent call last):
    cpcnn_core.errors.TableError: load_data.csv has no Metadata_Site in row 1; every row must ...
    """
    for number, known in enumerate(metadata, start=1):
        empty = [f"Metadata_{name}" for name in KEYS if not known[name]]
        if empty:
            raise TableError(
                f"{source} has no {' and '.join(empty)} in row {number}; every row must say "
                "plate, well and site"
            )
    return KeyIndex(map(key_of, metadata), source)


def _metadata(row: Mapping[str, str], keys: Mapping[str, str]) -> dict[str, str]:
    named = {name: row[column] for name, column in keys.items()}
    own = {m[1]: value for name, value in row.items() if (m := _METADATA.fullmatch(name))}
    # METADATA_WELL is the well, and nothing beside it.
    own = {name: value for name, value in own.items() if name.capitalize() not in KEYS}
    return named | own


def _file_names(row: Mapping[str, str]) -> dict[str, str]:
    """Return the names of a row's files, without folders, by the image's name."""
    files: dict[str, str] = {}
    for column, value in row.items():
        kind, _, image = column.removeprefix("Image_").partition("_")
        if kind == "URL" and value:
            files.setdefault(image, base_name(urllib.parse.unquote(value)))
        elif kind == "FileName" and value:
            files[image] = base_name(value)
    return files


def _no_objects() -> Objects | None:
    return None
