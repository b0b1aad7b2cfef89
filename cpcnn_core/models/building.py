"""A card and its weights to a network, and every way in which they may not fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch

from cpcnn_core.errors import WeightsError
from cpcnn_core.models.card import EFFICIENTNET_B0, ONE_BY_ONE, ModelCard
from cpcnn_core.models.card_schema import OPEN_PHENOM, SUBCELL, TIMM_PREFIX
from cpcnn_core.models.efficientnet import TAP_DIMS, TappedEfficientNet
from cpcnn_core.models.input_steps import WithInput
from cpcnn_core.models.open_phenom import OpenPhenomNetwork
from cpcnn_core.models.subcell import SubCellNetwork
from cpcnn_core.models.timm_network import POOLED, TimmNetwork, float_weights
from cpcnn_core.normalize import NORMALIZERS

if TYPE_CHECKING:
    import numpy as np

Network = TappedEfficientNet | TimmNetwork | OpenPhenomNetwork | SubCellNetwork | WithInput


def build_network(card: ModelCard, weights: Mapping[str, np.ndarray]) -> Network:
    """Build the network of a card and give it its weights.

    Raises
    ------
    WeightsError
        An architecture, layer or normaliser that this cpcnn does not know, or weights
        that are missing or of another shape.

    Examples
    --------
    >>> from cpcnn_core.models.untrained import untrained_efficientnet_b0
    >>> build_network(*untrained_efficientnet_b0()).tap
    'block6a_activation'
    """
    classes = len(weights.get("classifier.bias", ()))
    # A card may ask for a network of any size: memory is taken only for what has weights here.
    with torch.device("meta"):
        network = empty_network(card, classes)
    if card.embed_dim != network.embed_dim:
        raise WeightsError(
            f"{card.name} promises {card.embed_dim} features, {card.tap} gives "
            f"{network.embed_dim}; import the model again"
        )
    for name, shape in network.weight_shapes().items():
        found = weights[name].shape if name in weights else None
        if found != shape:
            raise WeightsError(
                f"{card.name} lacks what {card.tap} needs: expected {name} of shape {shape}, "
                f"got {found}; import the model again"
            )
    network = empty_network(card, classes)
    network.load_weights(weights)
    return network


def empty_network(card: ModelCard, classes: int = 0) -> Network:
    """Build the network of a card, before it is given weights.

    Parameters
    ----------
    card : ModelCard
    classes : int
        Of the classifier, where the card's layer is that of the published network.

    Raises
    ------
    WeightsError
        An architecture, layer or normaliser that this cpcnn does not know.

    Examples
    --------
    >>> card = ModelCard("r", "", ("DNA", "ER"), 192, architecture="timm/test_resnet",
    ...     tap="pooled", channel_mode="bag")
    >>> empty_network(card).embed_dim
    192
    """
    of_timm = card.architecture.startswith(TIMM_PREFIX)
    if card.architecture not in ARCHITECTURES and not of_timm:
        raise WeightsError(
            f"{card.name} is a {card.architecture}, this cpcnn builds "
            f"{', '.join(ARCHITECTURES)} and {TIMM_PREFIX}...; upgrade with: "
            "pip install --upgrade cpcnn"
        )
    layers = TAP_DIMS if card.architecture == EFFICIENTNET_B0 else (POOLED,)
    for what, name, known in (
        ("layer", card.tap, layers),
        ("normaliser", card.normalizer, NORMALIZERS),
    ):
        if name not in known:
            raise WeightsError(
                f"{card.name} asks for the {what} {name}, this cpcnn knows {', '.join(known)}; "
                "upgrade with: pip install --upgrade cpcnn"
            )
    build = _timm_network if of_timm else ARCHITECTURES[card.architecture]
    network = build(card, classes)
    as_cut = card.seen_px == card.crop_px and tuple(card.input_range) == (0, 1)
    plain = card.standardizer == "none" and card.channel_mode not in ONE_BY_ONE
    return network if as_cut and plain else WithInput(network, card)


def random_weights(card: ModelCard, seed: int) -> dict[str, np.ndarray]:
    """Draw weights for a card's network: numbers that have learned nothing.

    Parameters
    ----------
    card : ModelCard
    seed : int

    Returns
    -------
    dict of str to ndarray, float32
        As PyTorch and timm draw them; another version of theirs may draw others.

    Examples
    --------
    >>> card = ModelCard("r", "", ("DNA",), 96, architecture="timm/test_resnet", tap="pooled")
    >>> random_weights(card, 1)["conv1.0.weight"].shape
    (16, 1, 3, 3)
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = empty_network(card)
    if isinstance(network, WithInput):
        network = network.network
    holder = network.net if isinstance(network, TimmNetwork) else network
    return {name: value.numpy().copy() for name, value in float_weights(holder).items()}


def _efficientnet_b0(card: ModelCard, classes: int) -> TappedEfficientNet:
    return TappedEfficientNet(len(card.channels), card.tap, classes)


def _timm_network(card: ModelCard, _: int) -> TimmNetwork:
    backbone = card.architecture.removeprefix(TIMM_PREFIX)
    return TimmNetwork(backbone, card.channels_at_once, card.seen_px, card.architecture_options)


def _open_phenom(card: ModelCard, _: int) -> OpenPhenomNetwork:
    return OpenPhenomNetwork(card.seen_px, **card.architecture_options)


def _subcell(card: ModelCard, _: int) -> SubCellNetwork:
    return SubCellNetwork(card.channels, **card.architecture_options)


ARCHITECTURES: dict[str, Callable[[ModelCard, int], Network]] = {
    EFFICIENTNET_B0: _efficientnet_b0,
    OPEN_PHENOM: _open_phenom,
    SUBCELL: _subcell,
}
