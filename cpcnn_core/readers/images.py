"""One plane of one image file: 8 and 16 bit TIFF and PNG, OME-TIFF, multi-page."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cpcnn_core.errors import ImageError

TIFF_SUFFIXES = (".tif", ".tiff")


def read_plane(path: str | Path, page: int | None = None) -> np.ndarray:
    """Read one grey plane, values as stored.

    Parameters
    ----------
    path : str or Path
        TIFF (OME-TIFF too) or anything Pillow reads, such as PNG.
    page : int, optional
        Which page of a file with several, from 0. Default: the file's only one.

    Returns
    -------
    ndarray of shape (h, w), dtype as stored

    Raises
    ------
    ImageError
        No such file, truncated, colour, or several pages and none named.

    Examples
    --------
    >>> read_plane("nowhere.tif")
    Traceback (most recent call last):
    cpcnn_core.errors.ImageError: there is no image file nowhere.tif
    """
    path = Path(path)
    if not path.is_file():
        raise ImageError(f"there is no image file {path}")
    try:
        plane = (
            _read_tiff(path, page) if path.suffix.lower() in TIFF_SUFFIXES else _read_other(path)
        )
    except ImageError:
        raise
    except Exception as error:
        # Codecs fail on a damaged file in as many ways as there are codecs.
        raise ImageError(
            f"{path} cannot be read to its end: {error or type(error).__name__}"
        ) from error
    if plane.ndim != 2:
        raise ImageError(
            f"{path} has shape {plane.shape}; expected one grey value per pixel, not colours: "
            "save every channel as an image of its own"
        )
    return plane


def _read_tiff(path: Path, page: int | None) -> np.ndarray:
    import tifffile

    with tifffile.TiffFile(path) as file:
        count = len(file.pages)
        if count == 0:
            raise ValueError("there is no image in it")
        if page is None and count != 1:
            raise ImageError(f"{path} has {count} pages; say which page is which channel")
        if page is not None and not 0 <= page < count:
            raise ImageError(f"{path} has {count} pages, and no page {page} (the first is 0)")
        return file.pages[page or 0].asarray()


def _read_other(path: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as image:
        if image.mode == "P":
            raise ImageError(f"{path} has a palette of colours; expected one grey value per pixel")
        return np.asarray(image)
