"""``cpcnn crops``: every cell of a screen as a crop in a store, to train networks on."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from cpcnn_core.cli.options import add_command, add_work
from cpcnn_core.cli.screen_options import (
    WITH_LOAD_DATA,
    add_load_data,
    add_objects,
    add_project,
    add_scale,
    add_source,
    refuse_strangers,
    screen_of,
)
from cpcnn_core.cli.terminal import SiteBar, notice, progress_bar, show
from cpcnn_core.errors import SiteError
from cpcnn_core.user_messages import TOLD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cpcnn_core.crop_store.settings import StoreSettings
    from cpcnn_core.crop_store.sites import CropSite
    from cpcnn_core.screen.reports import SiteReport
    from cpcnn_core.screen.screens import Screen

LOGGER = logging.getLogger(__name__)
LOG_FILE = "crops.jsonl"
_SOURCES = ("load_data", "deepprofiler", "strips")
_TO_WRITE = (
    *("out", "crop_px", "um_per_px", "multiply_mask", "platemap", "study"),
    *("shard", "readers", "strict", "force"),
)


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = add_command(
        verbs,
        "crops",
        "Cut every cell of a screen into a store of crops, to train networks on.",
        "cpcnn crops --load-data load_data.csv --labels labels --platemap platemap.csv --out crops",
    )
    source = add_source(parser)
    source.add_argument(
        "--strips", metavar="DIR", help="single cells that DeepProfiler exported, as PNG strips"
    )
    # Of the sources one has to be given, or --check with a folder; see `_require_source`.
    source.required = False
    parser.add_argument(
        "--check",
        nargs="?",
        const=True,
        metavar="DIR",
        help="only say what would be done, and why; with DIR alone: check every crop of this store",
    )
    add_objects(parser)
    add_load_data(parser)
    add_project(parser)
    _add_crops(parser)
    add_work(parser)
    parser.set_defaults(do=lambda options: _crops(options, parser))


def _add_crops(parser: argparse.ArgumentParser) -> None:
    crops = parser.add_argument_group("the crops")
    crops.add_argument("--out", metavar="DIR", help="folder to write")
    crops.add_argument(
        "--channels",
        nargs="+",
        metavar="CHANNEL",
        help="channels in order; DNA=OrigHoechst where the image's name does not tell (default: "
        "DNA RNA ER AGP Mito, or the project's own)",
    )
    crops.add_argument(
        "--crop-px",
        type=_pixels,
        metavar="N",
        help="side of a crop in pixels (default: 128, or the project's, the strips')",
    )
    add_scale(crops, "recorded for the models that are trained on them")
    crops.add_argument(
        "--dtype",
        choices=("uint8", "uint16"),
        default="uint8",
        help="what values are stored as (default: %(default)s)",
    )
    crops.add_argument(
        "--multiply-mask", action="store_true", help="with --strips: blank what is not the cell"
    )
    crops.add_argument("--platemap", help="CSV: Well, Plate where plates differ, Treatment, ...")
    crops.add_argument("--study", help="name of the study (default: the folder's)")


def _pixels(text: str) -> int:
    if not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"expected a whole number from 2, got {text!r}")
    return int(text)


def _crops(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    given = [name for name in _SOURCES if getattr(options, name)]
    if isinstance(options.check, str):
        foreign = (*given, *WITH_LOAD_DATA, "config", *_TO_WRITE)
        refuse_strangers(options, "--check DIR", foreign)
        return _check_store(options.check)
    if not given:
        parser.error("one of the arguments --load-data --deepprofiler --strips --check is required")
    if options.strips:
        _refuse_what_strips_have_not(options)
        screen = None
    else:
        named = [text for text in options.channels or () if "=" in text]
        screen = screen_of(options, named, foreign=["multiply_mask"])
    if not options.out:
        raise SiteError("say where to write: --out DIR")
    return _store(options, screen)


def _store(options: argparse.Namespace, screen: Screen | None) -> int:
    from cpcnn_core.crop_store.run import READERS, store_crops
    from cpcnn_core.crop_store.settings import require_settings
    from cpcnn_core.io.disk import require_room
    from cpcnn_core.io.tables import read_text_table
    from cpcnn_core.screen.plan import parse_shard, shard_of
    from cpcnn_core.screen.reports import counted_sites
    from cpcnn_core.screen.run_log import RunLog, redone_line, summary
    from cpcnn_core.screen.site_names import require_apart, require_names

    part, parts = parse_shard(options.shard or "1/1")
    if options.platemap:
        # Now, not after hours of work.
        read_text_table(options.platemap)
    sites, settings, notices = _open(options, screen)
    keys = [site.key for site in sites]
    require_names(keys)
    for text in notices:
        notice(text)
    mine = shard_of(sites, part, parts)
    readers = options.readers or READERS
    if options.check:
        return _check(options, mine, settings, whole=parts == 1)
    require_settings(options.out, settings)
    require_room(options.out)
    require_apart(keys, options.out)
    started = time.perf_counter()
    with RunLog(options.out, LOG_FILE) as log, SiteBar(len(mine)) as bar:
        start = {"event": "start", "sites": len(mine), "shard": f"{part}/{parts}"}
        log.write({**start, "notices": notices, **settings.as_json()})

        def note(report: SiteReport) -> None:
            log.write_site(report)
            bar.add(report)

        how = {"strict": options.strict, "force": options.force, "readers": readers}
        how["tell"] = notice
        reports = store_crops(mine, options.out, settings, progress=note, **how)
        lines = summary(reports, time.perf_counter() - started, log.path, "stored")
        log.write({"event": "end", "summary": lines[0], "redone": redone_line(reports)})
    show(*lines)
    if parts == 1:
        _collect(options, counted_sites(sites, reports), settings)
    else:
        show("When all shards are done, run this once without --shard: it collects the index.")
    return 1 if any(report.state == "failed" for report in reports) else 0


def _check(
    options: argparse.Namespace, sites: Sequence[CropSite], settings: StoreSettings, *, whole: bool
) -> int:
    from cpcnn_core.crop_store.run import READERS, examine_crops
    from cpcnn_core.screen.run_log import check_lines

    how = {"force": options.force, "readers": options.readers or READERS}
    reports = examine_crops(sites, options.out, settings, **how)
    show(*check_lines(reports))
    if not whole:
        show("With --shard, the index is not written.")
    elif any(report.counted for report in reports):
        show(f"would write {Path(options.out) / 'index.parquet'}")
    return 0


def _collect(
    options: argparse.Namespace, sites: Sequence[CropSite], settings: StoreSettings
) -> None:
    from cpcnn_core.crop_store.collect import collect_index

    how = {"study": options.study, "platemap": options.platemap, "tell": notice}
    index = collect_index(sites, options.out, settings, **how)
    px, channels = settings.crop_px, ", ".join(settings.channels)
    scale = "" if settings.um_per_px is None else f" of {settings.um_per_px:g} µm"
    kind = f"crops of {px} x {px} pixels{scale} {settings.dtype}"
    show(f"wrote {index}: {kind}, channels {channels}")


def _open(
    options: argparse.Namespace, screen: Screen | None
) -> tuple[Sequence[CropSite], StoreSettings, list[str]]:
    from cpcnn_core.models.registry import CELL_PAINTING_CHANNELS

    given = options.channels or ()
    channels = [text.partition("=")[0] for text in given] or list(CELL_PAINTING_CHANNELS)
    if screen is None:
        from cpcnn_core.crop_store.strip_sites import open_strips

        sites, settings = open_strips(
            options.strips, channels, options.crop_px, multiply_mask=options.multiply_mask
        )
        return sites, dataclasses.replace(settings, um_per_px=options.um_per_px), []
    from cpcnn_core.crop_store.image_sites import open_images

    return open_images(screen, channels, options.crop_px, options.dtype)


def _refuse_what_strips_have_not(options: argparse.Namespace) -> None:
    foreign = [name for name in WITH_LOAD_DATA if name != "channels"]
    refuse_strangers(options, "--strips", (*foreign, "config"))
    if options.dtype != "uint8":
        raise SiteError(f"strips are 8 bit, and {options.dtype} was asked for; leave it out")
    if any("=" in text for text in options.channels or ()):
        raise SiteError("with --strips, --channels takes the names of the blocks in order")


def _check_store(folder: str) -> int:
    from cpcnn_core.crop_store.store import check_store, open_crops
    from cpcnn_core.screen.run_log import ASK_FOR_ALL, told_together

    store = open_crops(folder)
    files = store.places.files
    with progress_bar(len(files), "site") as bar:
        damaged = check_store(store, bar.update)
    for reason in damaged.values():
        LOGGER.warning("%s", reason, extra=TOLD)
    # By plate, well and site, as it was stored.
    named = [("/".join(path.parts[-3:]), reason) for path, reason in damaged.items()]
    show(*told_together(named, "files", ASK_FOR_ALL))
    show(
        f"{len(store)} crops in {len(files)} files; "
        + (f"{len(damaged)} files are damaged" if damaged else f"all as written, in {Path(folder)}")
    )
    return 1 if damaged else 0
