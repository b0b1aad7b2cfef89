"""``cpcnn embed``: every cell of a screen, from what lies on disk to tables."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from cpcnn_core.cli.embed_options import add_options, job_of
from cpcnn_core.cli.parsers import add_command
from cpcnn_core.cli.progress import SiteBar

if TYPE_CHECKING:
    from collections.abc import Callable

    from cpcnn_core.readers.sites import Site
    from cpcnn_core.screen.job import Job, OpenJob
    from cpcnn_core.screen.report import SiteReport


def add_parser(verbs: argparse._SubParsersAction) -> None:
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
    from cpcnn_core.screen.collect import collect_plates, require_writers
    from cpcnn_core.screen.job import open_job
    from cpcnn_core.screen.log import RunLog, summary
    from cpcnn_core.screen.plan import parse_shard, scale_notices, shard_of

    part, parts = parse_shard(options.shard or "1/1")
    job = job_of(options)
    # Now, not after hours of work.
    require_writers(options.tables)
    opened = open_job(job)
    mine = shard_of(list(enumerate(opened.sites)), part, parts)
    notices = scale_notices(opened.settings.card, opened.sites)
    for notice in notices:
        print(notice)
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
        lines = summary(reports, time.perf_counter() - started)
        log.write({"event": "end", "summary": lines[0]})
    print("\n".join(lines))
    if parts == 1:
        for table in collect_plates(opened.sites, opened.out, opened.settings, options.tables):
            print(f"wrote {table}")
    else:
        print("When all shards are done, run this once without --shard: it collects the plates.")
    states = {report.state for report in reports}
    # A shard may well be of empty fields, a whole screen is not.
    nowhere = parts == 1 and states == {"no locations"}
    if nowhere:
        print(
            "No site has cells: look whether plates, wells and sites are called the same in the "
            "table of the images and where the cells are."
        )
    return 1 if nowhere or "failed" in states else 0


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
    return embed_sites(opened.model, mine, opened.out, opened.settings, readers=job.readers, **how)
