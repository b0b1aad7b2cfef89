"""Sites read ahead, in order, by threads: the network shall not wait for the disk."""

from __future__ import annotations

import dataclasses
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cpcnn_core.errors import SiteError
from cpcnn_core.fields import Field
from cpcnn_core.readers.sites import Objects, Site, read_field
from cpcnn_core.screen.plan import Settings, is_done, site_file
from cpcnn_core.screen.report import SiteReport

# Fields that wait, read, for the network. Bounds the memory together with the
# readers, each of which holds one more.
FIELDS_AHEAD = 2


@dataclass
class LoadedSite:
    """A site as a reading thread hands it over: its field, or why there is none."""

    site: Site
    field: Field | None = None
    objects: Objects | None = None
    report: SiteReport | None = None
    error: Exception | None = None
    since: float = dataclasses.field(default_factory=time.perf_counter)


def read_ahead(
    sites: Sequence[Site], out: str | Path, settings: Settings, readers: int
) -> Iterator[LoadedSite]:
    """Yield the sites in order; at most ``FIELDS_AHEAD + readers`` are held.

    Parameters
    ----------
    sites : sequence of Site
    out : str or Path
        Sites that are done there with these settings are not read.
    settings : Settings
    readers : int
        Number of threads.

    Examples
    --------
    >>> list(read_ahead([], "out", None, readers=2))
    []
    """
    slots: queue.Queue[queue.Queue[LoadedSite]] = queue.Queue(FIELDS_AHEAD + readers)
    todo = iter(sites)
    lock, stop = threading.Lock(), threading.Event()

    def work() -> None:
        while not stop.is_set():
            # Taking a site and a place in the queue together keeps the order.
            with lock:
                site = next(todo, None)
                slot: queue.Queue[LoadedSite] = queue.Queue(1)
                if site is None or not _put(slots, slot, stop):
                    return
            slot.put(_load(site, out, settings))

    threads = [threading.Thread(target=work, daemon=True) for _ in range(readers)]
    for thread in threads:
        thread.start()
    try:
        for _ in sites:
            yield slots.get().get()
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _put(slots: queue.Queue, slot: queue.Queue, stop: threading.Event) -> bool:
    while not stop.is_set():
        try:
            slots.put(slot, timeout=0.1)
        except queue.Full:
            continue
        return True
    return False


def _load(site: Site, out: str | Path, settings: Settings) -> LoadedSite:
    try:
        if is_done(site_file(out, site), settings.provenance()):
            return LoadedSite(site, report=SiteReport(str(site), "already done"))
        objects = site.read_objects()
        if objects is None:
            return LoadedSite(site, report=SiteReport(str(site), "no locations"))
        if len(objects.centers) == 0:
            return LoadedSite(site, report=SiteReport(str(site), "no objects"))
        if settings.mask_neighbors and objects.labels is None:
            error = SiteError(f"site {site} has no label image to mask neighbouring cells with")
            return LoadedSite(site, error=error)
        return LoadedSite(site, read_field(site, objects, settings.card.channels), objects)
    except Exception as error:  # noqa: BLE001  (raised again where the site's turn comes)
        return LoadedSite(site, error=error)
