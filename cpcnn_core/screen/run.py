"""Embed the sites of a screen: reading and writing continue while the network works."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from cpcnn_core.embedding.batches import Cells, Embedded, batches_for
from cpcnn_core.embedding.embedder import Embedder
from cpcnn_core.errors import CPCNNError, DiskFullError
from cpcnn_core.imaging.field import Field
from cpcnn_core.imaging.scale import touches_border_at, zoom_of
from cpcnn_core.io.atomic import remove_leftovers
from cpcnn_core.io.deepprofiler_npz import SiteTable, write_site
from cpcnn_core.io.sites import Objects, Site
from cpcnn_core.screen.examination import ExaminedSite
from cpcnn_core.screen.fingerprint import State
from cpcnn_core.screen.plan import Settings, site_file
from cpcnn_core.screen.prefetch import LoadedSite, read_ahead
from cpcnn_core.screen.reports import SiteReport, failure, stopped

Progress = Callable[[SiteReport], None]
READERS_FOR_CPU, MAX_READERS = 2, 16


def embed_sites(
    model: Embedder,
    sites: Sequence[Site],
    out: str | Path,
    settings: Settings,
    *,
    strict: bool = False,
    force: bool = False,
    readers: int | None = None,
    progress: Progress | None = None,
) -> list[SiteReport]:
    """Embed every site that is not done yet with these inputs, one file per site.

    Parameters
    ----------
    model : Embedder
    sites : sequence of Site
    out : str or Path
        Files go to ``features/<plate>/<well>/<site>.npz`` in it.
    settings : Settings
        Written into every file; a file made with others is made again, and so is one whose
        images or objects changed: see `cpcnn_core.screen.examination.examine`.
    strict : bool
        Stop at the first site that fails.
    force : bool
        Embed also what is done.
    readers : int, optional
        Threads that read images ahead, and as many that write. Default: 2 where the
        network runs on the CPU, else one for every core, at most 16.
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
    DiskFullError
        No site that follows could be written; says how many are done.
    RuntimeError
        What a GPU raises; it would fail for every site.

    Notes
    -----
    Memory is that of ``FIELDS_AHEAD + readers + 2`` fields, the features of twice as
    many and the crops of one pass for every thread, whatever the number of sites.

    Examples
    --------
    >>> from cpcnn_core import load_model
    >>> from cpcnn_core.io.deepprofiler import read_sites
    >>> model = load_model("untrained-resnet18", channels=project.channels, device="cpu")
    >>> for report in embed_sites(model, read_sites(project), "out", Settings(model.card)):
    ...     print(report.site, report.state, report.cells)
    P1/A01/1 embedded 14
    P1/A01/2 embedded 3
    P1/B02/3 no objects 0
    P1/B03/4 no locations 0
    """
    readers = readers or default_readers(model)
    run = _Run(sites, out, settings, strict, readers, progress)
    batches = batches_for(model)
    ahead = closing(read_ahead(sites, out, settings, readers, force=force))
    try:
        with run, ahead as loaded:
            for item in loaded:
                if item.report is not None:
                    run.note(item.report)
                elif item.error is not None:
                    run.fail(item.site, item.error, kept=item.kept)
                else:
                    for embedded in batches.add(_cells(item, settings)):
                        run.finish(embedded)
            for embedded in batches.flush():
                run.finish(embedded)
    except DiskFullError as error:
        raise stopped(error, run.reports.values(), len(sites)) from error
    return [run.reports[str(site)] for site in sites]


def default_readers(model: Embedder) -> int:
    """Return how many threads read ahead for a model by default.

    Examples
    --------
    >>> from cpcnn_core.embedding.embedder import load_model
    >>> default_readers(load_model("untrained-efficientnet-b0", device="cpu"))
    2
    """
    cores = min(os.cpu_count() or 1, MAX_READERS)
    return READERS_FOR_CPU if model.device.type == "cpu" else cores


@dataclass
class _Facts:
    """The facts written beside a site's features; its images are no longer needed."""

    site: Site
    image_number: int
    object_numbers: np.ndarray
    locations: np.ndarray
    touches_border: np.ndarray
    inputs: State
    moment_ns: int
    redone: str
    notes: tuple[str, ...]
    since: float


