"""One site as DeepProfiler writes it, readable by pycytominer.

Members of ``<plate>/<well>/<site>.npz``:

=============== ================= ==================================================
features        (n, d) float32
metadata        () object         pickled dict of the site's metadata, as the
                                  reference writes it, with ``Metadata_Model``
locations       (n, 2) float64    x, y in pixels
object_numbers  (n,) int64        ours, as all that follow
touches_border  (n,) bool
cpcnn           (k,) uint8        JSON: format, metadata again, image number,
                                  inputs, provenance
=============== ================= ==================================================

The pickled member is for the programs that expect it; `read_site` never opens it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cpcnn_core.errors import SiteError
from cpcnn_core.io.archives import open_archive, read_array, write_arrays
from cpcnn_core.io.atomic import set_time, write_atomically
from cpcnn_core.io.json_files import parse_json
from cpcnn_core.schema.cells import cell_columns
from cpcnn_core.schema.columns import MODEL, metadata_column

FORMAT_VERSION = 1


@dataclass(frozen=True)
class SiteTable:
    """The embedded cells of one site.

    Attributes
    ----------
    features : ndarray of shape (n, d), float32
    metadata : dict of str to str
        Plate, Well, Site and what else is known of the site.
    locations : ndarray of shape (n, k)
        Where the cells are, x and y first, in pixels.
    object_numbers : ndarray of shape (n,), int64
    touches_border : ndarray of shape (n,), bool
    provenance : dict of str to str
        Model, hash, settings, versions.
    image_number : int
        The site's number in CellProfiler, or its row in the screen's table.
    inputs : dict
        What it was made from, see `cpcnn_core.screen.fingerprint`; empty in files of an
        earlier cpcnn.

    Examples
    --------
    >>> ones = np.ones(1)
    >>> table = SiteTable(np.ones((1, 2), "f4"), {}, np.ones((1, 2)), ones, ones > 0, {})
    >>> table.features.shape
    (1, 2)
    """

    features: np.ndarray
    metadata: Mapping[str, str]
    locations: np.ndarray
    object_numbers: np.ndarray
    touches_border: np.ndarray
    provenance: Mapping[str, str]
    image_number: int = 0
    inputs: Mapping[str, object] = field(default_factory=dict)

    def columns(self, metadata_names: Sequence[str]) -> dict[str, str | np.ndarray]:
        """Return the metadata columns of the cells.

        Parameters
        ----------
        metadata_names : sequence of str
            Names of the screen's metadata, without ``Metadata_``; empty where this site lacks one.

        Returns
        -------
        dict of str to str or ndarray of shape (n,)
            See `cpcnn_core.schema.cells.cell_columns`.
        """
        return cell_columns(
            {metadata_column(name): self.metadata.get(name, "") for name in metadata_names},
            self.object_numbers,
            self.locations[:, :2],
            self.touches_border,
            model=self.provenance.get("model", ""),
            image_number=self.image_number,
        )


def write_site(path: str | Path, table: SiteTable, moment_ns: int | None = None) -> None:
    """Write one site; equal tables give equal bytes.

    Parameters
    ----------
    path : str or Path
    table : SiteTable
    moment_ns : int, optional
        When its inputs were looked at, which becomes the file's time. Default: now.

    Examples
    --------
    >>> import tempfile
    >>> ones = np.ones(1)
    >>> place = np.ones((1, 2))
    >>> table = SiteTable(np.ones((1, 2), "f4"), {"Well": "A01"}, place, ones, ones > 0, {})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_site(f"{folder}/1.npz", table)
    ...     read_site(f"{folder}/1.npz").metadata
    {'Well': 'A01'}
    """
    keyed = {metadata_column(name): value for name, value in table.metadata.items()}
    keyed[MODEL] = table.provenance.get("model", "")
    own = {
        "format": FORMAT_VERSION,
        "metadata": dict(table.metadata),
        "image_number": table.image_number,
        "inputs": dict(table.inputs),
        "provenance": dict(table.provenance),
    }
    members = {
        "features": table.features.astype(np.float32, copy=False),
        "metadata": np.array(keyed, dtype=object),
        "locations": np.asarray(table.locations),
        "object_numbers": np.asarray(table.object_numbers, np.int64),
        "touches_border": np.asarray(table.touches_border, bool),
        "cpcnn": np.frombuffer(json.dumps(own).encode(), np.uint8),
    }

    def write(temporary: Path) -> None:
        # Compressed, features would be 7 % smaller and take seventy times as long to write.
        write_arrays(temporary, members)
        if moment_ns is not None:
            set_time(temporary, moment_ns)

    write_atomically(path, write)


def read_site(path: str | Path) -> SiteTable:
    """Read a site that `write_site` wrote; nothing is unpickled.

    Raises
    ------
    SiteError
        Not such a file, or one of which any byte is another than was written.

    Examples
    --------
    >>> read_site("nowhere.npz")
    Traceback (most recent call last):
    cpcnn_core.errors.SiteError: nowhere.npz is no site that cpcnn has embedded...
    """
    names = ("features", "locations", "object_numbers", "touches_border")
    own, arrays = _read(path, names, whole=True)
    features, locations, numbers, touches_border = arrays
    if features.ndim != 2 or features.dtype != np.float32 or len(features) != len(numbers):
        raise SiteError(
            f"{path} is no site that cpcnn has embedded: its features are {features.dtype} of "
            f"shape {features.shape} for {len(numbers)} objects; delete it and embed the site again"
        )
    return SiteTable(
        features,
        own["metadata"],
        locations,
        numbers,
        touches_border,
        own["provenance"],
        own["image_number"],
        own.get("inputs") or {},
    )


def read_description(path: str | Path) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Read what a site's file says of itself and of its objects, without their features.

    Returns
    -------
    own : dict
        Format, metadata, image number, inputs and provenance.
    numbers : ndarray of shape (n,), int64
    locations : ndarray of shape (n, k), float64
        x and y first, in pixels.

    Raises
    ------
    SiteError
        As `read_site`.

    Examples
    --------
    >>> read_description("nowhere.npz")
    Traceback (most recent call last):
    cpcnn_core.errors.SiteError: nowhere.npz is no site that cpcnn has embedded...
    """
    own, (numbers, locations) = _read(path, ("object_numbers", "locations"), whole=False)
    return own, numbers, locations.astype(np.float64, copy=False)


