"""Sites read ahead, in order, by threads: the network shall not wait for the disk."""

from __future__ import annotations

import dataclasses
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cpcnn_core.errors import SiteError
from cpcnn_core.fields import Field
from cpcnn_core.readers.sites import Objects, Site, read_field
from cpcnn_core.screen.plan import Settings, has_moved, header_if_done, images_of, site_file
from cpcnn_core.screen.report import SiteReport

# Fields that wait, read, for the network. Bounds the memory together with the
# readers, each of which holds one more.
FIELDS_AHEAD = 2
T, R = TypeVar("T"), TypeVar("R")


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
    return in_order(sites, lambda site: _load(site, out, settings), readers, FIELDS_AHEAD)


def in_order(items: Sequence[T], work: Callable[[T], R], threads: int, ahead: int) -> Iterator[R]:
    """Do some work on every item in threads, and yield the results in the items' order.

    Parameters
    ----------
    items : sequence
        None is not among them.
    work : callable (item) -> result
        It shall not raise.
    threads : int
    ahead : int
        At most ``ahead + threads`` results are held that nobody has asked for yet.

    Yields
    ------
    result

    Examples
    --------
    >>> list(in_order([1, 2, 3], lambda number: number**2, threads=2, ahead=1))
    [1, 4, 9]
    """
    slots: queue.Queue[queue.Queue[R]] = queue.Queue(ahead + threads)
    todo = iter(items)
    lock, stop = threading.Lock(), threading.Event()

    def run() -> None:
        while not stop.is_set():
            # Taking an item and a place in the queue together keeps the order.
            with lock:
                item = next(todo, None)
                slot: queue.Queue[R] = queue.Queue(1)
                if item is None or not _put(slots, slot, stop):
                    return
            slot.put(work(item))

    started = [threading.Thread(target=run, daemon=True) for _ in range(threads)]
    for thread in started:
        thread.start()
    try:
        for _ in items:
            yield slots.get().get()
    finally:
        stop.set()
        for thread in started:
            thread.join()


def _put(slots: queue.Queue, slot: queue.Queue, stop: threading.Event) -> bool:
    while not stop.is_set():
        try:
            slots.put(slot, timeout=0.1)
        except queue.Full:
            continue
        return True
    return False


def objects_to_do(
    site: Site, path: Path, provenance: Mapping[str, str], channels: Sequence[str]
) -> Objects | SiteReport:
    """Read the objects of a site that has to be done; else report why it has not.

    Parameters
    ----------
    site : Site
    path : Path
        The site's file; one that describes other objects than there are now is removed.
    provenance : mapping of str to str
        Model and settings that its file shall be made with.
    channels : sequence of str

    Examples
    --------
    >>> site = Site({"Plate": "P", "Well": "A01", "Site": "1"}, {}, lambda: None)
    >>> objects_to_do(site, Path("nowhere.npz"), {}, []).state
    'no locations'
    """
    done = header_if_done(path, provenance, images_of(site, channels)) is not None
    objects = site.read_objects()
    if done and (objects is None or not has_moved(path, objects)):
        return SiteReport(str(site), "already done")
    # Whatever becomes of the site now: nobody shall collect what was.
    if done:
        path.unlink()
    if objects is None:
        return SiteReport(str(site), "no locations")
    return objects if len(objects.centers) else SiteReport(str(site), "no objects")


def _load(site: Site, out: str | Path, settings: Settings) -> LoadedSite:
    try:
        provenance = settings.of(site).provenance()
        objects = objects_to_do(site, site_file(out, site), provenance, settings.card.channels)
        if isinstance(objects, SiteReport):
            return LoadedSite(site, report=objects)
        if settings.mask_neighbors and objects.labels is None:
            error = SiteError(f"site {site} has no label image to mask neighbouring cells with")
            return LoadedSite(site, error=error)
        return LoadedSite(site, read_field(site, objects, settings.card.channels), objects)
    except Exception as error:  # noqa: BLE001  (raised again where the site's turn comes)
        return LoadedSite(site, error=error)
