"""A card and its weights to a network, with the steps before it that the card asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn

from cpcnn_core.errors import WeightsError
from cpcnn_core.imaging.normalization import NORMALIZERS
from cpcnn_core.models.card import AT_ONCE, EFFICIENTNET_B0, ONE_BY_ONE, ModelCard
from cpcnn_core.models.card_schema import OPEN_PHENOM, SUBCELL, TIMM_PREFIX
from cpcnn_core.models.efficientnet import TAP_DIMS, TappedEfficientNet
from cpcnn_core.models.open_phenom import OpenPhenomNetwork
from cpcnn_core.models.standardization import STANDARDIZERS, resize, stretch
from cpcnn_core.models.subcell import SubCellNetwork
from cpcnn_core.models.timm_network import POOLED, TimmNetwork, float_weights

if TYPE_CHECKING:
    import numpy as np


class WithInput(nn.Module):
    """A network that takes crops as they are cut: 0 to 1, all channels, the card's size.

    Parameters
    ----------
    network : Module
        Takes what its authors give it: one channel for ``bag``, three equal ones for
        ``rgb``, else all of the card's.
    card : ModelCard

    Raises
    ------
    WeightsError
        A standardizer that this cpcnn does not know.

    Notes
    -----
    In this order: range, size, standardizing; for authors who standardize before they resize,
    in theirs. Features of channels that go through the network alone are side by side, in the
    card's order of channels. All of it is float32, whatever the network's weights are.

    Examples
    --------
    >>> from cpcnn_core.models.card import ModelCard
    >>> from cpcnn_core.models.timm_network import TimmNetwork
    >>> card = ModelCard("two", "An example.", ("DNA", "ER"), 192, channel_mode="bag", input_px=64)
    >>> tuple(WithInput(TimmNetwork("test_resnet", 1, 64), card)(torch.zeros(3, 2, 32, 32)).shape)
    (3, 192)
    """

    def __init__(self, network: Network, card: ModelCard) -> None:
        super().__init__()
        if card.standardizer not in STANDARDIZERS:
            raise WeightsError(
                f"{card.name} asks for the standardizer {card.standardizer}, this cpcnn knows "
                f"{', '.join(STANDARDIZERS)}; upgrade with: pip install --upgrade cpcnn"
            )
        self.network: Network = network
        self.standardizer = STANDARDIZERS[card.standardizer]
        self.mean, self.std = card.mean, card.std
        self.range = card.input_range
        self.px, self.how = card.input_px, card.resize
        self.mode = card.channel_mode
        self.channels = len(card.channels)

    @property
    def tap(self) -> str:
        """The layer whose values are the features."""
        return self.network.tap

    @property
    def embed_dim(self) -> int:
        """Number of features of a crop, of all channels together."""
        return self.network.embed_dim * (self.channels if self.mode in ONE_BY_ONE else 1)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Map crops (n, c, crop_px, crop_px), range 0 to 1, to features (n, embed_dim)."""
        features = self.network(self.prepare(crops.float()).to(crops.dtype))
        result: torch.Tensor = (
            features.reshape(len(crops), -1) if self.mode in ONE_BY_ONE else features
        )
        return result

    def prepare(self, crops: torch.Tensor) -> torch.Tensor:
        """Return what the network sees; for channels that go alone (n * c, 1 or 3, px, px)."""
        if self.mode in ONE_BY_ONE:
            crops = crops.reshape(-1, 1, *crops.shape[-2:])
        crops = stretch(crops, *self.range)
        if self.standardizer.before_resize:
            return resize(self._standardize(crops), self.px, self.how)
        return self._standardize(resize(crops, self.px, self.how))

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name every weight the network needs, with its shape."""
        return self.network.weight_shapes()

    def load_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        """Take copies of the weights; names and shapes must be those of `weight_shapes`."""
        self.network.load_weights(weights)

    def _standardize(self, crops: torch.Tensor) -> torch.Tensor:
        if self.mode == "rgb":
            crops = crops.expand(-1, AT_ONCE[self.mode], -1, -1)
        return self.standardizer.apply(crops, self.mean, self.std)


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
    >>> from cpcnn_core.models.opening import untrained_efficientnet_b0
    >>> build_network(*untrained_efficientnet_b0()).tap
    'block6a_activation'
    """
    classes = len(weights.get("classifier.bias", ()))
    # A card may ask for a network of any size: memory is taken only for what has weights here.
    with torch.device("meta"):
        network = empty_network(card, classes)
    refuse_other_features(card, network)
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


def refuse_other_features(card: ModelCard, network: Network) -> None:
    """Raise where a card promises another number of features than its network gives.

    Raises
    ------
    WeightsError
        Names both.

    Examples
    --------
    >>> card = ModelCard("r", "", ("DNA", "ER"), 96, architecture="timm/test_resnet",
    ...     tap="pooled", channel_mode="bag")
    >>> refuse_other_features(card, empty_network(card))
    Traceback (most recent call last):
    cpcnn_core.errors.WeightsError: r promises 96 features, pooled gives 192; correct ...
    """
    if card.embed_dim != network.embed_dim:
        raise WeightsError(
            f"{card.name} promises {card.embed_dim} features, {card.tap} gives "
            f"{network.embed_dim}; correct embed_dim in its card, or import the model again"
        )


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
