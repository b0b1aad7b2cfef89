"""Tables of cells, sites or wells to the profiles of wells, plate by plate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.aggregate import CELL, aggregate
from cpcnn_core.profiles.files import FEATURE_PREFIXES, iterate_profiles
from cpcnn_core.readers.tables import read_text_table
from cpcnn_core.tables.columns import PLATE, SITE, WELL, metadata_column
from cpcnn_core.tables.profiles import Profiles

# What has to be the same for two features of one name to mean the same.
ORIGIN = ("model", "model_sha256", "layer", "correction", "lambda")
# An untrained network has no hash before its weights are made.
MAY_BE_UNKNOWN = ("model_sha256", "layer")


def find_tables(paths: Iterable[str | Path]) -> list[Path]:
    """Return the tables that are meant: files, or the plates of a folder of ``cpcnn embed``.

    Raises
    ------
    ProfileError
        Nothing there.

    Examples
    --------
    >>> find_tables(["nowhere"])
    Traceback (most recent call last):
    cpcnn_core.errors.ProfileError: there is no table or folder nowhere
    """
    found = []
    for path in map(Path, paths):
        if path.is_file():
            found.append(path)
            continue
        if not path.is_dir():
            raise ProfileError(f"there is no table or folder {path}")
        folder = path / "plates" if (path / "plates").is_dir() else path
        tables = sorted(folder.glob("*.parquet")) or sorted(folder.glob("*.h5ad"))
        if not tables:
            raise ProfileError(
                f"there are no plates (*.parquet, *.h5ad) in {folder}; cpcnn embed makes them"
            )
        found += tables
    return found


def well_profiles(
    paths: Sequence[str | Path],
    *,
    cells: str = "median",
    sites: str = "mean",
    prefixes: Sequence[str] = FEATURE_PREFIXES,
) -> Profiles:
    """Make the profiles of wells: cells to sites, sites to wells.

    Parameters
    ----------
    paths : sequence of str or Path
        Tables (`read_profiles`), or folders of ``cpcnn embed``. Rows are cells
        (``Metadata_ObjectNumber``), sites (``Metadata_Site``) or wells. Cells are read a
        part at a time; those of a site stand together.
    cells, sites : str
        ``median`` or ``mean``; the paper's are the defaults.
    prefixes : sequence of str
        As in `read_profiles`.

    Returns
    -------
    Profiles
        A row a well, with ``Metadata_Plate``, ``Metadata_Well``, ``Metadata_CellCount``
        (where the tables know it) and what else is the same throughout each well.

    Raises
    ------
    ProfileError
        No tables, no plates or wells in them, different features or models, duplicates.

    Examples
    --------
    >>> well_profiles(["embedded"])  # doctest: +SKIP
    """
    parts = []
    for path in find_tables(paths):
        for part in _whole_sites(iterate_profiles(path, prefixes)):
            part.require([PLATE, WELL])
            of_cells = CELL in part.metadata.columns and SITE in part.metadata.columns
            parts.append(aggregate(part, [PLATE, WELL, SITE], cells) if of_cells else part)
    together = join_rows(parts)
    by = [name for name in (PLATE, WELL, SITE) if name in together.metadata.columns]
    _refuse_duplicates(together, by)
    return aggregate(together, [PLATE, WELL], sites)


def join_rows(parts: Sequence[Profiles]) -> Profiles:
    """Put tables of the same features, made by the same model, below each other.

    Raises
    ------
    ProfileError
        Different features or models.

    Examples
    --------
    >>> rows = pd.DataFrame({"Metadata_Well": ["A01"]})
    >>> one = Profiles(np.ones((1, 1)), rows, ["a"], {"model": "x"})
    >>> len(join_rows([one, one]).metadata)
    2
    >>> join_rows([one, Profiles(np.ones((1, 1)), rows, ["a"], {"model": "y"})])
    Traceback (most recent call last):
    cpcnn_core.errors.ProfileError: the tables cannot be compared: model is x and y
    """
    first = parts[0]
    for part in parts[1:]:
        require_same_origin(first, part)
    metadata = pd.concat([part.metadata for part in parts], ignore_index=True)
    features = np.concatenate([part.features for part in parts])
    return replace(first, features=features, metadata=metadata)


def require_same_origin(one: Profiles, other: Profiles) -> None:
    """Refuse profiles that cannot be compared: of other features, models or corrections.

    Raises
    ------
    ProfileError

    Examples
    --------
    >>> rows = pd.DataFrame({"Metadata_Well": ["A01"]})
    >>> one = Profiles(np.ones((1, 1)), rows, ["a"], {"correction": "sphering"})
    >>> require_same_origin(one, Profiles(np.ones((1, 1)), rows, ["a"]))
    Traceback (most recent call last):
    cpcnn_core.errors.ProfileError: the tables cannot be compared: correction is sphering and None
    """
    if one.feature_names != other.feature_names:
        raise ProfileError(
            f"the tables have different features: {len(one.feature_names)} from "
            f"{one.feature_names[0]}, {len(other.feature_names)} from {other.feature_names[0]}"
        )
    for name in ORIGIN:
        mine, theirs = one.provenance.get(name), other.provenance.get(name)
        unknown = name in MAY_BE_UNKNOWN and None in (mine, theirs)
        if mine != theirs and not unknown:
            raise ProfileError(f"the tables cannot be compared: {name} is {mine} and {theirs}")


def join_platemap(profiles: Profiles, path: str | Path) -> Profiles:
    """Add what a plate map says about every well.

    Parameters
    ----------
    profiles : Profiles
    path : str or Path
        CSV with a column ``Well`` and, when plates differ, ``Plate`` (with or without
        ``Metadata_``); every other column is added, and replaces one of the same name.

    Raises
    ------
    ProfileError
        No column of wells, a well twice, or a well of the profiles that is not in it.

    Examples
    --------
    >>> join_platemap(wells, "platemap.csv")  # doctest: +SKIP
    """
    table = read_text_table(path)
    table.columns = [metadata_column(name) for name in table.columns]
    if WELL not in table.columns:
        raise ProfileError(f"{path} has no column Well; it has {', '.join(table.columns)}")
    keys = [name for name in (PLATE, WELL) if name in table.columns]
    twice = table.duplicated(keys)
    if twice.any():
        row = table.loc[twice, keys].iloc[0]
        raise ProfileError(f"{path} has the well {'/'.join(row)} twice")
    profiles.require(keys)
    metadata = profiles.metadata.drop(columns=set(table.columns) - set(keys), errors="ignore")
    metadata[keys] = metadata[keys].astype(str)
    joined = metadata.merge(table, how="left", on=keys, indicator="Metadata_Found")
    missing = joined.pop("Metadata_Found") == "left_only"
    if missing.any():
        names = ["/".join(row) for row in metadata.loc[missing, keys].to_numpy()[:5]]
        raise ProfileError(
            f"{missing.sum()} of {len(missing)} wells are not in {path}: {', '.join(names)}"
        )
    return replace(profiles, metadata=joined)


def choose_rows(profiles: Profiles, expression: str) -> np.ndarray:
    """Return which rows an expression chooses.

    Parameters
    ----------
    profiles : Profiles
    expression : str
        As in pandas' ``DataFrame.query``; columns may be named without ``Metadata_``.

    Returns
    -------
    ndarray of shape (n,), bool

    Raises
    ------
    ProfileError
        It cannot be understood, names a column that is not there, or chooses nothing.

    Examples
    --------
    >>> rows = pd.DataFrame({"Metadata_Treatment": ["DMSO", "taxol"]})
    >>> choose_rows(Profiles(np.ones((2, 1)), rows, ["a"]), "Treatment == 'DMSO'")
    array([ True, False])
    """
    metadata = profiles.metadata
    short = {str(name).removeprefix("Metadata_"): values for name, values in metadata.items()}
    frame = metadata.assign(**short)
    columns = ", ".join(short)
    try:
        chosen = frame.eval(expression, engine="python")
    except pd.errors.UndefinedVariableError as error:
        raise ProfileError(f"{expression}: {error}; there are the columns {columns}") from error
    except Exception as error:
        raise ProfileError(
            f"cannot understand {expression!r} ({error}); write it like Treatment == 'DMSO'"
        ) from error
    chosen = np.asarray(chosen)
    if chosen.dtype != bool or chosen.shape != (len(frame),):
        raise ProfileError(
            f"{expression!r} does not say yes or no for every row; write it like "
            "Treatment == 'DMSO'"
        )
    if not chosen.any():
        raise ProfileError(f"{expression} is true for none of the {len(frame)} rows")
    return chosen


def _whole_sites(parts: Iterator[Profiles]) -> Iterator[Profiles]:
    """Cut a stream of cells between sites; what is no table of cells comes as it is."""
    waiting: list[Profiles] = []
    for part in parts:
        if CELL not in part.metadata.columns or SITE not in part.metadata.columns:
            yield part
            continue
        keys = part.metadata[[PLATE, WELL, SITE]].astype(str).agg("/".join, axis=1).to_numpy()
        last = np.flatnonzero(keys != keys[-1])
        cut = last[-1] + 1 if len(last) else 0
        rows = np.arange(len(keys))
        if cut:
            waiting.append(part.select(rows < cut))
            yield join_rows(waiting)
            waiting = []
        waiting.append(part.select(rows >= cut))
    if waiting:
        yield join_rows(waiting)


def _refuse_duplicates(profiles: Profiles, by: list[str]) -> None:
    twice = profiles.metadata.duplicated(by)
    if twice.any():
        row = profiles.metadata.loc[twice, by].iloc[0].astype(str)
        what = "site" if SITE in by else "well"
        raise ProfileError(
            f"the {what} {'/'.join(row)} is there twice (of {twice.sum()} duplicates); leave one "
            "table out, or let the cells of a site stand together"
        )
