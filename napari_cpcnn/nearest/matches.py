"""The treatments of a library that some cells look like."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.open_library import OpenLibrary
from cpcnn_core.schema.columns import PLATE
from cpcnn_core.schema.profiles import Profiles
from cpcnn_core.schema.values import texts_of
from napari_cpcnn.messages import counted

if TYPE_CHECKING:
    import pandas as pd


def describe_library(opened: OpenLibrary) -> str:
    """Say how large a library is, and how cells are corrected for it."""
    wells = opened.library.wells
    sizes = [counted(len(opened.library.directions), "treatment")]
    if PLATE in wells.metadata.columns:
        sizes.insert(0, counted(wells.metadata[PLATE].nunique(), "plate"))
    return f"{', '.join(sizes)}; {opened.describe_correction()}"


class Matches(NamedTuple):
    """Result of `find_matches`.

    Attributes
    ----------
    table : pandas.DataFrame
        As of `TreatmentLibrary.nearest`.
    note : str
    pending : bool
        Whether p-values are still to come.
    """

    table: pd.DataFrame
    note: str
    pending: bool = False


def find_matches(
    opened: OpenLibrary, cells: Profiles, rows: np.ndarray, count: int, *, leave_out: bool = False
) -> Iterator[Matches]:
    """Find the nearest treatments, at once; then again with p-values, if there are controls.

    Parameters
    ----------
    opened : OpenLibrary
    cells : Profiles
    rows : ndarray of shape (m,), int, or of shape (n,), bool
        The cells in the query.
    count : int
        How many treatments, at most.
    leave_out : bool
        Leave out the treatments of the cells themselves.

    Raises
    ------
    ProfileError
        No rows; else as of `OpenLibrary.prepare_query`.
    """
    library, chosen = opened.library, cells.select(np.asarray(rows))
    if not len(chosen.metadata):
        raise ProfileError("no cells are asked about; click a cell or draw a lasso on the map")
    features, uncorrected, note = opened.prepare_query(chosen)
    exclude = None
    if leave_out:
        chosen.require([library.by])
        exclude = library.same_as([library.by], chosen.metadata)
    found = library.nearest(features, count, exclude=exclude)
    notes = [note] if note else []
    if not library.controls.any():
        yield Matches(found, "; ".join([*notes, "say which wells are controls for p-values"]))
        return
    yield Matches(found, "; ".join([*notes, "p-values follow …"]), pending=True)
    tests = opened.significance
    if tests is None:
        yield Matches(found, "; ".join([*notes, opened.p_values]))
        return
    found = library.nearest(
        features, count, exclude=exclude, significance=True, uncorrected=uncorrected
    )
    notes.append(tests.describe(texts_of(found[library.by])))
    yield Matches(found, "; ".join(notes))


def rows_like(cells: Profiles, row: int, columns: Sequence[str]) -> np.ndarray:
    """Return the rows of the cells that share some metadata with a cell, (m,) int.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"Metadata_Well": ["A1", "A2", "A1"]})
    >>> rows_like(Profiles(np.eye(3), rows, ["x", "y", "z"]), 0, ["Metadata_Well"])
    array([0, 2])
    """
    cells.require(columns)
    values = [cells.metadata[column].to_numpy() for column in columns]
    return np.flatnonzero(np.logical_and.reduce([own == own[row] for own in values]))
