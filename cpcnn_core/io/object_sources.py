"""Where the objects of a screen's sites are: asked site by site, checked against all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cpcnn_core.errors import SiteError, TableError, some_of
from cpcnn_core.io.atomic import is_temporary
from cpcnn_core.io.site_keys import KEYS, KeyIndex
from cpcnn_core.io.sites import Objects

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ScreenRows:
    """The sites in the rows of a screen's table, as needed to look their objects up.

    Attributes
    ----------
    source : Path
        The table.
    keys : KeyIndex
        Plate, well and site of every row.
    files : sequence of dict of str to str
        File names of every row, without folders, by the image's name.

    Examples
    --------
    >>> keys = KeyIndex([("P1", "A01", "1")], "load_data.csv")
    >>> ScreenRows(Path("load_data.csv"), keys, [{"OrigDNA": "a.tif"}]).keys.first
    'P1/A01/1'
    """

    source: Path
    keys: KeyIndex
    files: Sequence[Mapping[str, str]]


def base_name(file: str) -> str:
    r"""Return a file's name without its folder, on whichever system it was written.

    Examples
    --------
    >>> base_name(r"D:\images\a.tif"), base_name("images/a.tif")
    ('a.tif', 'a.tif')
    """
    return file.replace("\\", "/").rpartition("/")[2]


class ObjectSource:
    """Looks the objects of a site up; a format's own class says how.

    Attributes
    ----------
    notices : list of str
        What a reader of the results has to know of how objects were found; complete after
        `match`.
    """

    def __init__(self) -> None:
        self.notices: list[str] = []

    def match(self, screen: ScreenRows) -> None:
        """Find out how the sites of a screen are told apart here, before any is asked for.

        Raises
        ------
        SiteError
            None of them is here, or they cannot be told apart.
        """

    def __call__(self, number: int, metadata: Mapping[str, str]) -> Objects | None:
        """Return the objects of a site, or None where it has none on record.

        Parameters
        ----------
        number : int
            The row of the screen's table, from 1.
        metadata : mapping of str to str
            Plate, Well, Site and what else is known of it.
        """
        raise NotImplementedError

    def files(self, metadata: Mapping[str, str]) -> tuple[Path, ...]:  # noqa: ARG002
        """Return the files that tell of this site alone: see `Site.object_files`."""
        return ()


class SiteFiles(ObjectSource):
    """Objects in a file for every site, which is found however plate, well and site are spelt.

    A format's own class says what a site's file is called, which others there are, and how
    one is read.

    Parameters
    ----------
    what : str
        What the files are.
    folder : Path
        In or below which all of them are.
    """

    def __init__(self, what: str, folder: Path) -> None:
        super().__init__()
        self._what, self._folder = what, folder
        # Files of sites that are spelt otherwise there; looked for once, when one is missing.
        self._others: tuple[KeyIndex, list[Path]] | None = None

    def match(self, screen: ScreenRows) -> None:
        """See `ObjectSource.match`."""
        if not set(self.names()) <= set(KEYS):
            return
        sites = [dict(zip(KEYS, key, strict=True)) for key in screen.keys]
        files = [(self.plain_file(site), self.file_of(site)) for site in sites]
        self.notices = otherwise_spelt(files, f"{self._what}s")
        self.notices += none_found(files, self._what, self._folder, screen.source)

    def __call__(self, number: int, metadata: Mapping[str, str]) -> Objects | None:  # noqa: ARG002
        """See `ObjectSource.__call__`."""
        path = self.file_of(metadata)
        return None if path is None else self.read(path)

    def files(self, metadata: Mapping[str, str]) -> tuple[Path, ...]:
        """See `ObjectSource.files`."""
        path = self.file_of(metadata)
        return () if path is None else (path,)

    def file_of(self, metadata: Mapping[str, str]) -> Path | None:
        """Return the file of a site, however plate, well and site are spelt in its name.

        Raises
        ------
        SiteError
            The name asks for something that is unknown of the site, or two files differ in
            spelling only.
        """
        path, names = self.plain_file(metadata), self.names()
        if path.is_file():
            return path
        if not names or not set(names) <= set(KEYS):
            return None
        if self._others is None:
            self._others = self.all_files()
        index, paths = self._others
        place = index.get([metadata[name] for name in names])
        return None if place is None else paths[place]

    def names(self) -> list[str]:
        """Return which parts of a site's key are in the files' names."""
        return list(KEYS)

    def plain_file(self, metadata: Mapping[str, str]) -> Path:
        """Return what a site's file should be called."""
        raise NotImplementedError

    def all_files(self) -> tuple[KeyIndex, list[Path]]:
        """Return all files that are there, and what their names say, in one order."""
        raise NotImplementedError

    def read(self, path: Path) -> Objects | None:
        """Read a site's file."""
        raise NotImplementedError


