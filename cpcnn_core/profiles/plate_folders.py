"""Which tables are meant by a folder of plates: all of one kind, each plate once."""

from __future__ import annotations

import glob
import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path

from cpcnn_core.errors import ProfileError, TableError
from cpcnn_core.io.atomic import is_temporary
from cpcnn_core.io.formats import TABLE_ENDINGS
from cpcnn_core.io.profile_files import is_feature
from cpcnn_core.io.tables import open_table
from cpcnn_core.user_messages import Tell, listed, warn

PLATES_FOLDER = "plates"
# Text that may be a table of a plate, or a note.
_NOTES = (".txt", ".txt.gz")
# Made from plates by cpcnn profile.
_OWN = (".consensus.parquet",)
# What pycytominer's recipe and others append to a plate's name, by what was done to it.
_LEVEL = re.compile(
    r"[._](?=(?:augmented|annotated|normali[sz]ed|standardi[sz]ed|spher(?:iz)?ed|whitened|feature"
    r"_select(?:ed)?|corrected|aggregated|consensus)(?:[._]|$))"
)


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
        if name.is_file() and not name.name.endswith(_OWN) and not is_temporary(name)
    ]
    if not files:
        raise ProfileError(f"there is no table like {path}")
    return files


def _is_table(path: Path, folder: Path) -> bool:
    name = path.name.casefold()
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    if hidden or name.endswith(_OWN) or not path.is_file():
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
