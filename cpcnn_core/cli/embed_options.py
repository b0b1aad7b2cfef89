"""The options of ``cpcnn embed``, and the job they ask for."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from cpcnn_core.errors import SiteError

if TYPE_CHECKING:
    from cpcnn_core.screen.job import Job

_WITH_LOAD_DATA = ("objects", "labels", "locations", "object_name", "channels", "mask")
_WITH_PROJECT = ("config", "exp")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what may be said about the screen, the network, the result and the work."""
    _add_screen(parser)
    _add_network(parser)
    _add_result(parser)
    _add_work(parser)


def _add_screen(parser: argparse.ArgumentParser) -> None:
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
    work = parser.add_argument_group("the work")
    work.add_argument("--shard", metavar="I/N", help="only the I-th of N parts of the sites")
    work.add_argument(
        "--cluster",
        metavar="WHERE",
        help="on Dask: local, local:N, dask://HOST:PORT, or a scheduler's FILE.json",
    )
    work.add_argument("--readers", type=_positive, metavar="N", help="threads that read images")
    work.add_argument("--strict", action="store_true", help="stop at the first site that fails")


def job_of(options: argparse.Namespace) -> Job:
    """Return the job that the options ask for.

    Raises
    ------
    SiteError
        Options that do not belong together, or one that is missing.
    """
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
