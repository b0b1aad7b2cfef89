"""``cpcnn embed``: every cell of a screen, from files on disk to tables."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cpcnn_core.cli.options import add_check, add_command, add_engine, add_work
from cpcnn_core.cli.screen_options import add_scale, add_screen, screen_of
from cpcnn_core.cli.terminal import SiteBar, notice, show
from cpcnn_core.errors import SiteError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cpcnn_core.io.sites import Site
    from cpcnn_core.screen.job import Job, OpenJob
    from cpcnn_core.screen.reports import JobResult, SiteReport


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = add_command(
        verbs,
        "embed",
        "Embed every cell of a screen.",
        "cpcnn embed --load-data load_data.csv --objects Nuclei.csv --out embedded",
        _embed,
    )
    add_options(parser)


@dataclass(frozen=True)
class Work:
    """How a job is done, and what is written of it.

    Attributes
    ----------
    shard : str
        Only the I-th of N parts of the sites, ``I/N``.
    tables : tuple of str
        Formats of the plates' tables.
    strict : bool
        Stop at the first site that fails.
    cluster : str, optional
        See `cpcnn_core.screen.cluster.connect`.
    """

    shard: str = "1/1"
    tables: tuple[str, ...] = ("parquet",)
    strict: bool = False
    cluster: str | None = None


def _embed(options: argparse.Namespace) -> int:
    from cpcnn_core.screen.reports import JobResult

    shard = options.shard or "1/1"
    work = Work(shard, tuple(options.tables), options.strict, options.cluster)
    job = job_of(options)
    if options.check:
        check_job(job, work)
        return 0
    result = JobResult()
    embed_job(job, work, result=result)
    return 1 if result.reason else 0


def embed_job(job: Job, work: Work = Work(), *, result: JobResult) -> None:
    """Embed what is not done yet, and collect the plates; say what was done.

    Parameters
    ----------
    job : Job
    work : Work
    result : JobResult
        Filled while the work goes on.

    Raises
    ------
    CPCNNError
        What cannot be done. A site that fails is in the result.
    """
    from cpcnn_core.io.disk import require_room
    from cpcnn_core.screen.run_log import RunLog, redone_line, summary
    from cpcnn_core.screen.site_names import require_apart

    planned = _plan(job, work)
    opened = planned.opened
    require_room(opened.out)
    require_apart([site.key for site in opened.sites], opened.out)
    started = time.perf_counter()
    engine = {"engine": opened.model.engine, "device": str(opened.model.device)}
    made_by = engine | opened.settings.provenance()
    result.start(made_by, planned.notices)
    with RunLog(opened.out) as log, SiteBar(len(planned.mine)) as bar:
        log.write(
            {
                "event": "start",
                "sites": len(planned.mine),
                "shard": work.shard,
                "cluster": work.cluster,
                "notices": planned.notices,
                **made_by,
            }
        )

        def note(report: SiteReport) -> None:
            result.add(report)
            log.write_site(report)
            bar.add(report)

        reports = _run(work, job, planned, note)
        result.redone = redone_line(reports)
        lines = summary(reports, time.perf_counter() - started, log.path)
        log.write({"event": "end", "summary": lines[0], "redone": result.redone})
    show(*lines)
    if planned.whole:
        _collect(work, opened, reports)
        # A shard may well be of empty fields, a whole screen is not.
        if {report.state for report in reports} == {"no locations"}:
            result.error = _NO_CELLS
            show(_NO_CELLS)
    else:
        show("When all shards are done, run this once without --shard: it collects the plates.")
    result.finished = True


_NO_CELLS = (
    "No site has cells: look whether plates, wells and sites are called the same in the table of "
    "the images and where the cells are."
)


@dataclass(frozen=True)
class _Planned:
    """A job that is opened, the sites of its part by their places, and what to say of them."""

    opened: OpenJob
    mine: list[tuple[int, Site]]
    whole: bool
    notices: list[str]


def _plan(job: Job, work: Work) -> _Planned:
    from cpcnn_core.screen.collect import plates_of, refuse_strangers, require_writers, table_names
    from cpcnn_core.screen.job import open_job
    from cpcnn_core.screen.plan import parse_shard, scale_notices, shard_of
    from cpcnn_core.screen.site_names import require_names

    part, parts = parse_shard(work.shard)
    # Now, not after hours of work.
    require_writers(work.tables)
    opened = open_job(job)
    require_names([site.key for site in opened.sites])
    mine = shard_of(list(enumerate(opened.sites)), part, parts)
    notices = [*scale_notices(opened.settings.card, opened.sites), *opened.notices]
    notices += _stale(job, [place for place, _ in mine])
    for text in notices:
        notice(text)
    if parts == 1:
        refuse_strangers(opened.out, table_names(plates_of(opened.sites), work.tables))
    return _Planned(opened, mine, parts == 1, notices)


def _stale(job: Job, places: Sequence[int]) -> list[str]:
    from cpcnn_core.screen.compressed_images import stale_notices
    from cpcnn_core.screen.screens import DeepProfilerScreen

    if not isinstance(job.screen, DeepProfilerScreen):
        return []
    return stale_notices(job.screen.project(), set(places))


def _collect(work: Work, opened: OpenJob, reports: Sequence[SiteReport]) -> None:
    from cpcnn_core.screen.collect import collect_plates, plates_of, remove_others
    from cpcnn_core.screen.reports import counted_sites

    sites = counted_sites(opened.sites, reports)
    tables = collect_plates(sites, opened.out, opened.settings, work.tables)
    for table in tables:
        show(f"wrote {table}")
    for line in remove_others(opened.out, tables, plates_of(opened.sites)):
        show(line)


def check_job(job: Job, work: Work = Work()) -> None:
    """Say what `embed_job` would do, and why; nothing is written."""
    from cpcnn_core.screen.collect import (
        other_tables,
        plates_of,
        said_of_others,
        table_names,
    )
    from cpcnn_core.screen.prefetch import examine_sites
    from cpcnn_core.screen.reports import counted_sites
    from cpcnn_core.screen.run import default_readers
    from cpcnn_core.screen.run_log import check_lines

    planned = _plan(job, work)
    opened, sites = planned.opened, [site for _, site in planned.mine]
    readers = job.readers or default_readers(opened.model)
    reports = examine_sites(sites, opened.out, opened.settings, readers, force=job.force)
    show(*check_lines(reports))
    if not planned.whole:
        show("With --shard, no tables of plates are written or removed.")
        return
    plates = plates_of(counted_sites(sites, reports))
    names = table_names(plates, work.tables)
    if names:
        show(f"would write {', '.join(names)} in {opened.out / 'plates'}")
    others = other_tables(opened.out, names, plates_of(opened.sites))
    for line in said_of_others(others, "would remove"):
        show(line)


def _run(
    work: Work, job: Job, planned: _Planned, note: Callable[[SiteReport], None]
) -> list[SiteReport]:
    opened, strict = planned.opened, work.strict
    if work.cluster:
        from cpcnn_core.screen.cluster import connect, embed_on_cluster

        named, made_by = [(n, str(site)) for n, site in planned.mine], opened.settings.provenance()
        with connect(work.cluster) as client:
            return embed_on_cluster(client, job, made_by, named, strict=strict, progress=note)
    from cpcnn_core.screen.run import embed_sites

    mine = [site for _, site in planned.mine]
    return embed_sites(
        opened.model,
        mine,
        opened.out,
        opened.settings,
        strict=strict,
        force=job.force,
        readers=job.readers,
        progress=note,
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what may be said about the screen, the network, the result and the work."""
    add_screen(parser)
    images = parser.add_argument_group("the images")
    add_scale(images, "resampled where the model was trained at another scale")
    _add_network(parser)
    _add_result(parser)
    _add_work(parser)


