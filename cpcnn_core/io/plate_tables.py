"""All cells of a plate in one file, written site by site: a wide parquet file, or AnnData.

Parquet has the columns ``Metadata_*`` first (text, but for numbers and positions), then the
features ``<Compartment>_CPCNN_<000>`` as float32 in byte-stream-split encoding, compressed with
zstd. The file's own metadata hold, under ``cpcnn``, the provenance as JSON.

AnnData (``.h5ad``) has:

=========================== =====================================================
X                           (n, d) float32, the features
obs                         the ``Metadata_*`` columns, texts as categories, and
                            ``Metadata_CellKey`` (plate/well/site/object); row names
                            are whole numbers as text, which pycytominer asks for
var                         compartment, family, feature_index; names as in parquet
obsm["spatial"]             (n, 2) float64: x, y in pixels
uns                         schema_id, processing_stage, aggregation,
                            feature_extraction_provenance
=========================== =====================================================
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from cpcnn_core.errors import DependencyError
from cpcnn_core.io.atomic import write_atomically
from cpcnn_core.io.hdf5 import check_all, create_hdf5, has_member, member
from cpcnn_core.io.json_files import read_json
from cpcnn_core.io.parquet_files import open_parquet, parquet_writer
from cpcnn_core.io.untrusted_files import ReadingError, read_elsewhere
from cpcnn_core.schema.cells import CELL_COLUMNS
from cpcnn_core.schema.columns import CENTER_X, CENTER_Y, MODEL, PLATE, metadata_column

if TYPE_CHECKING:
    from types import ModuleType

    import pandas as pd
    from pyarrow import Schema, Table

    from cpcnn_core.io.deepprofiler_npz import SiteTable
    from cpcnn_core.io.untrusted_files import Allow

# Rows are gathered up to this many before they are written: a row group for each
# site of a few cells would make a large and slow file.
ROWS_PER_GROUP = 8192
# Of AnnData, as `uns` tells it.
SCHEMA = "cpcnn.cells.1"
# A chunk of HDF5: 1024 cells of 672 features are 2.6 MiB.
ROWS_PER_CHUNK = 1024
_UNS = {"schema_id", "processing_stage", "aggregation", "feature_extraction_provenance"}
_EMPTY = ("layers", "obsp", "varm", "varp")
_PLATE = "plate.json"


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
    schema = _arrow_schema(pa, metadata_names, names, provenance)
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
                waiting.append(_arrow_table(pa, site, metadata_names, names, schema))
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


def require_anndata() -> None:
    """Raise `DependencyError` where the package anndata is missing.

    Examples
    --------
    >>> require_anndata()
    """
    if importlib.util.find_spec("anndata") is None:
        raise DependencyError(
            "AnnData tables need the package anndata; install it with: pip install anndata"
        )


def write_plate_anndata(
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
        Read one after the other. Memory: one site's features, and the metadata of all.
    metadata_names : sequence of str
        Names of the sites' metadata, which become ``Metadata_`` columns of obs; a site
        that lacks one has an empty text there.
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
        anndata is not installed.

    Examples
    --------
    >>> from cpcnn_core.io.deepprofiler_npz import SiteTable
    >>> known, centers = {"Plate": "P1", "Well": "A01", "Site": "1"}, np.array([[20.5, 7.0]])
    >>> site = SiteTable(np.ones((1, 2), "f4"), known, centers, np.array([1]), np.array([True]), {})
    >>> names = ["Cells_CPCNN_000", "Cells_CPCNN_001"]
    >>> write_plate_anndata("P1.h5ad", [site], list(known), {}, names)
    1
    >>> with h5py.File("P1.h5ad") as file:
    ...     file["X"].shape
    (1, 2)
    """
    require_anndata()
    count = 0

    def write(temporary: Path) -> None:
        nonlocal count
        with create_hdf5(temporary) as (file, place):
            # What anndata itself writes at these places.
            file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
            chunks = (ROWS_PER_CHUNK, len(names))
            features = file.create_dataset(
                "X", (0, len(names)), np.float32, maxshape=(None, len(names)), chunks=chunks
            )
            features.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
            rows = _Rows()
            for site in sites:
                features.resize(rows.count + len(site.features), axis=0)
                features[rows.count :] = site.features
                place.check()
                rows.add(site, metadata_names)
            count = rows.count
            _write_frames(file, rows, names, provenance)

    write_atomically(path, write)
    return count


