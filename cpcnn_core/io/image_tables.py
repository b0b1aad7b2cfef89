"""Which table of images belongs to a table of objects: the one of the same run, beside it."""

from __future__ import annotations

import re
from pathlib import Path

from cpcnn_core.errors import SiteError
from cpcnn_core.io.atomic import is_temporary
from cpcnn_core.io.tables import open_table

_TABLE = re.compile(
    r"(?P<stem>.+?)(?P<end>\.(?:csv|tsv|txt|parquet|feather)(?:\.(?:gz|bz2|xz))?)", re.IGNORECASE
)
IMAGE = "Image"


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
        expected = f"{prefixes[0] if prefixes else stem.rpartition('_')[0] + '_'}{IMAGE}{end}"
        found = ", ".join(table.name for tables in there.values() for table in tables)
        raise SiteError(
            f"beside {path} there is {found}, but no {expected}, which would belong to it; put the "
            "tables of one run into a folder, or say with --object-name what its objects are called"
        )
    return None, objects if stem.casefold().endswith(objects.casefold()) else stem


def _image_tables(path: Path) -> dict[str, list[Path]]:
    """Return the tables of images in a table's folder by their prefix."""
    found: dict[str, list[Path]] = {}
    for other in sorted(path.parent.glob("*")) if path.parent.is_dir() else []:
        stem, end = split_name(other)
        named = end and stem.casefold().endswith(IMAGE.casefold())
        if named and other.is_file() and not is_temporary(other):
            found.setdefault(stem[: len(stem) - len(IMAGE)], []).append(other)
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
