"""Tables of profiles kept as AnnData (``.h5ad``)."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from cpcnn_core.errors import DependencyError, TableError
from cpcnn_core.io.archives import open_archive, read_array
from cpcnn_core.io.formats import ANNDATA, first_bytes
from cpcnn_core.io.hdf5 import check_all
from cpcnn_core.io.json_files import read_json
from cpcnn_core.io.metadata_types import metadata_named
from cpcnn_core.io.untrusted_files import ReadingError, is_believable, read_elsewhere, refuse_claim
from cpcnn_core.schema.profiles import Profiles
from cpcnn_core.schema.values import arrow_table
from cpcnn_core.user_messages import listed

if TYPE_CHECKING:
    from cpcnn_core.io.untrusted_files import Allow

_X, _OBS, _ABOUT = "x.npz", "obs.arrow", "about.json"


def is_anndata(path: Path) -> bool:
    """Tell whether a file is kept as AnnData, by its name or its first bytes.

    Examples
    --------
    >>> is_anndata(Path("nowhere.csv"))
    False
    """
    if not path.is_file():
        return False
    return path.suffix in ANNDATA.endings or ANNDATA.fits(first_bytes(path))


def read_anndata(path: Path) -> Profiles:
    """Read ``X`` as features, and ``obs`` as metadata of plain types.

    The file is opened by another Python: a damaged one may crash its library.

    Raises
    ------
    TableError
        No AnnData, no ``X`` of numbers, columns of one name, data kept in other files, or
        more data than a file of this size can hold.
    DependencyError
        AnnData is not installed.

    Examples
    --------
    >>> from cpcnn_core.io.plate_tables import write_plate_anndata
    >>> write_plate_anndata("P1.h5ad", [], ["Plate"], {}, ["Cells_CPCNN_000"])
    0
    >>> read_anndata(Path("P1.h5ad")).feature_names
    ['Cells_CPCNN_000']
    """
    import pyarrow as pa

    if importlib.util.find_spec("anndata") is None:
        raise DependencyError(
            "AnnData tables need anndata; install it with: pip install 'cpcnn[anndata]'"
        )
    try:
        with read_elsewhere(__name__, path) as folder:
            about = read_json(folder / _ABOUT)
            with pa.OSFile(str(folder / _OBS)) as file, pa.ipc.open_file(file) as reader:
                obs = reader.read_all().to_pandas()
            with open_archive(folder / _X) as archive:
                features = read_array(archive, "x")
    except ReadingError as error:
        raise TableError(f"{path} cannot be read as AnnData: {error}") from error
    metadata = metadata_named(obs, path)
    return Profiles(features, metadata, about["features"], about["provenance"])


def read_here(path: Path, folder: Path, allow: Allow) -> None:
    """Read a file as `read_anndata` returns it, and write that to a folder.

    Parameters
    ----------
    path, folder : Path
    allow : callable (int)
        See `cpcnn_core.io.untrusted_files`.
    """
    # anndata can use it, we do not, and it takes longer to load than all else together.
    sys.modules.setdefault("dask", None)  # type: ignore[arg-type]  # what is None is not imported
    import anndata
    import pyarrow as pa

    with h5py.File(path, "r") as file:
        allow(check_all(file) + _dense_bytes(file))
    # It warns of names of rows that are not unique; they are not used.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = anndata.read_h5ad(path)
    obs = table.obs.reset_index(drop=True)
    obs.columns = [str(name).strip() for name in obs.columns]
    names = list(map(str, table.var_names))
    for given in (list(obs.columns), names):
        twice = sorted({name for name in given if given.count(name) > 1})
        if twice:
            raise TableError(f"{path} has twice the column {listed(twice)}; leave one of them out")
    np.savez(folder / _X, x=_features(table.X, path, len(names)))
    kept = arrow_table(obs)
    with pa.OSFile(str(folder / _OBS), "wb") as file, pa.ipc.new_file(file, kept.schema) as writer:
        writer.write_table(kept)
    about = {"features": names, "provenance": _provenance(table.uns)}
    (folder / _ABOUT).write_text(json.dumps(about), encoding="utf-8")


def _dense_bytes(file: h5py.File) -> int:
    """Return what a sparse X takes when all its zeros are written out."""
    shape = file["X"].attrs.get("shape") if isinstance(file.get("X"), h5py.Group) else None
    claimed = 0 if shape is None else math.prod(map(int, shape)) * np.dtype(float).itemsize
    stored = Path(file.filename).stat().st_size
    if not is_believable(claimed, stored):
        raise ValueError(refuse_claim(file.filename, "its X", claimed, stored))
    return claimed


def _features(values: object, path: Path, width: int) -> np.ndarray:
    if values is None or not width:
        raise TableError(f"{path} has no features: nothing is kept in its X")
    features = np.asarray(values.toarray() if hasattr(values, "toarray") else values)
    if features.dtype.kind not in "biuf":
        raise TableError(f"{path} has values of type {features.dtype} in its X; expected numbers")
    return features if features.dtype in (np.float32, np.float64) else features.astype(float)


def _provenance(told: object) -> dict[str, object]:
    own = told.get("feature_extraction_provenance", {}) if hasattr(told, "get") else {}
    names = {"version": "cpcnn", "sha256": "model_sha256"}
    own = own if hasattr(own, "items") else {}
    return {names.get(key, key): str(value) for key, value in own.items()}