def key_of(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Return plate, well and site.

    Examples
    --------
    >>> key_of({"Site": "1", "Well": "A01", "Plate": "P1", "Dose": "10"})
    ('P1', 'A01', '1')
    """
    return tuple(metadata[name] for name in KEYS)


def missing_sites(screen: ScreenRows, there: KeyIndex, source: object) -> list[str]:
    """Say which sites of a screen are not in another table.

    Returns
    -------
    list of str
        Empty where all are; else one sentence.

    Raises
    ------
    SiteError
        None is; shows a key of each.

    Examples
    --------
    >>> screen = ScreenRows(Path("l.csv"), KeyIndex([("P1", "A01", "1")], "l.csv"), [{}])
    >>> missing_sites(screen, KeyIndex([("P2", "A01", "1")], "Image.csv"), "Image.csv")
    Traceback (most recent call last):
    cpcnn_core.errors.SiteError: no plate, well and site of l.csv is in Image.csv: P1/A01/1 there...
    """
    missing = ["/".join(key) for key in screen.keys if there.get(key) is None]
    if not missing:
        return []
    if len(missing) == len(screen.keys):
        raise SiteError(
            f"no plate, well and site of {screen.source.name} is in {source}: "
            f"{screen.keys.first} there, {there.first or 'no site at all'} here; call them the "
            "same in both"
        )
    return [f"{len(missing)} of {len(screen.keys)} sites are not in {source}: {some_of(missing)}"]


def refuse_infinite(positions: pd.DataFrame, source: object) -> None:
    """Raise where an object has an infinite position; its index numbers the rows from 0.

    Raises
    ------
    TableError
        Names the row.

    Examples
    --------
    >>> import pandas as pd
    >>> refuse_infinite(pd.DataFrame({"row": [1.0, np.inf]}), "Nuclei.csv")
    Traceback (most recent call last):
    cpcnn_core.errors.TableError: Nuclei.csv has an infinite position in row 2; expected pixels
    """
    endless = np.isinf(positions.to_numpy(np.float64)).any(axis=1)
    if endless.any():
        row = int(positions.index[endless][0]) + 1
        raise TableError(f"{source} has an infinite position in row {row}; expected pixels")


def without_centre(numbers: Sequence[int], source: Path) -> tuple[str, ...]:
    """Name the objects of a site that are on record without a centre.

    Examples
    --------
    >>> without_centre([2], Path("Nuclei.csv"))
    ('an object has no centre in Nuclei.csv, so no features: 2',)
    """
    if not len(numbers):
        return ()
    what = "an object has" if len(numbers) == 1 else f"{len(numbers)} objects have"
    return (f"{what} no centre in {source.name}, so no features: {some_of(numbers)}",)


def otherwise_spelt(files: Sequence[tuple[Path, Path | None]], what: str) -> list[str]:
    """Say how many files were found by another spelling of their site.

    Parameters
    ----------
    files : sequence of (Path, Path or None)
        What a site's file should be called, and what was found.
    what : str
        What the files are.

    Examples
    --------
    >>> otherwise_spelt([(Path("P1_A01_1.tif"), Path("P1_a1_1.tif"))], "label images")
    ['1 of 1 label images are named by another spelling of plate, well or site: P1_a1_1.tif']
    """
    other = [found.name for plain, found in files if found is not None and found != plain]
    if not other:
        return []
    spelling = "are named by another spelling of plate, well or site"
    return [f"{len(other)} of {len(files)} {what} {spelling}: {some_of(other)}"]


def none_found(
    files: Sequence[tuple[Path, Path | None]], what: str, folder: Path, source: Path
) -> list[str]:
    """Say it where no site of a screen has its file: then they are called otherwise.

    Parameters
    ----------
    files : sequence of (Path, Path or None)
        What a site's file should be called, and what was found.
    what : str
        What the files are.
    folder : Path
        In or below which all of them should be.
    source : Path
        The screen's table.

    Returns
    -------
    list of str
        Empty where one is found; else the first name that was expected, and a file that is
        there.

    Examples
    --------
    >>> files = [(Path("nowhere/P1_A01_1.tif"), None)]
    >>> none_found(files, "label image", Path("nowhere"), Path("l.csv"))
    ['no site of l.csv has a label image: expected nowhere/P1_A01_1.tif, say; there is no ...']
    """
    if not files or any(found is not None for _, found in files):
        return []
    if folder.is_dir():
        others = (p for p in folder.rglob("*") if p.is_file() and not is_temporary(p))
        there = f"{folder} has {next(others, None) or 'no file'}"
    else:
        there = f"there is no folder {folder}"
    return [f"no site of {source.name} has a {what}: expected {files[0][0]}, say; {there}"]
