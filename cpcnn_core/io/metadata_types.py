"""Content of the columns of metadata: numbers, names, or nothing.

A column of texts holds numbers when all that is there are plain numbers, such as ``10``,
``0.5`` or ``1e-3``, none with a leading zero, and its name is not that of an identifier:
plate, well, site, barcode, ``..._id``, InChIKey, ... (see `is_identifier`). So doses, counts
and concentrations compare and add, and the plate ``000123`` keeps its zeros. What says that
there is no value (`cpcnn_core.io.numbers.MISSING`: empty, NA, nan, NULL, None, ...) is
NaN among numbers and an empty text among texts, unless the caller says that it is a name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from cpcnn_core.errors import TableError
from cpcnn_core.io.numbers import is_missing
from cpcnn_core.io.site_keys import key_of_column
from cpcnn_core.schema.columns import PLATE, SITE, WELL, metadata_column
from cpcnn_core.schema.values import plain_values, texts_of
from cpcnn_core.user_messages import counted

# More digits than a float holds are a name. So is 1E5, which may be a well or a clone: programs
# write numbers as 1e+05.
PLAIN_NUMBER = (
    r"^-?(?:(?:0|[1-9][0-9]{0,14})(?:\.[0-9]*)?|\.[0-9]+)"
    r"(?:[eE][+-][0-9]{1,2})?$"
)
_IDENTIFIER = re.compile(
    r"(?:^|[_\W])(?i:ids?|cid)$|[a-z0-9]I[Dd]s?$"
    r"|(?i:barcode|code|name|sample|inchi|inchikey|smiles|jcp2022|treatment|compound|gene"
    r"|perturbation|reagent|pert_iname)$"
)


@dataclass(frozen=True)
class MetadataTypes:
    """Content of the columns of a table; made by `learn_types`.

    Attributes
    ----------
    numbers : frozenset of str
        Columns of texts that hold numbers.
    keep_labels : frozenset of str
        Texts that are names, although they look as if there were none.
    missing : mapping of str to mapping of str to int
        How often a column of texts says that there is no value, by what it says.
    """

    numbers: frozenset[str] = frozenset()
    keep_labels: frozenset[str] = frozenset()
    missing: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def apply(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the frame, or some of its rows, with values of these types."""
        columns = {name: self._values(values, str(name)) for name, values in frame.items()}
        return pd.DataFrame(columns, columns=frame.columns, index=frame.index)

    def _values(self, column: pd.Series, name: str) -> np.ndarray | pd.Series:
        values = plain_values(column)
        if values.dtype.kind in "biufc" and name not in (PLATE, WELL, SITE):
            return values
        if values.dtype.kind in "mM":
            return values
        codes, unique = pd.factorize(texts_of(column))
        keep = self.keep_labels
        known = ["" if is_missing(text) and text not in keep else text for text in unique]
        return (_numbers(known) if name in self.numbers else np.array(known, object))[codes]

    def said_missing(self, columns: Collection[str]) -> str:
        """Say which columns have no value although their cells are not empty."""
        found = {
            name: {text: count for text, count in self.missing.get(name, {}).items() if text}
            for name in columns
            if name not in self.numbers
        }
        return "; ".join(f"{name}: {counted(texts)}" for name, texts in found.items() if texts)


def learn_types(frame: pd.DataFrame, keep_labels: Collection[str] = ()) -> MetadataTypes:
    """Learn what the columns of a table hold, from all of its rows.

    Parameters
    ----------
    frame : pandas.DataFrame
        Columns of texts, also categorical; others are of a type already.
    keep_labels : collection of str
        Texts that are names, such as ``NA``, although they look as if there were none.

    Returns
    -------
    MetadataTypes

    Examples
    --------
    >>> frame = pd.DataFrame({"Metadata_Plate": ["010", "010"], "Metadata_Dose": ["10", "NA"]})
    >>> types = learn_types(frame)
    >>> types.apply(frame).values.tolist()
    [['010', 10.0], ['010', nan]]
    >>> types.missing
    {'Metadata_Dose': {'NA': 1}}
    """
    keep = frozenset(keep_labels)
    numbers, missing = set(), {}
    for name, column in frame.items():
        if plain_values(column).dtype.kind != "O":
            continue
        codes, unique = pd.factorize(texts_of(column))
        counts = dict(zip(unique, np.bincount(codes).tolist(), strict=True))
        absent = {text: n for text, n in counts.items() if is_missing(text) and text not in keep}
        if absent:
            missing[str(name)] = absent
        if not is_identifier(str(name)) and _are_numbers([t for t in unique if t not in absent]):
            numbers.add(str(name))
    return MetadataTypes(frozenset(numbers), keep, missing)


def metadata_named(frame: pd.DataFrame, path: object) -> pd.DataFrame:
    """Give columns their names of metadata; two that become one have to be the same.

    Raises
    ------
    TableError

    Examples
    --------
    >>> frame = pd.DataFrame({"Image_Metadata_Well": ["A01"], "Dose": [1]})
    >>> list(metadata_named(frame, "wells.csv").columns)
    ['Metadata_Well', 'Metadata_Dose']
    """
    names: dict[str, str] = {}
    for name in frame.columns:
        first = names.setdefault(metadata_column(name.removeprefix("Image_")), name)
        if first != name and not frame[first].equals(frame[name]):
            raise TableError(
                f"{path} has the columns {first} and {name}, which mean the same and differ; "
                "leave one of them out"
            )
    return frame[list(names.values())].set_axis(list(names), axis=1)


def is_identifier(name: str) -> bool:
    """Tell from its name whether a column holds names, even if they look like numbers.

    Examples
    --------
    >>> [is_identifier(name) for name in ("Metadata_Plate", "broad_sample", "GeneID", "pert_id")]
    [True, True, True, True]
    >>> [is_identifier(name) for name in ("Metadata_Dose", "CellCount", "Lipid", "Batch")]
    [False, False, False, False]
    """
    return key_of_column(name) is not None or _IDENTIFIER.search(name) is not None


def canonical_label(text: str) -> str:
    """Spell a label one way, if it is a plain number; other texts stay.

    Examples
    --------
    >>> [canonical_label(text) for text in ("7157", "7157.0", "0.50", "007", "taxol")]
    ['7157', '7157', '0.5', '007', 'taxol']
    """
    if not re.match(PLAIN_NUMBER, text):
        return text
    number = float(text)
    return str(int(number)) if number.is_integer() else str(number)


def _are_numbers(texts: list[str]) -> bool:
    if not texts:
        return False
    return bool(pc.all(pc.match_substring_regex(pa.array(texts), PLAIN_NUMBER)).as_py())


def _numbers(texts: list[str]) -> np.ndarray:
    known = pa.array([text or None for text in texts], pa.string())
    values = pc.cast(known, pa.float64()).to_numpy(zero_copy_only=False)
    whole = np.isfinite(values).all() and (values == np.floor(values)).all()
    result: np.ndarray = (
        values.astype(np.int64) if whole and np.abs(values).max(initial=0) < 2**53 else values
    )
    return result
