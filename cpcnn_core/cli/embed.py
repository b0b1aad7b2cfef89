"""``cpcnn embed``: every cell of a screen, from what lies on disk to tables."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from cpcnn_core.cli.parsers import add_command
from cpcnn_core.errors import SiteError

if TYPE_CHECKING:
    from cpcnn_core.embedding import Embedder
    from cpcnn_core.readers.sites import Site
    from cpcnn_core.screen.plan import Settings

DEFAULT_MODEL = "cell-painting-cnn-v1"


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
    parser.add_argument(
        "--object-name", default="Nuclei", help="whose positions, in a database (%(default)s)"
    )
    parser.add_argument(
        "--channels",
        nargs="+",
        default=[],
        metavar="CHANNEL=IMAGE",
        help="the image of a channel, where its name does not tell (DNA=OrigHoechst)",
    )
    parser.add_argument("--config", help="with --deepprofiler: its configuration")
    parser.add_argument("--exp", help="with --deepprofiler: its experiment (default: the only one)")
    parser.add_argument(
        "--model", help=f"name or file (default: {DEFAULT_MODEL}, or the project's)"
    )
    parser.add_argument(
        "--out", metavar="DIR", help="folder to write (or the project's experiment)"
    )
    parser.add_argument("--mask", action="store_true", help="mask neighbouring cells; needs labels")
    parser.add_argument("--compartment", default="Cells", help="first part of feature names")
    parser.add_argument("--shard", metavar="I/N", help="only the I-th of N parts of the sites")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda (default: %(default)s)")
    parser.add_argument("--strict", action="store_true", help="stop at the first site that fails")


def _embed(options: argparse.Namespace) -> int:
    from cpcnn_core.screen.collect import collect_plates
    from cpcnn_core.screen.log import RunLog, summary
    from cpcnn_core.screen.plan import parse_shard, shard_of
    from cpcnn_core.screen.run import embed_sites

    part, parts = parse_shard(options.shard or "1/1")
    model, sites, out, settings = _prepare(options)
    mine = shard_of(sites, part, parts)
    started = time.perf_counter()
    with RunLog(out) as log, _Bar(len(mine)) as bar:
        log.write({"event": "start", "sites": len(mine), "shard": f"{part}/{parts}"})

        def note(report) -> None:  # noqa: ANN001
            log.write_site(report)
            bar.add(report)

        reports = embed_sites(model, mine, out, settings, strict=options.strict, progress=note)
        lines = summary(reports, time.perf_counter() - started)
        log.write({"event": "end", "summary": lines[0]})
    print("\n".join(lines))
    failed = any(report.state == "failed" for report in reports)
    if parts == 1:
        for table in collect_plates(sites, out, settings):
            print(f"wrote {table}")
    else:
        print("When all shards are done, run this once without --shard: it collects the plates.")
    return 1 if failed else 0


def _prepare(options: argparse.Namespace) -> tuple[Embedder, list[Site], Path, Settings]:
    from cpcnn_core.screen.plan import Settings

    if options.deepprofiler:
        model, sites, out, mask = _deepprofiler(options)
    else:
        model, sites, out, mask = _load_data(options)
    return model, sites, out, Settings(model.card, mask, options.compartment)


def _load_data(options: argparse.Namespace) -> tuple[Embedder, list[Site], Path, bool]:
    from cpcnn_core.embedding import load_model
    from cpcnn_core.readers.cellprofiler_objects import objects_from_cellprofiler
    from cpcnn_core.readers.label_images import objects_from_labels
    from cpcnn_core.readers.load_data import read_load_data

    if bool(options.objects) == bool(options.labels):
        raise SiteError("say where the cells are: either --objects FILE or --labels DIR")
    if not options.out:
        raise SiteError("say where to write: --out DIR")
    if options.objects:
        read_objects = objects_from_cellprofiler(options.objects, options.object_name)
    else:
        read_objects = objects_from_labels(options.labels)
    model = load_model(options.model or DEFAULT_MODEL, options.device)
    images = dict(_pair(text) for text in options.channels)
    sites = read_load_data(options.load_data, model.card.channels, images, read_objects)
    return model, sites, Path(options.out), options.mask


def _deepprofiler(options: argparse.Namespace) -> tuple[Embedder, list[Site], Path, bool]:
    from cpcnn_core.embedding import load_model
    from cpcnn_core.readers.deepprofiler import read_project, read_sites
    from cpcnn_core.screen.deepprofiler_model import experiment_folder, project_model

    project = read_project(options.deepprofiler, options.config)
    experiment = experiment_folder(project, options.exp)
    if options.model:
        model = load_model(options.model, options.device)
    else:
        model = project_model(project, experiment, options.device)
    return model, read_sites(project), Path(options.out or experiment), project.mask_objects


def _pair(text: str) -> tuple[str, str]:
    channel, equals, image = text.partition("=")
    if not equals or not channel or not image:
        raise SiteError(f"expected --channels CHANNEL=IMAGE, got {text!r}")
    return channel, image


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

    def add(self, report) -> None:  # noqa: ANN001
        self._cells += report.cells
        self._bar.update()
        elapsed = self._bar.format_dict.get("elapsed")
        if elapsed:
            self._bar.set_postfix_str(f"{self._cells / elapsed:.0f} cells/s", refresh=False)
