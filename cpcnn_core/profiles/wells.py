"""Tables of cells, sites or wells to the profiles of wells, plate by plate.

Which tables are meant by a folder of plates: all of one kind, each plate once.
"""

from __future__ import annotations

import glob
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from cpcnn_core.errors import ProfileError, TableError
from cpcnn_core.io.atomic import is_temporary
from cpcnn_core.io.formats import CONSENSUS_ENDING, TABLE_ENDINGS
from cpcnn_core.io.metadata_types import learn_types, metadata_named
from cpcnn_core.io.numbers import is_missing
from cpcnn_core.io.profile_files import FEATURE_PREFIXES, is_feature
from cpcnn_core.io.site_keys import KeyIndex, find_keys, normal_key
from cpcnn_core.io.tables import open_table, read_text_table
from cpcnn_core.profiles.aggregate import aggregate
from cpcnn_core.profiles.losses import Losses, complete
from cpcnn_core.profiles.site_tables import SiteRows, join_rows, read_site_rows
from cpcnn_core.schema.columns import CELL_COUNT, PLATE, SITE, WELL, metadata_column
from cpcnn_core.schema.profiles import Profiles
from cpcnn_core.user_messages import Tell, listed, warn

PLATES_FOLDER = "plates"
# Text that may be a table of a plate, or a note.
_NOTES = (".txt", ".txt.gz")
# What pycytominer's recipe and others append to a plate's name, by what was done to it.
_LEVEL = re.compile(
    r"[._](?=(?:augmented|annotated|normali[sz]ed|standardi[sz]ed|spher(?:iz)?ed|whitened|feature"
    r"_select(?:ed)?|corrected|aggregated|consensus)(?:[._]|$))"
)


def well_profiles(
    paths: Iterable[str | Path],
    *,
    cells: str = "median",
    sites: str = "mean",
    prefixes: Sequence[str] = FEATURE_PREFIXES,
    drop_features: Sequence[str] = (),
    keep_labels: Collection[str] = (),
    leave_out: Collection[str | Path] = (),
    tell: Tell = warn,
) -> Profiles:
    """Make the profiles of wells: cells to sites, sites to wells.

    Parameters
    ----------
    paths : iterable of str or Path
        Tables (`read_profiles`), folders or patterns of them (`find_tables`). Rows are cells
        (``Metadata_ObjectNumber``), sites (``Metadata_Site``) or wells; plate, well and site
        may have any of the names of `cpcnn_core.io.site_keys.SYNONYMS`. Cells are read a part
        at a time, where those of a site are in adjacent rows.
    cells, sites : str
        ``median`` or ``mean``; the paper's are the defaults.
    prefixes, keep_labels
        As in `read_profiles`.
    drop_features : sequence of str
        Features that are left out: names, or patterns such as ``*_RWC_*``.
    leave_out : collection of str or Path
        See `find_tables`.
    tell : callable
        Takes a sentence for what is left out, or taken for something: features that no well
        has, rows with missing or infinite features, columns.

    Returns
    -------
    Profiles
        A row a well, with ``Metadata_Plate``, ``Metadata_Well``, ``Metadata_CellCount``
        (where the tables know it) and what else is the same throughout each well.

    Raises
    ------
    ProfileError
        No tables, no plates or wells in them, different features or models, duplicates, or
        most rows lack features.

    Examples
    --------
    >>> import pandas as pd
    >>> cells = pd.DataFrame({
    ...     "Metadata_Plate": "P1",
    ...     "Metadata_Well": ["A01", "A01", "A01", "A02"],
    ...     "Metadata_Site": "1",
    ...     "Metadata_ObjectNumber": [1, 2, 3, 1],
    ...     "Cells_CPCNN_000": [1.0, 2.0, 9.0, 4.0],
    ... })
    >>> cells.to_parquet("P1.parquet")
    >>> made = well_profiles(["P1.parquet"])
    >>> made.metadata["Metadata_CellCount"].tolist(), made.features.ravel().tolist()
    ([3, 1], [2.0, 4.0])
    """
    read: list[tuple[Path, SiteRows]] = []
    for path in find_tables(paths, leave_out=leave_out, tell=tell):
        rows = read_site_rows(
            path,
            cells,
            prefixes=prefixes,
            drop_features=drop_features,
            keep_labels=keep_labels,
            tell=tell,
        )
        if not rows.losses.total:
            tell(f"{path} has no rows")
        read.append((path, rows))
    losses = _together([rows.losses for _, rows in read])
    profiles = [rows.profiles for _, rows in read if rows.profiles is not None]
    if not profiles:
        losses.refuse_most()
        names = listed(path for path, _ in read)
        raise ProfileError(f"there are no rows in {names}; expected cells, sites or wells")
    together = join_rows(profiles)
    _refuse_duplicates(together, [path for path, rows in read for _ in rows.weights])
    weights = np.concatenate([rows.weights for _, rows in read])
    return aggregate(complete(together, tell, losses, weights), [PLATE, WELL], sites, tell=tell)