def _read(
    path: str | Path, names: tuple[str, ...], *, whole: bool
) -> tuple[dict[str, Any], list[np.ndarray]]:
    try:
        with open_archive(path, whole=whole) as archive:
            own = parse_json(read_array(archive, "cpcnn").tobytes())
            arrays = [read_array(archive, name) for name in names]
        version = own.get("format")
        if version == FORMAT_VERSION:
            _check(own, dict(zip(names, arrays, strict=True)))
            return own, arrays
    except Exception as error:
        # A damaged archive fails in as many ways as it has parts.
        why = " ".join(str(error).split()) or type(error).__name__
        raise SiteError(f"{path} is no site that cpcnn has embedded: {why}") from error
    raise SiteError(
        f"{path} has format {version}, this cpcnn reads {FORMAT_VERSION}; "
        "upgrade with: pip install --upgrade cpcnn"
    )


def _check(own: Mapping[str, object], arrays: Mapping[str, np.ndarray]) -> None:
    kinds = {"metadata": dict, "provenance": dict, "image_number": int}
    for name, kind in kinds.items():
        if not isinstance(own[name], kind):
            raise TypeError(f"its {name} are {own[name]!r}")
    for name, array in arrays.items():
        if name != "features" and (
            array.ndim != (2 if name == "locations" else 1)
            or array.dtype.kind not in "biuf"
            or len(array) != len(arrays["object_numbers"])
        ):
            raise TypeError(f"its {name} are {array.dtype} of shape {array.shape}")
    if arrays["locations"].shape[1] < 2:
        raise TypeError("its locations have no x and y")
