"""Read what CellProfiler wrote, and check that nothing is missing."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from cpcnn_core.errors import HostError
from cpcnn_core.schema.columns import feature_names

# Pixels around a nucleus in which others are counted: about three cells.
SURROUNDINGS = 64
_KEY = ["ImageNumber", "ObjectNumber"]


class Cells(NamedTuple):
    """The measured cells, n of them, in the order of CellProfiler's table.

    Attributes
    ----------
    features : ndarray of shape (n, d), float
    field : ndarray of shape (n,), int
        From 1.
    centers : ndarray of shape (n, 2), float
        Of the nuclei, as (row, col).
    known : dict of str to ndarray of shape (n,)
        What is known of each cell without the network, by what it is.
    fields, classical : int
        How many fields, and measurements beside the features.
    """

    features: np.ndarray
    field: np.ndarray
    centers: np.ndarray
    known: dict[str, np.ndarray]
    fields: int
    classical: int


def summarize(folder: str | Path, dim: int) -> Cells:
    """Read the cells and nuclei of ExportToSpreadsheet.

    Parameters
    ----------
    folder : str or Path
        With ``Cells.csv`` and ``Nuclei.csv``.
    dim : int
        Number of deep features that every cell must have.

    Returns
    -------
    Cells

    Raises
    ------
    HostError
        Features, values or nuclei are missing.
    """
    import pandas as pd

    csv = Path(folder) / "Cells.csv"
    table = pd.read_csv(csv, float_precision="round_trip")
    names = feature_names(dim)
    missing = [name for name in names if name not in table.columns]
    if missing or table[names].isna().to_numpy().any():
        what = f"the columns {missing[0]} and on" if missing else "values of some cells"
        raise HostError(f"{csv} lacks {what}; look at cellprofiler.log beside it")
    # A cell has the number of its nucleus.
    nuclei = pd.read_csv(Path(folder) / "Nuclei.csv").set_index(_KEY)
    keys = pd.MultiIndex.from_frame(table[_KEY])
    if not keys.isin(nuclei.index).all():
        raise HostError(f"{csv} has cells without a nucleus; look at cellprofiler.log beside it")
    nuclei = nuclei.loc[keys]
    field = table["ImageNumber"].to_numpy()
    centers = nuclei[["Location_Center_Y", "Location_Center_X"]].to_numpy()
    known = {
        f"nuclei within {SURROUNDINGS} px": _crowding(centers, field),
        "the nucleus's area (px)": nuclei["AreaShape_Area"].to_numpy(float),
    }
    others = [c for c in table.columns if c not in (*names, *_KEY)]
    return Cells(
        table[names].to_numpy(), field, centers, known, table["ImageNumber"].nunique(), len(others)
    )


def _crowding(centers: np.ndarray, field: np.ndarray) -> np.ndarray:
    """Count the other nuclei around each."""
    from scipy.spatial import cKDTree

    counts = np.zeros(len(centers))
    for one in np.unique(field):
        mine = centers[field == one]
        around = cKDTree(mine).query_ball_point(mine, SURROUNDINGS, return_length=True)
        counts[field == one] = around - 1
    return counts
