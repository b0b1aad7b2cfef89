"""Read what CellProfiler wrote, and check that nothing is missing."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from cpcnn_core.errors import HostError
from cpcnn_core.schema.columns import feature_names


class Cells(NamedTuple):
    """The measured cells: features (n, d), field (n,) from 1, centre (n, 2) as (row, col)."""

    features: np.ndarray
    field: np.ndarray
    centers: np.ndarray
    fields: int
    classical: int


def summarize(csv: str | Path, dim: int) -> Cells:
    r"""Read the cells of an ExportToSpreadsheet file.

    Parameters
    ----------
    csv : str or Path
    dim : int
        Number of deep features that every cell must have.

    Returns
    -------
    Cells

    Raises
    ------
    HostError
        Features or values are missing.

    Examples
    --------
    >>> import tempfile
    >>> head = "ImageNumber,ObjectNumber,Location_Center_X,Location_Center_Y,CPCNN_000"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     csv = Path(folder, "Cells.csv")
    ...     _ = csv.write_text(f"{head}\n1,1,7.5,8.5,0.25\n")
    ...     summarize(csv, 1).centers.tolist()
    [[8.5, 7.5]]
    """
    import pandas as pd

    table = pd.read_csv(csv, float_precision="round_trip")
    names = feature_names(dim)
    missing = [name for name in names if name not in table.columns]
    if missing or table[names].isna().to_numpy().any():
        what = f"the columns {missing[0]} and on" if missing else "values of some cells"
        raise HostError(f"{csv} lacks {what}; look at cellprofiler.log beside it")
    others = [c for c in table.columns if c not in (*names, "ImageNumber", "ObjectNumber")]
    return Cells(
        features=table[names].to_numpy(),
        field=table["ImageNumber"].to_numpy(),
        centers=table[["Location_Center_Y", "Location_Center_X"]].to_numpy(),
        fields=table["ImageNumber"].nunique(),
        classical=len(others),
    )
