"""Tables of profiles kept as AnnData (``.h5ad``)."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from cpcnn_core.errors import DependencyError, TableError
from cpcnn_core.profiles.metadata import metadata_named
from cpcnn_core.profiles.notices import listed
from cpcnn_core.tables.profiles import Profiles

_HDF5 = b"\x89HDF\r\n\x1a\n"


def is_anndata(path: Path) -> bool:
    """Tell whether a file is kept as AnnData, by its name or its first bytes.

    Examples
    --------
    >>> is_anndata(Path("nowhere.csv"))
    False
    """
    if not path.is_file():
        return False
    if path.suffix == ".h5ad":
        return True
    with path.open("rb") as file:
        return file.read(len(_HDF5)) == _HDF5


def read_anndata(path: Path) -> Profiles:
    """Read ``X`` as features, and ``obs`` as metadata of plain types.

    Raises
    ------
    TableError
        No AnnData, no ``X`` of numbers, or columns of one name.
    DependencyError
        AnnData is not installed.

    Examples
    --------
    >>> read_anndata(Path("P1.h5ad"))  # doctest: +SKIP
    """
    try:
        import anndata
    except ImportError as error:
        raise DependencyError(
            "AnnData tables need anndata; install it with: pip install 'cpcnn[anndata]'"
        ) from error
    try:
        # It warns of names of rows that are not unique, and nobody asks for these.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = anndata.read_h5ad(path)
    except Exception as error:
        # Of a damaged file h5py and anndata say it with errors of any kind.
        text = " ".join(str(error).split())
        raise TableError(f"{path} cannot be read as AnnData: {text}") from error
    obs = table.obs.reset_index(drop=True)
    obs.columns = [str(name).strip() for name in obs.columns]
    features = list(map(str, table.var_names))
    for names in (list(obs.columns), features):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise TableError(f"{path} has twice the column {listed(twice)}; leave one of them out")
    metadata = metadata_named(obs, path)
    provenance = _provenance(table.uns)
    return Profiles(_features(table.X, path, len(features)), metadata, features, provenance)


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
