"""Tables of profiles below each other, as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from cpcnn_core.tables.belonging import aligned, known_together, require_same_origin
from cpcnn_core.tables.profiles import Profiles
from cpcnn_core.tables.values import texts_of

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
