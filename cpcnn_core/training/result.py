"""The trained network as a model file: weights, card, and how it came about."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import cpcnn_core
from cpcnn_core.errors import TrainingError
from cpcnn_core.io.json_files import parse_json
from cpcnn_core.models.card import ModelCard
from cpcnn_core.models.registry import (
    MODEL_SUFFIX,
    find_model,
    is_model_path,
    known_cards,
    model_file,
)
from cpcnn_core.models.timm_network import float_weights
from cpcnn_core.models.weights import save_model
from cpcnn_core.training.config import TrainingConfig
from cpcnn_core.training.config_files import config_from, differences
from cpcnn_core.training.network import ChannelwiseNetwork
from cpcnn_core.training.reports import COLUMNS
from cpcnn_core.training.starting_weights import DRAWN, RANDOM, classes_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cpcnn_core.training.cells import Cells
    from cpcnn_core.training.network import Network

# What a model is called that was given no name.
UNNAMED = "model"
# Of a card: what becomes of a crop before a network that sees each channel by itself.
INPUT_ENTRIES = (
    *("architecture_options", "pooling", "channel_mode", "input_px", "resize", "input_range"),
    *("standardizer", "mean", "std"),
)
LICENCE_ENTRIES = ("licence", "licence_url", "commercial", "citation")


def model_path(config: TrainingConfig) -> Path:
    """Return the file of the model that a training makes.

    Examples
    --------
    >>> model_path(TrainingConfig()).as_posix()
    'training/model.safetensors'
    """
    return Path(config.run.out) / f"{config.run.name or UNNAMED}{MODEL_SUFFIX}"


def claim_name(config: TrainingConfig, crops_sha256: str) -> None:
    """Refuse a name that belongs to another model, before the work rather than after it.

    Raises
    ------
    TrainingError

    Examples
    --------
    >>> from cpcnn_core.training.config import RunConfig
    >>> claim_name(TrainingConfig(run=RunConfig(name="cell-painting-cnn-v1")), "")
    Traceback (most recent call last):
    cpcnn_core.errors.TrainingError: the name cell-painting-cnn-v1 belongs to another model; ...
    """
    name = config.run.name
    if not name:
        return
    if is_model_path(name):
        raise TrainingError(f"{name} is the name of a file, not of a model; change run.name")
    file = model_file(name)
    if name in known_cards() or (file.is_file() and not _made_by(config, crops_sha256, file)):
        raise TrainingError(
            f"the name {name} belongs to another model; change run.name, or remove {file}"
        )


def write_result(
    network: Network,
    cells: Cells,
    config: TrainingConfig,
    start: str,
    row: Mapping[str, object],
) -> Path:
    """Write the model, and put it among this user's when it has a name.

    Parameters
    ----------
    network : TrainableNetwork or ChannelwiseNetwork
    cells : Cells
    config : TrainingConfig
    start : str
        What its weights were at the start.
    row : mapping
        The last row of the log.

    Returns
    -------
    Path
        ``OUT/NAME.safetensors``: `cpcnn_core.load_model` takes it, and the name too.
    """
    card = result_card(network, cells, config, start, row)
    weights = {
        name: value.detach().cpu().numpy().astype(np.float32)
        for name, value in float_weights(network.net).items()
    }
    path = model_path(config)
    save_model(path, card, weights)
    if config.run.name:
        save_model(model_file(config.run.name), card, weights)
    return path


def result_card(
    network: Network,
    cells: Cells,
    config: TrainingConfig,
    start: str,
    row: Mapping[str, object],
) -> ModelCard:
    """Describe the model that a training made; parameters as `write_result`.

    Returns
    -------
    ModelCard
        Its provenance holds the recipe, the classes, the hash of the crops' index, the
        split, the last evaluation, and versions.
    """
    versions = {name: importlib.metadata.version(name) for name in ("torch", "timm", "numpy")}
    # How long it took is in the log: of the same training there is one model, to the last byte.
    left_out = COLUMNS["speed"]
    evaluation = {k: v for k, v in row.items() if v is not None and k not in left_out}
    count = len(cells.training)
    seen: dict[str, Any] = {}
    if isinstance(network, ChannelwiseNetwork):
        seen = {name: getattr(network.card, name) for name in INPUT_ENTRIES}
    learned = row["epoch"] != 0
    trained = learned or config.network.initialization != RANDOM
    if config.network.initialization not in DRAWN:
        # Weights that were made of others come under the others' licence.
        start_card = find_model(config.network.initialization)[0]
        seen |= {name: getattr(start_card, name) for name in LICENCE_ENTRIES}
        trained = learned or start_card.trained
    summary = f"Trained on {count} cells of {len(cells.classes)} classes, by cpcnn train."
    if not learned:
        summary = f"The weights that cpcnn train started from ({start}): no epoch was better."
    return ModelCard(
        **seen,
        name=config.run.name or UNNAMED,
        summary=summary,
        trained=trained,
        channels=cells.store.channels,
        embed_dim=network.embed_dim,
        architecture=network.architecture,
        tap=network.tap,
        crop_px=cells.store.crop_px,
        um_per_px=cells.store.um_per_px,
        source="cpcnn train",
        provenance={
            "recipe": json.dumps(dataclasses.asdict(config), ensure_ascii=False),
            "started_from": start,
            "classes": classes_text(cells.classes),
            "crops_sha256": cells.store.sha256,
            "split": json.dumps(cells.split, ensure_ascii=False),
            "evaluation": json.dumps(evaluation, ensure_ascii=False),
            "made_by": ", ".join(
                f"{name} {version}"
                for name, version in {"cpcnn": cpcnn_core.__version__, **versions}.items()
            ),
        },
    )


def _made_by(config: TrainingConfig, crops_sha256: str, file: Path) -> bool:
    """Tell whether the same training made this model, which it then may make again."""
    made = find_model(file)[0].provenance
    try:
        theirs = config_from(parse_json(made["recipe"]))
    except (KeyError, ValueError):
        return False
    return made.get("crops_sha256") == crops_sha256 and not differences(config, theirs)
