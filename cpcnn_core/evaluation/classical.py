"""Classical measurements of every cell by cp_measure: a file per site, then a table per plate."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

import cpcnn_core
from cpcnn_core.errors import (
    CPCNNError,
    DependencyError,
    DiskFullError,
    ImageError,
    SiteError,
)
from cpcnn_core.imaging.field import Field
from cpcnn_core.io.deepprofiler_npz import SiteTable, write_site
from cpcnn_core.io.label_images import objects_from_labels
from cpcnn_core.io.load_data import read_load_data
from cpcnn_core.io.plate_tables import write_plate
from cpcnn_core.io.sites import Objects, Site, read_stored
from cpcnn_core.screen.collect import (
    PLATES_FOLDER,
    as_described,
    metadata_names,
    plates_of,
    refuse_strangers,
    remove_others,
    table_names,
)
from cpcnn_core.screen.examination import ExaminedSite, examine
from cpcnn_core.screen.job import Job, screen_notices
from cpcnn_core.screen.plan import site_file, site_record
from cpcnn_core.screen.prefetch import begin_site, look_at
from cpcnn_core.screen.reports import JobResult, SiteReport, counted_sites, failure
from cpcnn_core.screen.run_log import RunLog, check_lines, redone_line, summary
from cpcnn_core.screen.screens import LabelImages, LoadDataScreen

LOG_FILE = "classical.jsonl"
# Its thresholds are searched over the camera's grey levels, which are gone here; a second for
# every field and pair of channels.
LEFT_OUT = {"correlation_costes": False}


def require_cp_measure() -> None:
    """Raise `DependencyError` where cp_measure is missing."""
    if importlib.util.find_spec("cp_measure") is None:
        raise DependencyError(
            "classical measurements need cp_measure; install it with: "
            "pip install 'cpcnn[classical]'"
        )


@dataclass(frozen=True)
class ClassicalSettings:
    """Settings that the measurements depend on, besides the images.

    Attributes
    ----------
    channels : tuple of str
    greatest : tuple of float
        What the pixels of each channel are divided by: the greatest value of its files'
        type. Floats are taken as they are.
    """

    channels: tuple[str, ...]
    greatest: tuple[float, ...]

    def provenance(self) -> dict[str, str]:
        """Return what every file of the run says about how it was made."""
        return {
            "model": "cp_measure",
            "model_sha256": "",
            "version": importlib.metadata.version("cp_measure"),
            "channels": ",".join(self.channels),
            "greatest": ",".join(f"{value:g}" for value in self.greatest),
            "cpcnn": cpcnn_core.__version__,
        }


@dataclass(frozen=True)
class ClassicalJob:
    """A screen whose cells are to be measured, and where to write.

    Attributes
    ----------
    table : str
        CellProfiler's LoadData table.
    labels : str
        Label images, as of `cpcnn_core.screen.screens.LabelImages`.
    channels : tuple of (channel, image)
        As of `cpcnn_core.screen.screens.LoadDataScreen`; these are measured.
    out : str
    force : bool
        Measure everything again.
    """

    table: str
    labels: str
    channels: tuple[tuple[str, str], ...]
    out: str
    force: bool = False


def classical_job(job: Job) -> ClassicalJob:
    """Return what measures the cells that a job embeds, in the same folder.

    Raises
    ------
    SiteError
        There are no outlines, or no names of channels.

    Examples
    --------
    >>> screen = LoadDataScreen("load_data.csv", LabelImages("labels"), (("DNA", "OrigDNA"),))
    >>> classical_job(Job(screen, "out")).labels
    'labels'
    """
    screen = job.screen
    if not isinstance(screen, LoadDataScreen) or not isinstance(screen.cells, LabelImages):
        raise SiteError("--classical measures outlines: give --load-data and --labels DIR")
    if not screen.channels:
        raise SiteError("--classical has no channels of its own: name them, --channels DNA=DNA ...")
    return ClassicalJob(screen.table, screen.cells.folder, screen.channels, job.out, job.force)


def measure_screen(job: ClassicalJob, result: JobResult) -> None:
    """Measure every cell that is not measured yet, and collect the plates.

    Parameters
    ----------
    job : ClassicalJob
    result : JobResult
        Filled while the work goes on. Sites that fail are in the log, too.

    Raises
    ------
    CPCNNError
        cp_measure is missing, or the tables cannot be used.
    """
    sites, settings, notices = _open(job)
    channels, out = settings.channels, Path(job.out)
    names = measured_names(channels)
    plates = plates_of(sites)
    refuse_strangers(out, table_names(plates, ["parquet"]))
    started = time.perf_counter()
    result.start(settings.provenance(), notices)
    reports = []
    with RunLog(out, LOG_FILE) as log:
        log.write(
            {"event": "start", "sites": len(sites), "notices": notices, **settings.provenance()}
        )
        for site in sites:
            reports.append(_measure_or_tell(site, out, settings, names, job.force))
            result.add(reports[-1])
            log.write_site(reports[-1])
        result.redone = redone_line(reports)
        tables, notices = _collect(counted_sites(sites, reports), out, settings, names)
        removed = remove_others(out, tables, plates)
        text = summary(reports, time.perf_counter() - started, log.path, "measured")[0]
        more = {"redone": result.redone, "notices": notices, "removed": removed}
        log.write({"event": "end", "summary": text, **more})
    result.notices += tuple(notices)
    result.finished = True


def examine_screen(job: ClassicalJob) -> list[str]:
    """Say in a few lines what `measure_screen` would do, and why; nothing is written.

    Parameters
    ----------
    job : ClassicalJob
    """
    sites, settings, _ = _open(job)
    out = Path(job.out)

    def look(site: Site) -> SiteReport:
        path = site_file(out, site)
        return look_at(site, lambda: _examine(site, path, settings), force=job.force)

    return check_lines(list(map(look, sites)))


def _open(job: ClassicalJob) -> tuple[list[Site], ClassicalSettings, list[str]]:
    require_cp_measure()
    images, objects = dict(job.channels), objects_from_labels(job.labels)
    sites = read_load_data(job.table, tuple(images), images, objects)
    settings = ClassicalSettings(tuple(images), _greatest(sites, tuple(images)))
    return sites, settings, [*objects.notices, *screen_notices(sites, settings.channels)]


def measured_names(channels: Sequence[str]) -> list[str]:
    """Return what cp_measure calls its features of these channels, by measuring a made-up cell."""
    image = np.random.default_rng(0).random((len(channels), 48, 48))
    labels = np.zeros((48, 48), int)
    labels[12:34, 10:36] = 1
    return _featurize(image, labels, channels)[1]


def _featurize(
    image: np.ndarray, labels: np.ndarray, channels: Sequence[str]
) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Return features (n, d), their names, and the labels they belong to."""
    from cp_measure.featurizer import featurize, make_featurizer_config

    config = make_featurizer_config(list(channels), objects=["Cells"], **LEFT_OUT)
    with warnings.catch_warnings():
        # Of a cell of one grey level, say: what has no number is told at the end.
        warnings.simplefilter("ignore")
        features, names, rows = featurize(image[None], labels[None, None].astype(int), config)
    return features, names, np.array([label for *_, label in rows])


