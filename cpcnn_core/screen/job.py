"""What a user asks for, as plain values, and the opening of it: model, sites, settings."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from cpcnn_core.embedding import Embedder, load_model
from cpcnn_core.models.registry import find_model, is_model_path
from cpcnn_core.readers.cellprofiler_objects import objects_from_cellprofiler
from cpcnn_core.readers.deepprofiler import read_project, read_sites
from cpcnn_core.readers.label_images import objects_from_labels
from cpcnn_core.readers.load_data import ReadObjects, read_load_data
from cpcnn_core.readers.locations import objects_from_locations
from cpcnn_core.readers.sites import Site, with_scale
from cpcnn_core.screen.deepprofiler_model import experiment_folder, project_model
from cpcnn_core.screen.plan import Settings

DEFAULT_MODEL = "cell-painting-cnn-v1"
_PATHS = ("out", "load_data", "objects", "labels", "locations", "deepprofiler")


@dataclass(frozen=True)
class Job:
    """A screen, where its cells are, and what to embed them with.

    Only texts and numbers, so that it can be sent to another machine, which opens its
    own files.

    Attributes
    ----------
    load_data : str, optional
        CellProfiler's LoadData table; then one of `objects`, `labels`, `locations`.
    deepprofiler : str, optional
        Or a DeepProfiler project, with `config` and `experiment` where there are several.
    out : str, optional
        Default for a project: its experiment.
    channels : tuple of (channel, image)
        See `cpcnn_core.readers.load_data.read_load_data`. A model that takes any channels
        is given these, in this order.
    model : str, optional
        Default: `DEFAULT_MODEL`, or the project's own.
    um_per_px : float, optional
        Micrometres per pixel of all images; see `cpcnn_core.readers.sites.with_scale`.
    readers : int, optional
        See `cpcnn_core.screen.run.embed_sites`.

    Examples
    --------
    >>> Job(deepprofiler="project").engine
    'auto'
    """

    load_data: str | None = None
    objects: str | None = None
    object_name: str = "Nuclei"
    labels: str | None = None
    locations: str | None = None
    channels: tuple[tuple[str, str], ...] = ()
    mask: bool = False
    deepprofiler: str | None = None
    config: str | None = None
    experiment: str | None = None
    out: str | None = None
    model: str | None = None
    compartment: str = "Cells"
    device: str = "auto"
    engine: str = "auto"
    precision: str = "auto"
    readers: int | None = None
    um_per_px: float | None = None

    def absolute(self) -> Job:
        """Return the same job for another working directory.

        Examples
        --------
        >>> Path(Job(out="embedded").absolute().out).is_absolute()
        True
        """
        paths = {name: getattr(self, name) for name in _PATHS}
        if self.model and is_model_path(self.model):
            paths["model"] = self.model
        found = {name: str(Path(path).absolute()) for name, path in paths.items() if path}
        return dataclasses.replace(self, **found)


@dataclass(frozen=True)
class OpenJob:
    """A job whose tables are read and whose model is loaded."""

    model: Embedder
    sites: list[Site]
    out: Path
    settings: Settings


def open_job(job: Job) -> OpenJob:
    """Read the screen's tables and load the model.

    Raises
    ------
    CPCNNError
        Whatever is wrong with them.

    Examples
    --------
    >>> open_job(Job(deepprofiler="nowhere"))
    Traceback (most recent call last):
    cpcnn_core.errors.SiteError: nowhere is no DeepProfiler project: it has no folder inputs...
    """
    opened = _open_project(job) if job.deepprofiler else _open_load_data(job)
    return dataclasses.replace(opened, sites=with_scale(opened.sites, job.um_per_px))


def _open_load_data(job: Job) -> OpenJob:
    read_objects = find_objects(job)
    images = dict(job.channels)
    name = job.model or DEFAULT_MODEL
    free = bool(images) and find_model(name)[0].takes_any_channels
    channels = tuple(images) if free else None
    model = load_model(name, job.device, job.precision, job.engine, channels)
    sites = read_load_data(job.load_data, model.card.channels, images, read_objects)
    return OpenJob(model, sites, Path(job.out), _settings(job, model, job.mask))


def find_objects(job: Job) -> ReadObjects:
    """Return what looks up the objects of a site of a LoadData table.

    Examples
    --------
    >>> find_objects(Job(objects="Nuclei.csv"))
    Traceback (most recent call last):
    cpcnn_core.errors.SiteError: there is no file Nuclei.csv
    """
    if job.objects:
        return objects_from_cellprofiler(job.objects, job.object_name)
    return objects_from_labels(job.labels) if job.labels else objects_from_locations(job.locations)


def _open_project(job: Job) -> OpenJob:
    project = read_project(job.deepprofiler, job.config)
    experiment = experiment_folder(project, job.experiment)
    how = (job.device, job.precision, job.engine)
    own = job.model is None
    model = project_model(project, experiment, *how) if own else load_model(job.model, *how)
    out = Path(job.out or experiment)
    return OpenJob(model, read_sites(project), out, _settings(job, model, project.mask_objects))


def _settings(job: Job, model: Embedder, mask: bool) -> Settings:
    return Settings(model.card, mask, job.compartment, model.precision, job.um_per_px)
