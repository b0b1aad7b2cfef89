"""Object positions from what CellProfiler's export modules wrote: CSV or SQLite.

ExportToSpreadsheet: ``<Objects>.csv`` with ``ImageNumber``, ``ObjectNumber`` and
``Location_Center_X/_Y`` (or ``AreaShape_Center_X/_Y``), and ``Image.csv`` beside it.
ExportToDatabase: tables ``<prefix>Per_Image`` and ``<prefix>Per_<Objects>`` (or
``Per_Object``), columns with ``Image_`` and ``<Objects>_`` in front.

A site is found by its plate, well and site where the image table has them, else by
its place: row i of the LoadData table is image set i.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cpcnn_core.errors import SiteError
from cpcnn_core.readers.load_data import KEY_COLUMNS, ReadObjects
from cpcnn_core.readers.sites import Objects

if TYPE_CHECKING:
    import pandas as pd

SQLITE_SUFFIXES = (".db", ".sqlite", ".sqlite3")
_CENTERS = (
    ("Location_Center_Y", "Location_Center_X"),
    ("AreaShape_Center_Y", "AreaShape_Center_X"),
)
_NUMBERS = ("ObjectNumber", "Number_Object_Number")


def objects_from_cellprofiler(path: str | Path, objects: str = "Nuclei") -> ReadObjects:
    """Return a function that looks a site's objects up.

    Parameters
    ----------
    path : str or Path
        ``<Objects>.csv`` or a SQLite file.
    objects : str
        Whose positions, for a SQLite file with several kinds of objects.

    Returns
    -------
    callable (int, metadata) -> Objects or None
        None for a site that CellProfiler has not measured.

    Raises
    ------
    SiteError
        A missing file, table or column, or a position that is not a number.

    Examples
    --------
    >>> objects_from_cellprofiler("Nuclei.csv")
    Traceback (most recent call last):
    cpcnn_core.errors.SiteError: there is no file Nuclei.csv
    """
    path = Path(path)
    if not path.is_file():
        raise SiteError(f"there is no file {path}")
    if path.suffix.lower() in SQLITE_SUFFIXES:
        table, images = _read_sqlite(path, objects)
    else:
        table, images = _read_csv(path)
    return _lookup(path, table, images)


def _lookup(path: Path, table: pd.DataFrame, images: pd.DataFrame) -> ReadObjects:
    centers = table[["row", "col"]].to_numpy(np.float64)
    if not np.isfinite(centers).all():
        bad = table.iloc[int(np.flatnonzero(~np.isfinite(centers).all(axis=1))[0])]
        raise SiteError(
            f"{path} has no position for object {bad['object']:.0f} of image set "
            f"{bad['image']:.0f}; expected a number"
        )
    rows_of = table.groupby("image").indices
    numbers = table["object"].to_numpy(np.int64)
    known = set(images.iloc[:, 0].tolist())
    keyed = images.columns.tolist()[1:] == list(KEY_COLUMNS)
    image_of = {tuple(row[1:]): row[0] for row in images.itertuples(index=False)}
    if keyed and len(image_of) != len(images):
        raise SiteError(f"{path}: its image table has a plate, well and site twice")

    def read(number: int, metadata: Mapping[str, str]) -> Objects | None:
        key = tuple(metadata[name.removeprefix("Metadata_")] for name in KEY_COLUMNS)
        image = image_of.get(key) if keyed else number
        if image not in known:
            return None
        rows = rows_of.get(image, np.zeros(0, int))
        return Objects(
            centers[rows], numbers[rows], locations=centers[rows][:, ::-1], image_number=int(image)
        )

    return read


def _read_csv(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    import pandas as pd

    columns = pd.read_csv(path, nrows=0, encoding="utf-8-sig").columns.tolist()
    names = _columns(path, columns, "")
    # As precise as the file: the default is not, in pandas 2.
    exact = {"encoding": "utf-8-sig", "float_precision": "round_trip"}
    table = _as_positions(pd.read_csv(path, usecols=names, **exact)[names])
    image_path = path.parent / "Image.csv"
    if not image_path.is_file():
        return table, table[["image"]].drop_duplicates()
    image_columns = pd.read_csv(image_path, nrows=0, encoding="utf-8-sig").columns
    keys = list(KEY_COLUMNS) if set(KEY_COLUMNS) <= set(image_columns) else []
    wanted = ["ImageNumber", *keys]
    images = pd.read_csv(
        image_path, usecols=wanted, dtype=dict.fromkeys(keys, str), encoding="utf-8-sig"
    )
    return table, images[wanted]


def _read_sqlite(path: Path, objects: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    import pandas as pd

    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
        try:
            tables = [row[0] for row in db.execute("select name from sqlite_master")]
            image_table = _table(path, tables, ("Per_Image",))
            object_table = _table(path, tables, (f"Per_{objects}", "Per_Object"))
            columns = [row[1] for row in db.execute(f'pragma table_info("{object_table}")')]
            names = _columns(path, columns, f"{objects}_")
            table = pd.read_sql(_select(object_table, names), db)
            found = [row[1] for row in db.execute(f'pragma table_info("{image_table}")')]
            keys = [f"Image_{name}" for name in KEY_COLUMNS]
            keys = keys if set(keys) <= set(found) else []
            images = pd.read_sql(_select(image_table, ["ImageNumber", *keys]), db)
        except sqlite3.Error as error:
            raise SiteError(f"{path} is no database of ExportToDatabase: {error}") from error
    images = images.rename(columns=lambda name: name.removeprefix("Image_"))
    images[images.columns[1:]] = images[images.columns[1:]].astype(str)
    return _as_positions(table), images


def _select(table: str, columns: list[str]) -> str:
    return "select {} from {}".format(  # noqa: S608  (names come from the file itself)
        ", ".join(f'"{name}"' for name in columns), f'"{table}"'
    )


def _table(path: Path, tables: list[str], ends: tuple[str, ...]) -> str:
    for end in ends:
        found = [name for name in tables if name == end or name.endswith(f"_{end}")]
        if len(found) == 1:
            return found[0]
    raise SiteError(
        f"{path} has no table {' or '.join(ends)}; it has: {', '.join(sorted(tables)) or 'none'}"
    )


def _columns(path: Path, columns: list[str], prefix: str) -> list[str]:
    """Return the names of image number, object number, row and column of the centre."""
    number = next((n for n in (*_NUMBERS, *(prefix + n for n in _NUMBERS)) if n in columns), None)
    center = next(
        (pair for pair in _CENTERS if all(prefix + name in columns for name in pair)), None
    )
    if "ImageNumber" not in columns or number is None or center is None:
        raise SiteError(
            f"{path} lacks a column: expected ImageNumber, ObjectNumber and {prefix}Location_Center"
            f"_X and _Y; it begins with {', '.join(columns[:8])}"
        )
    return ["ImageNumber", number, *(prefix + name for name in center)]


def _as_positions(table: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    table.columns = ["image", "object", "row", "col"]
    return table.apply(pd.to_numeric, errors="coerce")
