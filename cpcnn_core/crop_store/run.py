"""Store the crops of a screen: sites are read ahead while crops are cut and written."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from cpcnn_core.crop_store.crop_files import write_crops
from cpcnn_core.crop_store.settings import (
    DTYPES,
    StoreSettings,
    claim_store,
    require_settings,
)
from cpcnn_core.crop_store.sites import (
    DAMAGED,
    LOCATION,
    CropSite,
    SiteCrops,
    SiteFacts,
    crops_path,
    facts_if_done,
    facts_path,
    read_facts,
    site_record,
    write_facts,
)
from cpcnn_core.errors import DiskFullError
from cpcnn_core.io.atomic import set_time
from cpcnn_core.io.damaged_files import said_aside, set_aside
from cpcnn_core.schema.columns import IMAGE_NUMBER
from cpcnn_core.screen.examination import DONE, TO_DO, Examined, Record
from cpcnn_core.screen.prefetch import in_order, look_at
from cpcnn_core.screen.reports import SiteReport, failure, stopped
from cpcnn_core.user_messages import Tell, warn

READERS = 2
SITES_AHEAD = 1


def store_crops(
    sites: Sequence[CropSite],
    out: str | Path,
    settings: StoreSettings,
    *,
    strict: bool = False,
    force: bool = False,
    readers: int = READERS,
    progress: Callable[[SiteReport], None] | None = None,
    tell: Tell = warn,
) -> list[SiteReport]:
    """Store the crops of every site that is not done yet with these inputs, two files per site.

    Parameters
    ----------
    sites : sequence of CropSite
    out : str or Path
        See `cpcnn_core.crop_store.store` for the layout.
    settings : StoreSettings
    strict : bool
        Stop at the first site that fails.
    force : bool
        Cut also what is done.
    readers : int
        Threads that read images ahead.
    progress : callable (SiteReport), optional
        Called after every site; what it raises ends the run.
    tell : callable
        Takes a sentence: that ``store.json`` was damaged.

    Returns
    -------
    list of SiteReport
        One per site, in the order of `sites`.

    Raises
    ------
    CropStoreError
        The folder holds crops of other settings.
    CPCNNError, OSError
        With `strict`, what the first failing site raised.
    DiskFullError
        No site that follows could be written; says how many are done.

    Notes
    -----
    Memory is that of ``SITES_AHEAD + readers + 1`` fields and of the few crops that are
    written at a time, whatever the number of sites and of cells.

    Examples
    --------
    >>> for report in store_crops(crop_sites, "crops", crop_settings):
    ...     print(report.site, report.state)
    P1/A01/1 stored
    P1/A01/2 stored
    P1/B02/3 no objects
    P1/B03/4 no locations
    """
    claim_store(out, settings, tell)

    store = _Store(out, settings, strict)
    reports = []
    ahead = closing(in_order(sites, lambda s: store.load(s, force), readers, SITES_AHEAD))
    try:
        with ahead as loaded:
            for item in loaded:
                report = store.report(item)
                reports.append(report)
                if progress is not None:
                    progress(report)
    except DiskFullError as error:
        raise stopped(error, reports, len(sites)) from error
    return reports


def examine_crops(
    sites: Sequence[CropSite],
    out: str | Path,
    settings: StoreSettings,
    *,
    force: bool = False,
    readers: int = READERS,
) -> list[SiteReport]:
    """Say what there is to do about the crops of every site; nothing is written.

    Parameters
    ----------
    sites, out, settings, force, readers
        As of `store_crops`.

    Returns
    -------
    list of SiteReport
        In the order of the sites; those to be stored have the state ``to do``.

    Raises
    ------
    CropStoreError
        The folder holds crops of other settings.

    Examples
    --------
    >>> [report.state for report in examine_crops(crop_sites, "crops", crop_settings)]
    ['to do', 'to do', 'no objects', 'no locations']
    """
    require_settings(out, settings)

    def look(site: CropSite) -> SiteReport:
        def begin() -> Examined:
            return site.examine(settings, site_record(out, site, settings))

        return look_at(site, begin, force=force)

    return list(in_order(sites, look, readers, SITES_AHEAD))


@dataclass
class _Loaded:
    """A site as a reading thread hands it over."""

    site: CropSite
    examined: Examined | None = None
    crops: SiteCrops | None = None
    report: SiteReport | None = None
    error: Exception | None = None
    kept: bool = False
    since: float = dataclasses.field(default_factory=time.perf_counter)

    def to_store(self) -> tuple[SiteCrops, Examined]:
        """Return what was read, of a site that is neither reported nor failed."""
        return cast("SiteCrops", self.crops), cast("Examined", self.examined)


class _Store:
    """Reads sites, in threads, and writes their crops."""

    def __init__(self, out: str | Path, settings: StoreSettings, strict: bool) -> None:
        self._out, self._settings, self._strict = out, settings, strict

    def load(self, site: CropSite, force: bool) -> _Loaded:
        loaded = _Loaded(site)
        examined = None
        try:
            record = site_record(self._out, site, self._settings)
            loaded.examined = examined = site.examine(self._settings, record)
            examined.decide(force=force)
            self._make_way(site, examined)
            if examined.state == TO_DO:
                loaded.crops = site.load(self._settings, examined)
                loaded.crops.notes += self._set_aside(site, examined)
            else:
                notes = "; ".join(examined.notes)
                loaded.report = SiteReport(str(site), examined.state, reason=notes)
        except Exception as error:  # noqa: BLE001  (raised again where the site's turn comes)
            loaded.error = error
            loaded.kept = examined is not None and examined.may_stand
        return loaded

    def report(self, loaded: _Loaded) -> SiteReport:
        site = loaded.site
        if loaded.report is not None:
            return loaded.report
        error = loaded.error
        if error is None:
            try:
                self._write(loaded)
            except Exception as raised:  # noqa: BLE001  (handled with those of reading, below)
                error = raised
        if error is not None:
            if self._strict or isinstance(error, DiskFullError):
                raise error
            return failure(site, error, kept=loaded.kept)
        crops, examined = loaded.to_store()
        seconds = time.perf_counter() - loaded.since
        notes, redone = "; ".join(crops.notes), examined.redone
        return SiteReport(str(site), "stored", crops.count, notes, seconds, redone)

    def _make_way(self, site: CropSite, examined: Examined) -> None:
        """Bring the facts of a site that is done up to date; remove what is true no more."""
        path, record = facts_path(self._out, site), examined.record
        if examined.spoilt:
            path.unlink(missing_ok=True)
            crops_path(self._out, site).unlink(missing_ok=True)
        elif examined.state == DONE and examined.outdated:
            # It is done, and on record.
            facts = cast("SiteFacts", facts_if_done(self._out, site, self._settings))
            columns = dict(facts.columns)
            if examined.image_number != cast("Record", record).image_number:
                columns[IMAGE_NUMBER] = np.full_like(columns[IMAGE_NUMBER], examined.image_number)
            if examined.locations is not None:
                x_and_y = np.asarray(examined.locations, np.float64)[:, :2].T
                columns |= dict(zip(LOCATION, x_and_y, strict=True))
            facts = SiteFacts(facts.checksums, columns, examined.inputs)
            write_facts(path, facts, self._settings, examined.confirmed_ns)
            set_time(crops_path(self._out, site), examined.confirmed_ns)
        elif examined.state == DONE:
            # The same time says that the crops are those of the facts.
            for file in (path, crops_path(self._out, site)):
                if file.stat().st_mtime_ns != examined.confirmed_ns:
                    set_time(file, examined.confirmed_ns)

    def _set_aside(self, site: CropSite, examined: Examined) -> list[str]:
        """Set what is damaged aside, and say so; what is missing is not there to be."""
        if examined.record != DAMAGED:
            return []
        place = facts_path(self._out, site)
        if read_facts(place, self._settings) is not None:
            place = crops_path(self._out, site)
        return [said_aside(place, set_aside(place))] if place.is_file() else []

    def _write(self, loaded: _Loaded) -> None:
        site, settings = loaded.site, self._settings
        crops, examined = loaded.to_store()
        path = facts_path(self._out, site)
        # Old facts may not remain beside new crops, not even after a kill.
        path.unlink(missing_ok=True)
        place, dtype = crops_path(self._out, site), DTYPES[settings.dtype]
        checksums = write_crops(place, crops.parts, crops.count, settings.shape, dtype)
        facts = SiteFacts(checksums, crops.columns, examined.inputs)
        write_facts(path, facts, settings, examined.moment_ns)
        set_time(place, path.stat().st_mtime_ns)
