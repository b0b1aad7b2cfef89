"""The options of ``cpcnn embed``, and the job they ask for."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from cpcnn_core.cli.screen_options import (
    WITH_LOAD_DATA,
    add_check,
    add_load_data,
    add_objects,
    add_project,
    add_scale,
    add_source,
    add_work,
    image_of,
    refuse_strangers,
    require_objects,
)
from cpcnn_core.errors import SiteError

if TYPE_CHECKING:
    from cpcnn_core.screen.job import Job

_WITH_PROJECT = ("config", "exp")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what may be said about the screen, the network, the result and the work."""
    add_screen(parser)
    images = parser.add_argument_group("the images")
    add_scale(images, "resampled where the model was trained at another scale")
    _add_network(parser)
    _add_result(parser)
    _add_work(parser)


def add_screen(parser: argparse.ArgumentParser) -> None:
    """Add which screen is embedded, and where its cells and channels are.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_screen(parser)
    >>> parser.parse_args(["--deepprofiler", "project", "--exp", "first"]).exp
    'first'
    """
    add_source(parser)
    add_objects(parser)
    add_load_data(parser).add_argument(
        "--channels",
        nargs="+",
        metavar="CHANNEL=IMAGE",
        help="the image of a channel, where its name does not tell (DNA=OrigHoechst); models "
        "that take any channels get these",
    )
    add_project(parser).add_argument("--exp", help="its experiment, where there are several")


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
    from cpcnn_core.screen.job import Job

    refuse_what_does_not_fit(options)
    if not options.deepprofiler and not options.out:
        raise SiteError("say where to write: --out DIR")
    return Job(
        load_data=options.load_data,
        objects=options.objects,
        object_name=options.object_name or "Nuclei",
        labels=options.labels,
        locations=options.locations,
        channels=tuple(image_of(text) for text in options.channels or ()),
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
        um_per_px=options.um_per_px,
        force=options.force,
    ).absolute()


def refuse_what_does_not_fit(options: argparse.Namespace) -> None:
    """Refuse options of `add_screen` that do not belong together, and objects that are missing.

    Raises
    ------
    SiteError

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_screen(parser)
    >>> refuse_what_does_not_fit(parser.parse_args(["--deepprofiler", "P", "--labels", "L"]))
    Traceback (most recent call last):
    cpcnn_core.errors.SiteError: ...
    """
    if options.deepprofiler:
        refuse_strangers(options, "--deepprofiler", WITH_LOAD_DATA)
        return
    refuse_strangers(options, "--load-data", _WITH_PROJECT)
    require_objects(options)
