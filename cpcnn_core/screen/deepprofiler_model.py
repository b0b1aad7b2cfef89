"""The network that a DeepProfiler project names."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

from cpcnn_core.embedding import Embedder
from cpcnn_core.errors import SiteError
from cpcnn_core.models.efficientnet import TAP_DIMS
from cpcnn_core.models.importing import read_keras_model
from cpcnn_core.models.registry import CELL_PAINTING_CHANNELS
from cpcnn_core.readers.deepprofiler import DeepProfilerProject


def experiment_folder(project: DeepProfilerProject, name: str | None = None) -> Path:
    """Return the folder of the experiment: the one named, or the only one there.

    Raises
    ------
    SiteError
        None or several with a checkpoint; names them.

    Examples
    --------
    >>> experiment_folder(project, "cell_painting")  # doctest: +SKIP
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
    >>> project_model(project, experiment, "cpu")  # doctest: +SKIP
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