def join_platemap(
    profiles: Profiles,
    path: str | Path,
    *,
    keep_labels: Collection[str] = (),
    tell: Tell = warn,
) -> Profiles:
    """Add what a plate map says about every well.

    Parameters
    ----------
    profiles : Profiles
    path : str or Path
        A table (`cpcnn_core.io.tables.open_table`) with a column of wells and, when
        plates differ, of plates, of any name that `cpcnn_core.io.site_keys` knows (``Well``,
        ``well_position``, ...), and any spelling (``a1``, ``A01``). Every other column is
        added, and replaces one of the same name; numbers and labels are as in
        `cpcnn_core.io.metadata_types`.
    keep_labels : collection of str
        Texts such as ``NA`` that are names here.
    tell : callable
        Takes a sentence: how many wells have no label.

    Raises
    ------
    ProfileError
        No column of wells, a well twice, a well of the profiles that is not in it, or a
        column of cell counts, which the profiles have already.

    Examples
    --------
    >>> platemap = wells.metadata[["Metadata_Well"]].drop_duplicates().assign(Dose=1.5)
    >>> platemap.to_csv("platemap.csv", index=False)
    >>> join_platemap(wells, "platemap.csv").metadata["Metadata_Dose"].unique()
    array([1.5])
    """
    table = read_text_table(path)
    table = table[(table != "").any(axis=1)]
    columns = find_keys(table.columns, path, ("Plate", "Well"))
    if "Well" not in columns:
        named = ", ".join(map(metadata_column, table.columns))
        raise TableError(f"{path} has no column Well; it has {named}")
    keys = [metadata_column(name) for name in columns]
    profiles.require(keys)
    added = metadata_named(table.drop(columns=list(columns.values())), path)
    index = _key_index(table[list(columns.values())], path, list(columns))
    rows = _places(profiles, keys, index, path)
    metadata = profiles.metadata
    if CELL_COUNT in added.columns and CELL_COUNT in metadata.columns:
        raise TableError(
            f"{path} has a column {CELL_COUNT}, and the cells of the wells are counted already; "
            "give that column another name"
        )
    types = learn_types(added, keep_labels)
    joined = types.apply(added).iloc[rows].reset_index(drop=True)
    _tell_of_labels(joined, types.missing, path, tell)
    kept = metadata.drop(columns=[name for name in joined.columns if name in metadata.columns])
    return replace(profiles, metadata=pd.concat([kept.reset_index(drop=True), joined], axis=1))


