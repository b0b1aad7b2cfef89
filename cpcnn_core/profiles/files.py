"""Tables of profiles as this field keeps them: parquet, CSV, AnnData."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from cpcnn_core.atomic import write_atomically
from cpcnn_core.errors import DependencyError, ProfileError
from cpcnn_core.tables.columns import metadata_column
from cpcnn_core.tables.profiles import Profiles

# What features are called by cpcnn, CellProfiler, pycytominer and CytoTable.
FEATURE_PREFIXES = ("Cells", "Nuclei", "Cytoplasm", "CPCNN", "PC_")
# In CellProfiler's spreadsheets deep features stand without the objects' name: DINOv2S_000.
DEEP = re.compile(r"[A-Za-z][A-Za-z0-9]*_\d{3,}")
# What our CellProfiler module says of objects beside a library's treatments. Profiles that held
# it would have seen what they are tested on.
LIKENESSES = ("Like_Controls", "Like_Treatment")
FORMATS = (".parquet", ".csv", ".csv.gz", ".h5ad")
ROWS_AT_A_TIME = 8192
MISSING = ("", "NA", "NaN", "nan", "NULL", "None")


def read_profiles(path: str | Path, prefixes: Sequence[str] = FEATURE_PREFIXES) -> Profiles:
    """Read a table of cells, wells or treatments.

    Parameters
    ----------
    path : str or Path
        ``.parquet``, ``.csv``, ``.csv.gz`` or ``.h5ad``.
    prefixes : sequence of str
        Columns of numbers whose name begins with one of these are features, and those of
        any model in CellProfiler's spreadsheets (``DINOv2S_000``); the likenesses to
        treatments that CellProfiler's module writes are not. All others are metadata;
        those that lack ``Metadata_`` get it (``Image_Metadata_Well``, CellProfiler's, becomes
        ``Metadata_Well``).

    Returns
    -------
    Profiles
        Metadata of parquet and AnnData as they are, those of CSV as text.

    Raises
    ------
    ProfileError
        No such file, another format, no rows or no features.
    DependencyError
        AnnData is not installed.

    Examples
    --------
    >>> read_profiles("nowhere.parquet")
    Traceback (most recent call last):
    cpcnn_core.errors.ProfileError: there is no table nowhere.parquet
    """
    path = Path(path)
    if not path.is_file():
        raise ProfileError(f"there is no table {path}")
    if path.suffix == ".h5ad":
        return _read_anndata(path)
    try:
        if path.suffix == ".parquet":
            table = parquet.read_table(path)
            return _profiles(table.to_pandas(), prefixes, path, _provenance(table.schema))
        if path.name.endswith((".csv", ".csv.gz")):
            return _profiles(_read_csv(path, prefixes), prefixes, path, {})
    except (OSError, EOFError, ValueError, pa.ArrowException) as error:
        if isinstance(error, ProfileError):
            raise
        raise ProfileError(f"{path} cannot be read as a table: {error}") from error
    raise ProfileError(f"expected a table of {', '.join(FORMATS)}, got {path}")


def iterate_profiles(
    path: str | Path, prefixes: Sequence[str] = FEATURE_PREFIXES
) -> Iterator[Profiles]:
    """Read a table in parts, so that a plate of cells need not fit into memory.

    Parquet comes in parts of at most 8192 rows, other formats in one.

    Examples
    --------
    >>> list(iterate_profiles("nowhere.csv"))
    Traceback (most recent call last):
    cpcnn_core.errors.ProfileError: there is no table nowhere.csv
    """
    path = Path(path)
    if path.suffix != ".parquet" or not path.is_file():
        yield read_profiles(path, prefixes)
        return
    try:
        with parquet.ParquetFile(path) as file:
            provenance = _provenance(file.schema_arrow)
            for batch in file.iter_batches(ROWS_AT_A_TIME):
                yield _profiles(batch.to_pandas(), prefixes, path, provenance)
    except (OSError, pa.ArrowException) as error:
        raise ProfileError(f"{path} cannot be read as a table: {error}") from error


def write_profiles(profiles: Profiles, path: str | Path) -> None:
    """Write a table whole or not at all; features become float32.

    Parameters
    ----------
    profiles : Profiles
    path : str or Path
        ``.parquet`` (with the provenance inside), ``.csv`` or ``.csv.gz``.

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
    path = Path(path)
    if not path.name.endswith((".parquet", ".csv", ".csv.gz")):
        raise ProfileError(f"expected a table of .parquet, .csv, .csv.gz, got {path}")
    metadata = profiles.metadata.reset_index(drop=True)
    features = pd.DataFrame(profiles.features.astype(np.float32), columns=profiles.feature_names)
    frame = pd.concat([metadata, features], axis=1)
    if path.suffix != ".parquet":
        write_atomically(path, lambda place: frame.to_csv(place, index=False))
        return
    table = pa.Table.from_pandas(frame, preserve_index=False)
    own = json.dumps(profiles.provenance, sort_keys=True)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), "cpcnn": own})
    encoding = dict.fromkeys(profiles.feature_names, "BYTE_STREAM_SPLIT")
    texts = [field.name for field in table.schema if pa.types.is_string(field.type)]
    write_atomically(
        path,
        lambda place: parquet.write_table(
            table, place, compression="zstd", use_dictionary=texts, column_encoding=encoding
        ),
    )


