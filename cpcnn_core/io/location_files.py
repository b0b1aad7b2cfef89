"""Object positions from DeepProfiler's location files, ``<plate>/<well>-<site>-Nuclei.csv``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cpcnn_core.errors import SiteError, TableError
from cpcnn_core.io.atomic import is_temporary
from cpcnn_core.io.numbers import number_of
from cpcnn_core.io.object_rows import CENTERS, refuse_infinite
from cpcnn_core.io.object_sources import ObjectSource, SiteFiles, key_of, without_centre
from cpcnn_core.io.site_keys import KeyIndex
from cpcnn_core.io.sites import Objects
from cpcnn_core.io.tables import Table, open_table

if TYPE_CHECKING:
    import pandas as pd

END = "-Nuclei.csv"
# What DeepProfiler itself reads, then what CellProfiler's own tables have.
_PREFIXES = ("Nuclei_", "")
_NUMBERS = ("Number_Object_Number", "ObjectNumber")


def objects_from_locations(folder: str | Path) -> ObjectSource:
    """Return what reads a site's location file.

    Parameters
    ----------
    folder : str or Path
        DeepProfiler's ``inputs/locations``, or a folder like it.

    Returns
    -------
    ObjectSource
        None for a site without a file.

    Examples
    --------
    >>> site = {"Plate": "P1", "Well": "A01", "Site": "1"}
    >>> objects_from_locations("nowhere")(1, site) is None
    True
    """
    return LocationFiles(Path(folder))


class LocationFiles(SiteFiles):
    """A folder of location files.

    Parameters
    ----------
    folder : Path

    Examples
    --------
    >>> site = {"Plate": "P1", "Well": "A01", "Site": "1"}
    >>> LocationFiles(Path("nowhere")).file_of(site) is None
    True
    """

    def __init__(self, folder: Path) -> None:
        super().__init__("location file", folder)

    def plain_file(self, metadata: Mapping[str, str]) -> Path:
        """See `SiteFiles.plain_file`."""
        plate, well, site = key_of(metadata)
        return self._folder / plate / f"{well}-{site}{END}"

    def all_files(self) -> tuple[KeyIndex, list[Path]]:
        """See `SiteFiles.all_files`."""
        paths = sorted(p for p in self._folder.glob(f"*/*-*{END}") if not is_temporary(p))
        keys = [(p.parent.name, *p.name.removesuffix(END).rsplit("-", 1)) for p in paths]
        return KeyIndex(keys, self._folder), paths

    def read(self, path: Path) -> Objects | None:
        """See `SiteFiles.read`."""
        return read_locations(path)


def read_locations(path: str | Path) -> Objects | None:
    """Read one location file; None where there is none.

    Returns
    -------
    Objects
        Numbered as the file says (``ObjectNumber``, ``Nuclei_ObjectNumber``, ...), else from 1
        to n. `locations`: x and y, then every other column in its order, int64 where all of
        them are whole, else float64; for DeepProfiler's own files what it stores itself
        (docs/method.md#deepprofiler-projects). An object without a centre is named and left out.

    Raises
    ------
    SiteError
        A column that is missing, or a value that is not a number.

    Examples
    --------
    >>> read_locations("nowhere.csv") is None
    True
    """
    path = Path(path)
    if not path.is_file():
        return None
    table = open_table(path)
    x, y = _center_columns(table)
    rest = [name for name in table.columns if name not in (x, y) and _is_numeric(table, name)]
    values = table.numbers([x, y, *rest])
    filled = values.notna().any(axis=1).to_numpy()
    values = values[filled]
    positions = values[[y, x]].to_numpy(np.float64)
    refuse_infinite(values[[y, x]], path)
    numbers = _object_numbers(table, values)
    placed = np.isfinite(positions).all(axis=1)
    values = values[placed]
    whole = bool((values == np.floor(values)).all(axis=None))
    return Objects(
        positions[placed],
        numbers[placed],
        locations=values.to_numpy(np.int64 if whole else np.float64),
        notes=without_centre(numbers[~placed].tolist(), path),
    )


def _is_numeric(table: Table, name: str) -> bool:
    # Columns of text are no part of what DeepProfiler stores.
    return all(number_of(text) is not None for text in table.texts([name])[name].unique())


def _center_columns(table: Table) -> tuple[str, str]:
    names = [f"{prefix}{kind}" for kind in CENTERS for prefix in _PREFIXES]
    for name in names:
        if {f"{name}_X", f"{name}_Y"} <= set(table.columns):
            return f"{name}_X", f"{name}_Y"
    raise TableError(
        f"{table.path} has no column {names[0]}_X or {names[0]}_Y; it has: "
        f"{', '.join(table.columns)}"
    )


def _object_numbers(table: Table, values: pd.DataFrame) -> np.ndarray:
    names = [f"{prefix}{name}" for prefix in _PREFIXES for name in _NUMBERS]
    name = next((name for name in names if name in table.columns), None)
    if name is None:
        return np.arange(1, len(values) + 1)
    if name not in values:
        raise TableError(f"{table.path} has texts in its column {name}; expected whole numbers")
    numbers = values[name].to_numpy(np.float64)
    wrong = ~(np.isfinite(numbers) & (numbers == np.floor(numbers)))
    if wrong.any():
        raise TableError(
            f"{table.path} has no whole number in row {int(values.index[wrong][0]) + 1} of the "
            f"column {name}; every object must have its own"
        )
    if len(np.unique(numbers)) != len(numbers):
        first = next(n for n in numbers.tolist() if (numbers == n).sum() > 1)
        raise SiteError(f"{table.path} has the object {first:.0f} twice in its column {name}")
    result: np.ndarray = numbers.astype(np.int64)
    return result
