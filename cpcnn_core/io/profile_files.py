"""Tables of profiles as this field keeps them: CSV and other text, parquet, Feather, AnnData."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from cpcnn_core.errors import ProfileError, TableError
from cpcnn_core.io.anndata_files import is_anndata, read_anndata
from cpcnn_core.io.atomic import write_atomically
from cpcnn_core.io.columnar import ColumnarTable
from cpcnn_core.io.json_files import parse_json
from cpcnn_core.io.metadata_types import MetadataTypes, learn_types, metadata_named
from cpcnn_core.io.parquet_files import write_parquet
from cpcnn_core.io.site_keys import key_of_column
from cpcnn_core.io.spreadsheets import write_csv
from cpcnn_core.io.tables import FileTable, open_table
from cpcnn_core.schema.profiles import Profiles
from cpcnn_core.schema.values import arrow_table
from cpcnn_core.user_messages import Tell, listed, some, warn

# What features are called by cpcnn, CellProfiler, pycytominer and CytoTable.
FEATURE_PREFIXES = ("Cells", "Nuclei", "Cytoplasm", "CPCNN", "PC_")
# In CellProfiler's spreadsheets deep features lack the objects' name: DINOv2S_000.
DEEP = re.compile(r"(?!Metadata_)[A-Za-z][A-Za-z0-9]*_\d{3,}")
# What our CellProfiler module says of objects beside a library's treatments. Profiles that held
# it would have seen what they are tested on.
LIKENESSES = ("Like_Controls", "Like_Treatment")
# What CellProfiler says of objects that is text by nature.
_TEXTS = re.compile(r"_(?:Metadata|FileName|PathName|URL|MD5Digest)(?:_|$)")
# Numbers that are never measurements.
_COUNTED = ("ImageNumber", "ObjectNumber", "TableNumber")
ROWS_AT_A_TIME = 8192
_WRITTEN = (".parquet", ".csv", ".csv.gz")
# Says that the types of the metadata are as they were in memory.
_TYPED = b"cpcnn_typed"


def read_profiles(
    path: str | Path,
    prefixes: Sequence[str] = FEATURE_PREFIXES,
    *,
    keep_labels: Collection[str] = (),
    tell: Tell = warn,
) -> Profiles:
    """Read a table of cells, wells or treatments.

    Parameters
    ----------
    path : str or Path
        Text separated by commas, semicolons or tabs, also compressed; parquet; Feather
        (`cpcnn_core.io.tables.open_table`); or AnnData (``.h5ad``).
    prefixes : sequence of str
        Columns whose name begins with one of these are features, and those of any model in
        CellProfiler's spreadsheets (``DINOv2S_000``); the similarities to treatments that
        CellProfiler's module writes are not, nor are names of files. All others are
        metadata; those that lack ``Metadata_`` get it (``Image_Metadata_Well``,
        CellProfiler's, becomes ``Metadata_Well``).
    keep_labels : collection of str
        Texts such as ``NA`` that are names here, see `cpcnn_core.io.metadata_types`.
    tell : callable
        Takes one sentence: which columns of numbers are taken for metadata, which texts mean
        missing labels.

    Returns
    -------
    Profiles
        What is missing among features (`cpcnn_core.io.numbers.MISSING`) is NaN.
        Metadata are numbers or texts as `cpcnn_core.io.metadata_types` says; plate, well and
        site are texts. Tables of `write_profiles` in parquet come back as they were.

    Raises
    ------
    ProfileError
        No such file, no table, no rows or no features, a feature that is no number (names
        column, row and value), two columns that become one.
    DependencyError
        AnnData is not installed.

    Examples
    --------
    >>> read_profiles("nowhere.parquet")
    Traceback (most recent call last):
    cpcnn_core.errors.TableError: there is no table nowhere.parquet
    """
    path = _existing(path)
    if is_anndata(path):
        profiles = _typed_anndata(path, keep_labels, tell)
    else:
        layout = _layout(path, prefixes)
        parts = list(layout.table.parts(layout.metadata, layout.features))
        if not parts:
            raise TableError(f"{path} has no rows")
        frame = pd.concat([values for values, _ in parts], ignore_index=True)
        features = np.concatenate([numbers for _, numbers in parts])
        types = MetadataTypes() if layout.typed else learn_types(frame, keep_labels)
        _tell_of_metadata(layout, types, tell)
        profiles = _profiles(layout, types, frame, features)
    if not len(profiles.metadata):
        raise TableError(f"{path} has no rows")
    return profiles


def iterate_profiles(
    path: str | Path,
    prefixes: Sequence[str] = FEATURE_PREFIXES,
    *,
    keep_labels: Collection[str] = (),
    tell: Tell = warn,
) -> Iterator[Profiles]:
    """Read a table in parts, so that a plate of cells need not fit into memory.

    Parquet and Feather come in parts of at most 8192 rows, text in parts of 16 MiB, AnnData
    in one. A table without rows has no parts.

    Parameters
    ----------
    path, prefixes, keep_labels, tell
        As in `read_profiles`.

    Yields
    ------
    Profiles

    Raises
    ------
    ProfileError, DependencyError
        As `read_profiles`.

    Examples
    --------
    >>> list(iterate_profiles("nowhere.csv"))
    Traceback (most recent call last):
    cpcnn_core.errors.TableError: there is no table nowhere.csv
    """
    path = _existing(path)
    if is_anndata(path):
        whole = _typed_anndata(path, keep_labels, tell)
        if len(whole.metadata):
            yield whole
        return
    layout = _layout(path, prefixes)
    types = MetadataTypes() if layout.typed else learn_types(_texts(layout), keep_labels)
    _tell_of_metadata(layout, types, tell)
    for values, numbers in layout.table.parts(layout.metadata, layout.features, ROWS_AT_A_TIME):
        part = _profiles(layout, types, values, numbers)
        if len(part.metadata):
            yield part


def require_format(path: str | Path) -> None:
    """Refuse a file that `write_profiles` has no format for.

    Raises
    ------
    ProfileError

    Examples
    --------
    >>> require_format("profiles.parquet")
    """
    if not Path(path).name.endswith(_WRITTEN):
        raise ProfileError(f"expected a table of {', '.join(_WRITTEN)}, got {path}")


def write_profiles(profiles: Profiles, path: str | Path) -> None:
    """Write a table whole or not at all; features become float32.

    Parameters
    ----------
    profiles : Profiles
    path : str or Path
        ``.parquet`` (with the provenance inside), ``.csv`` or ``.csv.gz`` (whose texts are
        written as `cpcnn_core.io.spreadsheets` says).

    Raises
    ------
    ProfileError
        Another format.

    Examples
    --------
    >>> write_profiles(None, "profiles.xlsx")
    Traceback (most recent call last):
    cpcnn_core.errors.ProfileError: expected a table of .parquet, .csv, .csv.gz, got profiles.xlsx
    """
    require_format(path)
    path = Path(path)
    metadata = profiles.metadata.reset_index(drop=True)
    features = pd.DataFrame(profiles.features.astype(np.float32), columns=profiles.feature_names)
    frame = pd.concat([metadata, features], axis=1)
    if path.suffix != ".parquet":
        write_atomically(path, lambda place: write_csv(frame, place))
        return
    table = arrow_table(frame)
    own = json.dumps(profiles.provenance, sort_keys=True)
    made = {**(table.schema.metadata or {}), "cpcnn": own, _TYPED: b"1"}
    table = table.replace_schema_metadata(made)
    encoding = dict.fromkeys(profiles.feature_names, "BYTE_STREAM_SPLIT")
    texts = [field.name for field in table.schema if pa.types.is_string(field.type)]
    write_atomically(
        path,
        lambda place: write_parquet(place, table, use_dictionary=texts, column_encoding=encoding),
    )


@dataclass(frozen=True)
class _Layout:
    """An open table, and which of its columns are what."""

    table: FileTable
    features: list[str]
    metadata: list[str]
    provenance: dict[str, object]
    typed: bool
    default_prefixes: bool


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise TableError(f"there is no table {path}")
    return path


def _layout(path: Path, prefixes: Sequence[str]) -> _Layout:
    table = open_table(path)
    kept = table.schema.metadata or {} if isinstance(table, ColumnarTable) else {}
    features = [name for name in table.columns if is_feature(name, prefixes)]
    if _TYPED in kept and tuple(prefixes) == FEATURE_PREFIXES:
        # What AnnData kept in its X is a feature, whatever it is called.
        features = [name for name in table.columns if not name.startswith("Metadata_")]
    if not features:
        raise TableError(
            f"{path} has no features: no column of numbers begins with {', '.join(prefixes)}; "
            f"it has {', '.join(table.columns[:8])}, ...; if it is no plate, move it out of the "
            "folder, or choose the plates by a pattern"
        )
    twice = sorted({name for name in table.columns if table.columns.count(name) > 1})
    if twice:
        raise TableError(f"{path} has twice the column {listed(twice)}; leave one of them out")
    return _Layout(
        table,
        features,
        [name for name in table.columns if name not in set(features)],
        _provenance(kept, path),
        _TYPED in kept,
        tuple(prefixes) == FEATURE_PREFIXES,
    )


def is_feature(name: str, prefixes: Sequence[str] = FEATURE_PREFIXES) -> bool:
    """Tell from its name whether a column is a feature.

    Examples
    --------
    >>> names = ("Cells_AreaShape_Area", "DINOv2S_000", "Nuclei_FileName_DNA", "Metadata_Well")
    >>> [is_feature(name) for name in names]
    [True, True, False, False]
    """
    known = name.startswith(tuple(prefixes)) or DEEP.fullmatch(name) is not None
    return known and not name.endswith(LIKENESSES) and _TEXTS.search(name) is None


def _provenance(metadata: dict[bytes, bytes], path: Path) -> dict[str, object]:
    try:
        provenance = parse_json(metadata.get(b"cpcnn", b"{}"))
    except ValueError as error:
        raise TableError(f"{path} does not say in JSON what made it: {error}") from error
    if not isinstance(provenance, dict):
        raise TableError(f"{path} says it was made by {provenance!r}; expected names and values")
    return provenance


def _texts(layout: _Layout) -> pd.DataFrame:
    """Return the columns of metadata whose texts may be numbers."""
    names = layout.metadata
    if isinstance(layout.table, ColumnarTable):
        numbers = set(layout.table.numeric_columns())
        names = [name for name in names if name not in numbers]
    return layout.table.texts(names)


def _profiles(
    layout: _Layout, types: MetadataTypes, frame: pd.DataFrame, features: np.ndarray
) -> Profiles:
    metadata = frame if layout.typed else types.apply(frame)
    metadata = metadata_named(metadata, layout.table.path)
    if layout.metadata:
        # Spreadsheets leave empty rows.
        filled = ~(metadata.isna() | (metadata == "")).all(axis=1).to_numpy()
        filled |= ~np.isnan(features).all(axis=1)
        metadata, features = metadata[filled], features[filled]
    return Profiles(features, metadata.reset_index(drop=True), layout.features, layout.provenance)


def _tell_of_metadata(layout: _Layout, types: MetadataTypes, tell: Tell) -> None:
    path = layout.table.path
    text = types.said_missing([name for name in layout.metadata if key_of_column(name) is None])
    if text:
        tell(
            f"{path} has no label where it says so ({text}); a label that is called so is kept "
            "with --keep-label"
        )
    if not layout.default_prefixes:
        return
    numbers = types.numbers
    if isinstance(layout.table, ColumnarTable):
        numbers = numbers.union(layout.table.numeric_columns())
    said = [name for name in layout.metadata if name in numbers and not _is_plainly_metadata(name)]
    if said:
        tell(
            f"{path} has {some(len(said), 'column')} of numbers whose names are not those of "
            f"features, taken for metadata: {listed(said)}"
        )


def _is_plainly_metadata(name: str) -> bool:
    return (
        name.removeprefix("Image_").startswith("Metadata_")
        or name in _COUNTED
        or name.endswith(LIKENESSES)
        or key_of_column(name) is not None
    )


def _typed_anndata(path: Path, keep_labels: Collection[str], tell: Tell) -> Profiles:
    profiles = read_anndata(path)
    types = learn_types(profiles.metadata, keep_labels)
    said = types.said_missing(list(profiles.metadata.columns))
    if said:
        tell(
            f"{path} has no label where it says so ({said}); a label that is called so is kept "
            "with --keep-label"
        )
    metadata = types.apply(profiles.metadata)
    return Profiles(profiles.features, metadata, profiles.feature_names, profiles.provenance)
