"""Crops cut from the images of a screen: all that ``cpcnn embed`` reads."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from cpcnn_core.crop_store.settings import (
    DTYPES,
    MASKED_BEFORE,
    UNMASKED,
    StoreSettings,
)
from cpcnn_core.crop_store.sites import SiteCrops
from cpcnn_core.errors import SiteError
from cpcnn_core.imaging.crops import (
    CROP_PX,
    check_image,
    check_label_ids,
    cut_crops,
    touches_border,
    warn_of_boxes_outside,
)
from cpcnn_core.imaging.field import Field
from cpcnn_core.io.deepprofiler import read_sites
from cpcnn_core.io.load_data import read_load_data
from cpcnn_core.io.sites import Objects, Site, with_scale
from cpcnn_core.schema.cells import cell_columns
from cpcnn_core.schema.columns import metadata_column
from cpcnn_core.screen.examination import ExaminedSite, Record, examine
from cpcnn_core.screen.job import screen_notices
from cpcnn_core.screen.screens import DeepProfilerScreen, Screen

# Crops cut and written at a time; they bound the memory whatever a site holds.
CROPS_AT_A_TIME = 64


def open_images(
    screen: Screen, channels: Sequence[str], crop_px: int | None = None, dtype: str = "uint8"
) -> tuple[list[ImageSite], StoreSettings, list[str]]:
    """Read the tables of a screen whose cells are to be cut.

    Parameters
    ----------
    screen : LoadDataScreen or DeepProfilerScreen
        Its scale is recorded; crops are not resampled.
    channels : sequence of str
        In order. A DeepProfiler project has its own.
    crop_px : int, optional
        Default: the project's box size, else 128.
    dtype : str

    Returns
    -------
    list of ImageSite
        In the order of the screen's table.
    StoreSettings
        Masked as ``cpcnn embed`` would: with the screen's `mask`, or where the project's
        configuration sets ``mask_objects``.
    list of str
        What is to be known of how cells were found, and of the images.

    Raises
    ------
    CPCNNError
        Whatever is wrong with the tables; sites of different scales.

    Examples
    --------
    >>> open_images(DeepProfilerScreen("nowhere"), ())
    Traceback (most recent call last):
    cpcnn_core.errors.SiteError: nowhere is no DeepProfiler project: it has no folder inputs...
    """
    if isinstance(screen, DeepProfilerScreen):
        project = screen.project()
        sites, channels, mask = read_sites(project), project.channels, project.mask_objects
        crop_px, notices = crop_px or project.box_px, []
    else:
        objects = screen.cells.source()
        sites = read_load_data(screen.table, channels, dict(screen.channels), objects)
        mask, notices = screen.mask, objects.notices
    masked = MASKED_BEFORE if mask else UNMASKED
    sites = with_scale(sites, screen.um_per_px)
    um_per_px = _only_scale(sites)
    settings = StoreSettings(
        tuple(channels), crop_px or CROP_PX, dtype, masked, um_per_px=um_per_px
    )
    notices = [*notices, *screen_notices(sites, channels)]
    return [ImageSite(site) for site in sites], settings, notices


@dataclass(frozen=True)
class ImageSite:
    """A site whose crops are cut from its images.

    Examples
    --------
    >>> site = ImageSite(Site({"Plate": "P1", "Well": "A01", "Site": "1"}, {}, lambda: None))
    >>> found = site.examine(StoreSettings(("DNA",)), "")
    >>> found.decide()
    >>> str(site), found.state
    ('P1/A01/1', 'no locations')
    """

    site: Site

    @property
    def key(self) -> tuple[str, str, str]:
        """Plate, well and site."""
        return self.site.key

    def __str__(self) -> str:
        return str(self.site)

    def texts(self, object_numbers: np.ndarray) -> dict[str, str | np.ndarray]:  # noqa: ARG002
        """Return what the screen's table says of the site."""
        return {metadata_column(name): value for name, value in self.site.metadata.items()}

    def examine(self, settings: StoreSettings, record: Record | str) -> ExaminedSite:
        """Look at the states of its files; see `cpcnn_core.screen.examination.examine`."""
        masked = settings.mask == MASKED_BEFORE
        return examine(self.site, settings.channels, record, masked=masked)

    def load(self, settings: StoreSettings, examined: ExaminedSite) -> SiteCrops:
        """Read the images and objects; crops are cut as they are taken.

        Raises
        ------
        CPCNNError
            An image or label image that is missing or cannot be used.
        """
        field = examined.read()
        columns = self._columns(field, examined, settings)
        crops = SiteCrops(len(field.centers), iter(()), columns, [*examined.notes])
        crops.parts = _cut(field, cast("Objects", examined.objects), settings, crops.notes)
        return crops

    def _columns(
        self, field: Field, examined: ExaminedSite, settings: StoreSettings
    ) -> dict[str, np.ndarray]:
        return cell_columns(
            {},
            cast("np.ndarray", field.object_numbers),
            cast("np.ndarray", examined.locations)[:, :2],
            touches_border(field.centers, field.image.shape[1:], settings.crop_px),
            image_number=examined.image_number,
        )


def _only_scale(sites: Sequence[Site]) -> float | None:
    first: dict[float | None, Site] = {}
    for site in sites:
        first.setdefault(site.um_per_px, site)
    if len(first) > 1:
        texts = (f"{scale or 'nothing'} for {site}" for scale, site in first.items())
        raise SiteError(
            f"crops of a store have one scale, but Metadata_UmPerPx says {', '.join(texts)}; make "
            "a store for each, or leave the column out of the table"
        )
    return next(iter(first), None)


def quantize(crops: np.ndarray, dtype: str) -> np.ndarray:
    """Return ``floor(v * 255)``, or 65535, of crops within 0..1, computed in float32.

    Parameters
    ----------
    crops : ndarray of shape (n, c, h, w), float32, range [0, 1]
        Overwritten.
    dtype : str
        ``uint8`` or ``uint16``.

    Notes
    -----
    docs/method.md#single-cell-export: values are floored, not rounded.

    Examples
    --------
    >>> quantize(np.array([[[[0, 0.5, 0.999, 1]]]], np.float32), "uint8").ravel().tolist()
    [0, 127, 254, 255]
    """
    kind = DTYPES[dtype]
    crops *= np.float32(np.iinfo(kind).max)
    result: np.ndarray = crops.astype(kind)
    return result


def _cut(
    field: Field, objects: Objects, settings: StoreSettings, notes: list[str]
) -> Iterator[np.ndarray]:
    image = check_image(field.image)
    labels = ids = None
    if settings.mask == MASKED_BEFORE:
        given = field.object_numbers if objects.numbers_are_labels else None
        marks = cast("np.ndarray", field.labels)
        ids = check_label_ids(given, marks, field.centers)
        labels = marks.astype(np.float32)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_boxes_outside(field.centers, image.shape[1:], settings.crop_px)
    notes += [str(warning.message) for warning in caught]
    for start in range(0, len(field.centers), CROPS_AT_A_TIME):
        part = slice(start, start + CROPS_AT_A_TIME)
        own = None if ids is None else ids[part]
        centers = field.centers[part]
        crops = cut_crops(image, centers, settings.crop_px, labels, own, "minmax-per-crop")
        yield quantize(crops, settings.dtype)
