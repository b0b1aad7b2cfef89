"""All cells of a plate in one wide parquet file, written site by site.

Columns: ``Metadata_*`` first (text, but for numbers and positions), then the features
``<Compartment>_CPCNN_<000>`` as float32 in byte-stream-split encoding, compressed with
zstd. The file's own metadata hold, under ``cpcnn``, the provenance as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cpcnn_core.errors import DependencyError
from cpcnn_core.io.atomic import write_atomically
from cpcnn_core.io.parquet_files import open_parquet, parquet_writer
from cpcnn_core.schema.cells import CELL_COLUMNS
from cpcnn_core.schema.columns import MODEL, PLATE, metadata_column

if TYPE_CHECKING:
    from types import ModuleType

    from pyarrow import Schema, Table

    from cpcnn_core.io.deepprofiler_npz import SiteTable

# Rows are gathered up to this many before they are written: a row group for each
# site of a few cells would make a large and slow file.
ROWS_PER_GROUP = 8192


def write_plate(
    path: str | Path,
    sites: Iterable[SiteTable],
    metadata_names: Sequence[str],
    provenance: Mapping[str, str],
    names: Sequence[str],
) -> int:
    """Write the sites of a plate, in the order they come; equal sites give equal bytes.

    Parameters
    ----------
    path : str or Path
    sites : iterable of SiteTable
        Read one after the other: memory is that of a row group.
    metadata_names : sequence of str
        Names of the sites' metadata, which become ``Metadata_`` columns; a site that
        lacks one has an empty text there.
    provenance : dict of str to str
    names : sequence of str
        Of the features; see `cpcnn_core.schema.columns.feature_names`.

    Returns
    -------
    int
        Number of cells written.

    Raises
    ------
    DependencyError
        pyarrow is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from cpcnn_core.io.deepprofiler_npz import SiteTable
    >>> known, centers = {"Plate": "P1", "Well": "A01", "Site": "1"}, np.array([[20.5, 7.0]])
    >>> site = SiteTable(np.ones((1, 2), "f4"), known, centers, np.array([1]), np.array([True]), {})
    >>> names = ["Cells_CPCNN_000", "Cells_CPCNN_001"]
    >>> write_plate("P1.parquet", [site], list(known), {}, names)
    1
    """
    pa = _import_pyarrow()
    schema = _schema(pa, metadata_names, names, provenance)
    count = 0

    def write(temporary: Path) -> None:
        nonlocal count
        with parquet_writer(
            temporary,
            schema,
            use_dictionary=[f.name for f in schema if f.type == pa.string()],
            column_encoding=dict.fromkeys(names, "BYTE_STREAM_SPLIT"),
        ) as writer:
            waiting: list[Table] = []
            for site in sites:
                waiting.append(_table(pa, site, metadata_names, names, schema))
                count += len(site.features)
                if sum(len(table) for table in waiting) >= ROWS_PER_GROUP:
                    writer.write_table(pa.concat_tables(waiting))
                    waiting.clear()
            if waiting:
                writer.write_table(pa.concat_tables(waiting))

    write_atomically(path, write)
    return count


def parquet_plate(path: str | Path) -> str | None:
    """Return the plate of a table that `write_plate` wrote; None for any other file.

    Examples
    --------
    >>> parquet_plate("nowhere.parquet") is None
    True
    """
    pa = _import_pyarrow()
    try:
        with open_parquet(path) as file:
            schema = file.schema_arrow
            ours = b"cpcnn" in (schema.metadata or {}) and {PLATE, *CELL_COLUMNS} <= {*schema.names}
            plates = file.read([PLATE])[PLATE].unique().to_pylist() if ours else []
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return None
    return plates[0] if len(plates) == 1 else None


def _schema(
    pa: ModuleType,
    metadata_names: Sequence[str],
    names: Sequence[str],
    provenance: Mapping[str, str],
) -> Schema:
    texts = [pa.field(metadata_column(name), pa.string()) for name in metadata_names]
    numbers = [pa.field(name, pa.from_numpy_dtype(t)) for name, t in CELL_COLUMNS.items()]
    fields = [*texts, *numbers, pa.field(MODEL, pa.string())]
    fields += [pa.field(name, pa.float32()) for name in names]
    own = json.dumps(dict(provenance), sort_keys=True)
    return pa.schema(fields, metadata={"cpcnn": own})


def _table(
    pa: ModuleType,
    site: SiteTable,
    metadata_names: Sequence[str],
    names: Sequence[str],
    schema: Schema,
) -> Table:
    rows = len(site.features)
    columns = [
        pa.array([values] * rows if isinstance(values, str) else values)
        for values in site.columns(metadata_names).values()
    ]
    columns += [pa.array(site.features[:, i]) for i in range(len(names))]
    return pa.Table.from_arrays(columns, schema=schema)


def _import_pyarrow() -> ModuleType:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise DependencyError(
            "parquet tables need pyarrow; install it with: pip install pyarrow"
        ) from error
    module: ModuleType = pa
    return module
