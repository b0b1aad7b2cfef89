"""``cpcnn embed``: every cell of a screen, from files on disk to tables."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from cpcnn_core.cli.embed_options import add_options, job_of
from cpcnn_core.cli.notices import notice, show
from cpcnn_core.cli.parsers import add_command
from cpcnn_core.cli.progress import SiteBar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cpcnn_core.readers.sites import Site
    from cpcnn_core.screen.job import Job, OpenJob
    from cpcnn_core.screen.report import SiteReport


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
    from cpcnn_core.disk import require_room
    from cpcnn_core.screen.collect import require_writers
    from cpcnn_core.screen.job import open_job
    from cpcnn_core.screen.log import RunLog, anew_line, summary
    from cpcnn_core.screen.names import require_apart, require_names
    from cpcnn_core.screen.other_tables import plates_of, refuse_strangers, table_names
    from cpcnn_core.screen.plan import parse_shard, scale_notices, shard_of

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
    from cpcnn_core.readers.deepprofiler import read_project
    from cpcnn_core.screen.compressed import stale_notices

    if not job.deepprofiler:
        return []
    return stale_notices(read_project(job.deepprofiler, job.config), set(places))


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
    from cpcnn_core.screen.collect import collect_plates
    from cpcnn_core.screen.other_tables import plates_of, remove_others
    from cpcnn_core.screen.report import counted_sites

    sites = counted_sites(opened.sites, reports)
    tables = collect_plates(sites, opened.out, opened.settings, options.tables)
    for table in tables:
        show(f"wrote {table}")
    for line in remove_others(opened.out, tables, plates_of(opened.sites)):
        show(line)


def _check(
    options: argparse.Namespace, opened: OpenJob, sites: Sequence[Site], *, whole: bool
) -> int:
    from cpcnn_core.screen.log import check_lines
    from cpcnn_core.screen.other_tables import (
        other_tables,
        plates_of,
        said_of_others,
        table_names,
    )
    from cpcnn_core.screen.reading import examine_sites
    from cpcnn_core.screen.report import counted_sites
    from cpcnn_core.screen.run import default_readers

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
