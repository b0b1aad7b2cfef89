"""Starting weights of a network: random, ImageNet's, or those of another model of cells."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch

from cpcnn_core.errors import TrainingError, WeightsError
from cpcnn_core.models.registry import find_model
from cpcnn_core.models.untrained import untrained_efficientnet_b0
from cpcnn_core.models.weights import read_model
from cpcnn_core.training.initialization import (
    IMAGENET_WEIGHTS,
    initialize_from_imagenet,
    initialize_like_keras,
    layers_of_role,
    read_imagenet_weights,
)
from cpcnn_core.training.network import TrainableNetwork

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cpcnn_core.models.card import ModelCard
    from cpcnn_core.training.config import NetworkConfig


def make_network(
    config: NetworkConfig,
    channels: Sequence[str],
    crop_px: int,
    classes: Sequence[str],
    seed: int,
) -> tuple[TrainableNetwork, str]:
    """Make the network that is to be trained, with the weights it begins with.

    Parameters
    ----------
    config : NetworkConfig
    channels : sequence of str
    crop_px : int
    classes : sequence of str
    seed : int
        Of what is drawn; it sets PyTorch's global generator.

    Returns
    -------
    network : TrainableNetwork
        On the CPU.
    start : str
        Where its weights come from, for the model's card.

    Raises
    ------
    ModelNotFoundError, DownloadError, DependencyError
        The weights are not available.
    WeightsError
        They are those of another network.
    TrainingError
        The model to start from lacks channels of the crops.

    Examples
    --------
    >>> from cpcnn_core.training.config import NetworkConfig
    >>> make_network(NetworkConfig(), ("DNA", "ER"), 128, ("DMSO", "taxol"), 0)[1]
    'random, seed 0'
    """
    torch.manual_seed(seed)
    network = TrainableNetwork(config.backbone, len(channels), crop_px, len(classes), config.tap)
    if network.is_reference:
        initialize_like_keras(network.net, seed)
    if config.initialization == "random":
        return network, f"random, seed {seed}"
    if config.initialization == "imagenet":
        name = IMAGENET_WEIGHTS if network.is_reference else config.backbone
        weights = read_imagenet_weights(name, config.imagenet_file or None)
        initialize_from_imagenet(network.net, weights, seed)
        return network, f"ImageNet, {name}"
    card, path = find_model(config.initialization)
    card, arrays = read_model(path) if path else untrained_efficientnet_b0()
    tensors = {name: torch.from_numpy(value) for name, value in arrays.items()}
    _take(network, card, tensors, channels, classes)
    return network, f"the model {card.name}, sha256 {card.sha256}"


def _take(
    network: TrainableNetwork,
    card: ModelCard,
    weights: dict[str, torch.Tensor],
    channels: Sequence[str],
    classes: Sequence[str],
) -> None:
    """Start from a model, whose channels are taken by name; what it lacks stays as drawn."""
    if card.architecture != network.architecture:
        raise WeightsError(
            f"{card.name} is a {card.architecture}, and the network to be trained is "
            f"{network.architecture}; change network.backbone or network.initialization"
        )
    missing = [name for name in channels if name not in card.channels]
    if missing:
        raise TrainingError(
            f"{card.name} was trained on {', '.join(card.channels)}, and has not seen "
            f"{', '.join(missing)}; say in data.studies.channels which channel is which of its"
        )
    order = [card.channels.index(name) for name in channels]
    stems = layers_of_role(network.net, "first_conv")
    classifiers = layers_of_role(network.net, "classifier")
    # The same classes mean the same outputs.
    known = card.provenance.get("classes") == classes_text(classes)
    taken = {}
    for name, value in network.net.state_dict().items():
        layer = name.rsplit(".", 1)[0]
        if name not in weights or (layer in classifiers and not known):
            continue
        found = weights[name]
        if layer in stems and found.ndim == 4 and found.shape[1] == len(card.channels):
            found = found[:, order]
        if found.shape != value.shape:
            raise WeightsError(
                f"{card.name} cannot be gone on from: expected {name} of shape "
                f"{tuple(value.shape)}, got {tuple(found.shape)}"
            )
        taken[name] = found
    network.net.load_state_dict(taken, strict=False)


def classes_text(classes: Sequence[str]) -> str:
    """Write classes as a model's card keeps them, in the order of the outputs.

    Examples
    --------
    >>> classes_text(("DMSO", "taxol"))
    '["DMSO", "taxol"]'
    """
    return json.dumps(list(classes), ensure_ascii=False)
