"""Embed the sites of a screen: reading runs ahead while the network works."""

from __future__ import annotations

import queue
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from cpcnn_core.atomic import remove_leftovers
from cpcnn_core.crops import touches_border
from cpcnn_core.embedding import Embedder, embed_cells
from cpcnn_core.errors import CPCNNError, SiteError
from cpcnn_core.fields import Field
from cpcnn_core.readers.sites import Objects, Site, read_field
from cpcnn_core.screen.plan import Settings, is_done, site_file
from cpcnn_core.tables.deepprofiler_npz import SiteTable, write_site

# Fields that wait, read, for the network. Bounds the memory together with the
# readers, each of which holds one more.
FIELDS_AHEAD = 2
READERS = 2


@dataclass
class SiteReport:
    """What became of one site.

    Attributes
    ----------
    site : Site
    state : str
        ``embedded``, ``already done``, ``no objects``, ``no locations`` or ``failed``.
    cells : int
    reason : str
        Why it failed, or what was odd about it.
    seconds : float
    """

    site: Site
    state: str
    cells: int = 0
    reason: str = ""
    seconds: float = 0.0


@dataclass
class _Loaded:
    """A site as the reading thread hands it over: its field, or why there is none."""

    site: Site
    field: Field | None = None
    objects: Objects | None = None
    report: SiteReport | None = None
    error: Exception | None = None


def embed_sites(
    model: Embedder,
    sites: Sequence[Site],
    out: str | Path,
    settings: Settings,
    *,
    strict: bool = False,
    readers: int = READERS,
    progress: Callable[[SiteReport], None] | None = None,
) -> list[SiteReport]:
    """Embed every site that is not done yet, one file per site.

    Parameters
    ----------
    model : Embedder
    sites : sequence of Site
    out : str or Path
        Files go to ``features/<plate>/<well>/<site>.npz`` in it.
    settings : Settings
        Written into every file; a file made with others is made again.
    strict : bool
        Stop at the first site that fails.
    readers : int
        Threads that read images ahead.
    progress : callable (SiteReport), optional
        Called after every site.

    Returns
    -------
    list of SiteReport
        One per site, in the order of `sites`.

    Raises
    ------
    CPCNNError, OSError
        With `strict`, what the first failing site raised.

    Notes
    -----
    Memory is that of ``FIELDS_AHEAD + readers + 1`` fields and one batch of crops,
    whatever the number of sites.

    Examples
    --------
    >>> embed_sites(model, sites, "out", Settings(model.card))  # doctest: +SKIP
    """
    provenance = settings.provenance()
    reports = []
    with closing(_read_ahead(sites, out, settings, model.card.channels, readers)) as loaded:
        for item in loaded:
            started = time.perf_counter()
            report = item.report
            if report is None:
                try:
                    report = _embed_one(model, item, out, settings, provenance)
                except Exception as error:
                    if strict:
                        raise
                    report = SiteReport(item.site, "failed", reason=_one_line(error))
            report.seconds = time.perf_counter() - started
            reports.append(report)
            if progress is not None:
                progress(report)
    return reports


def _embed_one(
    model: Embedder, item: _Loaded, out: str | Path, settings: Settings, provenance: dict[str, str]
) -> SiteReport:
    if item.error is not None:
        raise item.error
    site, objects = item.field, item.objects
    mask = settings.mask_neighbors
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        features = embed_cells(
            model,
            site.image,
            site.centers,
            labels=site.labels if mask else None,
            label_ids=site.object_numbers if mask and objects.numbers_are_labels else None,
        )
    locations = site.centers[:, ::-1] if objects.locations is None else objects.locations
    border = touches_border(site.centers, site.image.shape[1:], model.card.crop_px)
    table = SiteTable(
        features, dict(item.site.metadata), locations, site.object_numbers, border, provenance
    )
    path = site_file(out, item.site)
    write_site(path, table)
    # Of a run that was killed; a site belongs to one shard, so to nobody else.
    remove_leftovers(path)
    notes = "; ".join(str(warning.message) for warning in caught)
    return SiteReport(item.site, "embedded", len(features), notes)


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, CPCNNError) else f"{type(error).__name__}: {text}"


def _read_ahead(
    sites: Sequence[Site],
    out: str | Path,
    settings: Settings,
    channels: tuple[str, ...],
    readers: int,
) -> Iterator[_Loaded]:
    """Yield the sites in order, read by threads that stay a few sites ahead."""
    provenance = settings.provenance()
    slots: queue.Queue[queue.Queue[_Loaded]] = queue.Queue(FIELDS_AHEAD + readers)
    todo = iter(sites)
    lock, stop = threading.Lock(), threading.Event()

    def work() -> None:
        while not stop.is_set():
            # Taking a site and a place in the queue together keeps the order.
            with lock:
                site = next(todo, None)
                slot: queue.Queue[_Loaded] = queue.Queue(1)
                if site is None or not _put(slots, slot, stop):
                    return
            slot.put(_load(site, out, settings.mask_neighbors, provenance, channels))

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


def _load(
    site: Site, out: str | Path, mask: bool, provenance: dict[str, str], channels: Iterable[str]
) -> _Loaded:
    try:
        if is_done(site_file(out, site), provenance):
            return _Loaded(site, report=SiteReport(site, "already done"))
        objects = site.read_objects()
        if objects is None:
            return _Loaded(site, report=SiteReport(site, "no locations"))
        if len(objects.centers) == 0:
            return _Loaded(site, report=SiteReport(site, "no objects"))
        if mask and objects.labels is None:
            error = SiteError(f"site {site} has no label image to mask neighbouring cells with")
            return _Loaded(site, error=error)
        return _Loaded(site, read_field(site, objects, tuple(channels)), objects)
    except Exception as error:  # noqa: BLE001  (raised again where the site's turn comes)
        return _Loaded(site, error=error)
