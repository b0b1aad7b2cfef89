"""Which planes a TIFF file holds, and one of them as an array.

Planes are counted as Bio-Formats, and so CellProfiler, counts them: the pages that are no
thumbnails, in the file's order; in an OME-TIFF, series by series in the order of its XML. One
page may stand for several planes, whose pixels follow its own.
"""

from __future__ import annotations

import logging
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from xml.etree import ElementTree as ET

import numpy as np

from cpcnn_core.errors import ImageError
from cpcnn_core.io.json_files import parse_json
from cpcnn_core.io.untrusted_files import ALWAYS_TRUSTED_BYTES, is_believable, refuse_claim

if TYPE_CHECKING:
    import tifffile

MAX_PLANES = 10**6
# Of all that tifffile makes a list of from what a file's XML says.
_MAX_LISTED = 10**7
_PHOTOMETRIC, _WHITE_IS_ZERO, _PALETTE = 262, 0, 3
_UIC2 = 33629
_OME_IMAGE = re.compile(r"<(?:\w+:)?Image[\s>]")

# tifffile logs what it also raises, or mends; unheard, Python would print it to the terminal.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


class _Plane(NamedTuple):
    """A page, and which of the planes that it stands for; no page where it is missing."""

    page: tifffile.TiffPage | tifffile.TiffFrame | None
    behind: int = 0


def read_tiff(path: Path, page: int | None = None, series: int | None = None) -> np.ndarray:
    """Read one plane, black as 0.

    Parameters
    ----------
    path : Path
    page : int, optional
        Which plane of its series, from 0. Default: the file's only one.
    series : int, optional
        Which image of an OME-TIFF, from 0. Default: the first.

    Returns
    -------
    ndarray of shape (h, w), dtype as stored
        Of a page in colours: (h, w, samples) or (samples, h, w).

    Raises
    ------
    ImageError
        No such page or series; several, and none named; strips that were never written.
    Exception
        Whatever tifffile and its codecs raise over a damaged file.

    Examples
    --------
    >>> import tifffile
    >>> tifffile.imwrite("planes.tif", np.zeros((5, 20, 30), np.uint16))
    >>> read_tiff(Path("planes.tif"), page=2).shape
    (20, 30)
    """
    import tifffile

    # Files that the OME-XML names beside this one are images of their own here.
    with tifffile.TiffFile(path, _multifile=False) as file:
        plane = _find(path, _planes_by_series(file), page, series)
        if plane.page is None:
            raise ImageError(f"{path} describes a page {page}, but does not hold it")
        # Frames, which tifffile reads faster, take their properties from another page.
        whole = plane.page if file.is_lsm else plane.page.aspage()
        return _read(path, file, cast("tifffile.TiffPage", whole), plane.behind)


def check_claim(path: Path, nbytes: int) -> None:
    """Refuse an image that cannot be in a file of this size, before memory is taken for it.

    Parameters
    ----------
    path : Path
    nbytes : int
        What its pixels take in memory.

    Raises
    ------
    ImageError

    Examples
    --------
    >>> check_claim(Path("small.tif"), 2**29)
    >>> check_claim(Path(__file__), 10**12)
    Traceback (most recent call last):
    cpcnn_core.errors.ImageError: ... would take 1000000000000 bytes of memory...
    """
    if nbytes > ALWAYS_TRUSTED_BYTES and not is_believable(nbytes, path.stat().st_size):
        raise ImageError(refuse_claim(path, "its image", nbytes, path.stat().st_size))


