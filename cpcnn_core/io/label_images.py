"""Objects from label images, one file per site: object k has the value k."""

from __future__ import annotations

import glob
import re
import string
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cpcnn_core.errors import ImageError, SiteError
from cpcnn_core.io.images import read_plane
from cpcnn_core.io.object_sources import ObjectSource, SiteFiles
from cpcnn_core.io.site_keys import KeyIndex
from cpcnn_core.io.sites import Objects

DEFAULT_TEMPLATE = "{Plate}_{Well}_{Site}.tif"
MAX_LABEL, _WHITE = 2**31 - 1, 255


def objects_from_labels(place: str | Path) -> ObjectSource:
    """Return what reads a site's label image.

    Parameters
    ----------
    place : str or Path
        A file name in which ``{Plate}``, ``{Well}``, ``{Site}`` or other metadata
        stand for those of the site; or a folder, with files named
        `DEFAULT_TEMPLATE`.

    Returns
    -------
    ObjectSource
        None for a site without a file.

    Examples
    --------
    >>> objects_from_labels("labels/{Well}.png")(1, {"Well": "A01"}) is None
    True
    """
    template = str(place)
    if "{" not in template:
        # A brace in the folder's own name would be taken for a field.
        template = str(Path(place) / DEFAULT_TEMPLATE)
    return LabelImageReader(template)


class LabelImageReader(SiteFiles):
    """Label images whose names tell their sites.

    Parameters
    ----------
    template : str
        With a field for everything that differs between sites.

    Examples
    --------
    >>> LabelImageReader("{Row}.tif").file_of({"Plate": "P1"})
    Traceback (most recent call last):
    cpcnn_core.errors.SiteError: the label images' name {Row}.tif asks for 'Row'; there is: Plate
    """

    def __init__(self, template: str) -> None:
        super().__init__("label image", Path(f"{template.partition('{')[0]}name").parent)
        self._template = template

    def read(self, path: Path) -> Objects | None:
        """See `SiteFiles.read`."""
        return objects_of(read_labels(path))

    def plain_file(self, metadata: Mapping[str, str]) -> Path:
        """See `SiteFiles.plain_file`."""
        try:
            return Path(self._template.format_map(metadata))
        except KeyError as error:
            raise SiteError(
                f"the label images' name {self._template} asks for {error}; there is: "
                f"{', '.join(metadata)}"
            ) from error
        except (ValueError, IndexError, AttributeError) as error:
            raise SiteError(
                f"the label images' name {self._template} cannot be understood ({error}); write "
                f"it like {DEFAULT_TEMPLATE}"
            ) from error

    def names(self) -> list[str]:
        """See `SiteFiles.names`."""
        try:
            parts = list(string.Formatter().parse(self._template))
        except ValueError:
            return []
        return list(dict.fromkeys(name for _, name, _, _ in parts if name is not None))

    def all_files(self) -> tuple[KeyIndex, list[Path]]:
        """See `SiteFiles.all_files`."""
        names = self.names()
        pattern, expression, known = "", "", set()
        for text, name, _, _ in string.Formatter().parse(str(Path(self._template))):
            pattern += glob.escape(text)
            expression += re.escape(text)
            if name is not None:
                pattern += "*"
                # A field that appears twice has the same text both times.
                expression += f"(?P={name})" if name in known else f"(?P<{name}>[^/]+)"
                known.add(name)
        found = [(Path(p), re.fullmatch(expression, p)) for p in sorted(glob.glob(pattern))]  # noqa: PTH207
        files = [(path, said) for path, said in found if said]
        keys = [tuple(said[name] for name in names) for _, said in files]
        return KeyIndex(keys, self._template, names), [path for path, _ in files]


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
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high > MAX_LABEL:
        raise ImageError(
            f"{path} has the value {low if low < 0 else high}; expected labels from 0 to "
            f"{MAX_LABEL}"
        )
    if high == _WHITE and not ((labels > 0) & (labels < _WHITE)).any():
        raise ImageError(
            f"{path} has no other values than 0 and {_WHITE}, so it is a mask, in which "
            "objects are not told apart; give an image in which object k has the value k"
        )
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
