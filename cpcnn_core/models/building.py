"""A card and its weights to a network, and every way in which they may not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpcnn_core.errors import WeightsError
from cpcnn_core.models.card import ModelCard
from cpcnn_core.models.efficientnet import TAP_DIMS, TappedEfficientNet
from cpcnn_core.models.timm_network import POOLED, PREFIX, TimmNetwork
from cpcnn_core.normalize import NORMALIZERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np


EFFICIENTNET_B0 = "efficientnet_b0"
Network = TappedEfficientNet | TimmNetwork


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
    of_timm = card.architecture.startswith(PREFIX)
    if card.architecture != EFFICIENTNET_B0 and not of_timm:
        raise WeightsError(
            f"{card.name} is a {card.architecture}, this cpcnn builds {EFFICIENTNET_B0} and "
            f"{PREFIX}...; upgrade with: pip install --upgrade cpcnn"
        )
    for what, name, known in (
        ("layer", card.tap, (POOLED,) if of_timm else TAP_DIMS),
        ("normaliser", card.normalizer, NORMALIZERS),
    ):
        if name not in known:
            raise WeightsError(
                f"{card.name} asks for the {what} {name}, this cpcnn knows {', '.join(known)}; "
                "upgrade with: pip install --upgrade cpcnn"
            )
    channels = len(card.channels)
    if of_timm:
        network = TimmNetwork(card.architecture.removeprefix(PREFIX), channels, card.crop_px)
        dim = network.embed_dim
    else:
        classes = len(weights.get("classifier.bias", ()))
        network = TappedEfficientNet(channels, card.tap, classes)
        dim = TAP_DIMS[card.tap] or classes
    if card.embed_dim != dim:
        raise WeightsError(
            f"{card.name} promises {card.embed_dim} features, {card.tap} gives {dim}; "
            "import the model again"
        )
    for name, shape in network.weight_shapes().items():
        found = weights[name].shape if name in weights else None
        if found != shape:
            raise WeightsError(
                f"{card.name} lacks what {card.tap} needs: expected {name} of shape {shape}, "
                f"got {found}; import the model again"
            )
    network.load_weights(weights)
    return network
