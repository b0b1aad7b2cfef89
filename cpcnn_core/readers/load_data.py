"""CellProfiler's LoadData table: one row per image set, files by image name.

Columns read, for an image called OrigDNA: ``FileName_OrigDNA`` with
``PathName_OrigDNA``, or ``URL_OrigDNA`` (``file:`` only); ``Frame_OrigDNA`` for a
page of a file with several; ``FileName_IllumDNA`` with ``PathName_IllumDNA`` for the
illumination function that divides it. ``Metadata_*`` are kept; ``Metadata_UmPerPx`` is the
scale of the site, see `cpcnn_core.readers.sites.with_scale`.
"""

from __future__ import annotations

import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cpcnn_core.errors import ChannelError, SiteError
from cpcnn_core.readers.sites import ImageFile, Objects, Site, refuse_duplicates
from cpcnn_core.readers.tables import read_text_table

KEY_COLUMNS = ("Metadata_Plate", "Metadata_Well", "Metadata_Site")
# Given the row's place, from 1, and its metadata: where the objects are.
ReadObjects = Callable[[int, Mapping[str, str]], Objects | None]


def read_load_data(
    path: str | Path,
    channels: Sequence[str],
    images: Mapping[str, str] | None = None,
    read_objects: ReadObjects | None = None,
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
    read_objects : callable (int, metadata) -> Objects or None, optional
        Where the objects of a row are.

    Returns
    -------
    list of Site

    Raises
    ------
    SiteError
        A missing column, a site twice.
    ChannelError
        A channel whose image cannot be told; names the images there are.

    Examples
    --------
    >>> read_load_data("load_data.csv", ("DNA",))
    Traceback (most recent call last):
    cpcnn_core.errors.SiteError: there is no table load_data.csv
    """
    path = Path(path)
    table = read_text_table(path, KEY_COLUMNS)
    names = match_images(table.columns, channels, images or {}, path)
    sites = []
    for number, row in enumerate(table.to_dict("records"), start=1):
        metadata = {
            name.removeprefix("Metadata_"): value
            for name, value in row.items()
            if name.startswith("Metadata_")
        }
        files = {channel: _image_file(row, name, path) for channel, name in names.items()}

        def objects(number: int = number, metadata: dict = metadata) -> Objects | None:
            return None if read_objects is None else read_objects(number, metadata)

        sites.append(Site(metadata, files, objects, number))
    refuse_duplicates(sites, path)
    return sites


def match_images(
    columns: Sequence[str], channels: Sequence[str], images: Mapping[str, str], source: str | Path
) -> dict[str, str]:
    """Say which image of the table is which channel, by name and never by position.

    Examples
    --------
    >>> match_images(["FileName_OrigDNA", "FileName_Er2"], ["DNA", "ER"], {"ER": "Er2"}, "x.csv")
    {'DNA': 'OrigDNA', 'ER': 'Er2'}
    """
    known = [
        column.split("_", 1)[1] for column in columns if column.startswith(("FileName_", "URL_"))
    ]
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
        raise ChannelError(
            f"{source} does not tell which image is {', '.join(missing)}; it has "
            f"{', '.join(known) or 'no images'}; say it with --channels {missing[0]}=NAME"
        )
    return found


def _image_file(row: Mapping[str, str], name: str, source: Path) -> ImageFile:
    frame = row.get(f"Frame_{name}", "")
    if frame and not frame.isdigit():
        raise SiteError(f"{source} has the frame {frame!r} for {name}; expected a number from 0")
    illumination = None
    illumination_name = "Illum" + name.removeprefix("Orig")
    if row.get(f"FileName_{illumination_name}"):
        illumination = _path(row, illumination_name, source)
    return ImageFile(_path(row, name, source), int(frame) if frame else None, illumination)


def _path(row: Mapping[str, str], name: str, source: Path) -> Path:
    if row.get(f"FileName_{name}"):
        return source.parent / row.get(f"PathName_{name}", "") / row[f"FileName_{name}"]
    url = urllib.parse.urlsplit(row.get(f"URL_{name}", ""))
    if url.scheme != "file":
        raise SiteError(
            f"{source} gives no file of {name} in a row: expected FileName_{name} or a URL_{name} "
            f"that begins with file:, got {url.geturl()!r}"
        )
    return Path(urllib.request.url2pathname(url.path))
