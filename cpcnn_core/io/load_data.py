"""CellProfiler's LoadData table: one row per image set, files by image name.

Of an image OrigDNA: ``FileName_OrigDNA`` with ``PathName_OrigDNA``, ``URL_OrigDNA`` (``file:``
or a plain path), ``Series_OrigDNA`` and ``Frame_OrigDNA``; of its illumination function the same
with IllumDNA. All of them may begin with ``Image_``, as in CellProfiler. ``ObjectsFileName_*``
and the like name label images, which are left to the readers of objects. ``Metadata_*`` are kept;
``Metadata_UmPerPx`` is the scale of the site, see `cpcnn_core.io.sites.with_scale`.
"""

from __future__ import annotations

import functools
import os
import re
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from cpcnn_core.channel_names import guess_images
from cpcnn_core.errors import ChannelError, SiteError, TableError
from cpcnn_core.io.object_sources import ObjectSource, ScreenRows, base_name, key_of
from cpcnn_core.io.site_keys import KEYS, KeyIndex, find_keys
from cpcnn_core.io.sites import ImageFile, Objects, Site
from cpcnn_core.io.tables import read_text_table

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


_NAMES_IMAGE = re.compile(r"(?:Image_)?(?:FileName|URL)_(.+)", re.DOTALL)
_REMOTE = re.compile(r"[a-z][a-z0-9+.-]+://|omero:", re.IGNORECASE)
_ABSOLUTE_ON_WINDOWS = re.compile(r"[a-z]:[\\/]|\\", re.IGNORECASE)
# Whole numbers as a program writes them that took the column for one of fractions.
_WHOLE_NUMBER = re.compile(r"([0-9]+)(?:\.0*)?")


def image_names(columns: Sequence[str]) -> list[str]:
    """List the images that a table names files of, illumination functions among them.

    Examples
    --------
    >>> image_names(["FileName_OrigDNA", "PathName_OrigDNA", "URL_OrigDNA", "URL_IllumDNA"])
    ['OrigDNA', 'IllumDNA']
    """
    found = (_NAMES_IMAGE.fullmatch(column) for column in columns)
    return list(dict.fromkeys(match[1] for match in found if match))


def match_images(
    columns: Sequence[str], channels: Sequence[str], images: Mapping[str, str], source: str | Path
) -> dict[str, str]:
    """Say which image of the table is which channel, by name and never by position.

    Examples
    --------
    >>> match_images(["FileName_OrigDNA", "FileName_Er2"], ["DNA", "ER"], {"ER": "Er2"}, "x.csv")
    {'DNA': 'OrigDNA', 'ER': 'Er2'}
    """
    known = image_names(columns)
    strange = [channel for channel in images if channel not in channels]
    if strange:
        raise ChannelError(
            f"--channels names {', '.join(strange)}, which the model does not have; its channels "
            f"are {', '.join(channels)}"
        )
    unknown = [name for name in images.values() if name not in known]
    if unknown:
        raise ChannelError(
            f"{source} has no image {', '.join(unknown)}; it has {', '.join(known) or 'none'}"
        )
    found, missing = {}, []
    for channel in channels:
        candidates = [images[channel]] if channel in images else [channel, f"Orig{channel}"]
        fitting = [name for name in candidates if name in known]
        if len(fitting) == 1:
            found[channel] = fitting[0]
        else:
            missing.append(channel)
    if missing:
        guesses = guess_images(channels, known)
        offer = " ".join(f"{name}={guesses[name]}" for name in missing if name in guesses)
        raise ChannelError(
            f"{source} does not tell which image is {', '.join(missing)}; it has "
            f"{', '.join(known) or 'no images'}; say it with --channels {missing[0]}=NAME"
            f"{f', by the names perhaps {offer}' if offer else ''}"
        )
    return found


def image_files(
    row: Mapping[str, str], names: Mapping[str, str], source: Path, number: int
) -> dict[str, ImageFile]:
    """Say which file each channel of a row is.

    Parameters
    ----------
    row : mapping of str to str
        What the table has there, by column; empty where it has nothing.
    names : mapping of str to str
        The image of each channel; see `match_images`.
    source : Path
        The table; paths that are not absolute are seen from its folder.
    number : int
        The row's, from 1.

    Returns
    -------
    dict of str to ImageFile
        One that has an `error`, naming table, row and column, where the row is wrong: then
        this site fails when its images are read, and no other.

    Examples
    --------
    >>> row = {"FileName_OrigDNA": "a.tif", "PathName_OrigDNA": "images", "Frame_OrigDNA": "2.0"}
    >>> found = image_files(row, {"DNA": "OrigDNA"}, Path("screen/load_data.csv"), 7)["DNA"]
    >>> found.path.as_posix(), found.page
    ('screen/images/a.tif', 2)
    >>> image_files({}, {"DNA": "OrigDNA"}, Path("load_data.csv"), 7)["DNA"].error
    "load_data.csv gives no file of OrigDNA in row 7: expected FileName_OrigDNA or a URL_OrigDNA..."
    """
    place = _Row(row, source, number)
    return {channel: _image_file(place, name) for channel, name in names.items()}