def _planes_by_series(file: tifffile.TiffFile) -> list[list[_Plane]]:
    pages = list(file.pages)
    if not pages:
        raise ValueError("there is no image in it")
    # Frames have what is asked of them of their key frame.
    whole = [page for page in pages if not cast("tifffile.TiffPage", page.keyframe).is_reduced]
    main = cast("list[tifffile.TiffPage]", whole or pages)
    if len(main) > 1 and file.is_ome:
        described = _described_by_ome(file, len(main))
        if described:
            return described
    alone = len(main) == 1
    counts = [_planes_of(file, page, alone) for page in main]
    if sum(counts) > max(MAX_PLANES, len(main)):
        raise ValueError(f"its pages claim {sum(counts)} planes")
    return [
        [_Plane(page, k) for page, count in zip(main, counts, strict=True) for k in range(count)]
    ]


def _described_by_ome(file: tifffile.TiffFile, pages: int) -> list[list[_Plane]]:
    """Return the planes of every image; none where the XML does not describe this very file."""
    _check_ome(file)
    series = [list(each) for each in file.series if each.kind == "ome"]
    left_out = len(series) != len(_OME_IMAGE.findall(cast("str", file.ome_metadata)))
    if left_out or sum(map(len, series)) < pages:
        return []
    return [[_Plane(page) for page in each] for each in series]


def _check_ome(file: tifffile.TiffFile) -> None:
    """Refuse XML that claims far more planes than are there; tifffile makes lists of them."""
    try:
        root = ET.fromstring(cast("str", file.ome_metadata))  # noqa: S314  (expat knows such attacks)
    except ET.ParseError:
        return  # tifffile does not read it either
    smallest = min(max(page.size, 1) for page in file.pages)
    claimed: float = 0
    for one in root.iter():
        sides = [_whole(one.get(f"Size{axis}", "1")) for axis in "XYZCT"]
        claimed += math.prod(sides) // smallest
        claimed += sum(_whole(one.get(name, "0")) for name in ("NumPlanes", "PlaneCount", "IFD"))
        if "Start" in one.attrib:
            start, end, step = (float(one.get(n, "1")) for n in ("Start", "End", "Step"))
            claimed += abs((end - start) / step)
    if not claimed <= _MAX_LISTED:
        raise ValueError("its OME-XML claims more planes than any microscope takes")


def _whole(text: str) -> int:
    return abs(int(text))


def _planes_of(file: tifffile.TiffFile, page: tifffile.TiffPage, alone: bool) -> int:
    """Return how many planes a page stands for, as MetaMorph, ImageJ and tifffile write them."""
    claimed = _claimed(file, page, alone)
    if claimed > MAX_PLANES:
        raise ValueError(f"it claims {claimed} planes")
    if claimed > 1 and not file.is_stk:
        # Programs that split a stack leave the description of the whole in every part.
        return claimed if page.is_contiguous and _there(file, page) > 1 else 1
    return max(claimed, 1)


def _there(file: tifffile.TiffFile, page: tifffile.TiffPage) -> int:
    return (file.filehandle.size - page.dataoffsets[0]) // page.nbytes