def _greatest(sites: Sequence[Site], channels: Sequence[str]) -> tuple[float, ...]:
    """Look at the first site whose images can be read."""
    unread: CPCNNError | None = None
    for site in sites:
        try:
            dtypes = [read_stored(site.images[channel]).dtype for channel in channels]
        except CPCNNError as error:
            unread = unread or error
            continue
        return tuple(float(np.iinfo(d).max) if d.kind in "ui" else 1.0 for d in dtypes)
    raise unread or SiteError("the screen's table has no row, so there is nothing to measure")


def _examine(site: Site, path: Path, settings: ClassicalSettings) -> ExaminedSite:
    record = site_record(path, settings.provenance())
    return examine(site, settings.channels, record, masked=True)


def _measure_or_tell(
    site: Site, out: Path, settings: ClassicalSettings, names: list[str], force: bool
) -> SiteReport:
    path, since = site_file(out, site), time.perf_counter()
    examined = None
    try:
        examined = _examine(site, path, settings)
        examined.decide(force=force)
        report = begin_site(path, examined)
        if report is not None:
            return report
        table = _measure(examined, settings, names)
        write_site(path, table, examined.moment_ns)
    except DiskFullError:
        raise
    except Exception as error:  # noqa: BLE001  (told with its site; the others are done)
        return failure(site, error, kept=examined is not None and examined.may_stand)
    seconds, notes = time.perf_counter() - since, "; ".join(examined.notes)
    count = len(table.features)
    return SiteReport(str(site), "measured", count, notes, seconds, examined.redone)


def _measure(examined: ExaminedSite, settings: ClassicalSettings, names: list[str]) -> SiteTable:
    site = examined.site
    objects, field = cast("Objects", examined.objects), cast("Field", examined.field)
    image = field.image / np.reshape(settings.greatest, (-1, 1, 1))
    if not (np.isfinite(image).all() and image.min() >= 0):
        raise ImageError(f"site {site} has pixels that are negative or no numbers")
    # Illumination functions may lift some pixels beyond what their type can hold.
    features, found, labels = _featurize(
        image.clip(max=1), cast("np.ndarray", objects.labels), settings.channels
    )
    if found != names or not np.array_equal(labels, objects.numbers):
        raise ImageError(f"cp_measure returned other features or cells for site {site}")
    return SiteTable(
        features.astype(np.float32),
        dict(site.metadata),
        cast("np.ndarray", objects.locations),
        objects.numbers,
        # There are no crops that could reach over it.
        np.zeros(len(features), bool),
        settings.provenance(),
        examined.image_number,
        examined.inputs,
    )


def _collect(
    sites: Sequence[Site], out: Path, settings: ClassicalSettings, names: list[str]
) -> tuple[list[Path], list[str]]:
    """Write a table per plate; say which features are left out because some cell lacks them."""
    plates: dict[str, list[Site]] = {}
    whole = np.ones(len(names), bool)
    for site, table in zip(sites, as_described(sites, out), strict=True):
        plates.setdefault(site.metadata["Plate"], []).append(site)
        whole &= np.isfinite(table.features).all(axis=0)
    kept = [f"Cells_{name}" for name, known in zip(names, whole, strict=True) if known]
    tables = []
    for plate, mine in plates.items():
        tables.append(out / PLATES_FOLDER / f"{plate}.parquet")
        cells = (_whole_columns(table, whole) for table in as_described(mine, out))
        write_plate(tables[-1], cells, metadata_names(mine), settings.provenance(), kept)
    if whole.all():
        return tables, []
    lacking = [name for name, known in zip(names, whole, strict=True) if not known]
    of_all = f"{len(lacking)} of {len(names)} features are left out"
    return tables, [f"{of_all}, some cell has no number for them: {', '.join(lacking)}"]


def _whole_columns(table: SiteTable, whole: np.ndarray) -> SiteTable:
    return dataclasses.replace(table, features=table.features[:, whole])