def _cells(item: LoadedSite, settings: Settings) -> Cells:
    # Handed over to be embedded: it was read, and has cells.
    examined = cast("ExaminedSite", item.examined)
    field, objects = cast("Field", examined.field), cast("Objects", examined.objects)
    card, scale = settings.card, field.um_per_px
    zoom = zoom_of(card.um_per_px, scale)
    border = touches_border_at(field.centers, field.image.shape[1:], card.crop_px, zoom)
    facts = _Facts(
        item.site,
        examined.image_number,
        cast("np.ndarray", field.object_numbers),
        cast("np.ndarray", examined.locations),
        border,
        examined.inputs,
        examined.moment_ns,
        examined.redone,
        examined.notes,
        item.since,
    )
    if not settings.mask_neighbors:
        return Cells(field.image, field.centers, key=facts, um_per_px=scale)
    ids = field.object_numbers if objects.numbers_are_labels else None
    return Cells(field.image, field.centers, field.labels, ids, facts, scale)


class _Run:
    """Writes what comes out of the network, in threads, and reports it in order."""

    def __init__(
        self,
        sites: Sequence[Site],
        out: str | Path,
        settings: Settings,
        strict: bool,
        writers: int,
        progress: Progress | None,
    ) -> None:
        self.reports: dict[str, SiteReport] = {}
        self._untold = deque(str(site) for site in sites)
        self._out, self._settings, self._strict = out, settings, strict
        self._progress = progress
        self._pool, self._limit = ThreadPoolExecutor(writers), 2 * writers
        self._writing: deque[tuple[Site, Future[SiteReport]]] = deque()

    def __enter__(self) -> None:
        self._pool.__enter__()

    def __exit__(self, kind: object, *_: object) -> None:
        raised = None
        try:
            # Also after an error or Ctrl-C: what is embedded must be written and told.
            while self._writing:
                try:
                    self._settle(0)
                except (CPCNNError, OSError) as error:
                    raised = raised or error
        finally:
            self._pool.shutdown(wait=True)
        if kind is None and raised is not None:
            raise raised

    def finish(self, embedded: Embedded) -> None:
        """Write a site, or report why it failed."""
        site = embedded.key.site
        if embedded.error is not None:
            self.fail(site, embedded.error)
            return
        self._writing.append((site, self._pool.submit(self._write, embedded)))
        self._settle(self._limit)

    def fail(self, site: Site, error: Exception, *, kept: bool = False) -> None:
        """Report why a site failed; with `strict`, or where all would fail, raise it."""
        if self._strict or isinstance(error, DiskFullError):
            raise error
        self.note(failure(site, error, kept=kept))

    def note(self, report: SiteReport) -> None:
        """Keep a report, and tell those whose turn it is."""
        self.reports[report.site] = report
        while self._untold and self._untold[0] in self.reports:
            told = self.reports[self._untold.popleft()]
            if self._progress is not None:
                self._progress(told)

    def _settle(self, left: int) -> None:
        # What is written is told at once; what is not is waited for only beyond the limit.
        while self._writing and (len(self._writing) > left or self._writing[0][1].done()):
            site, writing = self._writing.popleft()
            try:
                report = writing.result()
            except Exception as error:  # noqa: BLE001  (raised again where it has to be)
                self.fail(site, error)
            else:
                self.note(report)

    def _write(self, embedded: Embedded) -> SiteReport:
        facts: _Facts = embedded.key
        features = cast("np.ndarray", embedded.features)
        table = SiteTable(
            features,
            dict(facts.site.metadata),
            facts.locations,
            facts.object_numbers,
            facts.touches_border,
            self._settings.of(facts.site).provenance(),
            facts.image_number,
            facts.inputs,
        )
        path = site_file(self._out, facts.site)
        write_site(path, table, facts.moment_ns)
        # Left by a run that was killed: a site belongs to one shard, so no other run writes it.
        remove_leftovers(path)
        notes = "; ".join((*facts.notes, *embedded.notes))
        seconds = time.perf_counter() - facts.since
        cells = len(features)
        return SiteReport(str(facts.site), "embedded", cells, notes, seconds, facts.redone)
