"""Steps between the cutting of crops and the network, as the model's card says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from cpcnn_core.errors import WeightsError
from cpcnn_core.models.card import AT_ONCE, ONE_BY_ONE
from cpcnn_core.models.standardize import STANDARDIZERS, resize, stretch

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from cpcnn_core.models.building import Network
    from cpcnn_core.models.card import ModelCard


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