def find_tables(
    paths: Iterable[str | Path],
    *,
    leave_out: Collection[str | Path] = (),
    tell: Tell = warn,
) -> list[Path]:
    """Return the tables that are meant: files, patterns of files, or folders of plates.

    Parameters
    ----------
    paths : iterable of str or Path
        A file is taken as it is. Of a folder, all tables in it and below it (those of
        ``plates`` only, where ``cpcnn embed`` wrote it): parquet, Feather, AnnData, CSV and
        TSV, also compressed. A pattern such as ``profiles/**/*_augmented.csv.gz`` chooses
        among them; ``**`` matches any folders.
    leave_out : collection of str or Path
        Files that are none of the plates, e.g. the plate map, or what is about to be written.
    tell : callable
        Takes a sentence: which files are the same plates in another format, and not read.

    Returns
    -------
    list of Path
        Sorted within each of the paths; of a plate in several formats the first of parquet,
        Feather, AnnData, text.

    Raises
    ------
    ProfileError
        Nothing there, or several processing levels of the plates beside each other.

    Examples
    --------
    >>> find_tables(["nowhere"])
    Traceback (most recent call last):
    cpcnn_core.errors.ProfileError: there is no table or folder nowhere
    """
    others = {Path(path).absolute() for path in leave_out}
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_file():
            found.append(path)
            continue
        tables = [table for table in _candidates(path) if table.absolute() not in others]
        if not tables:
            raise ProfileError(
                f"there are no plates in {path}: expected tables that end in "
                f"{', '.join(TABLE_ENDINGS[:5])}, ...; cpcnn embed makes them"
            )
        tables = _one_format_each(tables, tell)
        _refuse_levels(path, tables)
        found += tables
    return found


def _together(all_losses: Sequence[Losses]) -> Losses:
    kinds = {losses.what for losses in all_losses if losses.total}
    together = Losses(kinds.pop() if len(kinds) == 1 else "row")
    for losses in all_losses:
        together.add(losses)
    return together


def _refuse_duplicates(together: Profiles, origins: Sequence[Path]) -> None:
    """Refuse sites, or wells, that are there twice, however they are spelt."""
    columns = [name for name in (PLATE, WELL, SITE) if name in together.metadata.columns]
    keys = list(zip(*(together.texts(name).tolist() for name in columns), strict=True))
    places: dict[tuple[str, ...], int] = {}
    wells: dict[tuple[str, ...], int] = {}
    for row, (plate, well, *site) in enumerate(keys):
        key = normal_key((plate, well, *(site or [""])))
        before = places.setdefault(key, row)
        if before == row:
            # A row without a site is of the whole well, and contradicts any of its sites.
            of_well = wells.setdefault(key[:2], row)
            before = of_well if any(site) != any(keys[of_well][2:]) else row
        if before != row:
            is_site = any(site) and any(keys[before][2:])
            shown = [keys[place][: 3 if is_site else 2] for place in (before, row)]
            names = ["/".join(filter(None, key)) for key in shown]
            what = "site" if is_site else "well"
            raise ProfileError(_told_twice(what, names, origins[before], origins[row]))


def _told_twice(what: str, names: Sequence[str], one: Path, other: Path) -> str:
    files = f"in {one}" if one == other else f"in {one} and in {other}"
    if names[0] == names[1]:
        return f"the {what} {names[0]} is there twice, {files}; leave one table out"
    return (
        f"{names[0]} in {one} and {names[1]} in {other} are the same {what}; leave one out, or "
        "call them by names that differ in more than zeros and letter case"
    )


def _key_index(keys: pd.DataFrame, path: str | Path, names: list[str]) -> KeyIndex:
    missing = keys.map(is_missing).to_numpy()
    if missing.any():
        row, place = np.argwhere(missing)[0]
        raise TableError(
            f"{path} has no {names[place].lower()} in row {keys.index[row] + 1}; fill it in, or "
            "leave the row out"
        )
    return KeyIndex(keys.itertuples(index=False, name=None), path, names)


def _places(profiles: Profiles, keys: list[str], index: KeyIndex, path: str | Path) -> list[int]:
    """Find the plate map's row of every well."""
    mine = list(zip(*(profiles.texts(name).tolist() for name in keys), strict=True))
    places = [index.get(key) for key in mine]
    missing = ["/".join(key) for key, place in zip(mine, places, strict=True) if place is None]
    if missing and len(missing) == len(mine):
        raise TableError(
            f"none of the {len(mine)} wells is in {path}: the profiles have {missing[0]}, the "
            f"plate map {index.first or 'none'}"
        )
    if missing:
        raise TableError(
            f"{len(missing)} of {len(mine)} wells are not in {path}: {listed(missing, 5)}"
        )
    return [place for place in places if place is not None]


