"""Object positions from DeepProfiler's location files, ``<plate>/<well>-<site>-Nuclei.csv``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cpcnn_core.errors import SiteError
from cpcnn_core.readers.load_data import ReadObjects
from cpcnn_core.readers.sites import Objects
from cpcnn_core.readers.tables import read_text_table

if TYPE_CHECKING:
    import pandas as pd

CENTER_COLUMNS = ("Nuclei_Location_Center_X", "Nuclei_Location_Center_Y")


def objects_from_locations(folder: str | Path) -> ReadObjects:
    """Return a function that reads a site's location file.

    Parameters
    ----------
    folder : str or Path
        DeepProfiler's ``inputs/locations``, or a folder like it.

    Returns
    -------
    callable (int, metadata) -> Objects or None
        None for a site without a file.

    Examples
    --------
    >>> site = {"Plate": "P1", "Well": "A01", "Site": "1"}
    >>> objects_from_locations("nowhere")(1, site) is None
    True
    """

    def read(_number: int, metadata: Mapping[str, str]) -> Objects | None:
        plate, well, site = (metadata[name] for name in ("Plate", "Well", "Site"))
        return read_locations(Path(folder) / plate / f"{well}-{site}-Nuclei.csv")

    return read


def read_locations(path: str | Path) -> Objects | None:
    """Read one location file; None where there is none.

    Returns
    -------
    Objects
        Numbered 1 to n; `locations` as the reference stores them (REFERENCE c): every
        column of the file, int64 where all of them are whole, else float64.

    Raises
    ------
    SiteError
        A column that is missing, or a position that is not a number.

    Examples
    --------
    >>> read_locations("nowhere.csv") is None
    True
    """
    path = Path(path)
    if not path.is_file():
        return None
    table = read_text_table(path, CENTER_COLUMNS)
    try:
        centers = table[list(CENTER_COLUMNS[::-1])].to_numpy(np.float64)
    except ValueError as error:
        raise SiteError(f"{path} has a position that is not a number: {error}") from error
    if not np.isfinite(centers).all():
        row = int(np.flatnonzero(~np.isfinite(centers).all(axis=1))[0])
        raise SiteError(f"{path} has no position in row {row + 1}; give x and y, or drop the row")
    return Objects(centers, np.arange(1, len(table) + 1), locations=_numbers(table))


def _numbers(table: pd.DataFrame) -> np.ndarray:
    import pandas as pd

    return table.apply(pd.to_numeric, errors="coerce").to_numpy()
