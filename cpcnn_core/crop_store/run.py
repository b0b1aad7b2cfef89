"""Store the crops of a screen: sites are read ahead while crops are cut and written."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from cpcnn_core.crop_store.crop_file import write_crops
from cpcnn_core.crop_store.settings import DTYPES, StoreSettings, claim_store
from cpcnn_core.crop_store.site_facts import SiteFacts, write_facts
from cpcnn_core.crop_store.sites import (
    CropSite,
    SiteCrops,
    crops_path,
    facts_if_done,
    facts_path,
)
from cpcnn_core.screen.reading import in_order
from cpcnn_core.screen.report import SiteReport, failure

READERS = 2
SITES_AHEAD = 1


def store_crops(
    sites: Sequence[CropSite],
    out: str | Path,
    settings: StoreSettings,
    *,
    strict: bool = False,
    readers: int = READERS,
    progress: Callable[[SiteReport], None] | None = None,
) -> list[SiteReport]:
    """Store the crops of every site that is not done yet, two files per site.

    Parameters
    ----------
    sites : sequence of CropSite
    out : str or Path
        See `cpcnn_core.crop_store.store` for the layout.
    settings : StoreSettings
    strict : bool
        Stop at the first site that fails.
    readers : int
        Threads that read images ahead.
    progress : callable (SiteReport), optional
        Called after every site; what it raises ends the run.

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

    Notes
    -----
    Memory is that of ``SITES_AHEAD + readers + 1`` fields and of the few crops that are
    written at a time, whatever the number of sites and of cells.

    Examples
    --------
    >>> store_crops(sites, "crops", settings)  # doctest: +SKIP
    """
    claim_store(out, settings)

    def load(site: CropSite) -> tuple[float, SiteCrops | SiteReport | Exception]:
        since = time.perf_counter()
        try:
            if facts_if_done(out, site, settings) is not None:
                return since, SiteReport(str(site), "already done")
            crops = site.load(settings)
        except Exception as error:  # noqa: BLE001  (raised again where the site's turn comes)
            return since, error
        return since, SiteReport(str(site), crops) if isinstance(crops, str) else crops

    reports = []
    with closing(in_order(sites, load, readers, SITES_AHEAD)) as loaded:
        for site, (since, item) in zip(sites, loaded, strict=True):
            report = _report(site, item, out, settings, since, strict)
            reports.append(report)
            if progress is not None:
                progress(report)
    return reports


def _report(
    site: CropSite,
    item: SiteCrops | SiteReport | Exception,
    out: str | Path,
    settings: StoreSettings,
    since: float,
    strict: bool,
) -> SiteReport:
    if isinstance(item, SiteReport):
        return item
    error = item if isinstance(item, Exception) else None
    if error is None:
        try:
            _write(site, item, out, settings)
        except Exception as raised:  # noqa: BLE001  (handled with those of reading, below)
            error = raised
    if error is not None:
        if strict:
            raise error
        return failure(site, error)
    seconds = time.perf_counter() - since
    return SiteReport(str(site), "stored", item.count, "; ".join(item.notes), seconds)


def _write(site: CropSite, crops: SiteCrops, out: str | Path, settings: StoreSettings) -> None:
    facts = facts_path(out, site)
    # Old facts shall not stand beside new crops, not even after a kill.
    facts.unlink(missing_ok=True)
    dtype = DTYPES[settings.dtype]
    place = crops_path(out, site)
    checksums = write_crops(place, crops.parts, crops.count, settings.shape, dtype)
    write_facts(facts, SiteFacts(checksums, crops.columns), settings)
