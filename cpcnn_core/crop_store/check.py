"""Whether every crop of a store still is what was written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from cpcnn_core.crop_store.crop_files import CROPS_AT_A_TIME, read_crops
from cpcnn_core.crop_store.store import CropStore
from cpcnn_core.errors import CropStoreError


def check_store(store: CropStore, progress: Callable[[], None] | None = None) -> dict[Path, str]:
    """Read every crop and compare its checksum.

    Parameters
    ----------
    store : CropStore
    progress : callable (), optional
        Called after every file; what it raises ends the check.

    Returns
    -------
    dict of Path to str
        The files that are missing or damaged, and what is wrong with each.

    Examples
    --------
    >>> check_store(store)
    {}
    >>> store.places.files[0].write_bytes(b"another file")
    12
    >>> [path.as_posix() for path in check_store(store)]
    ['crops/crops/P1/A01/1.npy']
    """
    places, damaged = store.places, {}
    order = np.argsort(places.file_of_crop, kind="stable")
    counts = np.bincount(places.file_of_crop, minlength=len(places.files))
    for file, rows in enumerate(np.split(order, np.cumsum(counts)[:-1])):
        for start in range(0, len(rows), CROPS_AT_A_TIME):
            part = rows[start : start + CROPS_AT_A_TIME]
            shape = (len(part), places.planes_in_file[file], store.crop_px, store.crop_px)
            crops = np.empty(shape, store.dtype)
            try:
                path = places.files[file]
                read_crops(path, places.place_in_file[part], places.checksum[part], crops)
            except (CropStoreError, OSError) as error:
                damaged[path] = str(error)
                break
        if progress is not None:
            progress()
    return damaged
