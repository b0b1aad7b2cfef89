"""A user's request, as plain values, and the opening of it: model, sites, settings."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cpcnn_core.embedding.embedder import Embedder, load_model
from cpcnn_core.errors import SiteError
from cpcnn_core.io.deepprofiler import DeepProfilerProject, read_sites
from cpcnn_core.io.load_data import read_load_data
from cpcnn_core.io.sites import Site, illumination_notice, same_file_notices, with_scale
from cpcnn_core.models.efficientnet import TAP_DIMS
from cpcnn_core.models.registry import CELL_PAINTING_CHANNELS, find_model, is_model_path
from cpcnn_core.models.verification import weights_statement
from cpcnn_core.models.weight_import import read_keras_model
from cpcnn_core.screen.plan import Settings
from cpcnn_core.screen.screens import DeepProfilerScreen, LoadDataScreen, absolute_path

DEFAULT_MODEL = "cell-painting-cnn-v1"


@dataclass(frozen=True)
class Job:
    """A screen, what to embed it with, and where to write.

    Only texts and numbers, so that it can be sent to another machine or process, which opens
    its own files.

    Attributes
    ----------
    screen : LoadDataScreen or DeepProfilerScreen
    out : str
    model : str, optional
        Default: `DEFAULT_MODEL`, or the project's own.
    readers : int, optional
    force : bool
        See `cpcnn_core.screen.run.embed_sites`.

    Examples
    --------
    >>> Job(DeepProfilerScreen("project"), "embedded").engine
    'auto'
    """

    screen: LoadDataScreen | DeepProfilerScreen
    out: str
    model: str | None = None
    compartment: str = "Cells"
    device: str = "auto"
    engine: str = "auto"
    precision: str = "auto"
    readers: int | None = None
    force: bool = False

    def absolute(self) -> Job:
        """Return the same job for another working directory.

        Examples
        --------
        >>> job = Job(DeepProfilerScreen("project"), "embedded").absolute()
        >>> Path(job.out).is_absolute(), Path(job.screen.folder).is_absolute()
        (True, True)
        """
        is_file = self.model is not None and is_model_path(self.model)
        return dataclasses.replace(
            self,
            screen=self.screen.absolute(),
            out=absolute_path(self.out),
            model=absolute_path(self.model) if self.model and is_file else self.model,
        )


@dataclass(frozen=True)
class OpenJob:
    """A job whose tables are read and whose model is loaded.

    Attributes
    ----------
    model : Embedder
    sites : list of Site
    out : Path
    settings : Settings
    notices : sequence of str
        See `screen_notices`.
    """

    model: Embedder
    sites: list[Site]
    out: Path
    settings: Settings
    notices: Sequence[str] = ()


def open_job(job: Job) -> OpenJob:
    """Read the screen's tables and load the model.

    Raises
    ------
    CPCNNError
        Whatever is wrong with them.

    Examples
    --------
    >>> open_job(Job(DeepProfilerScreen("nowhere"), "embedded"))
    Traceback (most recent call last):
    cpcnn_core.errors.SiteError: nowhere is no DeepProfiler project: it has no folder inputs...
    """
    screen = job.screen
    if isinstance(screen, DeepProfilerScreen):
        opened = _open_project(job, screen)
    else:
        opened = _open_load_data(job, screen)
    notices = [*opened.notices, *screen_notices(opened.sites, opened.settings.card.channels)]
    sites = with_scale(opened.sites, screen.um_per_px)
    return dataclasses.replace(opened, sites=sites, notices=notices)


def screen_notices(sites: Sequence[Site], channels: Sequence[str]) -> list[str]:
    """Say what is to be known of a screen's images before they are read.

    Examples
    --------
    >>> screen_notices([], ["DNA"])
    ['no illumination functions: pixels are taken as stored']
    """
    return [illumination_notice(sites, channels), *same_file_notices(sites, channels)]


def _open_load_data(job: Job, screen: LoadDataScreen) -> OpenJob:
    objects = screen.cells.source()
    images = dict(screen.channels)
    name = job.model or DEFAULT_MODEL
    free = bool(images) and find_model(name)[0].takes_any_channels
    channels = tuple(images) if free else None
    model = load_model(name, job.device, job.precision, job.engine, channels)
    sites = read_load_data(screen.table, model.card.channels, images, objects)
    settings = _settings(job, model, screen.mask)
    return OpenJob(model, sites, Path(job.out), settings, objects.notices)


def _open_project(job: Job, screen: DeepProfilerScreen) -> OpenJob:
    project = screen.project()
    how = (job.device, job.precision, job.engine)
    if job.model is None:
        experiment = experiment_folder(project, screen.experiment)
        model = project_model(project, experiment, *how)
    else:
        model = load_model(job.model, *how)
    settings = _settings(job, model, project.mask_objects)
    return OpenJob(model, read_sites(project), Path(job.out), settings)


def _settings(job: Job, model: Embedder, mask: bool) -> Settings:
    # The hash of the weights was compared with the card's when they were loaded.
    weights = weights_statement(model.card)
    um_per_px = job.screen.um_per_px
    return Settings(model.card, mask, job.compartment, model.precision, um_per_px, weights)


def experiment_folder(project: DeepProfilerProject, name: str | None = None) -> Path:
    """Return the folder of the experiment: the one named, or the only one there.

    Raises
    ------
    SiteError
        None or several with a checkpoint; names them.

    Examples
    --------
    >>> experiment_folder(project, "cell_painting").as_posix()
    'project/outputs/cell_painting'
    >>> experiment_folder(project)
    Traceback (most recent call last):
    cpcnn_core.errors.SiteError: expected one experiment with a checkpoint in ...outputs, got 0; ...
    """
    outputs = project.root / "outputs"
    if name is not None:
        return outputs / name
    found = sorted(path.parent for path in outputs.glob("*/checkpoint"))
    if len(found) != 1:
        raise SiteError(
            f"expected one experiment with a checkpoint in {outputs}, got {len(found)}"
            + (f" ({', '.join(p.name for p in found)})" if found else "")
            + "; name it with --exp"
        )
    return found[0]


def project_model(
    project: DeepProfilerProject,
    experiment: Path,
    device: str = "auto",
    precision: str = "auto",
    engine: str = "auto",
) -> Embedder:
    """Load the project's checkpoint: its channels, its layer, its size of crops.

    Parameters
    ----------
    project : DeepProfilerProject
    experiment : Path
    device, precision, engine : str
        See `Embedder`.

    Returns
    -------
    Embedder

    Warns
    -----
    UserWarning
        The channels of Cell Painting are in an order that the published network
        was not trained in.

    Raises
    ------
    SiteError
        No checkpoint, or a layer that cannot be had.

    Examples
    --------
    >>> project_model(project, experiment_folder(project, "cell_painting"), "cpu")
    Traceback (most recent call last):
    cpcnn_core.errors.SiteError: there is no checkpoint ...Cell_Painting_CNN_v1.hdf5; ...
    """
    path = experiment / "checkpoint" / project.checkpoint
    if not path.is_file():
        raise SiteError(
            f"there is no checkpoint {path}; put it there, or choose a model with --model"
        )
    if project.feature_layer not in TAP_DIMS:
        raise SiteError(
            f"the layer {project.feature_layer} cannot be had; there are: {', '.join(TAP_DIMS)}"
        )
    published = set(project.channels) == set(CELL_PAINTING_CHANNELS)
    if published and project.channels != CELL_PAINTING_CHANNELS:
        warnings.warn(
            f"this project's channels are in the order {', '.join(project.channels)}; the "
            f"published network was trained with {', '.join(CELL_PAINTING_CHANNELS)}. If its "
            "checkpoint is the published one, use --model cell-painting-cnn-v1: then channels are "
            "taken by name",
            stacklevel=2,
        )
    card, weights = read_keras_model(path, project.model_name or None, project.channels)
    dim = TAP_DIMS[project.feature_layer] or len(weights.get("classifier.bias", ()))
    card = dataclasses.replace(
        card, tap=project.feature_layer, embed_dim=dim, crop_px=project.box_px
    )
    return Embedder(card, weights, device, precision, engine=engine)
