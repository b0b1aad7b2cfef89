"""A table of cells, sites or wells, read a part at a time; cells become sites."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from cpcnn_core.errors import ProfileError, TableError
from cpcnn_core.io.profile_files import FEATURE_PREFIXES, iterate_profiles
from cpcnn_core.io.site_keys import find_key
from cpcnn_core.profiles.aggregate import aggregate, check_counts
from cpcnn_core.profiles.losses import Losses, row_names, without_features
from cpcnn_core.schema.columns import CELL_COUNT, OBJECT_NUMBER, PLATE, SITE, WELL
from cpcnn_core.schema.origin import aligned, known_together, require_same_origin
from cpcnn_core.schema.profiles import Profiles
from cpcnn_core.schema.values import texts_of
from cpcnn_core.user_messages import Tell, warn


@dataclass
class SiteRows:
    """Content of a table; made by `read_site_rows`.

    Attributes
    ----------
    profiles : Profiles or None
        A row for every site or well, features NaN where no cell has them; None where no row
        can be used.
    weights : ndarray of shape (n,), int
        Of how many rows of the table each is made.
    losses : Losses
        What has been left out of the cells.
    """

    profiles: Profiles | None
    weights: np.ndarray
    losses: Losses


def read_site_rows(
    path: Path,
    method: str = "median",
    *,
    prefixes: Sequence[str] = FEATURE_PREFIXES,
    drop_features: Sequence[str] = (),
    keep_labels: Collection[str] = (),
    tell: Tell = warn,
) -> SiteRows:
    """Read a table; its cells become sites.

    Parameters
    ----------
    path : Path
    method : str
        ``median`` or ``mean`` of the cells of a site. Cells with missing or infinite features
        are left out, but for features that no cell has.
    prefixes, keep_labels, tell
        As in `cpcnn_core.io.profile_files.read_profiles`.
    drop_features : sequence of str
        See `cpcnn_core.profiles.losses.without_features`.

    Returns
    -------
    SiteRows

    Raises
    ------
    ProfileError
        No plates or wells, a row without them, a cell twice.

    Examples
    --------
    >>> read_site_rows(Path("nowhere.parquet"))
    Traceback (most recent call last):
    cpcnn_core.errors.TableError: there is no table nowhere.parquet
    """
    parts = functools.partial(
        iterate_rows, path, prefixes, drop_features=drop_features, keep_labels=keep_labels
    )
    rows = _gather(_whole_sites(parts(tell=tell)), method, path)
    if rows.profiles is not None and rows.losses.what == "cell" and _is_scattered(rows.profiles):
        # The cells of a site are not in adjacent rows, so all are needed at once.
        rows = _gather([join_rows(list(parts(tell=_tell_nothing)))], method, path)
    return rows


def iterate_rows(
    path: Path,
    prefixes: Sequence[str] = FEATURE_PREFIXES,
    *,
    drop_features: Sequence[str] = (),
    keep_labels: Collection[str] = (),
    tell: Tell = warn,
) -> Iterator[Profiles]:
    """Read the rows of a table in parts, each with plate and well under their usual names.

    Parameters, and what is refused, are those of `read_site_rows`; cells stay cells, whether or
    not they lack features.

    Yields
    ------
    Profiles

    Examples
    --------
    >>> cells = {"plate": ["P1"], "well_position": ["A01"], "Cells_CPCNN_000": [1.0]}
    >>> pd.DataFrame(cells).to_csv("cells.csv", index=False)
    >>> [part.metadata["Metadata_Well"].tolist() for part in iterate_rows(Path("cells.csv"))]
    [['A01']]
    """
    row = 1
    for part in iterate_profiles(path, prefixes, keep_labels=keep_labels, tell=tell):
        yield _placed(without_features(part, drop_features), path, row)
        row += len(part.metadata)


def _tell_nothing(text: str) -> None:
    """Take what has been said before."""


def _placed(part: Profiles, path: Path, first: int) -> Profiles:
    """Return rows with columns of plate and well, whatever they were called."""
    metadata = part.metadata
    for name, column in (("Plate", PLATE), ("Well", WELL), ("Site", SITE)):
        found = column if column in metadata else find_key(name, metadata.columns, path)
        if found is not None and found != column:
            metadata = metadata.assign(**{column: texts_of(metadata[found])})
    missing = [name for name in (PLATE, WELL) if name not in metadata.columns]
    if missing:
        raise TableError(
            f"there is no column {', '.join(missing)} in {path}; there are "
            f"{', '.join(map(str, metadata.columns)) or 'none'}"
        )
    if OBJECT_NUMBER in metadata and SITE not in metadata:
        raise TableError(
            f"{path} has cells ({OBJECT_NUMBER}) and does not say of which site: there is no {SITE}"
        )
    for column in (PLATE, WELL, SITE):
        if column not in metadata:
            continue
        empty = np.flatnonzero(texts_of(metadata[column]) == "")
        # Wells may have a column of sites that says nothing; cells may not.
        if len(empty) and (
            column != SITE or OBJECT_NUMBER in metadata or len(empty) < len(metadata)
        ):
            raise TableError(
                f"{path} has no {column} in row {first + int(empty[0])} (and {len(empty) - 1} "
                "others near it); fill it in, or leave the row out"
            )
    check_counts(part, path)
    return replace(part, metadata=metadata)


def _whole_sites(parts: Iterable[Profiles]) -> Iterator[Profiles]:
    """Cut a stream of cells between sites; what is no table of cells comes as it is."""
    waiting: list[Profiles] = []
    for part in parts:
        if OBJECT_NUMBER not in part.metadata.columns:
            yield part
            continue
        keys = _site_names(part)
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


def _gather(parts: Iterable[Profiles], method: str, path: Path) -> SiteRows:
    losses = Losses()
    rows: list[Profiles] = []
    weights: list[np.ndarray] = []
    for part in parts:
        columns = part.metadata.columns
        losses.what = "cell" if OBJECT_NUMBER in columns else "site" if SITE in columns else "well"
        if losses.what == "cell":
            _refuse_repeated(part, path)
            sites = _sites(part, method, losses)
            if sites is None:
                continue
            rows.append(sites)
            weights.append(sites.metadata[CELL_COUNT].to_numpy())
        else:
            losses.total.update(row_names(part).tolist())
            rows.append(part)
            weights.append(np.ones(len(part.metadata), int))
    if not rows:
        return SiteRows(None, np.empty(0, int), losses)
    return SiteRows(join_rows(rows), np.concatenate(weights), losses)


def _sites(cells: Profiles, method: str, losses: Losses) -> Profiles | None:
    """Make sites of some cells; features that none of these cells has are NaN."""
    known = np.isfinite(cells.features).any(axis=0)
    names = [name for name, is_known in zip(cells.feature_names, known, strict=True) if is_known]
    features = cells.features if known.all() else cells.features[:, known]
    usable = losses.count(row_names(cells), features, names)
    if not usable.any():
        return None
    used = replace(cells, features=features, feature_names=names).select(usable)
    sites = aggregate(used, [PLATE, WELL, SITE], method)
    whole = np.full((len(sites.features), len(known)), np.nan)
    whole[:, known] = sites.features
    return replace(sites, features=whole, feature_names=cells.feature_names)


def _site_names(profiles: Profiles) -> np.ndarray:
    sites = profiles.texts(SITE)
    return np.char.add(np.char.add(row_names(profiles), "/"), sites)


def _is_scattered(sites: Profiles) -> bool:
    names = _site_names(sites)
    return len(np.unique(names)) < len(names)


def _refuse_repeated(cells: Profiles, path: Path) -> None:
    keys = [PLATE, WELL, SITE, OBJECT_NUMBER]
    twice = cells.metadata.duplicated(keys).to_numpy()
    if twice.any():
        row = int(np.flatnonzero(twice)[0])
        name = "/".join(cells.texts(column)[row] for column in keys)
        raise ProfileError(
            f"{path} has the cell {name} twice (of {int(twice.sum())} duplicates); leave out what "
            "was appended"
        )


# What a column holds, by the kind of its type.
_KINDS = {"b": "truth", "i": "number", "u": "number", "f": "number", "M": "time", "O": "text"}


def join_rows(parts: Sequence[Profiles]) -> Profiles:
    """Put tables of the same features, made by the same model, below each other.

    Features are those of the first table, whatever their order in the others. Metadata are
    those of all: what a table lacks is NaN among numbers, an empty text among texts. A column
    that holds numbers in one table and texts in another becomes texts.

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
        first = replace(first, provenance=known_together(first, part))
    frames = [part.metadata for part in parts]
    names = dict.fromkeys(name for frame in frames for name in frame.columns)
    columns = {name: _joined([frame.get(name) for frame in frames], frames) for name in names}
    metadata = pd.DataFrame(columns, index=pd.RangeIndex(sum(map(len, frames))))
    features = np.concatenate([aligned(part, first)[0].features for part in parts])
    return replace(first, features=features, metadata=metadata)


def _joined(
    columns: Sequence[pd.Series | None], frames: Sequence[pd.DataFrame]
) -> np.ndarray | pd.Series:
    present = [column for column in columns if column is not None and not _is_empty(column)]
    kinds = {_KINDS.get(column.dtype.kind, "text") for column in present}
    if kinds == {"number"}:
        lacking = [np.full(len(frame), np.nan) for frame in frames]
        return np.concatenate(
            [
                lack if column is None or _is_empty(column) else column.to_numpy()
                for column, lack in zip(columns, lacking, strict=True)
            ]
        )
    if len(kinds) == 1 and len(present) == len(columns):
        return pd.concat(present, ignore_index=True)
    return np.concatenate(
        [
            np.full(len(frame), "", object) if column is None else texts_of(column)
            for column, frame in zip(columns, frames, strict=True)
        ]
    )


def _is_empty(column: pd.Series) -> bool:
    """Tell whether a column of texts says nothing in any row."""
    return column.dtype.kind == "O" and bool((column.isna() | (column == "")).all())
