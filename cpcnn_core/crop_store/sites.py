"""Sites of a store: the sources that their crops are made from, and the facts kept beside them.

The facts are in a ``.json`` file, which is written after the crops: a site is done when this file
is there and agrees with them. What a screen's own tables say of the site (well, treatment, ...)
is not in it; it is read from them when the store is collected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from cpcnn_core.crop_store.crop_files import CROPS_AT_A_TIME, is_whole, read_crops
from cpcnn_core.crop_store.settings import DTYPES, StoreSettings
from cpcnn_core.crop_store.store import CROPS_FOLDER
from cpcnn_core.errors import CropStoreError
from cpcnn_core.io.atomic import remove_leftovers
from cpcnn_core.io.damaged_files import read_checked, write_checked
from cpcnn_core.schema.columns import CENTER_X, CENTER_Y, IMAGE_NUMBER, OBJECT_NUMBER
from cpcnn_core.screen.examination import UNRECORDED, Examined, Record, is_record
from cpcnn_core.screen.plan import site_file

DAMAGED = "its crops are damaged or missing"
LOCATION = (CENTER_X, CENTER_Y)


@dataclass
class SiteCrops:
    """The crops of a site, ready to be written.

    Attributes
    ----------
    count : int
    parts : iterator of ndarray of shape (k, c, crop_px, crop_px)
        All crops in order, some at a time, of the store's dtype.
    columns : dict of str to ndarray of shape (count,)
        See `cpcnn_core.crop_store.sites.SiteFacts`.
    notes : list of str
        What was odd; complete when all parts were taken.

    Examples
    --------
    >>> SiteCrops(0, iter(()), {}).notes
    []
    """

    count: int
    parts: Iterator[np.ndarray]
    columns: dict[str, np.ndarray]
    notes: list[str] = field(default_factory=list)


class CropSite(Protocol):
    """A site whose crops are available; its text is ``plate/well/site``."""

    @property
    def key(self) -> tuple[str, str, str]:
        """Plate, well and site."""

    def examine(self, settings: StoreSettings, record: Record | str) -> Examined:
        """Look at the states of its files, as `cpcnn_core.screen.examination.examine` does."""

    def load(self, settings: StoreSettings, examined: Any) -> SiteCrops:  # noqa: ANN401  (its own)
        """Read what the crops are made from, of a site that is to be done.

        What was examined is complete then.
        """

    def texts(self, object_numbers: np.ndarray) -> dict[str, str | np.ndarray]:
        """Return what the screen's tables say, by column: for all objects, or for each."""


def crops_path(out: str | Path, site: CropSite) -> Path:
    """Return where the crops of a site are.

    Examples
    --------
    >>> crops_path("crops", crop_sites[0]).as_posix()
    'crops/crops/P1/A01/1.npy'
    """
    return site_file(out, site, CROPS_FOLDER, ".npy")


def facts_path(out: str | Path, site: CropSite) -> Path:
    """Return where the facts of a site are.

    Examples
    --------
    >>> facts_path("crops", crop_sites[0]).as_posix()
    'crops/crops/P1/A01/1.json'
    """
    return site_file(out, site, CROPS_FOLDER, ".json")


def site_record(out: str | Path, site: CropSite, settings: StoreSettings) -> Record | str:
    """Return what the facts of a site say its crops were made from, or why they do not.

    Returns
    -------
    Record or str
        The text is empty where there are no facts.

    Examples
    --------
    >>> site_record("crops", crop_sites[0], crop_settings)
    ''
    """
    path = facts_path(out, site)
    try:
        moment = path.stat().st_mtime_ns
    except OSError:
        return ""
    facts = facts_if_done(out, site, settings)
    if facts is None or not _are_as_written(crops_path(out, site), moment, facts, settings):
        return DAMAGED
    if not is_record(facts.inputs):
        return UNRECORDED
    columns = facts.columns
    locations = np.column_stack([columns[name] for name in LOCATION])
    number = int(columns[IMAGE_NUMBER][0]) if IMAGE_NUMBER in columns else 0
    return Record(facts.inputs, columns[OBJECT_NUMBER], locations, number, moment)


