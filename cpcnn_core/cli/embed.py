"""``cpcnn embed``: every cell of a screen, from files on disk to tables."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from cpcnn_core.cli.options import add_check, add_command, add_work
from cpcnn_core.cli.screen_options import add_scale, add_screen, screen_of
from cpcnn_core.cli.terminal import SiteBar, notice, show
from cpcnn_core.errors import SiteError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cpcnn_core.io.sites import Site
    from cpcnn_core.screen.job import Job, OpenJob
    from cpcnn_core.screen.site_report import SiteReport


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


def _embed(options: argparse.Namespace) -> int:
    from cpcnn_core.io.disk import require_room
    from cpcnn_core.screen.collect import plates_of, refuse_strangers, require_writers, table_names
    from cpcnn_core.screen.job import open_job
    from cpcnn_core.screen.plan import parse_shard, scale_notices, shard_of
    from cpcnn_core.screen.run_log import RunLog, anew_line, summary
    from cpcnn_core.screen.site_names import require_apart, require_names

    part, parts = parse_shard(options.shard or "1/1")
    job = job_of(options)
    # Now, not after hours of work.
    require_writers(options.tables)
    opened = open_job(job)
    keys = [site.key for site in opened.sites]
    require_names(keys)
    mine = shard_of(list(enumerate(opened.sites)), part, parts)
    notices = [*scale_notices(opened.settings.card, opened.sites), *opened.notices]
    notices += _stale(job, [place for place, _ in mine])
    for text in notices:
        notice(text)
    if parts == 1:
        refuse_strangers(opened.out, table_names(plates_of(opened.sites), options.tables))
    if options.check:
        return _check(options, opened, [site for _, site in mine], whole=parts == 1)
    require_room(opened.out)
    require_apart(keys, opened.out)
    started = time.perf_counter()
    with RunLog(opened.out) as log, SiteBar(len(mine)) as bar:
        log.write(
            {
                "event": "start",
                "sites": len(mine),
                "shard": f"{part}/{parts}",
                "cluster": options.cluster,
                "engine": opened.model.engine,
                "device": str(opened.model.device),
                "notices": notices,
                **opened.settings.provenance(),
            }
        )

        def note(report: SiteReport) -> None:
            log.write_site(report)
            bar.add(report)

        reports = _run(options, job, opened, mine, note)
        lines = summary(reports, time.perf_counter() - started, log.path)
        log.write({"event": "end", "summary": lines[0], "anew": anew_line(reports)})
    show(*lines)
    if parts == 1:
        _collect(options, opened, reports)
    else:
        show("When all shards are done, run this once without --shard: it collects the plates.")
    return _exit_status(reports, whole=parts == 1)


def _stale(job: Job, places: Sequence[int]) -> list[str]:
    from cpcnn_core.screen.compressed_images import stale_notices
    from cpcnn_core.screen.screens import DeepProfilerScreen

    if not isinstance(job.screen, DeepProfilerScreen):
        return []
    return stale_notices(job.screen.project(), set(places))


def _exit_status(reports: Sequence[SiteReport], *, whole: bool) -> int:
    states = {report.state for report in reports}
    # A shard may well be of empty fields, a whole screen is not.
    nowhere = whole and states == {"no locations"}
    if nowhere:
        show(
            "No site has cells: look whether plates, wells and sites are called the same in the "
            "table of the images and where the cells are."
        )
    return 1 if nowhere or "failed" in states else 0


def _collect(options: argparse.Namespace, opened: OpenJob, reports: Sequence[SiteReport]) -> None:
    from cpcnn_core.screen.collect import collect_plates, plates_of, remove_others
    from cpcnn_core.screen.site_report import counted_sites

    sites = counted_sites(opened.sites, reports)
    tables = collect_plates(sites, opened.out, opened.settings, options.tables)
    for table in tables:
        show(f"wrote {table}")
    for line in remove_others(opened.out, tables, plates_of(opened.sites)):
        show(line)


def _check(
    options: argparse.Namespace, opened: OpenJob, sites: Sequence[Site], *, whole: bool
) -> int:
    from cpcnn_core.screen.collect import (
        other_tables,
        plates_of,
        said_of_others,
        table_names,
    )
    from cpcnn_core.screen.prefetch import examine_sites
    from cpcnn_core.screen.run import default_readers
    from cpcnn_core.screen.run_log import check_lines
    from cpcnn_core.screen.site_report import counted_sites

    readers = options.readers or default_readers(opened.model)
    reports = examine_sites(sites, opened.out, opened.settings, readers, force=options.force)
    show(*check_lines(reports))
    if not whole:
        show("With --shard, no tables of plates are written or removed.")
        return 0
    plates = plates_of(counted_sites(sites, reports))
    names = table_names(plates, options.tables)
    if names:
        show(f"would write {', '.join(names)} in {opened.out / 'plates'}")
    others = other_tables(opened.out, names, plates_of(opened.sites))
    for line in said_of_others(others, "would remove"):
        show(line)
    return 0


def _run(
    options: argparse.Namespace,
    job: Job,
    opened: OpenJob,
    sites: list[tuple[int, Site]],
    note: Callable[[SiteReport], None],
) -> list[SiteReport]:
    how = {"strict": options.strict, "progress": note}
    if options.cluster:
        from cpcnn_core.screen.cluster import connect, embed_on_cluster

        named = [(place, str(site)) for place, site in sites]
        with connect(options.cluster) as client:
            return embed_on_cluster(client, job, opened.settings.provenance(), named, **how)
    from cpcnn_core.screen.run import embed_sites

    mine = [site for _, site in sites]
    how |= {"force": job.force, "readers": job.readers}
    return embed_sites(opened.model, mine, opened.out, opened.settings, **how)


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
    network.add_argument("--device", default="auto", help="auto, cpu, cuda (default: %(default)s)")
    network.add_argument(
        "--engine", default="auto", help="auto, torch, litert (default: %(default)s)"
    )
    network.add_argument(
        "--precision", default="auto", help="auto, float32, mixed (default: %(default)s: float32)"
    )


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
