"""``cpcnn embed``: every cell of a screen, from what lies on disk to tables."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Self

from cpcnn_core.cli.parsers import add_command
from cpcnn_core.errors import SiteError

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
    source = parser.add_argument_group("the screen: one of these")
    source = source.add_mutually_exclusive_group(required=True)
    source.add_argument("--load-data", metavar="CSV", help="CellProfiler's LoadData table")
    source.add_argument("--deepprofiler", metavar="PROJECT", help="a DeepProfiler project's folder")
    objects = parser.add_argument_group("with --load-data, where the cells are: one of these")
    objects.add_argument(
        "--objects", metavar="FILE", help="CellProfiler's Nuclei.csv, or its SQLite database"
    )
    objects.add_argument(
        "--labels", metavar="DIR", help="label images DIR/{Plate}_{Well}_{Site}.tif, or such a name"
    )
    objects.add_argument(
        "--locations", metavar="DIR", help="DeepProfiler's location files, as in inputs/locations"
    )
    images = parser.add_argument_group("with --load-data")
    images.add_argument("--object-name", help="whose positions, in a database (default: Nuclei)")
    images.add_argument(
        "--channels",
        nargs="+",
        metavar="CHANNEL=IMAGE",
        help="the image of a channel, where its name does not tell (DNA=OrigHoechst)",
    )
    images.add_argument(
        "--mask", action="store_true", help="mask neighbouring cells; needs --labels"
    )
    project = parser.add_argument_group("with --deepprofiler")
    project.add_argument("--config", help="its configuration, where there are several")
    project.add_argument("--exp", help="its experiment, where there are several")
    network = parser.add_argument_group("the network")
    network.add_argument(
        "--model", help="name or file (default: cell-painting-cnn-v1, or the project's own)"
    )
    network.add_argument("--device", default="auto", help="auto, cpu, cuda (default: %(default)s)")
    network.add_argument(
        "--engine", default="auto", help="auto, torch, openvino (default: %(default)s)"
    )
    network.add_argument(
        "--precision", default="auto", help="auto, float32, mixed (default: %(default)s: float32)"
    )
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
    work = parser.add_argument_group("the work")
    work.add_argument("--shard", metavar="I/N", help="only the I-th of N parts of the sites")
    work.add_argument(
        "--cluster",
        metavar="WHERE",
        help="on Dask: local, local:N, dask://HOST:PORT, or a scheduler's FILE.json",
    )
    work.add_argument("--readers", type=_positive, metavar="N", help="threads that read images")
    work.add_argument("--strict", action="store_true", help="stop at the first site that fails")


def _embed(options: argparse.Namespace) -> int:
    from cpcnn_core.screen.collect import collect_plates, require_writers
    from cpcnn_core.screen.job import open_job
    from cpcnn_core.screen.log import RunLog, summary
    from cpcnn_core.screen.plan import parse_shard, shard_of

    part, parts = parse_shard(options.shard or "1/1")
    job = _job(options)
    # Now, not after hours of work.
    require_writers(options.tables)
    opened = open_job(job)
    mine = shard_of(list(enumerate(opened.sites)), part, parts)
    started = time.perf_counter()
    with RunLog(opened.out) as log, _Bar(len(mine)) as bar:
        log.write(
            {
                "event": "start",
                "sites": len(mine),
                "shard": f"{part}/{parts}",
                "cluster": options.cluster,
                "engine": opened.model.engine,
                "device": str(opened.model.device),
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
    return 1 if any(report.state == "failed" for report in reports) else 0


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


def _job(options: argparse.Namespace) -> Job:
    from cpcnn_core.screen.job import Job

    _refuse_what_does_not_fit(options)
    return Job(
        load_data=options.load_data,
        objects=options.objects,
        object_name=options.object_name or "Nuclei",
        labels=options.labels,
        locations=options.locations,
        channels=tuple(_pair(text) for text in options.channels or ()),
        mask=options.mask,
        deepprofiler=options.deepprofiler,
        config=options.config,
        experiment=options.exp,
        out=options.out,
        model=options.model,
        compartment=options.compartment,
        device=options.device,
        engine=options.engine,
        precision=options.precision,
        readers=options.readers,
    ).absolute()


_WITH_LOAD_DATA = ("objects", "labels", "locations", "object_name", "channels", "mask")
_WITH_PROJECT = ("config", "exp")


def _refuse_what_does_not_fit(options: argparse.Namespace) -> None:
    source, other = "--load-data", _WITH_PROJECT
    if options.deepprofiler:
        source, other = "--deepprofiler", _WITH_LOAD_DATA
    wrong = [f"--{name.replace('_', '-')}" for name in other if getattr(options, name)]
    if wrong:
        raise SiteError(
            f"{', '.join(wrong)} cannot be used with {source}; leave it out"
            + (" (the project says it itself)" if options.deepprofiler else "")
        )
    if options.deepprofiler:
        return
    if sum(bool(place) for place in (options.objects, options.labels, options.locations)) != 1:
        raise SiteError(
            "say where the cells are: either --objects FILE, --labels DIR or --locations DIR"
        )
    if options.mask and not options.labels:
        raise SiteError("--mask needs the cells' outlines: give --labels DIR")
    if not options.out:
        raise SiteError("say where to write: --out DIR")


def _pair(text: str) -> tuple[str, str]:
    channel, equals, image = text.partition("=")
    if not equals or not channel or not image:
        raise SiteError(f"expected --channels CHANNEL=IMAGE, got {text!r}")
    return channel, image


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)


class _Bar:
    """A progress bar on a terminal: sites, time left, cells per second."""

    def __init__(self, total: int) -> None:
        self._total, self._cells = total, 0

    def __enter__(self) -> Self:
        from tqdm import tqdm

        self._bar = tqdm(total=self._total, unit="site", disable=None, file=sys.stderr)
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def add(self, report: SiteReport) -> None:
        self._cells += report.cells
        self._bar.update()
        elapsed = self._bar.format_dict.get("elapsed")
        if elapsed:
            self._bar.set_postfix_str(f"{self._cells / elapsed:.0f} cells/s", refresh=False)
