"""One plane of one image file; what kind of file it is, its first bytes say, not its name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cpcnn_core.errors import ImageError
from cpcnn_core.io.tiff_planes import check_claim, read_tiff

if TYPE_CHECKING:
    from PIL import ImageFile

# How many first bytes tell every kind from every other.
START_BYTES = 16
# By Pillow's names of the kinds, to which all but TIFF are left. Not all that it knows: it takes
# some for what they are not, and starts another program over others.
_KINDS = {
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"\xff\x4f\xff\x51": "JPEG2000",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG2000",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"P5": "PPM",
}


def read_plane(path: str | Path, page: int | None = None, series: int | None = None) -> np.ndarray:
    """Read one grey plane, values as stored; of TIFF whose 0 is white, turned round.

    Parameters
    ----------
    path : str or Path
        TIFF of any suffix (OME-TIFF, BigTIFF, ``.flex``, ``.stk``, ``.lsm``, ...), PNG, JPEG,
        JPEG 2000, BMP, GIF or PGM.
    page : int, optional
        Which plane of a file with several, from 0. Default: the file's only one. Thumbnails
        and the levels of a pyramid are no planes.
    series : int, optional
        Which image of an OME-TIFF with several, from 0; `page` then counts in it.

    Returns
    -------
    ndarray of shape (h, w), dtype as stored

    Raises
    ------
    ImageError
        No such file, of another kind, damaged, in colour, several planes and none named, or
        none of that number.

    Examples
    --------
    >>> read_plane("nowhere.tif")
    Traceback (most recent call last):
    cpcnn_core.errors.ImageError: there is no image file nowhere.tif
    """
    path = Path(path)
    try:
        plane = _read(path, page, series)
    except ImageError:
        raise
    except Exception as error:
        # Codecs fail on a damaged file in as many ways as there are codecs.
        raise ImageError(f"{path} cannot be read to its end: {_one_line(error)}") from error
    if plane.ndim != 2 or plane.size == 0:
        raise ImageError(
            f"{path} has shape {plane.shape}; expected one grey value per pixel, not colours: "
            "save every channel as an image of its own"
        )
    if plane.dtype.kind not in "buif":
        raise ImageError(f"{path} holds {plane.dtype} values; expected real numbers")
    return plane.astype(plane.dtype.newbyteorder("="), copy=False)


def image_kind(start: bytes) -> str | None:
    """Tell what kind of image begins with these bytes; None: none that is read.

    Examples
    --------
    >>> image_kind(b"II*" + bytes(13)), image_kind(b"version https://")
    ('TIFF', None)
    """
    return next((kind for magic, kind in _KINDS.items() if start.startswith(magic)), None)


def _read(path: Path, page: int | None, series: int | None) -> np.ndarray:
    if not path.is_file():
        raise ImageError(f"there is no image file {path}")
    with path.open("rb") as file:
        start = file.read(START_BYTES)
    if not start:
        raise ImageError(f"{path} cannot be read to its end: it is empty")
    kind = image_kind(start)
    if kind is None:
        raise ImageError(
            f"{path} is no image of a kind that is read (TIFF, PNG, JPEG, JPEG 2000, BMP, GIF, "
            f"PGM); its first bytes are {start!r}"
        )
    if kind == "TIFF":
        return read_tiff(path, page, series)
    return _read_other(path, kind, page, series)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _read_other(path: Path, kind: str, page: int | None, series: int | None) -> np.ndarray:
    from PIL import Image

    for what, number in (("page", page), ("series", series)):
        if number not in (None, 0):
            raise ImageError(
                f"{path} is a {kind} file, of which only {what} 0 can be read; {what} {number} "
                "was asked for"
            )
    Image.init()
    # Not Image.open, which takes every large image for an attack.
    with path.open("rb") as stream, Image.OPEN[kind][0](stream, str(path)) as image:
        check_claim(path, image.width * image.height * _pixel_bytes(image.mode))
        if page is None and _holds_several(path, kind, image):
            raise ImageError(f"{path} has several pages; say which page is which channel")
        if image.mode == "P":
            raise ImageError(f"{path} has a palette of colours; expected one grey value per pixel")
        if kind == "PPM" and image.tile[0][0] != "raw":
            raise ImageError(
                f"{path} has another greatest value than 255 and 65535, to which Pillow would "
                "stretch it; save it as TIFF or PNG"
            )
        plane = np.asarray(image)
    # Neither holds more than 16 bits, which Pillow returns as 32.
    return plane.astype(np.uint16) if image.mode == "I" and kind in ("PNG", "PPM") else plane


def _pixel_bytes(mode: str) -> int:
    """Return what Pillow takes for a pixel."""
    if mode.startswith("I;16"):
        return 2
    return 1 if mode in ("1", "L", "P") else 4


def _holds_several(path: Path, kind: str, image: ImageFile.ImageFile) -> bool:
    if kind == "PPM":
        pixels = image.width * image.height * (2 if image.mode.startswith("I") else 1)
        result: bool = path.stat().st_size >= image.tile[0][2] + 2 * pixels
        return result
    if kind == "JPEG2000":
        return path.read_bytes().count(b"jp2c") > 1
    return getattr(image, "n_frames", 1) > 1
