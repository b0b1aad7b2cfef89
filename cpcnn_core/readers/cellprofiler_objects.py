"""Object positions from what CellProfiler's export modules wrote: tables or SQLite.

ExportToSpreadsheet: ``<prefix><Objects>.csv`` and ``<prefix>Image.csv`` beside it, as they are
or compressed, written again as parquet, or in a folder for every site
(``<plate>-<well>-<site>/Nuclei.csv``). ExportToDatabase: tables ``<prefix>Per_Image`` and
``<prefix>Per_<Objects>`` (or ``Per_Object``). cytominer-database: tables ``Image`` and
``<Objects>``, several runs in one file.

A site is found by plate, well and site, which are given for every object or in the table
of images. Where they are missing, image set i is row i of the LoadData table, if there are as many
and their file names agree; a notice says so.
"""

from __future__ import annotations

from pathlib import Path

from cpcnn_core.errors import SiteError
from cpcnn_core.readers.measured_objects import read_measured
from cpcnn_core.readers.object_sources import ObjectSource
from cpcnn_core.readers.site_folders import SiteFolders


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
