"""Crops from the single cells that DeepProfiler exports (docs/method.md#single-cell-export).

A cell is an 8-bit grey PNG: its channels side by side, each ``crop_px`` wide and high, and
after them, where the project has outlines, its mask. ``sc-metadata.csv`` beside them names
the image of every cell (``Image_Name``) and its site (``Key``: plate/well/site).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from cpcnn_core.crop_store.settings import MASKED_AFTER, STRIPS, UNMASKED, StoreSettings
from cpcnn_core.crop_store.sites import LOCATION, SiteCrops
from cpcnn_core.errors import CropStoreError, ImageError, SiteError
from cpcnn_core.io.images import read_plane
from cpcnn_core.io.tables import read_text_table
from cpcnn_core.schema.columns import OBJECT_NUMBER, metadata_column
from cpcnn_core.screen.examination import Examined, Record
from cpcnn_core.screen.fingerprint import State, file_state, is_as_recorded, plane_hash

if TYPE_CHECKING:
    import pandas as pd

METADATA_FILE = "sc-metadata.csv"
# What the strips of a site are called in the record of what its crops were made from.
_STRIPS = "strips"
_X, _Y = (f"Nuclei_{name.removeprefix('Metadata_')}" for name in LOCATION)
# Columns that say where a cell is, and pandas' own; the others are kept.
_DROPPED = ("Key", "index", _X, _Y)


def open_strips(
    folder: str | Path,
    channels: Sequence[str],
    crop_px: int | None = None,
    *,
    multiply_mask: bool = False,
) -> tuple[list[StripSite], StoreSettings]:
    """Read the table of a folder of exported single cells.

    Parameters
    ----------
    folder : str or Path
        DeepProfiler's ``outputs/single-cells``.
    channels : sequence of str
        The channels of the strips, in their order.
    crop_px : int, optional
        Default: the height of the first strip.
    multiply_mask : bool
        Set what lies outside the cell's mask to zero, as DeepProfiler's training does with
        ``mask_objects``; else the mask is left out.

    Returns
    -------
    list of StripSite
        In the order in which the table first names them.
    StoreSettings

    Raises
    ------
    SiteError
        No such table, or one without a column that is needed.
    ImageError
        None of its strips is there.

    Examples
    --------
    >>> open_strips("nowhere", ("DNA",))
    Traceback (most recent call last):
    cpcnn_core.errors.TableError: there is no table nowhere/sc-metadata.csv
    """
    folder = Path(folder)
    path = folder / METADATA_FILE
    table = read_text_table(path, ["Key", "Image_Name", _X, _Y])
    sites = [
        StripSite(folder, _site_key(key, path), rows.reset_index(drop=True))
        for key, rows in table.groupby("Key", sort=False)
    ]
    if crop_px is None:
        first = next((p for name in table["Image_Name"] if (p := folder / name).is_file()), None)
        if first is None:
            raise ImageError(f"none of the {len(table)} strips that {path} names is in {folder}")
        crop_px = len(read_plane(first))
    mask = MASKED_AFTER if multiply_mask else UNMASKED
    return sites, StoreSettings(tuple(channels), crop_px, "uint8", mask, STRIPS)


def _site_key(key: str, path: Path) -> tuple[str, str, str]:
    # The export writes every hyphen of plate/well-site as a slash, those of the plate too.
    *plate, well, site = key.split("/") if key.count("/") >= 2 else ("",) * 3
    if not plate[0]:
        raise SiteError(f"{path} has the Key {key!r}; expected plate/well/site")
    return "-".join(plate), well, site


@dataclass
class ExaminedStrips(Examined):
    """The work to do for a site of strips.

    Attributes
    ----------
    site : StripSite
    settings : StoreSettings
    there : ndarray of shape (n,), bool
        Which rows of the table have a strip.
    """

    site: StripSite = field(kw_only=True)
    settings: StoreSettings = field(kw_only=True)
    there: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    _crops: list[np.ndarray] | None = field(default=None, repr=False)

    @property
    def numbers(self) -> np.ndarray:
        """The cells that have a strip, by their row, from 1."""
        return np.flatnonzero(self.there) + 1

    @property
    def may_stand(self) -> bool:
        """Whether the record may still be true, where no strip can be reached."""
        if isinstance(self.record, str) or self.there.any():
            return False
        before = self.record.inputs["images"].get(_STRIPS, {})
        result: bool = before.get("file") == self.inputs["images"][_STRIPS]["file"]
        return result

    def read(self) -> list[np.ndarray]:
        """Read the strips, once: crops (c, crop_px, crop_px) uint8."""
        if self._crops is None:
            self._crops = self.site.read(self)
        return self._crops

    def changed(self, *, images: bool) -> str:
        """See `Examined.changed`."""
        record = cast("Record", self.record)
        if not self.there.any():
            # Which says so.
            self.read()
        if not np.array_equal(self.numbers, record.numbers):
            return "it has other cells"
        if not np.array_equal(self.site.positions(self.there), record.locations, equal_nan=True):
            return "its cells moved"
        return self._strips_changed() if images else ""

    def _strips_changed(self) -> str:
        now = self.inputs["images"][_STRIPS]
        record = cast("Record", self.record)
        before = record.inputs["images"].get(_STRIPS)
        if is_as_recorded(now, before, record.moment_ns):
            now["pixels"] = before["pixels"]
            return ""
        self.doubted = True
        self.read()
        return "" if before and now["pixels"] == before["pixels"] else "its strips are others"


@dataclass(frozen=True, eq=False)
class StripSite:
    """A site whose crops were exported as strips.

    Attributes
    ----------
    folder : Path
    key : (plate, well, site)
    rows : pandas.DataFrame
        Its rows of ``sc-metadata.csv``, texts. Cells are numbered in this order from 1,
        which is the order of the site's location file.

    Examples
    --------
    >>> import pandas as pd
    >>> str(StripSite(Path("single-cells"), ("P1", "A01", "1"), pd.DataFrame()))
    'P1/A01/1'
    """

    folder: Path
    key: tuple[str, str, str]
    rows: pd.DataFrame

    def __str__(self) -> str:
        return "/".join(self.key)

    def texts(self, object_numbers: np.ndarray) -> dict[str, str | np.ndarray]:
        """Return what the table says of these cells."""
        named = dict(zip(("Plate", "Well", "Site"), self.key, strict=True))
        own = self.rows.drop(columns=[c for c in _DROPPED if c in self.rows.columns])
        own = own.iloc[object_numbers - 1]
        return {metadata_column(name): value for name, value in named.items()} | {
            metadata_column(name): values.to_numpy(object) for name, values in own.items()
        }

    def examine(self, settings: StoreSettings, record: Record | str) -> ExaminedStrips:
        """Look at the states of its strips; see `cpcnn_core.screen.examination.examine`."""
        moment = time.time_ns()
        states = [file_state(path) for path in self._paths()]
        inputs = {"images": {_STRIPS: _together(self.folder, states)}, "objects": []}
        there = np.array(["size" in state for state in states])
        return ExaminedStrips(record, moment, inputs, site=self, settings=settings, there=there)

    def load(
        self,
        settings: StoreSettings,  # noqa: ARG002
        examined: ExaminedStrips,
    ) -> SiteCrops:
        """Read the strips of the site.

        Raises
        ------
        ImageError
            One that is damaged or of another size.
        """
        paths, there = self._paths(), examined.there
        notes = []
        if not there.all():
            # The export gives an empty crop a row in its table, but no strip.
            notes.append(
                f"{np.count_nonzero(~there)} of {len(paths)} cells have no strip, the first "
                f"{paths[int(np.flatnonzero(~there)[0])].name}"
            )
        x, y = self.positions(there).T
        columns = dict(zip((OBJECT_NUMBER, *LOCATION), (examined.numbers, x, y), strict=True))
        crops = examined.read()
        return SiteCrops(len(crops), _one_by_one(crops), columns, notes)

    def read(self, examined: ExaminedStrips) -> list[np.ndarray]:
        """Read the strips that are there, and add the hash of their pixels to the inputs.

        Raises
        ------
        ImageError
            None is there, or one is damaged or of another size.
        """
        paths = self._paths()
        if not examined.there.any():
            raise ImageError(f"none of the {len(paths)} strips of site {self} is there: {paths[0]}")
        crops = [_read_strip(paths[n - 1], examined.settings) for n in examined.numbers]
        digest = hashlib.blake2b(digest_size=16)
        for crop in crops:
            digest.update(plane_hash(crop).encode())
        examined.inputs["images"][_STRIPS]["pixels"] = digest.hexdigest()
        return crops

    def positions(self, there: np.ndarray) -> np.ndarray:
        """Return x and y of some of the cells, (n, 2) float64.

        Raises
        ------
        SiteError
            One that is no number.
        """
        columns = []
        for name in (_X, _Y):
            try:
                columns.append(self.rows[name].to_numpy(np.float64)[there])
            except ValueError as error:
                raise SiteError(
                    f"{self.folder / METADATA_FILE} has a {name} of site {self} that is no number: "
                    f"{error}"
                ) from error
        return np.column_stack(columns)

    def _paths(self) -> list[Path]:
        return [self.folder / name for name in self.rows["Image_Name"]]


def _together(folder: Path, states: list[State]) -> State:
    """Put the states of all strips into one: the youngest times, and a hash of all."""
    there = [state for state in states if "size" in state]
    name = file_state(folder)["file"]
    if not there:
        return {"file": name}
    digest = hashlib.blake2b(json.dumps(states).encode(), digest_size=16)
    return {
        "file": name,
        "size": len(there),
        "mtime_ns": max(state["mtime_ns"] for state in there),
        "ctime_ns": max(state["ctime_ns"] for state in there),
        "states": digest.hexdigest(),
    }


def _one_by_one(crops: list[np.ndarray]) -> Iterator[np.ndarray]:
    for crop in crops:
        yield crop[None]


def _read_strip(path: Path, settings: StoreSettings) -> np.ndarray:
    """Return the crop (c, crop_px, crop_px) uint8 of one strip."""
    strip = read_plane(path)
    count, px = len(settings.channels), settings.crop_px
    widths = (count * px, (count + 1) * px)
    if strip.dtype != np.uint8 or strip.shape not in [(px, width) for width in widths]:
        raise ImageError(
            f"{path} is {strip.shape[0]} x {strip.shape[1]} {strip.dtype}; expected {px} x "
            f"{widths[0]} uint8 for {count} channels ({', '.join(settings.channels)}), or "
            f"{widths[1]} with a mask; name the strips' channels with --channels, their height "
            "with --crop-px"
        )
    # Channels side by side become planes one behind the other.
    blocks = strip.reshape(px, -1, px).transpose(1, 0, 2)
    if len(blocks) > count:
        mask = blocks[count]
        if not np.isin(mask, (0, 255)).all():
            raise ImageError(
                f"{path} has {len(blocks)} blocks for {count} channels, and the last is no mask "
                "(of 0 and 255 only); name all channels with --channels"
            )
        return blocks[:count] * (mask > 0) if settings.mask == MASKED_AFTER else blocks[:count]
    if settings.mask == MASKED_AFTER:
        raise CropStoreError(
            f"{path} has no mask to multiply with: it is {strip.shape[1]} wide, not {widths[1]}; "
            "leave out --multiply-mask"
        )
    return blocks
