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
                                  images, provenance
=============== ================= ==================================================

The pickled member is for the programs that expect it; `read_site` never opens it.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cpcnn_core.atomic import write_atomically
from cpcnn_core.errors import SiteError
from cpcnn_core.tables.columns import metadata_column

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
    images : dict of str to str
        The files of its channels, see `cpcnn_core.screen.plan.images_of`.

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
    images: Mapping[str, str] = field(default_factory=dict)


def write_site(path: str | Path, table: SiteTable) -> None:
    """Write one site; equal tables give equal bytes.

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
    keyed["Metadata_Model"] = table.provenance.get("model", "")
    own = {
        "format": FORMAT_VERSION,
        "metadata": dict(table.metadata),
        "image_number": table.image_number,
        "images": dict(table.images),
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
    # Compressed, features would be 7 % smaller and take seventy times as long to write.
    write_atomically(path, lambda temporary: np.savez(temporary, **members))


def read_site(path: str | Path) -> SiteTable:
    """Read a site that `write_site` wrote; nothing is unpickled.

    Raises
    ------
    SiteError
        Not such a file, or a damaged one.

    Examples
    --------
    >>> read_site("nowhere.npz")
    Traceback (most recent call last):
    cpcnn_core.errors.SiteError: nowhere.npz is no site that cpcnn has embedded...
    """
    own = read_header(path)
    with np.load(path, allow_pickle=False) as file:
        return SiteTable(
            file["features"],
            own["metadata"],
            file["locations"],
            file["object_numbers"],
            file["touches_border"],
            own["provenance"],
            own["image_number"],
            own.get("images", {}),
        )


def read_header(path: str | Path) -> dict:
    """Read format, metadata and provenance of a site without its features.

    Examples
    --------
    >>> read_header("nowhere.npz")
    Traceback (most recent call last):
    cpcnn_core.errors.SiteError: nowhere.npz is no site that cpcnn has embedded...
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            own = json.loads(file["cpcnn"].tobytes())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise SiteError(f"{path} is no site that cpcnn has embedded: {error}") from error
    if own.get("format") != FORMAT_VERSION:
        raise SiteError(
            f"{path} has format {own.get('format')}, this cpcnn reads {FORMAT_VERSION}; "
            "upgrade with: pip install --upgrade cpcnn"
        )
    return own


def read_places(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read which objects a site's file describes, and where they are, without their features.

    Returns
    -------
    numbers : ndarray of shape (n,), int64
    locations : ndarray of shape (n, k), float64

    Examples
    --------
    >>> read_places("1.npz")  # doctest: +SKIP
    (array([1, 2]), array([[10., 20.], [30., 40.]]))
    """
    with np.load(path, allow_pickle=False) as file:
        return file["object_numbers"], np.asarray(file["locations"], np.float64)
