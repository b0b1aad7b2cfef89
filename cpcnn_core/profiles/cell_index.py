"""A screen's cells, up to millions, searched for those that look alike."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from cpcnn_core.errors import DependencyError, ProfileError
from cpcnn_core.io.atomic import write_atomically
from cpcnn_core.io.json_files import parse_json
from cpcnn_core.io.parquet_files import as_frame, open_parquet, write_parquet
from cpcnn_core.io.profile_files import iterate_profiles
from cpcnn_core.profiles.checks import check_same_features
from cpcnn_core.profiles.correction import Correction
from cpcnn_core.profiles.correction_files import file_sha256
from cpcnn_core.profiles.similarity import unit_length
from cpcnn_core.schema.profiles import Profiles

if TYPE_CHECKING:
    from types import ModuleType

    import faiss

INDEX_FILE, CELLS_FILE = "cells.faiss", "cells.parquet"
# Cells that the division into regions is learned from, for every region.
TRAINING_CELLS = 50
# A search looks at this fraction of the regions, those nearest to the query.
SEARCHED_FRACTION, MIN_SEARCHED = 1 / 16, 8


@dataclass(frozen=True)
class CellIndex:
    """Cells by the direction of their features; made by `build_cell_index`.

    Attributes
    ----------
    index : faiss.Index
        Unit vectors in half precision, in regions: the nearest that are found are all but
        always the nearest there are.
    cells : pandas.DataFrame
        Metadata, a row for every cell.
    feature_names : list of d str
    provenance : dict

    Examples
    --------
    >>> wells.to_frame().to_parquet("P1.parquet")
    >>> _ = build_cell_index(["P1.parquet"], "index")
    >>> found = CellIndex.load("index").nearest(wells.features[:1], 3)
    >>> found["Metadata_Well"].tolist(), found["similarity"].round(2).tolist()
    (['A01', 'D01', 'D03'], [1.0, 0.78, 0.74])
    """

    index: faiss.Index
    cells: pd.DataFrame
    feature_names: list[str]
    provenance: dict[str, object]

    def nearest(self, query: np.ndarray, count: int = 10) -> pd.DataFrame:
        """Return the cells that look most like the query.

        Parameters
        ----------
        query : ndarray of shape (n, d)
            Features of cells or of anything else of the same kind; the mean of their
            directions is compared.
        count : int

        Returns
        -------
        pandas.DataFrame
            ``similarity`` (cosine, within 0.001) and the cells' metadata, the nearest first.

        Raises
        ------
        ProfileError
            Another number of features, NaN, no direction.
        """
        if count < 1:
            raise ProfileError(f"expected at least 1 cell to be found, got {count}")
        query = check_same_features(query, len(self.feature_names))
        direction = unit_length(unit_length(query).mean(axis=0, keepdims=True))
        similarity, rows = self.index.search(direction.astype(np.float32), count)
        # Where there are fewer cells than asked for, faiss fills up with -1.
        there = rows[0] >= 0
        found = self.cells.iloc[rows[0][there]].reset_index(drop=True)
        found.insert(0, "similarity", similarity[0][there].astype(float))
        return found

    @staticmethod
    def load(folder: str | Path) -> CellIndex:
        """Read what `build_cell_index` wrote.

        Raises
        ------
        ProfileError
            There is no index, or it is damaged.
        DependencyError
            faiss is not installed.
        """
        faiss, folder = _import_faiss(), Path(folder)
        for name in (INDEX_FILE, CELLS_FILE):
            if not (folder / name).is_file():
                raise ProfileError(f"there is no index of cells in {folder}: {name} is missing")
        try:
            with open_parquet(folder / CELLS_FILE) as file:
                table = file.read()
            made = parse_json(table.schema.metadata[b"cpcnn"])
            # faiss takes what it reads for true: a damaged file would end this process.
            if made.get("index_sha256", "") != file_sha256(folder / INDEX_FILE):
                raise ProfileError(
                    f"{folder / INDEX_FILE} is not what was written with {CELLS_FILE}: it is "
                    "damaged, or an earlier cpcnn made it; build the index again"
                )
            index = faiss.read_index(str(folder / INDEX_FILE))
        except (
            RuntimeError,
            OSError,
            ValueError,
            LookupError,
            TypeError,
            pa.ArrowException,
        ) as error:
            raise ProfileError(f"{folder} cannot be read as an index of cells: {error}") from error
        return CellIndex(index, as_frame(table), made["feature_names"], made["provenance"])


def build_cell_index(
    tables: Sequence[str | Path], folder: str | Path, correction: Correction | None = None
) -> CellIndex:
    """Index the cells of some tables.

    Parameters
    ----------
    tables : sequence of str or Path
        Of cells, see `cpcnn_core.io.profile_files.read_profiles`; read three times, in parts.
    folder : str or Path
        Two files are written to it.
    correction : Correction, optional
        Applied to the cells; queries have to be corrected alike.

    Returns
    -------
    CellIndex

    Raises
    ------
    ProfileError
        No tables, tables with different features, NaN, a cell of zeros.
    DependencyError
        faiss is not installed.

    Notes
    -----
    Johnson, Douze, Jegou, "Billion-scale similarity search with GPUs", IEEE Transactions on
    Big Data 2021: an inverted file (IVF) over vectors in half precision, 1.3 kB a cell.

    Examples
    --------
    >>> wells.to_frame().to_parquet("P1.parquet")
    >>> len(build_cell_index(["P1.parquet"], "index").cells)
    48
    """
    faiss, folder = _import_faiss(), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    total = sum(len(part.metadata) for part in _parts(tables, None))
    if not total:
        raise ProfileError("an index of cells needs tables with cells; none was given")
    regions = max(1, int(np.sqrt(total)))
    sample = _sample(tables, correction, total, TRAINING_CELLS * regions)
    quantizer = faiss.IndexFlatIP(sample.shape[1])
    index = faiss.IndexIVFScalarQuantizer(
        quantizer,
        sample.shape[1],
        regions,
        faiss.ScalarQuantizer.QT_fp16,
        faiss.METRIC_INNER_PRODUCT,
    )
    index.train(sample)
    index.nprobe = min(regions, max(MIN_SEARCHED, int(regions * SEARCHED_FRACTION)))
    rows, names, provenance = [], [], {}
    for part in _parts(tables, correction):
        index.add(unit_length(part.features).astype(np.float32))
        rows.append(part.metadata)
        names, provenance = part.feature_names, part.provenance
    cells = pd.concat(rows, ignore_index=True)
    write_atomically(folder / INDEX_FILE, lambda place: faiss.write_index(index, str(place)))
    made = {"feature_names": names, "provenance": provenance}
    made["index_sha256"] = file_sha256(folder / INDEX_FILE)
    table = pa.Table.from_pandas(cells, preserve_index=False)
    table = table.replace_schema_metadata({**table.schema.metadata, "cpcnn": json.dumps(made)})
    write_atomically(folder / CELLS_FILE, lambda place: write_parquet(place, table))
    return CellIndex(index, cells, names, provenance)


def _parts(tables: Sequence[str | Path], correction: Correction | None) -> Iterator[Profiles]:
    names = None
    for path in tables:
        for part in iterate_profiles(path):
            if names is not None and part.feature_names != names:
                raise ProfileError(f"{path} has other features than the tables before it")
            names = part.feature_names
            yield part if correction is None else correction.transform(part)


def _sample(
    tables: Sequence[str | Path], correction: Correction | None, total: int, wanted: int
) -> np.ndarray:
    """Return cells drawn from all tables, as unit vectors float32."""
    random = np.random.default_rng(0)
    chosen = np.sort(random.choice(total, min(total, wanted), replace=False))
    found, start = [], 0
    for part in _parts(tables, correction):
        stop = start + len(part.metadata)
        mine = chosen[(chosen >= start) & (chosen < stop)] - start
        if len(mine):
            found.append(unit_length(part.features[mine]).astype(np.float32))
        start = stop
    return np.concatenate(found)


def _import_faiss() -> ModuleType:
    try:
        import faiss
    except ImportError as error:
        raise DependencyError(
            "an index of cells needs faiss; install it with: pip install 'cpcnn[index]'"
        ) from error
    module: ModuleType = faiss
    return module
