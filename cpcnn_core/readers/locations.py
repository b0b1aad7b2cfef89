"""Object positions from DeepProfiler's location files, ``<plate>/<well>-<site>-Nuclei.csv``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cpcnn_core.errors import SiteError, TableError
from cpcnn_core.readers.keys import KeyIndex
from cpcnn_core.readers.numbers import number_of
from cpcnn_core.readers.object_sources import (
    ObjectSource,
    ScreenRows,
    key_of,
    none_found,
    otherwise_spelt,
    without_centre,
)
from cpcnn_core.readers.sites import Objects
from cpcnn_core.readers.tables import Table, open_table

END = "-Nuclei.csv"
# What DeepProfiler itself reads, then what CellProfiler's own tables have.
_PREFIXES = ("Nuclei_", "")
_CENTERS = ("Location_Center", "AreaShape_Center")
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


class LocationFiles(ObjectSource):
    """A folder of location files.

    Parameters
    ----------
    folder : Path

    Examples
    --------
    >>> LocationFiles(Path("nowhere")).file_of(("P1", "A01", "1")) is None
    True
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        # Files of sites that are spelt otherwise there; looked for once, when one is missing.
        self._others: tuple[KeyIndex, list[Path]] | None = None

    def match(self, screen: ScreenRows) -> None:
        """See `ObjectSource.match`."""
        files = [(self._plain(key), self.file_of(key)) for key in screen.keys]
        self.notices = otherwise_spelt(files, "location files")
        self.notices += none_found(files, "location file", self._folder, screen.source)

    def __call__(self, number: int, metadata: Mapping[str, str]) -> Objects | None:  # noqa: ARG002
        """See `ObjectSource.__call__`."""
        path = self.file_of(key_of(metadata))
        return None if path is None else read_locations(path)

    def files(self, metadata: Mapping[str, str]) -> tuple[Path, ...]:
        """See `ObjectSource.files`."""
        path = self.file_of(key_of(metadata))
        return () if path is None else (path,)

    def file_of(self, key: tuple[str, ...]) -> Path | None:
        """Return the location file of a site, however plate, well and site are spelt.

        Raises
        ------
        SiteError
            Two files whose names differ in spelling only.
        """
        path = self._plain(key)
        if path.is_file():
            return path
        if self._others is None:
            self._others = _index_files(self._folder)
        index, paths = self._others
        place = index.get(key)
        return None if place is None else paths[place]

    def _plain(self, key: tuple[str, ...]) -> Path:
        plate, well, site = key
        return self._folder / plate / f"{well}-{site}{END}"


def _index_files(folder: Path) -> tuple[KeyIndex, list[Path]]:
    paths = sorted(folder.glob(f"*/*-*{END}"))
    keys = [(p.parent.name, *p.name.removesuffix(END).rsplit("-", 1)) for p in paths]
    return KeyIndex(keys, folder), paths


def read_locations(path: str | Path) -> Objects | None:
    """Read one location file; None where there is none.

    Returns
    -------
    Objects
        Numbered as the file says (``ObjectNumber``, ``Nuclei_ObjectNumber``, ...), else from 1
        to n. `locations`: x and y, then every other column in its order, int64 where all of
        them are whole, else float64; for DeepProfiler's own files what it stores itself
        (REFERENCE c). An object without a centre is named and left out.

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
    if np.isinf(positions).any():
        row = int(values.index[np.isinf(positions).any(axis=1)][0])
        raise TableError(f"{path} has an infinite position in row {row + 1}; expected pixels")
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
    names = [f"{prefix}{kind}" for kind in _CENTERS for prefix in _PREFIXES]
    for name in names:
        if {f"{name}_X", f"{name}_Y"} <= set(table.columns):
            return f"{name}_X", f"{name}_Y"
    raise TableError(
        f"{table.path} has no column {names[0]}_X or {names[0]}_Y; it has: "
        f"{', '.join(table.columns)}"
    )


def _object_numbers(table: Table, values) -> np.ndarray:  # noqa: ANN001  (a pandas.DataFrame)
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
            f"column {name}; every object shall have one of its own"
        )
    if len(np.unique(numbers)) != len(numbers):
        first = next(n for n in numbers.tolist() if (numbers == n).sum() > 1)
        raise SiteError(f"{table.path} has the object {first:.0f} twice in its column {name}")
    return numbers.astype(np.int64)
