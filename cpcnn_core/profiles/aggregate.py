"""Cells to sites, sites to wells, wells to treatments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.losses import Losses, row_names
from cpcnn_core.schema.columns import CELL_COUNT, OBJECT_NUMBER
from cpcnn_core.schema.profiles import Profiles
from cpcnn_core.user_messages import Tell, counted, warn

METHODS = ("median", "mean")


def aggregate(
    profiles: Profiles, by: Sequence[str], method: str = "median", *, tell: Tell = warn
) -> Profiles:
    """Make one profile of all rows that have the same metadata.

    The paper's profiles are the median over the cells of a site, the mean over the
    sites of a well, and the mean over the wells of a treatment (docs/method.md#aggregation).

    Parameters
    ----------
    profiles : Profiles
        Rows with NaN or infinite features are left out, as the reference leaves them out.
    by : sequence of str
        Metadata columns, e.g. ``["Metadata_Plate", "Metadata_Well", "Metadata_Site"]``.
    method : str
        ``median`` or ``mean``.
    tell : callable
        Takes a sentence for the rows that are left out.

    Returns
    -------
    Profiles
        A row for every combination, in the order in which they first appear; features
        float64. Metadata: the columns of `by`, those that are the same throughout every
        group, and ``Metadata_CellCount``: counted where the rows are cells, which have a
        ``Metadata_ObjectNumber``, and summed where they are counted already.

    Raises
    ------
    ProfileError
        An unknown column or method, no row left, or a ``Metadata_CellCount`` that is no
        count: of single cells, or not a number.

    Examples
    --------
    >>> rows = pd.DataFrame({"Metadata_Well": ["A01", "A01", "A01", "B01"]})
    >>> rows["Metadata_ObjectNumber"] = [1, 2, 3, 1]
    >>> cells = Profiles(np.array([[1.0], [2.0], [9.0], [4.0]]), rows, ["Cells_CPCNN_000"])
    >>> aggregate(cells, ["Metadata_Well"]).to_frame().values.tolist()
    [['A01', 3, 2.0], ['B01', 1, 4.0]]
    """
    by = list(by)
    if method not in METHODS:
        raise ProfileError(f"expected a method of {', '.join(METHODS)}, got {method!r}")
    profiles.require(by)
    check_counts(profiles)
    profiles = _finite(profiles, tell)
    metadata = profiles.metadata
    groups = metadata.groupby(by, sort=False, dropna=False)
    group = groups.ngroup().to_numpy()
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    rows = profiles.features[order]
    if method == "mean":
        sizes = np.diff(starts, append=len(rows))[:, None]
        features = np.add.reduceat(rows.astype(np.float64), starts, axis=0) / sizes
    else:
        parts = np.split(rows, starts[1:])
        features = np.stack([np.median(part.astype(np.float64), axis=0) for part in parts])
    kept = metadata.iloc[order[starts]][_constant(metadata, group, order, starts, by)]
    kept = kept.reset_index(drop=True)
    if CELL_COUNT in metadata.columns:
        kept[CELL_COUNT] = np.add.reduceat(metadata[CELL_COUNT].to_numpy()[order], starts)
    elif OBJECT_NUMBER in metadata.columns:
        kept[CELL_COUNT] = np.diff(starts, append=len(order))
    return replace(profiles, features=features, metadata=kept)


def check_counts(profiles: Profiles, source: object = "the table") -> None:
    """Refuse a ``Metadata_CellCount`` that is no count of the cells of a site or well.

    Raises
    ------
    ProfileError
        It is of single cells, which are counted here, or no number; names the `source`.

    Examples
    --------
    >>> rows = pd.DataFrame({"Metadata_CellCount": ["many"]})
    >>> check_counts(Profiles(np.ones((1, 1)), rows, ["x"]))
    Traceback (most recent call last):
    cpcnn_core.errors.ProfileError: the table has 'many' in Metadata_CellCount; expected ...
    """
    columns = profiles.metadata.columns
    if CELL_COUNT not in columns:
        return
    if OBJECT_NUMBER in columns:
        raise ProfileError(
            f"{source} has a {CELL_COUNT} of single cells, which cpcnn counts itself; leave that "
            "column out, or give it another name"
        )
    kind = profiles.metadata[CELL_COUNT].dtype.kind
    if kind not in "iuf":
        example = next((text for text in profiles.texts(CELL_COUNT).tolist() if text), "")
        raise ProfileError(
            f"{source} has {example!r} in {CELL_COUNT}; expected numbers of cells: correct it, or "
            "give that column another name"
        )


def _finite(profiles: Profiles, tell: Tell) -> Profiles:
    if len(profiles.features) and np.isfinite(profiles.features).all():
        return profiles
    losses = Losses()
    usable = losses.count(row_names(profiles), profiles.features, profiles.feature_names)
    if not usable.any():
        raise ProfileError(
            f"none of the {len(usable)} rows has features without NaN: missing or infinite are "
            f"{counted(losses.features) or 'all'}"
        )
    tell(losses.text())
    return profiles.select(usable)


def _constant(
    metadata: pd.DataFrame, group: np.ndarray, order: np.ndarray, starts: np.ndarray, by: list[str]
) -> list[str]:
    """Name the columns that are the same throughout every group."""
    first = order[starts][group]
    names = []
    for name in metadata.columns:
        if name in (OBJECT_NUMBER, CELL_COUNT):
            continue
        codes = pd.factorize(metadata[name], use_na_sentinel=False)[0]
        if name in by or np.array_equal(codes, codes[first]):
            names.append(name)
    return names
