"""Images: one plane of an image file, and the illumination functions that pixels are divided by.

What kind of file it is, its first bytes say, not its name.
"""

from __future__ import annotations

import io
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cpcnn_core.errors import ImageError
from cpcnn_core.io.formats import IMAGE, MATLAB, NUMPY, TIFF, first_bytes, format_of
from cpcnn_core.io.tiff_planes import check_claim, read_tiff

if TYPE_CHECKING:
    from PIL import ImageFile

_VARIABLE = "Image"
# CellProfiler on Python 2 wrote shapes as (2160L, 2160L), of which NumPy warns.
_LONG_INTEGER = re.compile(rb"(?<=\d)L")


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
        plane = _read_any(path, page, series)
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


def read_illumination(
    path: str | Path, page: int | None = None, series: int | None = None
) -> np.ndarray:
    """Read an illumination function, as CellProfiler saves it or as an image.

    Parameters
    ----------
    path : str or Path
        A NumPy file (``.npy``), a MATLAB file with a variable ``Image``, as CellProfiler
        saved it formerly, or an image.
    page, series : int, optional
        Of an image; see `read_plane`.

    Returns
    -------
    ndarray of shape (h, w), real, every value finite and positive

    Raises
    ------
    ImageError
        No such file, damaged, of another shape, or with values that nothing can be divided
        by; names the file, how many there are, and where the first is.

    Examples
    --------
    >>> read_illumination("nowhere.npy")
    Traceback (most recent call last):
    cpcnn_core.errors.ImageError: there is no illumination function nowhere.npy
    """
    path = Path(path)
    if not path.is_file():
        raise ImageError(f"there is no illumination function {path}")
    function = _read_function(path, page, series)
    if function.ndim == 3 and function.shape[2] == 1:
        function = function[:, :, 0]
    if function.ndim != 2 or function.size == 0 or function.dtype.kind not in "uif":
        raise ImageError(
            f"the illumination function {path} has shape {function.shape} of {function.dtype} "
            "values; expected one number per pixel (height, width)"
        )
    _check_divides(path, function)
    return function


def _read_any(path: Path, page: int | None, series: int | None) -> np.ndarray:
    if not path.is_file():
        raise ImageError(f"there is no image file {path}")
    start = first_bytes(path)
    if not start:
        raise ImageError(f"{path} cannot be read to its end: it is empty")
    found = format_of(start)
    if found is None or found.reader != IMAGE:
        raise ImageError(
            f"{path} is no image of a kind that is read (TIFF, PNG, JPEG, JPEG 2000, BMP, GIF, "
            f"PGM); its first bytes are {start!r}"
        )
    if found is TIFF:
        return read_tiff(path, page, series)
    return _read_other(path, found.name, page, series)


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


def _read_function(path: Path, page: int | None, series: int | None) -> np.ndarray:
    try:
        found = format_of(first_bytes(path))
        if found is NUMPY:
            return _read_numpy(path.read_bytes())
        named_so = path.suffix.lower() in MATLAB.endings
        if found is MATLAB or (named_so and (found is None or found.reader != IMAGE)):
            return _read_matlab(path)
    except Exception as error:
        raise ImageError(
            f"the illumination function {path} cannot be read to its end: "
            f"{' '.join(str(error).split())[:300] or type(error).__name__}"
        ) from error
    return read_plane(path, page, series)


def _read_numpy(data: bytes) -> np.ndarray:
    """Read an array without unpickling, and without more memory than the file is long."""
    layout = np.lib.format
    head = io.BytesIO(_LONG_INTEGER.sub(b" ", data[: layout.MAGIC_LEN + 10_000]))
    major, _ = layout.read_magic(head)
    read_header = layout.read_array_header_1_0 if major == 1 else layout.read_array_header_2_0
    shape, by_column, dtype = read_header(head)
    if dtype.kind not in "buif":
        raise ImageError(f"it holds {dtype} values; expected numbers")
    values = np.frombuffer(data, dtype, math.prod(shape), head.tell())
    return values.reshape(shape, order="F" if by_column else "C")


def _read_matlab(path: Path) -> np.ndarray:
    from scipy.io import loadmat, whosmat

    claimed = sum(math.prod(shape) for name, shape, _ in whosmat(path) if name == _VARIABLE)
    check_claim(path, claimed * np.dtype(float).itemsize)
    found = loadmat(path, variable_names=[_VARIABLE])
    if _VARIABLE not in found:
        raise ImageError(f"it has no variable {_VARIABLE}")
    return np.asarray(found[_VARIABLE])


def _check_divides(path: Path, function: np.ndarray) -> None:
    bad = ~(np.isfinite(function) & (function > 0))
    if bad.any():
        row, col = np.argwhere(bad)[0]
        raise ImageError(
            f"the illumination function {path} has values that are zero, negative or no number: "
            f"{np.count_nonzero(bad)} of {function.size}, the first ({function[row, col]}) at row "
            f"{row}, column {col}; pixels cannot be divided by them: make it again, or leave it out"
        )
