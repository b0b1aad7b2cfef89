"""Read sites ahead, in order, in threads, so that the network need not wait for the disk."""

from __future__ import annotations

import dataclasses
import queue
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from cpcnn_core.io.atomic import set_time
from cpcnn_core.io.damaged_files import said_aside, set_aside
from cpcnn_core.io.deepprofiler_npz import read_site, write_site
from cpcnn_core.io.sites import Site
from cpcnn_core.screen.examination import DONE, TO_DO, UNREADABLE, Examined, ExaminedSite, examine
from cpcnn_core.screen.plan import Settings, site_file, site_record
from cpcnn_core.screen.reports import SiteReport, failure

# Fields that wait, read, for the network. Bounds the memory together with the
# readers, each of which holds one more.
FIELDS_AHEAD = 2
T = TypeVar("T")
R = TypeVar("R")


@dataclass
class LoadedSite:
    """A site as a reading thread hands it over: read, or why not."""

    site: Site
    examined: ExaminedSite | None = None
    report: SiteReport | None = None
    error: Exception | None = None
    kept: bool = False
    since: float = dataclasses.field(default_factory=time.perf_counter)


def read_ahead(
    sites: Sequence[Site], out: str | Path, settings: Settings, readers: int, *, force: bool = False
) -> Generator[LoadedSite, None, None]:
    """Yield the sites in order; at most ``FIELDS_AHEAD + readers`` are held.

    Parameters
    ----------
    sites : sequence of Site
    out : str or Path
        Sites that are done there, with these settings and inputs, are not handed over to be
        embedded; files that describe what is no more are removed.
    settings : Settings
    readers : int
        Number of threads.
    force : bool
        Hand over all that have cells.

    Examples
    --------
    >>> list(read_ahead([], "out", None, readers=2))
    []
    """
    return in_order(sites, lambda site: _load(site, out, settings, force), readers, FIELDS_AHEAD)


def in_order(
    items: Sequence[T], work: Callable[[T], R], threads: int, ahead: int
) -> Generator[R, None, None]:
    """Do some work on every item in threads, and yield the results in the items' order.

    Parameters
    ----------
    items : sequence
        None is not among them.
    work : callable (item) -> result
        It must not raise.
    threads : int
    ahead : int
        At most ``ahead + threads`` results are held that have not been asked for yet.

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


def _put(slots: queue.Queue[queue.Queue[R]], slot: queue.Queue[R], stop: threading.Event) -> bool:
    while not stop.is_set():
        try:
            slots.put(slot, timeout=0.1)
        except queue.Full:
            continue
        return True
    return False


def begin_site(path: Path, examined: ExaminedSite) -> SiteReport | None:
    """Report a site that is not to be done, or read one that is.

    Parameters
    ----------
    path : Path
        The site's file: brought up to date where the site is done, removed where it
        describes what is no more, set aside where it is damaged.
    examined : ExaminedSite
        Decided.

    Returns
    -------
    SiteReport or None
        None where its field was read and it has to be done.

    Raises
    ------
    CPCNNError, OSError
        What cannot be read.

    Examples
    --------
    >>> site = Site({"Plate": "P", "Well": "A01", "Site": "1"}, {}, lambda: None)
    >>> found = examine(site, ["DNA"], "")
    >>> found.decide()
    >>> begin_site(Path("nowhere.npz"), found).state
    'no locations'
    """
    if examined.state == DONE:
        _bring_up_to_date(path, examined)
    elif examined.spoilt:
        # Whatever becomes of the site now, its old file must not be counted.
        path.unlink(missing_ok=True)
    if examined.state == TO_DO:
        examined.read()
        if examined.record == UNREADABLE:
            examined.notes += (said_aside(path, set_aside(path)),)
    if examined.state != TO_DO:
        return SiteReport(str(examined.site), examined.state, reason="; ".join(examined.notes))
    return None


def examine_sites(
    sites: Sequence[Site], out: str | Path, settings: Settings, readers: int, *, force: bool = False
) -> list[SiteReport]:
    """Say what there is to do about every site; nothing is written.

    Parameters
    ----------
    sites, out, settings, readers, force
        As of `read_ahead`.

    Returns
    -------
    list of SiteReport
        In the order of the sites; those to be embedded have the state ``to do``.

    Examples
    --------
    >>> examine_sites([], "out", None, readers=2)
    []
    """

    def look(site: Site) -> SiteReport:
        def begin() -> Examined:
            path = site_file(out, site)
            record = site_record(path, settings.of(site).provenance())
            channels, masked = settings.card.channels, settings.mask_neighbors
            return examine(site, channels, record, masked=masked)

        return look_at(site, begin, force=force)

    return list(in_order(sites, look, readers, FIELDS_AHEAD))


def look_at(site: object, begin: Callable[[], Examined], *, force: bool) -> SiteReport:
    """Say what there is to do about a site; nothing is written.

    Parameters
    ----------
    site : object
        Its text is its name.
    begin : callable () -> Examined
        Looks at its files, as `cpcnn_core.screen.examination.examine` does.
    force : bool
        Do it in any case.

    Examples
    --------
    >>> site = Site({"Plate": "P", "Well": "A01", "Site": "1"}, {}, lambda: None)
    >>> look_at(site, lambda: examine(site, ["DNA"], ""), force=False).state
    'no locations'
    """
    found = None
    try:
        found = begin()
        found.decide(force=force)
    except Exception as error:  # noqa: BLE001  (reported with its site)
        return failure(site, error, kept=found is not None and found.may_stand)
    return SiteReport(str(site), found.state, redone=found.redone)


def _bring_up_to_date(path: Path, examined: ExaminedSite) -> None:
    """Let the file of a site that is done say what the screen's table and files say now."""
    if examined.outdated:
        now: dict[str, Any] = {
            "metadata": dict(examined.site.metadata),
            "image_number": examined.image_number,
        }
        if examined.locations is not None:
            now["locations"] = examined.locations
        table = dataclasses.replace(read_site(path), inputs=examined.inputs, **now)
        write_site(path, table, examined.confirmed_ns)
    elif examined.doubted:
        set_time(path, examined.confirmed_ns)


def _load(site: Site, out: str | Path, settings: Settings, force: bool) -> LoadedSite:
    found = None
    try:
        path = site_file(out, site)
        record = site_record(path, settings.of(site).provenance())
        found = examine(site, settings.card.channels, record, masked=settings.mask_neighbors)
        found.decide(force=force)
        report = begin_site(path, found)
    except Exception as error:  # noqa: BLE001  (raised again where the site's turn comes)
        return LoadedSite(site, error=error, kept=found is not None and found.may_stand)
    return LoadedSite(site, report=report) if report is not None else LoadedSite(site, found)
