"""Classical measurements of every cell by cp_measure: a file per site, then a table per plate.

``python -m cpcnn_core.comparison.classical JOB`` measures the screen of a job (JSON), so that
its cost can be measured like that of a network.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import json
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import cpcnn_core
from cpcnn_core.errors import CPCNNError, DependencyError, ImageError
from cpcnn_core.readers.images import read_plane
from cpcnn_core.readers.load_data import read_load_data
from cpcnn_core.readers.sites import Objects, Site, read_field
from cpcnn_core.screen.collect import PLATES_FOLDER
from cpcnn_core.screen.job import Job, find_objects
from cpcnn_core.screen.log import RunLog, summary
from cpcnn_core.screen.plan import header_if_done, images_of, site_file
from cpcnn_core.screen.reading import objects_to_do
from cpcnn_core.screen.report import SiteReport, failure
from cpcnn_core.tables.deepprofiler_npz import SiteTable, read_header, read_site, write_site
from cpcnn_core.tables.plate_parquet import write_plate

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
    """What the measurements depend on, beside the images.

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


def measure_screen(job: Job) -> int:
    """Measure every cell that is not measured yet, and collect the plates.

    Parameters
    ----------
    job : Job
        With `load_data`, `labels`, `channels` and `out`; what it says of a model is not used.

    Returns
    -------
    int
        How many sites failed; they are in the log and in what is printed.

    Raises
    ------
    CPCNNError
        cp_measure is missing, or the tables cannot be used.

    Examples
    --------
    >>> measure_screen(Job(load_data="l.csv", labels="labels", out="out"))  # doctest: +SKIP
    0
    """
    require_cp_measure()
    images = dict(job.channels)
    channels = tuple(images)
    sites = read_load_data(job.load_data, channels, images, find_objects(job))
    settings = ClassicalSettings(channels, _greatest(sites[0], channels))
    names = measured_names(channels)
    started = time.perf_counter()
    reports = []
    with RunLog(job.out, LOG_FILE) as log:
        log.write({"event": "start", "sites": len(sites), **settings.provenance()})
        for site in sites:
            reports.append(_measure_or_tell(site, Path(job.out), settings, names))
            log.write_site(reports[-1])
        notices = _collect(sites, Path(job.out), settings, names)
        seconds = time.perf_counter() - started
        text = summary(reports, seconds, "measured")[0]
        log.write({"event": "end", "summary": text, "notices": notices})
    return sum(report.state == "failed" for report in reports)


def measured_names(channels: Sequence[str]) -> list[str]:
    """Return what cp_measure calls its features of these channels, by measuring a made-up cell.

    Examples
    --------
    >>> measured_names(["DNA"])[0]  # doctest: +SKIP
    'Area'
    """
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


def _greatest(site: Site, channels: Sequence[str]) -> tuple[float, ...]:
    found = []
    for channel in channels:
        dtype = read_plane(site.images[channel].path, site.images[channel].page).dtype
        found.append(float(np.iinfo(dtype).max) if dtype.kind in "ui" else 1.0)
    return tuple(found)


def _measure_or_tell(
    site: Site, out: Path, settings: ClassicalSettings, names: list[str]
) -> SiteReport:
    path, since = site_file(out, site), time.perf_counter()
    try:
        objects = objects_to_do(site, path, settings.provenance(), settings.channels)
        if isinstance(objects, SiteReport):
            return objects
        table = _measure(site, objects, settings, names)
        write_site(path, table)
    except Exception as error:  # noqa: BLE001  (told with its site; the others are done)
        return failure(site, error)
    seconds = time.perf_counter() - since
    return SiteReport(str(site), "measured", len(table.features), seconds=seconds)


def _measure(
    site: Site, objects: Objects, settings: ClassicalSettings, names: list[str]
) -> SiteTable:
    field = read_field(site, objects, settings.channels)
    image = field.image / np.reshape(settings.greatest, (-1, 1, 1))
    if not (np.isfinite(image).all() and image.min() >= 0):
        raise ImageError(f"site {site} has pixels that are negative or no numbers")
    # Illumination functions may lift some pixels beyond what their type can hold.
    features, found, labels = _featurize(image.clip(max=1), objects.labels, settings.channels)
    if found != names or not np.array_equal(labels, objects.numbers):
        raise ImageError(f"cp_measure returned other features or cells for site {site}")
    return SiteTable(
        features.astype(np.float32),
        dict(site.metadata),
        objects.locations,
        objects.numbers,
        # There are no crops that could reach over it.
        np.zeros(len(features), bool),
        settings.provenance(),
        site.image_number,
        images_of(site, settings.channels),
    )


def _collect(
    sites: Sequence[Site], out: Path, settings: ClassicalSettings, names: list[str]
) -> list[str]:
    """Write a table per plate; say which features are left out because some cell lacks them."""
    provenance = settings.provenance()
    paths: dict[str, list[Path]] = {}
    whole = np.ones(len(names), bool)
    for site in sites:
        path = site_file(out, site)
        if header_if_done(path, provenance, images_of(site, settings.channels)) is not None:
            paths.setdefault(site.metadata["Plate"], []).append(path)
            whole &= np.isfinite(read_site(path).features).all(axis=0)
    kept = [f"Cells_{name}" for name, known in zip(names, whole, strict=True) if known]
    for plate, mine in paths.items():
        known = {name: None for path in mine for name in read_header(path)["metadata"]}
        table = out / PLATES_FOLDER / f"{plate}.parquet"
        write_plate(table, _whole_columns(mine, whole), list(known), provenance, kept)
    if whole.all():
        return []
    lacking = [name for name, known in zip(names, whole, strict=True) if not known]
    of_all = f"{len(lacking)} of {len(names)} features are left out"
    return [f"{of_all}, some cell has no number for them: {', '.join(lacking)}"]


def _whole_columns(paths: Sequence[Path], whole: np.ndarray) -> Iterator[SiteTable]:
    for table in map(read_site, paths):
        yield dataclasses.replace(table, features=table.features[:, whole])


def main(text: str) -> int:
    """Measure the screen of a job that is given as JSON; return the exit status."""
    values = json.loads(text)
    values["channels"] = tuple(tuple(pair) for pair in values["channels"])
    try:
        return 1 if measure_screen(Job(**values)) else 0
    except CPCNNError as error:
        sys.stderr.write(f"cpcnn: error: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
