"""The objects of a run of CellProfiler, in a table or database, and the image sets they are of."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cpcnn_core.errors import SiteError, some_of
from cpcnn_core.io.cellprofiler_tables import (
    COL,
    COUNT,
    IMAGE,
    OBJECT,
    ROW,
    RUN,
    find_image_table,
    read_image_rows,
    read_object_rows,
    split_name,
)
from cpcnn_core.io.database_tables import DatabaseTable, table_names
from cpcnn_core.io.formats import SQLITE, first_bytes
from cpcnn_core.io.object_sources import (
    ObjectSource,
    ScreenRows,
    base_name,
    key_of,
    missing_sites,
    without_centre,
)
from cpcnn_core.io.site_keys import KEYS, KeyIndex, normal_key
from cpcnn_core.io.sites import Objects
from cpcnn_core.io.tables import open_table

if TYPE_CHECKING:
    import pandas as pd

_NO_ROWS = np.zeros(0, np.int64)


def read_measured(path: Path, objects: str) -> MeasuredObjects:
    """Read one table of objects, or a database, with its table of images.

    Raises
    ------
    SiteError
        See `cpcnn_core.io.cellprofiler_objects.objects_from_cellprofiler`.

    Examples
    --------
    >>> import pandas as pd
    >>> site = {"Plate": "P1", "Well": "A01", "Site": "1"}
    >>> row = {f"Metadata_{name}": value for name, value in site.items()}
    >>> row |= {"ObjectNumber": 1, "AreaShape_Center_X": 20.5, "AreaShape_Center_Y": 7}
    >>> pd.DataFrame([row]).to_csv("Nuclei.csv", index=False)
    >>> read_measured(Path("Nuclei.csv"), "Nuclei")(1, site).centers
    array([[ 7. , 20.5]])
    """
    if SQLITE.fits(first_bytes(path)) or path.suffix.lower() in SQLITE.endings:
        names = table_names(path)
        image_name = _table(path, names, ("Per_Image", "Image"))
        image_table = DatabaseTable(path, image_name)
        table = DatabaseTable(path, _table(path, names, (f"Per_{objects}", "Per_Object", objects)))
        return MeasuredObjects(
            path, read_object_rows(table, objects), read_image_rows(image_table, objects), path
        )
    rows = read_object_rows(open_table(path), objects)
    try:
        image_path, called = find_image_table(path, objects)
    except SiteError:
        if not _says_sites(rows):
            raise
        image_path = None
    if image_path is None:
        measured = MeasuredObjects(path, rows, None, path)
    else:
        images = read_image_rows(open_table(image_path), called)
        measured = MeasuredObjects(path, rows, images, image_path)
    measured.notices += _said_of_end(path)
    return measured


class MeasuredObjects(ObjectSource):
    """The objects of a run of CellProfiler.

    Parameters
    ----------
    path : Path
        Of the objects, for messages.
    objects : pandas.DataFrame
        See `read_object_rows`.
    images : pandas.DataFrame or None
        See `read_image_rows`; None where there are none.
    image_path : Path
        Of the images, for messages.

    Raises
    ------
    SiteError
        The two tables contradict each other.

    Examples
    --------
    >>> import pandas as pd
    >>> site = {"Plate": "P1", "Well": "A01", "Site": "1"}
    >>> row = {**site, "run": "", "image": 1, "object": 1, "row": 7.0, "col": 20.5}
    >>> source = MeasuredObjects(Path("Nuclei.csv"), pd.DataFrame([row]), None, Path("Nuclei.csv"))
    >>> source(1, site).centers
    array([[ 7. , 20.5]])
    """

    def __init__(
        self, path: Path, objects: pd.DataFrame, images: pd.DataFrame | None, image_path: Path
    ) -> None:
        super().__init__()
        own = _says_sites(objects)
        if own:
            objects = self._leave_nameless(objects, path)
        if images is None or (own and not _says_sites(images)):
            # Image sets without objects are unknown.
            by = list(KEYS) if own else [RUN, IMAGE]
            images, image_path = objects.drop_duplicates(by).assign(**{COUNT: np.nan}), path
        self._path, self._image_path = path, image_path
        # Where only one of the tables was given a TableNumber.
        if (objects[RUN] == "").all() and images[IMAGE].is_unique:
            images = images.assign(**{RUN: ""})
        if (images[RUN] == "").all() and len(objects[RUN].unique()) == 1:
            objects = objects.assign(**{RUN: ""})
        keyed = _says_sites(images)
        if keyed:
            # What failed before its metadata were known has no objects either.
            images = images[(images[list(KEYS)] != "").any(axis=1)]
        self._sets = images.reset_index(drop=True)
        self._objects = _without_filling(objects, self._sets) if not own else objects
        self._keys = KeyIndex(_key_rows(self._sets), image_path) if keyed else None
        if not keyed:
            self._refuse_several_runs()
        self._place_of = {number: place for place, number in enumerate(self._sets[IMAGE])}
        self._rows_of = self._group_objects(own)
        # A frame would take as long for a site as for all of them.
        self._centers = self._objects[[ROW, COL]].to_numpy(np.float64)
        self._numbers = self._objects[OBJECT].to_numpy(np.int64)
        self._refuse_other_counts()

    @property
    def keys(self) -> KeyIndex | None:
        """Plate, well and site of the image sets, where they are known."""
        return self._keys

    def match(self, screen: ScreenRows) -> None:
        """See `ObjectSource.match`."""
        if self._keys is not None:
            self.notices += missing_sites(screen, self._keys, self._image_path.name)
            return
        self._refuse_other_places(screen)
        self._refuse_other_keys(screen)
        self._refuse_other_files(screen)
        self.notices.append(
            f"{self._path.name}: objects were matched to the rows of {screen.source.name} by "
            f"their place, image set 1 to row 1 and so on: {self._image_path.name} does not "
            "say plate, well and site"
        )

    def __call__(self, number: int, metadata: Mapping[str, str]) -> Objects | None:
        """See `ObjectSource.__call__`."""
        if self._keys is not None:
            place = self._keys.get(key_of(metadata))
        else:
            place = self._place_of.get(number)
        return None if place is None else self._objects_at(place)

    def only_set(self) -> Objects:
        """Return the objects of the only image set there is.

        Raises
        ------
        SiteError
            There are several.
        """
        if len(self._sets) > 1:
            raise SiteError(
                f"{self._path} has {len(self._sets)} image sets; expected that of one site"
            )
        if not len(self._sets):
            return Objects(np.zeros((0, 2)), np.zeros(0, np.int64))
        return self._objects_at(0)

    def _objects_at(self, place: int) -> Objects:
        rows = self._rows_of.get(place, _NO_ROWS)
        centers, numbers = self._centers[rows], self._numbers[rows]
        placed = np.isfinite(centers).all(axis=1)
        centers = centers[placed]
        return Objects(
            centers,
            numbers[placed],
            locations=centers[:, ::-1],
            image_number=int(self._sets[IMAGE].iloc[place]),
            notes=without_centre(numbers[~placed].tolist(), self._path),
        )

    def _leave_nameless(self, objects: pd.DataFrame, path: Path) -> pd.DataFrame:
        nameless = (objects[list(KEYS)] == "").any(axis=1)
        if nameless.any():
            pairs = zip(objects[nameless][IMAGE], objects[nameless][OBJECT], strict=True)
            names = [f"object {number} of image set {image}" for image, number in pairs]
            self.notices.append(
                f"{path.name} does not say plate, well and site of every object, so no features: "
                f"{some_of(names)}"
            )
        return objects[~nameless].reset_index(drop=True)

    def _group_objects(self, own: bool) -> dict[int, np.ndarray]:
        """Return the rows of the objects of every image set, by its place."""
        names: Sequence[tuple[Any, ...]]
        places: dict[tuple[Any, ...], int | None]
        if own and self._keys is not None:
            names = _key_rows(self._objects)
            places = {key: self._keys.get(key) for key in set(names)}
            self._refuse_contradiction(places)
        else:
            names = _set_rows(self._objects)
            places = {pair: place for place, pair in enumerate(_set_rows(self._sets))}
        lost = next((name for name in names if places.get(name) is None), None)
        if lost is not None:
            what = "/".join(map(str, lost)) if own else f"image set {lost[1]}"
            raise SiteError(
                f"{self._path} has objects of {what}, which {self._image_path.name} does not "
                f"have{'' if self._keys is None else ', or has without plate, well and site'}; "
                "give both tables of one run"
            )
        return _groups(np.array([places[name] for name in names], np.int64))

    def _refuse_contradiction(self, places: Mapping[tuple[str, ...], int | None]) -> None:
        """Compare the numbers of the image sets where both tables say plate, well and site."""
        numbers = self._sets[IMAGE].tolist()
        said = self._objects.drop_duplicates([*KEYS, IMAGE])
        for key, number in zip(_key_rows(said), said[IMAGE], strict=True):
            place = places[key]
            if place is not None and number != numbers[place]:
                raise SiteError(
                    f"{self._path} says that {'/'.join(key)} is image set {number}, and "
                    f"{self._image_path.name} that it is {numbers[place]}; give both tables of one "
                    "run"
                )

    def _refuse_several_runs(self) -> None:
        runs = self._sets[RUN].unique()
        if len(runs) > 1:
            raise SiteError(
                f"{self._path} has the tables of {len(runs)} runs (TableNumber {some_of(runs)}), "
                "and nothing says plate, well and site of their image sets; export these, too"
            )

    def _refuse_other_counts(self) -> None:
        """Notice a table that was cut."""
        for place, (number, count) in enumerate(
            zip(self._sets[IMAGE], self._sets[COUNT], strict=True)
        ):
            there = len(self._rows_of.get(place, ()))
            if np.isfinite(count) and there != count:
                raise SiteError(
                    f"{self._path} has {there} objects of image set {number}, "
                    f"{self._image_path.name} counts {count:g}; the table is cut, or of another "
                    "run: export both again"
                )

    def _refuse_other_places(self, screen: ScreenRows) -> None:
        count, found = len(screen.keys), sorted(self._place_of)
        if found != list(range(1, count + 1)):
            here = f"{len(found)} image sets, {found[0]} to {found[-1]}" if found else "none"
            raise SiteError(
                f"{self._image_path.name} does not say plate, well and site of its image sets, so "
                f"they would have to be the rows of {screen.source.name} one by one; but these "
                f"are {count}, and here are {here}; export Metadata_Plate, Metadata_Well and "
                "Metadata_Site with the measurements of images"
            )

    def _refuse_other_keys(self, screen: ScreenRows) -> None:
        """Compare what is known of plate, well and site, which alone finds no site."""
        keys = list(screen.keys)
        for table, path in ((self._sets, self._image_path), (self._objects, self._path)):
            names = [name for name in KEYS if name in table]
            said = table.drop_duplicates([IMAGE, *names])
            for number, *key in said[[IMAGE, *names]].itertuples(index=False, name=None):
                here = dict(zip(names, key, strict=True))
                there = dict(zip(KEYS, keys[number - 1], strict=True))
                for name in names:
                    if here[name] and _normal(name, here) != _normal(name, there):
                        raise SiteError(
                            f"{path.name} does not say all of plate, well and site, and its image "
                            f"set {number} is not row {number} of {screen.source.name}: {name} is "
                            f"{here[name]} here and {there[name]} there; export all three"
                        )

    def _refuse_other_files(self, screen: ScreenRows) -> None:
        rows = self._sets.set_index(IMAGE)
        columns = {c.removeprefix("FileName_"): c for c in rows if c.startswith("FileName_")}
        for number, files in enumerate(screen.files, start=1):
            measured = {image: rows.loc[number, column] for image, column in columns.items()}
            measured = {image: base_name(name) for image, name in measured.items() if name}
            other = sorted(i for i in files.keys() & measured if files[i] != measured[i])
            if not (files.keys() & measured or set(files.values()) & set(measured.values())):
                # Called otherwise in both tables, but one file of them has to be the same.
                other = sorted(measured)
            if files and other:
                there = files.get(other[0], "none of its files")
                raise SiteError(
                    f"{self._image_path.name} does not say plate, well and site, and its image "
                    f"set {number} is not row {number} of {screen.source.name}: {other[0]} is "
                    f"{measured[other[0]]} here and {there} there; give the table that "
                    "CellProfiler measured, or export the metadata"
                )


def _says_sites(table: pd.DataFrame) -> bool:
    return set(KEYS) <= set(table)


def _normal(name: str, known: Mapping[str, str]) -> tuple[str, ...]:
    return normal_key((known[name],), (name,))


def _said_of_end(path: Path) -> list[str]:
    """Doubt a table of text that does not end with its last line; programs end all of theirs."""
    if split_name(path)[1].lower() not in (".csv", ".tsv", ".txt"):
        return []
    with path.open("rb") as file:
        file.seek(-min(2, path.stat().st_size), os.SEEK_END)
        if set(file.read()) & set(b"\r\n"):
            return []
    return [
        (
            f"{path.name} does not end with a line break: if it was cut off, the position of "
            "its last object is wrong, and others are missing"
        )
    ]


def _without_filling(objects: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """Leave out rows that only fill up a table of several kinds of objects.

    CellProfiler numbers objects from 1 to their count; what has a higher number, and no
    centre, is a row of the other kinds.
    """
    counts = objects[[RUN, IMAGE]].merge(images[[RUN, IMAGE, COUNT]], how="left")[COUNT]
    filling = objects[ROW].isna().to_numpy() & (objects[OBJECT].to_numpy() > counts.to_numpy())
    return objects[~filling].reset_index(drop=True)


def _key_rows(frame: pd.DataFrame) -> list[tuple[str, ...]]:
    return list(frame[list(KEYS)].itertuples(index=False, name=None))


def _set_rows(frame: pd.DataFrame) -> list[tuple[str, int]]:
    return list(zip(frame[RUN], frame[IMAGE], strict=True))


def _groups(places: np.ndarray) -> dict[int, np.ndarray]:
    """Return the rows of every place, in their order."""
    order = np.argsort(places, kind="stable")
    there, starts = np.unique(places[order], return_index=True)
    return dict(zip(there.tolist(), np.split(order, starts[1:]), strict=len(there) > 0))


def _table(path: Path, names: list[str], ends: tuple[str, ...]) -> str:
    for end in ends:
        found = [name for name in names if name == end]
        found = found or [name for name in names if name.endswith(f"_{end}")]
        if len(found) == 1:
            return found[0]
        if found:
            raise SiteError(
                f"{path} has several tables {end}: {', '.join(found)}; export one run to a file "
                "of its own"
            )
    raise SiteError(
        f"{path} has no table {' or '.join(ends)}; it has: {', '.join(sorted(names)) or 'none'}"
    )