def _add_network(parser: argparse.ArgumentParser) -> None:
    network = parser.add_argument_group("the network")
    network.add_argument(
        "--model", help="name or file (default: cell-painting-cnn-v1, or the project's own)"
    )
    add_engine(network)


def _add_result(parser: argparse.ArgumentParser) -> None:
    result = parser.add_argument_group("what is written")
    result.add_argument(
        "--out", metavar="DIR", help="folder to write (default: the project's experiment)"
    )
    result.add_argument(
        "--tables",
        nargs="+",
        choices=("parquet", "anndata"),
        default=["parquet"],
        help="format of the plates' tables (default: parquet)",
    )
    result.add_argument("--compartment", default="Cells", help="first part of feature names")


def _add_work(parser: argparse.ArgumentParser) -> None:
    work = add_work(parser)
    work.add_argument(
        "--cluster",
        metavar="WHERE",
        help="on Dask: local, local:N, dask://HOST:PORT, or a scheduler's FILE.json",
    )
    add_check(work)


def job_of(options: argparse.Namespace) -> Job:
    """Return the job that the options ask for.

    Raises
    ------
    SiteError
        Options that do not belong together, or one that is missing.
    """
    from cpcnn_core.screen.job import Job, experiment_folder
    from cpcnn_core.screen.screens import DeepProfilerScreen

    screen, out = screen_of(options), options.out
    if not out:
        if not isinstance(screen, DeepProfilerScreen):
            raise SiteError("say where to write: --out DIR")
        out = str(experiment_folder(screen.project(), screen.experiment))
    return Job(
        screen,
        out,
        model=options.model,
        compartment=options.compartment,
        device=options.device,
        engine=options.engine,
        precision=options.precision,
        readers=options.readers,
        force=options.force,
    ).absolute()
