"""CellProfiler's tables of objects and of images: which belong together, and what is in them.

The same measurement has several names: ``Location_Center_X`` in ``Nuclei.csv``,
``Nuclei_Location_Center_X`` in a database or a combined table, ``Metadata_...`` where CytoTable
or pycytominer wrote the table again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cpcnn_core.errors import SiteError, TableError
from cpcnn_core.io.atomic import is_temporary
from cpcnn_core.io.object_sources import refuse_infinite
from cpcnn_core.io.site_keys import KEYS, find_keys, normal_key, normal_number
from cpcnn_core.io.tables import Table, open_table
from cpcnn_core.schema.columns import IMAGE_NUMBER, OBJECT_NUMBER

if TYPE_CHECKING:
    import pandas as pd

CENTERS = ("Location_Center", "AreaShape_Center")
RUN, IMAGE, OBJECT, ROW, COL, COUNT = "run", "image", "object", "row", "col", "count"
# cytominer-database and CytoTable tell the tables of several runs apart by it.
_RUN_NAMES = ("TableNumber", "Metadata_TableNumber", "Image_TableNumber")
_IMAGE_NAMES = ("ImageNumber", IMAGE_NUMBER, "Image_ImageNumber")
# What messages call the columns.
_CALLED = {RUN: "TableNumber", IMAGE: "ImageNumber", OBJECT: "ObjectNumber"}
_FILE = re.compile(r"(?:Image_)?FileName_(.+)")
_TABLE = re.compile(
    r"(?P<stem>.+?)(?P<end>\.(?:csv|tsv|txt|parquet|feather)(?:\.(?:gz|bz2|xz))?)", re.IGNORECASE
)
_IMAGE_TABLE = "Image"


def read_object_rows(table: Table, objects: str) -> pd.DataFrame:
    """Read who and where the objects are.

    Parameters
    ----------
    table : Table
    objects : str
        Whose positions, where the table has several kinds of objects.

    Returns
    -------
    pandas.DataFrame
        ``run`` (text; empty where there is only one), ``image`` and ``object`` (int64), ``row``
        and ``col`` (float64, pixels; NaN for an object without a centre), and those of ``Plate``,
        ``Well``, ``Site`` (texts) that the table has. Rows that only fill up a table of several
        kinds of objects are left out.

    Raises
    ------
    TableError
        A column that is missing, a number that is none, an object twice; names the row.

    Examples
    --------
    >>> from cpcnn_core.io.tables import open_table
    >>> import pandas as pd
    >>> center = {"Location_Center_X": 20.5, "Location_Center_Y": 7}
    >>> row = {"ImageNumber": 1, "ObjectNumber": 3, **center}
    >>> pd.DataFrame([row]).to_csv("Nuclei.csv", index=False)
    >>> read_object_rows(open_table("Nuclei.csv"), "Nuclei").iloc[0].to_dict()
    {'image': 1, 'object': 3, 'row': 7.0, 'col': 20.5, 'run': ''}
    """
    names = _object_columns(table, objects)
    keys = _read_keys(table)
    own = len(keys.columns) == len(KEYS)
    if IMAGE not in names and not own:
        raise TableError(
            f"{table.path} lacks a column: expected ImageNumber, or plate, well and site of every "
            f"object; it begins with {', '.join(table.columns[:8])}"
        )
    numbers = table.numbers([names[name] for name in (IMAGE, OBJECT, ROW, COL) if name in names])
    frame = numbers.rename(columns={column: name for name, column in names.items()})
    frame = frame.astype(np.float64)
    if IMAGE not in frame:
        frame[IMAGE] = 0.0
    frame[RUN] = table.texts([names[RUN]])[names[RUN]].map(normal_number) if RUN in names else ""
    frame[list(keys)] = keys
    # Spreadsheets leave empty rows; single tables fill up the objects of which there are fewer.
    frame = frame[frame[[OBJECT, ROW, COL]].notna().any(axis=1)]
    for name in (IMAGE, OBJECT):
        frame[name] = _whole(frame[name], table, names.get(name, name))
    refuse_infinite(frame[[ROW, COL]], table.path)
    same = [*(KEYS if own else (RUN, IMAGE)), OBJECT]
    refuse_repeated(
        frame.assign(**{name: _normal(frame[name], name) for name in keys}),
        same,
        f"{table.path}",
        "tables of several runs may have been appended",
    )
    return frame.reset_index(drop=True)


def read_image_rows(table: Table, counted: str | None) -> pd.DataFrame:
    """Read which image sets there are.

    Parameters
    ----------
    table : Table
    counted : str or None
        The objects whose number is read, where the table has it.

    Returns
    -------
    pandas.DataFrame
        ``run`` (text), ``image`` (int64), those of ``Plate``, ``Well``, ``Site`` (texts) that the
        table has, ``count`` (float64, NaN where unknown), and the file name of every image
        (``FileName_OrigDNA``, texts).

    Raises
    ------
    TableError
        No image numbers, or one twice; names the rows.

    Examples
    --------
    >>> from cpcnn_core.io.tables import open_table
    >>> import pandas as pd
    >>> row = {"ImageNumber": 1, "Metadata_Well": "A01", "Count_Nuclei": 120}
    >>> pd.DataFrame([row]).to_csv("Image.csv", index=False)
    >>> read_image_rows(open_table("Image.csv"), "Nuclei").iloc[0].to_dict()
    {'run': '', 'Well': 'A01', 'image': 1, 'count': 120.0}
    """
    number = _first(_IMAGE_NAMES, table.columns)
    if number is None:
        raise TableError(
            f"{table.path} has no column ImageNumber; it has: {', '.join(table.columns[:8])}, ..."
        )
    run = _first(_RUN_NAMES, table.columns)
    keys = _read_keys(table)
    files = {c: f"FileName_{m[1]}" for c in table.columns if (m := _FILE.fullmatch(c))}
    texts = table.texts([c for c in (run, *files) if c is not None])
    frame = texts[list(files)].rename(columns=files)
    frame[RUN] = texts[run].map(normal_number) if run else ""
    frame[list(keys)] = keys
    frame[IMAGE] = table.numbers([number])[number]
    frame[COUNT] = np.nan
    count = _first((f"Count_{counted}", f"Image_Count_{counted}"), table.columns)
    if count is not None:
        frame[COUNT] = table.numbers([count])[count].astype(np.float64)
    frame = frame[frame[IMAGE].notna() | (frame.drop(columns=[IMAGE, COUNT]) != "").any(axis=1)]
    frame[IMAGE] = _whole(frame[IMAGE], table, number)
    refuse_repeated(frame, [RUN, IMAGE], f"{table.path}", "tables of several runs were appended")
    return frame.reset_index(drop=True)


def split_name(path: Path) -> tuple[str, str]:
    """Part a table's file name into what it is called and the ending of its format.

    Examples
    --------
    >>> split_name(Path("MyExpt_Nuclei.csv.gz"))
    ('MyExpt_Nuclei', '.csv.gz')
    """
    found = _TABLE.fullmatch(path.name)
    return (found["stem"], found["end"]) if found else (path.name, "")


def find_image_table(path: Path, objects: str) -> tuple[Path | None, str]:
    """Find the table of images that CellProfiler wrote beside a table of objects.

    Parameters
    ----------
    path : Path
        ``MyExpt_Nuclei.csv``, say.
    objects : str
        What the objects may be called.

    Returns
    -------
    table : Path or None
        ``MyExpt_Image.csv``: of the same folder and prefix; of the same ending, or the only
        one with another.
    objects : str
        What the objects are called by CellProfiler: the file's name without the prefix.

    Raises
    ------
    SiteError
        There are tables of images, but of other prefixes, or several of the right one.

    Examples
    --------
    >>> find_image_table(Path("nowhere/MyExpt_Nuclei.csv"), "Nuclei")
    (None, 'Nuclei')
    """
    stem, end = split_name(path)
    there = _image_tables(path)
    if stem.casefold().endswith(objects.casefold()):
        prefixes = [stem[: len(stem) - len(objects)]]
        if prefixes[0] not in there:
            # FilteredNuclei are no Nuclei of a run Filtered where its table counts them.
            fitting = sorted((p for p in there if stem.startswith(p)), key=len, reverse=True)
            prefixes += [p for p in fitting if _counts(there[p], stem[len(p) :])]
    else:
        # The longest that fits; an empty one, before MyExpt_Cells, only if it counts these.
        prefixes = sorted((p for p in there if stem.startswith(p)), key=len, reverse=True)
        prefixes = [p for p in prefixes if p or "_" not in stem or _counts(there[""], stem)]
    for prefix in prefixes:
        if prefix in there:
            return _only(there[prefix], end, path), stem.removeprefix(prefix)
    # A table of something else may end so, too.
    there = {p: t for p, t in there.items() if any(map(_has_image_numbers, t))}
    if there:
        expected = (
            f"{prefixes[0] if prefixes else stem.rpartition('_')[0] + '_'}{_IMAGE_TABLE}{end}"
        )
        found = ", ".join(table.name for tables in there.values() for table in tables)
        raise SiteError(
            f"beside {path} there is {found}, but no {expected}, which would belong to it; put the "
            "tables of one run into a folder, or say with --object-name what its objects are called"
        )
    return None, objects if stem.casefold().endswith(objects.casefold()) else stem


def refuse_repeated(frame: pd.DataFrame, by: Sequence[str], source: str, why: str) -> None:
    """Raise where several rows are of the same image set, or the same object.

    Raises
    ------
    TableError
        Names the first two rows.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"run": ["", ""], "image": [1, 1]})
    >>> refuse_repeated(rows, ["run", "image"], "Image.csv", "tables were appended")
    Traceback (most recent call last):
    cpcnn_core.errors.TableError: Image.csv has ImageNumber 1 twice, in its rows 1 and 2: ...
    """
    twice = frame.duplicated(list(by)).to_numpy()
    if not twice.any():
        return
    second = frame[twice].iloc[0]
    alike = (frame[list(by)] == second[list(by)]).all(axis=1).to_numpy()
    rows = (frame.index[alike][:2] + 1).tolist()
    what = ", ".join(f"{_CALLED.get(n, n)} {second[n]}" for n in by if second[n] != "")
    raise TableError(
        f"{source} has {what} twice, in its rows {rows[0]} and {rows[1]}: {why}; give the tables "
        "of one run, with every object once"
    )


def _object_columns(table: Table, objects: str) -> dict[str, str]:
    """Name the columns of run and image (where there are any), object, row and column."""
    columns = table.columns
    own = [f"{objects}_", f"Metadata_{objects}_"]
    prefixes = [*own, "", "Metadata_"]
    center = next(
        (
            (f"{prefix}{kind}_Y", f"{prefix}{kind}_X")
            for prefix in prefixes
            for kind in CENTERS
            if {f"{prefix}{kind}_X", f"{prefix}{kind}_Y"} <= set(columns)
        ),
        None,
    )
    if center is None:
        raise TableError(
            f"{table.path} lacks a column: expected ImageNumber, ObjectNumber and "
            f"Location_Center_X and _Y, or these of {objects}; {_other_objects(columns, objects)}"
        )
    # Its own number tells an object from a row that only fills up a table of several kinds.
    names = [f"{p}{n}" for p in own for n in ("Number_Object_Number", "ObjectNumber")]
    names += ["ObjectNumber", OBJECT_NUMBER, "Number_Object_Number"]
    number = _first(names, columns)
    if number is None:
        others = [c for c in columns if c.endswith(("_ObjectNumber", "_Number_Object_Number"))]
        if len(others) != 1:
            raise TableError(
                f"{table.path} lacks a column: expected ObjectNumber; it has "
                f"{', '.join(others or columns[:8])}"
            )
        number = others[0]
    found = {RUN: _first(_RUN_NAMES, columns), IMAGE: _first(_IMAGE_NAMES, columns)}
    found |= {OBJECT: number, ROW: center[0], COL: center[1]}
    return {name: column for name, column in found.items() if column is not None}


def _other_objects(columns: Sequence[str], objects: str) -> str:
    kinds = "|".join(CENTERS)
    found = [m[1] for c in columns if (m := re.fullmatch(rf"(.+)_(?:{kinds})_X", c))]
    if set(found) - {objects}:
        return f"it has positions of {', '.join(dict.fromkeys(found))}: choose with --object-name"
    return f"it begins with {', '.join(columns[:8])}"


def _first(names: Iterable[str], columns: Sequence[str]) -> str | None:
    return next((name for name in names if name in columns), None)


def _read_keys(table: Table) -> pd.DataFrame:
    """Read plate, well and site, as far as the table says them of any row."""
    names = find_keys(table.columns, table.path)
    texts = table.texts(list(names.values()))
    keys = texts.rename(columns={column: name for name, column in names.items()})
    return keys.loc[:, (keys != "").any()] if len(keys) else keys


def _normal(values: pd.Series, name: str) -> pd.Series:
    return values.map({text: normal_key((text,), (name,))[0] for text in values.unique()})


def _whole(values: pd.Series, table: Table, column: str) -> pd.Series:
    wrong = ~(np.isfinite(values) & (values == np.floor(values)) & (np.abs(values) < 2**53))
    if wrong.any():
        row = values.index[wrong][0]
        value = values[row]
        text = "no number" if np.isnan(value) else f"{value:g}"
        raise TableError(
            f"{table.path} has {text} in row {row + 1} of the column {column}; expected a whole "
            "number"
        )
    return values.astype(np.int64)


def _image_tables(path: Path) -> dict[str, list[Path]]:
    """Return the tables of images in a table's folder by their prefix."""
    found: dict[str, list[Path]] = {}
    for other in sorted(path.parent.glob("*")) if path.parent.is_dir() else []:
        stem, end = split_name(other)
        named = end and stem.casefold().endswith(_IMAGE_TABLE.casefold())
        if named and other.is_file() and not is_temporary(other):
            found.setdefault(stem[: len(stem) - len(_IMAGE_TABLE)], []).append(other)
    return found


def _counts(tables: list[Path], objects: str) -> bool:
    return any(f"Count_{objects}" in open_table(table).columns for table in tables)


def _has_image_numbers(table: Path) -> bool:
    try:
        return "ImageNumber" in open_table(table).columns
    except SiteError:
        return False


def _only(tables: list[Path], end: str, path: Path) -> Path:
    same = [table for table in tables if split_name(table)[1].casefold() == end.casefold()]
    chosen = same or tables
    if len(chosen) != 1:
        raise SiteError(
            f"beside {path} there are several tables of images: "
            f"{', '.join(table.name for table in chosen)}; leave the one that belongs to it"
        )
    return chosen[0]
