"""Plate, well and site: what tables call them, and which spellings mean the same.

Programs change them on the way: CellProfiler writes the plate ``000123`` as ``123``, pandas
the site ``1`` as ``1.0``, people the well ``A01`` as ``a1``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from cpcnn_core.errors import TableError

KEYS = ("Plate", "Well", "Site")
# Other names of the same thing, without Metadata_ or Image_ in front, signs and letter case.
SYNONYMS = {
    "Plate": (
        "plate",
        "plateid",
        "platename",
        "platenumber",
        "platebarcode",
        "barcode",
        "assayplatebarcode",
    ),
    "Well": ("well", "wellid", "wellname", "wellposition", "wellposn", "wellpos"),
    "Site": (
        "site",
        "siteid",
        "sitenumber",
        "field",
        "fieldid",
        "fieldindex",
        "fieldnumber",
        "fieldofview",
        "fov",
        "fovid",
        "imagesite",
    ),
}
_NUMBER = re.compile(r"0*(\d+)(?:\.0*)?")
_WELL = re.compile(r"([A-Za-z]{1,2})[ _-]?0*(\d+)")


def normal_number(text: str) -> str:
    """Spell a number one way: without leading zeros and ``.0``; other texts stay.

    Examples
    --------
    >>> [normal_number(text) for text in ("000123", "1.0", " 01", "0", "P01")]
    ['123', '1', '1', '0', 'P01']
    """
    text = text.strip()
    found = _NUMBER.fullmatch(text)
    return found[1] if found else text


def normal_well(text: str) -> str:
    """Spell a well one way: a capital row and a column without padding.

    Examples
    --------
    >>> [normal_well(text) for text in ("a1", "A01", "A001", "AF-03", "7.0")]
    ['A1', 'A1', 'A1', 'AF3', '7']
    """
    text = text.strip()
    found = _WELL.fullmatch(text)
    return f"{found[1].upper()}{found[2]}" if found else normal_number(text)


def normal_key(key: Sequence[str], names: Sequence[str] = KEYS) -> tuple[str, ...]:
    """Spell plate, well and site, or those of them that are named, one way.

    Examples
    --------
    >>> normal_key(("000123", "a1", "1.0"))
    ('123', 'A1', '1')
    >>> normal_key(("A01",), ("Well",))
    ('A1',)
    """
    return tuple(
        normal_well(text) if name == "Well" else normal_number(text)
        for name, text in zip(names, key, strict=True)
    )


def key_of_column(column: str) -> str | None:
    """Return which of `KEYS` a column's name says it holds; None where it says none.

    Examples
    --------
    >>> key_of_column("Metadata_well_position"), key_of_column("Image_Metadata_FieldID")
    ('Well', 'Site')
    >>> key_of_column("Metadata_Dose") is None
    True
    """
    text = _plain(column)
    return next((name for name in KEYS if text in SYNONYMS[name]), None)


def find_key(name: str, columns: Iterable[str], source: object) -> str | None:
    """Return the column that holds plates, wells or sites, whatever it is called.

    Parameters
    ----------
    name : str
        One of `KEYS`.
    columns : iterable of str
    source : object
        Where they come from, for the message.

    Returns
    -------
    str or None
        ``Metadata_Plate`` before all others, then the only one that `SYNONYMS` knows.

    Raises
    ------
    TableError
        Several columns, of which none is called as it should be.

    Examples
    --------
    >>> find_key("Site", ["Metadata_Well", "Image_Metadata_FieldID"], "Image.csv")
    'Image_Metadata_FieldID'
    >>> find_key("Site", ["Field", "FOV"], "Image.csv")
    Traceback (most recent call last):
    cpcnn_core.errors.TableError: Image.csv has Field, FOV, which may all be the site; call ...
    """
    plain = {column: _plain(column) for column in columns}
    for exact in (f"Metadata_{name}", f"Image_Metadata_{name}", name):
        if exact in plain:
            return exact
    found = [column for column, text in plain.items() if text in SYNONYMS[name]]
    if len(found) > 1:
        raise TableError(
            f"{source} has {', '.join(found)}, which may all be the {name.lower()}; call the right "
            f"one Metadata_{name}"
        )
    return found[0] if found else None


def find_keys(
    columns: Iterable[str], source: object, names: Sequence[str] = KEYS
) -> dict[str, str]:
    """Return the columns of plate, well and site, of those that are there.

    Raises
    ------
    TableError
        As `find_key`.

    Examples
    --------
    >>> find_keys(["Plate", "well_position", "Treatment"], "platemap.csv")
    {'Plate': 'Plate', 'Well': 'well_position'}
    """
    columns = list(columns)
    found = {name: find_key(name, columns, source) for name in names}
    return {name: column for name, column in found.items() if column is not None}


class KeyIndex:
    """Keys of a table's rows, found again however they are spelt.

    Parameters
    ----------
    keys : iterable of tuple of str
        One for each row, from row 1.
    source : object
        The table, for messages.
    names : sequence of str
        What the parts of a key are, of `KEYS`.

    Raises
    ------
    TableError
        A key twice, or two that differ only in their spelling.

    Examples
    --------
    >>> index = KeyIndex([("000123", "A01", "1"), ("000123", "A02", "1")], "load_data.csv")
    >>> index.get(("123", "a2", "1.0")), index.get(("123", "H12", "1")), index.first
    (1, None, '000123/A01/1')
    >>> KeyIndex([("1", "A01", "1"), ("01", "a1", "1")], "load_data.csv")
    Traceback (most recent call last):
    cpcnn_core.errors.TableError: load_data.csv has site 1/A01/1 in row 1 and 01/a1/1 in row 2, ...
    """

    def __init__(
        self, keys: Iterable[Sequence[str]], source: object, names: Sequence[str] = KEYS
    ) -> None:
        self._names = tuple(names)
        self._keys: list[tuple[str, ...]] = []
        self._places: dict[tuple[str, ...], int] = {}
        for place, key in enumerate(map(tuple, keys)):
            before = self._places.setdefault(normal_key(key, self._names), place)
            self._keys.append(key)
            if before != place:
                what = "site" if "Site" in self._names else "the well"
                raise TableError(
                    _told_twice(f"{source} has {what}", self._keys[before], before, key, place)
                )

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        return iter(self._keys)

    def get(self, key: Sequence[str]) -> int | None:
        """Return the place of a key, from 0, or None."""
        return self._places.get(normal_key(key, self._names))

    @property
    def first(self) -> str:
        """The first key as it is spelt, for messages; empty where there is none."""
        return "/".join(self._keys[0]) if self._keys else ""


def _told_twice(
    start: str, one: tuple[str, ...], first: int, other: tuple[str, ...], second: int
) -> str:
    if one == other:
        return (
            f"{start} {'/'.join(one)} twice, in its rows {first + 1} and {second + 1}; it "
            "must be there only once"
        )
    return (
        f"{start} {'/'.join(one)} in row {first + 1} and {'/'.join(other)} in row "
        f"{second + 1}, which other programs write alike; call them by names that differ in more "
        "than zeros and letter case"
    )


def _plain(column: str) -> str:
    column = column.strip().casefold().removeprefix("image_").removeprefix("metadata_")
    return re.sub(r"[^a-z0-9]", "", column)