def facts_if_done(out: str | Path, site: CropSite, settings: StoreSettings) -> SiteFacts | None:
    """Return the facts of a site that is done with these settings, else None.

    A file that is too short, or missing, is noticed; whether every crop still is what was
    written, `site_record` looks at where the file's time is another than it was given, and
    `cpcnn_core.crop_store.store.check_store` in any case.

    Examples
    --------
    >>> facts_if_done("crops", crop_sites[0], crop_settings) is None
    True
    """
    facts = read_facts(facts_path(out, site), settings)
    if facts is None:
        return None
    count = len(facts.checksums)
    whole = is_whole(crops_path(out, site), count, settings.shape, DTYPES[settings.dtype])
    return facts if whole else None


def crops_that_fail(path: Path, facts: SiteFacts, settings: StoreSettings) -> str:
    """Read all crops of a site and say what is wrong with them; nothing where nothing is.

    Examples
    --------
    >>> facts = SiteFacts(np.array([7], "u4"), {})
    >>> crops_that_fail(Path("nowhere.npy"), facts, StoreSettings(("DNA",), 64))[:12]
    'there is no '
    """
    for start in range(0, len(facts.checksums), CROPS_AT_A_TIME):
        sums = facts.checksums[start : start + CROPS_AT_A_TIME]
        crops = np.empty((len(sums), *settings.shape), DTYPES[settings.dtype])
        try:
            read_crops(path, np.arange(start, start + len(sums)), sums, crops)
        except (CropStoreError, OSError) as error:
            return str(error)
    return ""


def _are_as_written(path: Path, moment_ns: int, facts: SiteFacts, settings: StoreSettings) -> bool:
    """Tell it by the file's time, which is that of its facts; of another, by every crop."""
    return path.stat().st_mtime_ns == moment_ns or not crops_that_fail(path, facts, settings)


@dataclass(frozen=True)
class SiteFacts:
    """The facts known of every crop of a site.

    Attributes
    ----------
    checksums : ndarray of shape (n,), uint32
        CRC-32 of every crop.
    columns : dict of str to ndarray of shape (n,)
        Numbers, by the index's column: ``Metadata_ObjectNumber``, positions, ...
    inputs : dict
        What the crops were made from, see `cpcnn_core.screen.fingerprint`; empty in stores of
        an earlier cpcnn.

    Examples
    --------
    >>> facts = SiteFacts(np.array([7], "u4"), {"Metadata_ObjectNumber": np.array([1])})
    >>> len(facts.checksums)
    1
    """

    checksums: np.ndarray
    columns: dict[str, np.ndarray]
    inputs: Mapping[str, object] = field(default_factory=dict)


def write_facts(
    path: str | Path, facts: SiteFacts, settings: StoreSettings, moment_ns: int | None = None
) -> None:
    """Write the facts of a site; equal facts give equal bytes.

    Parameters
    ----------
    path : str or Path
    facts : SiteFacts
    settings : StoreSettings
    moment_ns : int, optional
        When the site was looked at, which becomes the file's time. Default: now.

    Examples
    --------
    >>> import tempfile
    >>> facts = SiteFacts(np.array([7], "u4"), {"Metadata_ObjectNumber": np.array([1])})
    >>> settings = StoreSettings(("DNA",), 64)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_facts(f"{folder}/1.json", facts, settings)
    ...     read_facts(f"{folder}/1.json", settings).columns["Metadata_ObjectNumber"].tolist()
    [1]
    """
    content = {
        "settings": settings.as_json(),
        "crc32": facts.checksums.tolist(),
        "columns": {name: values.tolist() for name, values in facts.columns.items()},
        "inputs": dict(facts.inputs),
    }
    write_checked(path, content, moment_ns=moment_ns)
    remove_leftovers(path)


def read_facts(path: str | Path, settings: StoreSettings) -> SiteFacts | None:
    """Read the facts of a site; None where they are missing, damaged or of other settings.

    Examples
    --------
    >>> read_facts("nowhere.json", StoreSettings(("DNA",), 64)) is None
    True
    """
    try:
        content = read_checked(path)
        if content["settings"] != settings.as_json():
            return None
        columns = {name: np.array(values) for name, values in content["columns"].items()}
        checksums = np.array(content["crc32"], np.uint32)
        return SiteFacts(checksums, columns, content.get("inputs") or {})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