def refuse_nameless(rows: Sequence[Mapping[str, ImageFile]]) -> None:
    """Raise when not one row names its files: it is the table then that is wrong, not a row.

    Parameters
    ----------
    rows : sequence of what `image_files` returned

    Raises
    ------
    SiteError
        What is wrong with the first row.

    Examples
    --------
    >>> refuse_nameless([{"DNA": ImageFile(Path("a.tif"))}, {"DNA": ImageFile(Path(), error="?")}])
    >>> refuse_nameless([{"DNA": ImageFile(Path(), error="row 1 names no file")}])
    Traceback (most recent call last):
    cpcnn_core.errors.SiteError: row 1 names no file
    """
    errors = [next((file.error for file in row.values() if file.error), "") for row in rows]
    if errors and all(errors):
        raise SiteError(errors[0])


def unfit_illumination(columns: Sequence[str], names: Mapping[str, str]) -> tuple[str, ...]:
    """List the illumination functions of a table that belong to no image of it.

    Examples
    --------
    >>> columns = ["FileName_OrigDNA", "FileName_IllumDNA", "FileName_IllumHoechst"]
    >>> unfit_illumination(columns, {"DNA": "OrigDNA"})
    ('IllumHoechst',)
    """
    known = image_names(columns)
    fitting = {_illumination_of(name) for name in known}
    return tuple(
        name
        for name in known
        if "illum" in name.lower() and name not in fitting and name not in names.values()
    )


def _illumination_of(name: str) -> str:
    return "Illum" + name.removeprefix("Orig")


class _Row:
    """A row, and where it is, for messages to those who have to correct it."""

    def __init__(self, row: Mapping[str, str], source: Path, number: int) -> None:
        self.row, self.source, self.number = row, source, number

    def __getitem__(self, column: str) -> str:
        text = self.row.get(column) or self.row.get(f"Image_{column}") or ""
        return text if text.strip() else ""

    def error(self, column: str, expected: str) -> SiteError:
        return SiteError(
            f"{self.source} has {column} {self[column]!r} in row {self.number}; {expected}"
        )


def _image_file(row: _Row, name: str) -> ImageFile:
    illumination = _illumination_of(name)
    divided = bool(row[f"FileName_{illumination}"] or row[f"URL_{illumination}"])
    try:
        return ImageFile(
            _path(row, name),
            _whole_number(row, f"Frame_{name}"),
            _path(row, illumination) if divided else None,
            _whole_number(row, f"Series_{name}"),
            _whole_number(row, f"Frame_{illumination}") if divided else None,
            _whole_number(row, f"Series_{illumination}") if divided else None,
        )
    except SiteError as error:
        return ImageFile(Path(), error=str(error))


def _whole_number(row: _Row, column: str) -> int | None:
    text = row[column].strip()
    match = _WHOLE_NUMBER.fullmatch(text)
    if text and not match:
        raise row.error(column, "expected a whole number from 0, or nothing")
    return int(match[1]) if match else None


def _path(row: _Row, name: str) -> Path:
    file_name, url = row[f"FileName_{name}"], row[f"URL_{name}"]
    if not (file_name or _is_local(url)):
        raise SiteError(
            f"{row.source} gives no file of {name} in row {row.number}: expected FileName_{name} "
            f"or a URL_{name} that begins with file:, got {url!r}"
        )
    from_url = _resolve(row, f"URL_{name}") if _is_local(url) else None
    if from_url is not None and not file_name:
        return from_url
    path = _resolve(row, f"PathName_{name}", f"FileName_{name}")
    if from_url is None:
        same = not url or urllib.parse.unquote(url.partition("?")[0]).endswith(f"/{path.name}")
    else:
        same = _same_place(path, from_url)
    if not same:
        raise row.error(
            f"URL_{name}", f"FileName_{name} says {path}: leave out the column that is wrong"
        )
    return path


def _is_local(url: str) -> bool:
    return bool(url) and (url[:5].lower() == "file:" or not _REMOTE.match(url))


def _resolve(row: _Row, *columns: str) -> Path:
    """Return the path that the columns' parts make, where this machine has it."""
    parts = [_without_scheme(row, column) for column in columns if row[column]]
    path = row.source.parent.joinpath(*parts)
    windows = any("\\" in part or _ABSOLUTE_ON_WINDOWS.match(part) for part in parts)
    if os.name == "nt" or not windows or path.is_file():
        return path
    if _ABSOLUTE_ON_WINDOWS.match(parts[0]):
        raise row.error(
            columns[0] if row[columns[0]] else columns[-1],
            "that is a place on a Windows machine; write it as this machine knows it",
        )
    return row.source.parent.joinpath(*(part.replace("\\", "/") for part in parts))


def _without_scheme(row: _Row, column: str) -> str:
    text = row[column]
    if text[:5].lower() != "file:":
        if _REMOTE.match(text):
            raise row.error(column, "only files that this machine sees are read")
        return text
    path = text[5:]
    if path.startswith("//"):
        host, slash, path = path[2:].partition("/")
        if host.lower() not in ("", "localhost"):
            raise row.error(column, f"{host!r} is another machine; expected file:///")
        path = slash + path
    return urllib.request.url2pathname(path)


def _same_place(one: Path, other: Path) -> bool:
    if os.path.abspath(one) == os.path.abspath(other):  # noqa: PTH100 (without its "..")
        return True
    try:
        return one.resolve() == other.resolve()
    except (OSError, ValueError):
        return False
