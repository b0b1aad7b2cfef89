"""The Site: where one field of view is on disk, before anything of it is read.

What is odd about a screen's images is told before they are read, in one sentence each.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cpcnn_core.errors import ChannelError, ImageError, SiteError
from cpcnn_core.imaging.field import Field
from cpcnn_core.imaging.scale import check_um_per_px
from cpcnn_core.io.images import read_illumination, read_plane
from cpcnn_core.io.site_keys import KEYS

# What a screen's table may say of a site's scale, as the column Metadata_UmPerPx.
UM_PER_PX = "UmPerPx"


class ImageFile(NamedTuple):
    """One plane on disk: its file, the page in it, and what it is to be divided by.

    Attributes
    ----------
    path : Path
    page : int or None
        Which plane of a file with several, from 0; see `cpcnn_core.io.images.read_plane`.
    illumination : Path or None
        The illumination function that divides it.
    series : int or None
        Which image of an OME-TIFF, from 0.
    illumination_page, illumination_series : int or None
        The same of the illumination function's file.
    error : str
        Why the table names no file here, or none that can be read: told when it is to be.
    """

    path: Path
    page: int | None = None
    illumination: Path | None = None
    series: int | None = None
    illumination_page: int | None = None
    illumination_series: int | None = None
    error: str = ""


class Objects(NamedTuple):
    """The objects of a site.

    Attributes
    ----------
    centers : ndarray of shape (n, 2), float64, (row, col) in pixels
    numbers : ndarray of shape (n,), integer
    labels : ndarray of shape (h, w), integer, or None
    locations : ndarray of shape (n, k), or None
        The table they came from, x and y first, for writers that keep it.
    numbers_are_labels : bool
        Whether object k has the value k in the labels; else the label at its centre.
    image_number : int or None
        CellProfiler's number of the image set, where it measured the objects.
    notes : tuple of str
        What was odd: objects on record that have no centre, and so are not among these.
    """

    centers: np.ndarray
    numbers: np.ndarray
    labels: np.ndarray | None = None
    locations: np.ndarray | None = None
    numbers_are_labels: bool = True
    image_number: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Site:
    """One field of view on disk.

    Attributes
    ----------
    metadata : dict of str to str
        Plate, Well and Site, and what else is known.
    images : dict of str to ImageFile
        One file per channel, by the channel's name.
    read_objects : callable () -> Objects or None
        Reads the objects' positions; None where there are none on record.
    image_number : int
        Its row in the screen's table, from 1, as CellProfiler counts image sets.
    size : (height, width) in pixels, optional
        The size that the images must have; others are refused.
    um_per_px : float, optional
        Micrometres per pixel; see `with_scale`.
    object_files : callable () -> tuple of Path
        Names the files of this site alone that `read_objects` reads: while they stay as they
        are, so do the objects. Empty where a table of many sites is read.
    unfit_illumination : tuple of str
        Illumination functions of its table that belong to no image of it.

    Examples
    --------
    >>> Site({"Plate": "P1", "Well": "A01", "Site": "1"}, {}, lambda: None).key
    ('P1', 'A01', '1')
    """

    metadata: Mapping[str, str]
    images: Mapping[str, ImageFile]
    read_objects: Callable[[], Objects | None] = field(compare=False)
    image_number: int = 0
    size: tuple[int, int] | None = None
    um_per_px: float | None = None
    object_files: Callable[[], tuple[Path, ...]] = field(default=tuple, compare=False)
    unfit_illumination: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str, str]:
        """Plate, well and site."""
        plate, well, site = (self.metadata[name] for name in KEYS)
        return plate, well, site

    def __str__(self) -> str:
        return "/".join(self.key)


def read_field(site: Site, objects: Objects, channels: Sequence[str]) -> Field:
    """Read the channels of a site.

    Parameters
    ----------
    site : Site
    objects : Objects
    channels : sequence of str
        Which channels, in which order.

    Returns
    -------
    Field
        Pixel values as stored; float32 where an illumination function divides them.

    Raises
    ------
    ChannelError
        The site has no file for a channel.
    ImageError
        A file that is missing, damaged, in colour, or of another size than the first; a pixel
        that is no number; an illumination function that nothing can be divided by.
    SiteError
        The site's row names no file for a channel.

    Examples
    --------
    >>> site = Site({"Plate": "P", "Well": "A01", "Site": "1"}, {}, lambda: None)
    >>> read_field(site, Objects(np.zeros((0, 2)), np.zeros(0, int)), ("DNA",))
    Traceback (most recent call last):
    cpcnn_core.errors.ChannelError: site P/A01/1 has no image of DNA; it has: none
    """
    missing = [name for name in channels if name not in site.images]
    if missing:
        raise ChannelError(
            f"site {site} has no image of {', '.join(missing)}; it has: "
            f"{', '.join(site.images) or 'none'}"
        )
    planes: list[np.ndarray] = []
    for name in channels:
        plane = _read_image(site.images[name])
        if site.size is not None and plane.shape != site.size:
            raise ImageError(
                f"{site.images[name].path} is {plane.shape[0]} x {plane.shape[1]} pixels, the "
                f"project's configuration says {site.size[0]} x {site.size[1]} (height x width)"
            )
        if planes and plane.shape != planes[0].shape:
            raise ImageError(
                f"{site.images[name].path} is {plane.shape[0]} x {plane.shape[1]} pixels, the "
                f"{channels[0]} image of this site {planes[0].shape[0]} x {planes[0].shape[1]}"
            )
        planes.append(plane)
    return Field(
        np.stack(planes),
        tuple(channels),
        objects.centers,
        objects.numbers,
        objects.labels,
        dict(site.metadata),
        site.um_per_px,
    )


def read_stored(image: ImageFile) -> np.ndarray:
    """Read the plane of an image as it is stored, before any illumination function.

    Raises
    ------
    SiteError
        The table names no file for it.
    ImageError
        See `cpcnn_core.io.images.read_plane`.

    Examples
    --------
    >>> read_stored(ImageFile(Path("nowhere.tif")))
    Traceback (most recent call last):
    cpcnn_core.errors.ImageError: there is no image file nowhere.tif
    """
    if image.error:
        raise SiteError(image.error)
    return read_plane(image.path, image.page, image.series)


def with_scale(sites: Sequence[Site], um_per_px: float | None) -> list[Site]:
    """Return the sites with their micrometres per pixel.

    Parameters
    ----------
    sites : sequence of Site
    um_per_px : float or None
        What the user says of all of them. None: what ``Metadata_UmPerPx`` of the screen's
        table says of each; where that is empty or missing, it stays unknown.

    Returns
    -------
    list of Site

    Raises
    ------
    ImageError
        `um_per_px` is no positive number.
    SiteError
        A site whose table says something else than the user, or no positive number.

    Examples
    --------
    >>> table = {"Plate": "P", "Well": "A01", "Site": "1", "UmPerPx": "0.65"}
    >>> with_scale([Site(table, {}, lambda: None)], None)[0].um_per_px
    0.65
    >>> with_scale([Site(table, {}, lambda: None)], 0.325)
    Traceback (most recent call last):
    cpcnn_core.errors.SiteError: site P/A01/1 has Metadata_UmPerPx 0.65, and 0.325 was given; ...
    """
    given = None if um_per_px is None else check_um_per_px(um_per_px)
    scaled = []
    for site in sites:
        own = _own_scale(site)
        if None not in (own, given) and own != given:
            raise SiteError(
                f"site {site} has Metadata_{UM_PER_PX} {own:g}, and {given:g} was given; leave "
                "out --um-per-px, or correct the table"
            )
        scaled.append(dataclasses.replace(site, um_per_px=own if given is None else given))
    return scaled


def _own_scale(site: Site) -> float | None:
    text = str(site.metadata.get(UM_PER_PX, "")).strip()
    if not text:
        return None
    try:
        return check_um_per_px(float(text))
    except ValueError as error:
        raise SiteError(
            f"site {site} has Metadata_{UM_PER_PX} {text!r}; expected micrometres per pixel, a "
            "positive number, or nothing"
        ) from error


def _read_image(image: ImageFile) -> np.ndarray:
    plane = read_stored(image)
    if image.illumination is not None:
        function = read_illumination(
            image.illumination, image.illumination_page, image.illumination_series
        )
        if function.shape != plane.shape:
            raise ImageError(
                f"the illumination function {image.illumination} is {function.shape}, "
                f"the image {image.path} {plane.shape}"
            )
        with np.errstate(over="ignore"):  # found, and told with the file, below
            plane = (plane / function).astype(np.float32)
    if plane.dtype.kind == "f" and not np.isfinite(plane).all():
        bad = ~np.isfinite(plane)
        row, col = np.argwhere(bad)[0]
        raise ImageError(
            f"{image.path} has NaN or infinite pixels: {np.count_nonzero(bad)} of {plane.size}, "
            f"the first at row {row}, column {col}; look at the step that made this image"
        )
    return plane


def illumination_notice(sites: Sequence[Site], channels: Sequence[str]) -> str:
    """Say which channels are divided by illumination functions, and in how many sites.

    Parameters
    ----------
    sites : sequence of Site
    channels : sequence of str

    Returns
    -------
    str
        One sentence, without a full stop.

    Examples
    --------
    >>> from pathlib import Path
    >>> files = {"DNA": ImageFile(Path("a"), None, Path("i.npy")), "ER": ImageFile(Path("b"))}
    >>> illumination_notice([Site({}, files, lambda: None)], ["DNA", "ER"])
    'DNA is divided by illumination functions; ER is not'
    >>> illumination_notice([Site({}, files, lambda: None)], ["ER"])
    'no illumination functions: pixels are taken as stored'
    """
    divided, never = [], []
    for channel in channels:
        found = [image.illumination is not None for image in _images(sites, channel)]
        if not any(found):
            never.append(channel)
        elif all(found):
            divided.append(channel)
        else:
            divided.append(f"{channel} (in {sum(found)} of {len(found)} sites)")
    sentence = "no illumination functions: pixels are taken as stored"
    if divided:
        sentence = f"{_are(divided)} divided by illumination functions"
        sentence += f"; {_are(never)} not" if never else ""
    unfit = dict.fromkeys(name for site in sites for name in site.unfit_illumination)
    if unfit:
        sentence += f"; not used, as no image of the table fits: {', '.join(unfit)}"
    return sentence


def same_file_notices(sites: Sequence[Site], channels: Sequence[str]) -> list[str]:
    """Say which channels are one and the same image, and in how many rows.

    Parameters
    ----------
    sites : sequence of Site
    channels : sequence of str

    Returns
    -------
    list of str
        A sentence for each set of channels; usually none.

    Examples
    --------
    >>> from pathlib import Path
    >>> files = dict.fromkeys(("AGP", "Mito"), ImageFile(Path("a.tif")))
    >>> same_file_notices([Site({}, files, lambda: None)], ["DNA", "AGP", "Mito"])
    ['AGP and Mito are the same file in 1 of 1 rows; a different image is expected in each']
    """
    found: Counter[tuple[str, ...]] = Counter()
    for site in sites:
        same = defaultdict(list)
        for channel in channels:
            for image in _images([site], channel):
                same[image.path, image.page or 0, image.series or 0].append(channel)
        found.update(tuple(names) for names in same.values() if len(names) > 1)
    return [
        f"{', '.join(names[:-1])} and {names[-1]} are the same file in {rows} of {len(sites)} "
        "rows; a different image is expected in each"
        for names, rows in found.items()
    ]


def _images(sites: Sequence[Site], channel: str) -> Iterator[ImageFile]:
    for site in sites:
        image = site.images.get(channel)
        if image is not None and not image.error:
            yield image


def _are(names: Sequence[str]) -> str:
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'}"
