"""Objects from label images, one file per site: object k has the value k."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cpcnn_core.errors import ImageError, SiteError
from cpcnn_core.readers.images import read_plane
from cpcnn_core.readers.load_data import ReadObjects
from cpcnn_core.readers.sites import Objects

DEFAULT_TEMPLATE = "{Plate}_{Well}_{Site}.tif"


def objects_from_labels(place: str | Path) -> ReadObjects:
    """Return a function that reads a site's label image.

    Parameters
    ----------
    place : str or Path
        A file name in which ``{Plate}``, ``{Well}``, ``{Site}`` or other metadata
        stand for those of the site; or a folder, with files named
        `DEFAULT_TEMPLATE`.

    Returns
    -------
    callable (int, metadata) -> Objects or None
        None for a site without a file.

    Examples
    --------
    >>> objects_from_labels("labels/{Well}.png")(1, {"Well": "A01"}) is None
    True
    """
    template = str(place)
    if "{" not in template:
        template = str(Path(place) / DEFAULT_TEMPLATE)

    def read(_number: int, metadata: Mapping[str, str]) -> Objects | None:
        try:
            path = Path(template.format_map(metadata))
        except KeyError as error:
            raise SiteError(
                f"the label images' name {template} asks for {error}; there is: "
                f"{', '.join(metadata)}"
            ) from error
        return objects_of(read_labels(path)) if path.is_file() else None

    return read


def read_labels(path: str | Path) -> np.ndarray:
    """Read a label image (h, w) of whole numbers.

    Examples
    --------
    >>> read_labels("nowhere.tif")
    Traceback (most recent call last):
    cpcnn_core.errors.ImageError: there is no image file nowhere.tif
    """
    labels = read_plane(path)
    if labels.dtype.kind not in "biu":
        raise ImageError(f"{path} holds {labels.dtype} values; expected whole numbers as labels")
    return labels.astype(np.int32)


def objects_of(labels: np.ndarray) -> Objects:
    """Return the objects of a label image: numbers, and mean pixel positions as centres.

    Parameters
    ----------
    labels : ndarray of shape (h, w), integer
        0 is background; numbers may have gaps.

    Returns
    -------
    Objects

    Examples
    --------
    >>> labels = np.zeros((5, 6), int)
    >>> labels[1:4, 2:5] = 7
    >>> found = objects_of(labels)
    >>> found.numbers.tolist(), found.centers.tolist()
    ([7], [[2.0, 3.0]])
    """
    rows, cols = np.nonzero(labels)
    values = labels[rows, cols].astype(np.int64)
    names = np.arange(values.max(initial=0) + 1) if values.max(initial=0) <= labels.size else None
    if names is None:
        # Few objects with huge numbers: counting up to them would take all memory.
        names, values = np.unique(values, return_inverse=True)
    counts = np.bincount(values, minlength=1)
    there = np.flatnonzero(counts)
    sums = [np.bincount(values, weights=axis, minlength=1)[there] for axis in (rows, cols)]
    centers = np.column_stack(sums) / counts[there][:, None]
    return Objects(centers, names[there], labels, centers[:, ::-1])