def anndata_plate(path: str | Path) -> str | None:
    """Return the plate of a file that `write_plate_anndata` wrote; None for any other.

    A file that was added to since, such as a map of the cells, counts as another. The file
    is opened by another Python: a damaged one may crash its library.

    Examples
    --------
    >>> anndata_plate("nowhere.h5ad") is None
    True
    """
    try:
        with read_elsewhere(__name__, path) as folder:
            plate: str | None = read_json(folder / _PLATE)
    except (OSError, ReadingError):
        return None
    return plate


def read_here(path: Path, folder: Path, allow: Allow) -> None:
    """Read a file as `anndata_plate` returns it, and write that to a folder.

    Parameters
    ----------
    path, folder : Path
    allow : callable (int)
        See `cpcnn_core.io.untrusted_files`.
    """
    with h5py.File(path, "r") as file:
        allow(check_all(file))
        uns, made = member(file, "uns"), member(file, "uns/feature_extraction_provenance")
        ours = member(made, "tool").asstr()[()] == "cpcnn" and {*uns} == _UNS
        plates = member(file, f"obs/{PLATE}/categories").asstr()[()].tolist()
        added = any(has_member(file, name) and len(member(file, name)) for name in _EMPTY)
        untouched = {*member(file, "obsm")} == {"spatial"} and not added
    plate = plates[0] if ours and untouched and len(plates) == 1 else None
    (folder / _PLATE).write_text(json.dumps(plate), encoding="utf-8")


def _arrow_schema(
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


def _arrow_table(
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


class _Rows:
    """The metadata of the cells so far: numbers in full, texts once per site."""

    def __init__(self) -> None:
        self.count = 0
        self._cells: list[int] = []
        self._columns: dict[str, list[str | np.ndarray]] = {}

    def add(self, site: SiteTable, metadata_names: Sequence[str]) -> None:
        self.count += len(site.features)
        self._cells.append(len(site.features))
        for name, values in site.columns(metadata_names).items():
            self._columns.setdefault(name, []).append(values)

    def frame(self) -> pd.DataFrame:
        import pandas as pd

        columns = {
            name: np.concatenate(values)
            if name in CELL_COLUMNS
            else pd.Categorical(values).repeat(self._cells)
            for name, values in self._columns.items()
        }
        key = [f"Metadata_{name}" for name in ("Plate", "Well", "Site", "ObjectNumber")]
        if columns:
            parts = zip(*(columns[name] for name in key), strict=True)
            columns["Metadata_CellKey"] = ["/".join(map(str, part)) for part in parts]
        index = pd.RangeIndex(self.count).astype(str)
        return pd.DataFrame(columns, index=index)


def _write_frames(
    file: h5py.File, rows: _Rows, names: Sequence[str], provenance: Mapping[str, str]
) -> None:
    import pandas as pd
    from anndata.io import write_elem

    obs = rows.frame()
    compartment, family, _ = names[0].split("_")
    var = {
        "compartment": pd.Categorical([compartment] * len(names)),
        "family": pd.Categorical([family] * len(names)),
        "feature_index": np.arange(len(names)),
    }
    place = [CENTER_X, CENTER_Y]
    made = dict(provenance)
    uns = {
        "schema_id": SCHEMA,
        "processing_stage": "raw",
        "aggregation": {"method": "none", "source_level": "cell"},
        "feature_extraction_provenance": {
            "tool": "cpcnn",
            "version": made.pop("cpcnn", ""),
            "model": made.pop("model", ""),
            "sha256": made.pop("model_sha256", ""),
            **made,
        },
    }
    write_elem(file, "obs", obs)
    write_elem(file, "var", pd.DataFrame(var, index=names))
    write_elem(file, "obsm", {"spatial": obs.reindex(columns=place).to_numpy(np.float64)})
    write_elem(file, "uns", uns)
    for empty in _EMPTY:
        write_elem(file, empty, {})