def _claimed(file: tifffile.TiffFile, page: tifffile.TiffPage, alone: bool) -> int:
    if file.is_stk and alone:
        # Where MetaMorph's count is damaged, the file's length is all that is left.
        return page.tags[_UIC2].count if _UIC2 in page.tags else _there(file, page)
    if file.is_imagej and alone:
        said = cast("dict[str, Any]", file.imagej_metadata)
        axes = math.prod(int(said.get(axis, 1)) for axis in ("channels", "slices", "frames"))
        samples = math.prod(page.shape[2:]) if page.ndim > 2 else 1
        return max(axes // samples, int(said.get("images", 1)))
    if page.is_shaped:
        try:
            said = parse_json(cast("str", page.shaped_description))
            if alone or said.get("truncated"):
                result: int = math.prod(said["shape"]) // math.prod(page.shape)
                return result
        except (ValueError, TypeError, KeyError, AttributeError):
            return 1  # it only looked like tifffile's
    return 1


def _find(
    path: Path, by_series: list[list[_Plane]], page: int | None, series: int | None
) -> _Plane:
    if series is not None and not 0 <= series < len(by_series):
        raise ImageError(
            f"{path} has {_several(len(by_series), 'series')}, and no series {series} (the first "
            "is 0; only an OME-TIFF says that it has several)"
        )
    if page is None and series is None:
        planes = [plane for each in by_series for plane in each]
    else:
        planes = by_series[series or 0]
    kind = "plane" if any(plane.behind for plane in planes) else "page"
    count = _several(len(planes), kind)
    if page is None and len(planes) != 1:
        in_series = f" in {len(by_series)} series" if series is None and len(by_series) > 1 else ""
        raise ImageError(f"{path} has {count}{in_series}; say which {kind} is which channel")
    if page is not None and not 0 <= page < len(planes):
        raise ImageError(f"{path} has {count}, and no {kind} {page} (the first is 0)")
    return planes[page or 0]


def _several(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 or what == 'series' else 's'}"


def _read(path: Path, file: tifffile.TiffFile, page: tifffile.TiffPage, behind: int) -> np.ndarray:
    if page.size == 0:
        raise ValueError("there is no pixel in it")
    # Whole tiles are unpacked, however little of them the image takes.
    unpacked = (
        math.prod(page.chunked) * math.prod(page.chunks) * cast("np.dtype", page.dtype).itemsize
    )
    check_claim(path, max(page.nbytes, unpacked))
    _check_written(path, page)
    _check_palette(path, page)
    if behind == 0:
        plane = page.asarray()
    elif page.is_final:
        kind = np.dtype(page.dtype).newbyteorder(file.byteorder)
        start = page.dataoffsets[0] + behind * page.nbytes
        plane = file.filehandle.read_array(kind, page.size, start).reshape(page.shape)
    else:
        raise ImageError(
            f"{path} has several compressed planes behind one page, of which only plane 0 can be "
            "read; save every plane as a page of its own"
        )
    if plane.ndim == 3 and page.axes in ("ZYX", "SYX") and page.photometric in (0, 1):
        raise ImageError(
            f"{path} has {len(plane)} planes in one page, which no page number tells apart; save "
            "every plane as a page or an image of its own"
        )
    return _black_as_zero(path, page, plane)


def _check_written(path: Path, page: tifffile.TiffPage) -> None:
    """Refuse strips and tiles that are not there; tifffile would return them as zeros."""
    offsets, counts = page.dataoffsets, page.databytecounts
    expected = 1 if page.is_contiguous else math.prod(page.chunked)
    written = sum(
        offset > 0 and (count > 0 or page.is_contiguous)
        for offset, count in zip(offsets[:expected], counts[:expected], strict=False)
    )
    if written < expected:
        raise ImageError(
            f"{path} cannot be read to its end: {expected - written} of its {expected} strips or "
            "tiles were never written"
        )


def _check_palette(path: Path, page: tifffile.TiffPage) -> None:
    """Refuse colours that are told by a number; ImageJ shows grey values in one colour so, too."""
    if page.tags.valueof(_PHOTOMETRIC) != _PALETTE:
        return
    colours = page.colormap
    if colours is None or (np.diff(colours.astype(np.int64), axis=1) < 0).any():
        raise ImageError(
            f"{path} has a palette of colours, in which a greater number is not a brighter one; "
            "expected one grey value per pixel"
        )


def _black_as_zero(path: Path, page: tifffile.TiffPage, plane: np.ndarray) -> np.ndarray:
    """Turn an image whose white is 0 round, within the bits of a sample, as Bio-Formats does."""
    if page.tags.valueof(_PHOTOMETRIC) != _WHITE_IS_ZERO:
        return plane
    if plane.dtype.kind == "b":
        return ~plane
    if plane.dtype.kind != "u":
        raise ImageError(
            f"{path} holds {plane.dtype} values whose 0 is white, and does not say what black is; "
            "save it with black as 0"
        )
    result: np.ndarray = plane.dtype.type(2**page.bitspersample - 1) - plane
    return result
