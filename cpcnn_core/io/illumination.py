"""Illumination functions, which pixels are divided by: NumPy, MATLAB and image files."""

from __future__ import annotations

import io
import math
import re
from pathlib import Path

import numpy as np

from cpcnn_core.errors import ImageError
from cpcnn_core.io.images import START_BYTES, image_kind, read_plane
from cpcnn_core.io.tiff_planes import check_claim

_NUMPY, _MATLAB = b"\x93NUMPY", b"MATLAB"
_VARIABLE = "Image"
# CellProfiler on Python 2 wrote shapes as (2160L, 2160L), of which NumPy warns.
_LONG_INTEGER = re.compile(rb"(?<=\d)L")


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
        Of an image; see `cpcnn_core.io.images.read_plane`.

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
    function = _read(path, page, series)
    if function.ndim == 3 and function.shape[2] == 1:
        function = function[:, :, 0]
    if function.ndim != 2 or function.size == 0 or function.dtype.kind not in "uif":
        raise ImageError(
            f"the illumination function {path} has shape {function.shape} of {function.dtype} "
            "values; expected one number per pixel (height, width)"
        )
    _check_divides(path, function)
    return function


def _read(path: Path, page: int | None, series: int | None) -> np.ndarray:
    try:
        with path.open("rb") as file:
            start = file.read(START_BYTES)
        if start.startswith(_NUMPY):
            return _read_numpy(path.read_bytes())
        # Old MATLAB files begin with nothing that tells what they are.
        named_so = path.suffix.lower() == ".mat" and image_kind(start) is None
        if named_so or start.startswith(_MATLAB):
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
