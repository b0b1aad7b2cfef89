"""Object positions from what CellProfiler's export modules wrote: tables or SQLite.

ExportToSpreadsheet: ``<prefix><Objects>.csv`` and ``<prefix>Image.csv`` beside it, as they are
or compressed, written again as parquet, or in a folder for every site
(``<plate>-<well>-<site>/Nuclei.csv``). ExportToDatabase: tables ``<prefix>Per_Image`` and
``<prefix>Per_<Objects>`` (or ``Per_Object``). cytominer-database: tables ``Image`` and
``<Objects>``, several runs in one file.

A site is found by plate, well and site, which are given for every object or in the table
of images. Where they are missing, image set i is row i of the LoadData table, if there are as many
and their file names agree; a notice says so. Tables in folders are one for every site, as clusters
leave them, or one for every plate.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast

from cpcnn_core.errors import SiteError
from cpcnn_core.io.atomic import is_temporary
from cpcnn_core.io.cellprofiler_tables import split_name
from cpcnn_core.io.measured_objects import MeasuredObjects, read_measured
from cpcnn_core.io.object_sources import ObjectSource, ScreenRows, key_of, missing_sites
from cpcnn_core.io.site_keys import KEYS, KeyIndex, normal_key
from cpcnn_core.io.sites import Objects


def objects_from_cellprofiler(path: str | Path, objects: str = "Nuclei") -> ObjectSource:
    """Return what looks a site's objects up.

    Parameters
    ----------
    path : str or Path
        ``<Objects>.csv``, such a table of another format, a SQLite file, or a folder with a
        folder for every site.
    objects : str
        Whose positions, for a table with several kinds of objects.

    Returns
    -------
    ObjectSource
        None for a site that CellProfiler has not measured.

    Raises
    ------
    SiteError
        A missing file, table or column, a position that is not a number, an object or image
        set twice, fewer objects than the table of images counts.

    Examples
    --------
    >>> objects_from_cellprofiler("Nuclei.csv")
    Traceback (most recent call last):
    cpcnn_core.errors.SiteError: there is no file Nuclei.csv
    """
    path = Path(path)
    if path.is_dir():
        return SiteFolders(path, objects)
    if not path.is_file():
        raise SiteError(f"there is no file {path}")
    return read_measured(path, objects)


_SITE_FOLDER = re.compile(r"(?P<Plate>.+)-(?P<Well>[A-Za-z]{1,2}-?\d+(?:[Cc]\d+)?)-(?P<Site>[^-]+)")


class SiteFolders(ObjectSource):
    """Tables of objects in the folders below one.

    A folder called ``<plate>-<well>-<site>`` says which site it is of, and is read when that
    is asked for. Other tables are read at once, and have to say it themselves.

    Parameters
    ----------
    folder : Path
        Above all of them, at any depth.
    objects : str
        ``Nuclei`` for tables called ``Nuclei.csv`` or ``MyExpt_Nuclei.csv.gz``.

    Raises
    ------
    SiteError
        No such table, two for a site, or one whose sites cannot be told.

    Examples
    --------
    >>> SiteFolders(Path("nowhere"), "Nuclei")
    Traceback (most recent call last):
    cpcnn_core.errors.SiteError: there is no table Nuclei.csv in the folders below nowhere; ...
    """

    def __init__(self, folder: Path, objects: str) -> None:
        super().__init__()
        self._folder, self._objects = folder, objects
        # Of every site, its table: read already, or to be read.
        self._tables: list[MeasuredObjects | Path] = []
        keys: list[tuple[str, ...]] = []
        seen: dict[tuple[str, ...], Path] = {}
        for path in _find_tables(folder, objects):
            said = _SITE_FOLDER.fullmatch(path.parent.name)
            table: MeasuredObjects | Path = path
            named: Iterable[tuple[str, ...]]
            if said:
                named = [said.group(*KEYS)]
            else:
                table = self._read(path)
                named = cast("KeyIndex", table.keys)
            for key in named:
                before = seen.setdefault(normal_key(key), path)
                if before != path:
                    raise SiteError(f"{before} and {path} are both of the site {'/'.join(key)}")
                keys.append(key)
                self._tables.append(table)
        self._keys = KeyIndex(keys, folder)

    def match(self, screen: ScreenRows) -> None:
        """See `ObjectSource.match`."""
        self.notices += missing_sites(screen, self._keys, f"the folders of {self._folder}")

    def __call__(self, number: int, metadata: Mapping[str, str]) -> Objects | None:
        """See `ObjectSource.__call__`."""
        place = self._keys.get(key_of(metadata))
        if place is None:
            return None
        table = self._tables[place]
        if isinstance(table, MeasuredObjects):
            return table(number, metadata)
        measured = read_measured(table, self._objects)
        # Without keys, the folder has said them, and the table has this one image set.
        found = measured.only_set() if measured.keys is None else measured(number, metadata)
        if found is None:
            raise SiteError(
                f"{table} is not of the site {'/'.join(key_of(metadata))}, which its folder is "
                "called after; give the tables their right folders"
            )
        return found._replace(notes=(*measured.notices, *found.notes))

    def _read(self, path: Path) -> MeasuredObjects:
        """Read a table that has to say itself which sites it is of."""
        measured = read_measured(path, self._objects)
        if measured.keys is None:
            raise SiteError(
                f"nothing says which sites {path} is of; expected a folder called "
                "<plate>-<well>-<site>, or a table of images beside it with Metadata_Plate, "
                "Metadata_Well and Metadata_Site"
            )
        self.notices += measured.notices
        return measured


def _find_tables(folder: Path, objects: str) -> list[Path]:
    found = []
    for place, _, files in os.walk(folder):
        for name in files:
            stem, end = split_name(Path(name))
            named = end and (stem == objects or stem.endswith(f"_{objects}"))
            if named and not is_temporary(name):
                found.append(Path(place, name))
    if not found:
        raise SiteError(
            f"there is no table {objects}.csv in the folders below {folder}; expected one for "
            f"every site, <plate>-<well>-<site>/{objects}.csv, or for every plate (other objects: "
            "--object-name)"
        )
    return sorted(found)