def _is_feature(name: str, prefixes: Sequence[str]) -> bool:
    known = name.startswith(tuple(prefixes)) or DEEP.fullmatch(name) is not None
    return known and not name.endswith(LIKENESSES)


def _provenance(schema: pa.Schema) -> dict[str, object]:
    return json.loads((schema.metadata or {}).get(b"cpcnn", b"{}"))


def _read_csv(path: Path, prefixes: Sequence[str]) -> pd.DataFrame:
    names = pd.read_csv(path, nrows=0).columns
    features = [name for name in names if _is_feature(name, prefixes)]
    # "NA" may be a treatment's name; among features it is a missing value.
    return pd.read_csv(
        path,
        dtype={name: str for name in names if name not in features},
        keep_default_na=False,
        na_values=dict.fromkeys(features, MISSING),
        float_precision="round_trip",
        low_memory=False,
    )


def _profiles(
    frame: pd.DataFrame, prefixes: Sequence[str], path: Path, provenance: dict[str, object]
) -> Profiles:
    names = [
        name
        for name in frame.columns
        if _is_feature(name, prefixes) and pd.api.types.is_numeric_dtype(frame[name])
    ]
    if not names:
        raise ProfileError(
            f"{path} has no features: no column of numbers begins with {', '.join(prefixes)}; "
            f"it has {', '.join(map(str, frame.columns[:8]))}, ..."
        )
    if not len(frame):
        raise ProfileError(f"{path} has no rows")
    metadata = frame.drop(columns=names)
    metadata.columns = [metadata_column(name.removeprefix("Image_")) for name in metadata.columns]
    return Profiles(frame[names].to_numpy(), metadata.reset_index(drop=True), names, provenance)


def _read_anndata(path: Path) -> Profiles:
    try:
        import anndata
    except ImportError as error:
        raise DependencyError(
            "AnnData tables need anndata; install it with: pip install 'cpcnn[anndata]'"
        ) from error
    try:
        table = anndata.read_h5ad(path)
    except (OSError, ValueError, KeyError) as error:
        raise ProfileError(f"{path} cannot be read as AnnData: {error}") from error
    metadata = table.obs.reset_index(drop=True)
    metadata.columns = [metadata_column(name) for name in metadata.columns]
    # Categories are for reading fast; what is kept here are values.
    metadata = metadata.astype(
        {name: object for name, kind in metadata.dtypes.items() if kind == "category"}
    )
    features = table.X.toarray() if hasattr(table.X, "toarray") else np.asarray(table.X)
    own = table.uns.get("feature_extraction_provenance", {})
    names = {"version": "cpcnn", "sha256": "model_sha256"}
    provenance = {names.get(key, key): str(value) for key, value in own.items()}
    return Profiles(features, metadata, list(table.var_names), provenance)