def _tell_of_labels(
    joined: pd.DataFrame, missing: Mapping[str, Mapping[str, int]], path: str | Path, tell: Tell
) -> None:
    said = []
    for name, column in joined.items():
        count = int((column.isna() | (column == "")).sum())
        marks = ", ".join(text for text in missing.get(name, {}) if text)
        if count:
            short = name.removeprefix("Metadata_")
            said.append(f"{short} for {count} of {len(joined)}{f' ({marks})' if marks else ''}")
    if said:
        tell(
            f"{path} says nothing of some wells: {listed(said)}; a label that is called so is kept "
            "with --keep-label"
        )


def _candidates(path: Path) -> list[Path]:
    if path.is_dir():
        folder = path / PLATES_FOLDER if (path / PLATES_FOLDER).is_dir() else path
        return sorted(table for table in folder.rglob("*") if _is_table(table, folder))
    if not glob.has_magic(str(path)):
        raise ProfileError(f"there is no table or folder {path}")
    found = sorted(Path(name) for name in glob.glob(str(path), recursive=True))  # noqa: PTH207
    files = [
        name
        for name in found
        if name.is_file() and not name.name.endswith(CONSENSUS_ENDING) and not is_temporary(name)
    ]
    if not files:
        raise ProfileError(f"there is no table like {path}")
    return files


def _is_table(path: Path, folder: Path) -> bool:
    name = path.name.casefold()
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    if hidden or name.endswith(CONSENSUS_ENDING) or not path.is_file():
        return False
    return name.endswith(TABLE_ENDINGS) or (name.endswith(_NOTES) and _has_features(path))


def _has_features(path: Path) -> bool:
    try:
        return any(map(is_feature, open_table(path).columns))
    except TableError:
        # Perhaps a damaged plate: reading it later says what is wrong.
        return True


def _stem(path: Path) -> str:
    ending = max(
        (e for e in (*TABLE_ENDINGS, *_NOTES) if path.name.casefold().endswith(e)), key=len
    )
    return path.name[: -len(ending)]


def _one_format_each(tables: list[Path], tell: Tell) -> list[Path]:
    """Return one file of each plate, where it is there in several formats."""
    formats = defaultdict(list)
    endings = (*TABLE_ENDINGS, *_NOTES)
    for table in tables:
        known = table.name.casefold().endswith(endings)
        formats[table.parent, _stem(table) if known else table.name].append(table)
    chosen, left = [], []
    for same in formats.values():
        first, *others = sorted(same, key=lambda path: _rank(path, endings))
        chosen.append(first)
        left += others
    if left:
        tell(
            f"not read, as the same plates are there in another format: "
            f"{listed(path.name for path in left)}"
        )
    return chosen


def _rank(path: Path, endings: tuple[str, ...]) -> int:
    return next((i for i, e in enumerate(endings) if path.name.casefold().endswith(e)), 0)


def _refuse_levels(path: Path, tables: list[Path]) -> None:
    levels: dict[str, Path] = {}
    for table in tables:
        _, *level = _LEVEL.split(table.name.casefold(), maxsplit=1)
        name = level[0].partition(".")[0] if level else ""
        levels.setdefault(name, table)
    if len(levels) > 1:
        names = [table.name for table in levels.values()]
        example = next(name for name in levels if name)
        folder = path if path.is_dir() else path.parent
        pattern = f"{folder}/**/*{example}{_ending(levels[example])}"
        raise ProfileError(
            f"{path} has tables of several processing levels, which must not be mixed: "
            f"{listed(names)}; choose those of one by a pattern, e.g. '{pattern}'"
        )


def _ending(path: Path) -> str:
    return path.name[len(_stem(path)) :]
