"""The networks that are trained: a backbone with a classifier, its features, its predictions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from cpcnn_core.errors import TrainingError
from cpcnn_core.models.card import EFFICIENTNET_B0
from cpcnn_core.models.card_schema import TIMM_PREFIX
from cpcnn_core.models.efficientnet import TAP_DIMS, create_efficientnet_b0
from cpcnn_core.models.network_builder import WithInput
from cpcnn_core.models.timm_network import POOLED, TimmNetwork, create_backbone
from cpcnn_core.training.batches import CropReader, to_unit_range

if TYPE_CHECKING:
    from accelerate import Accelerator

    from cpcnn_core.models.card import ModelCard


class TrainableNetwork(nn.Module):
    """A backbone with a classifier.

    Parameters
    ----------
    backbone : str
        ``efficientnet_b0``, the reference's, or timm's name of a network.
    channels, crop_px : int
        Of the crops.
    classes : int
    tap : str
        Layer of the features: ``block6a_activation``, ``pool5`` or ``ClassProb`` of
        ``efficientnet_b0``, ``pooled`` of others; ``auto``: the first.

    Raises
    ------
    WeightsError
        timm knows no such network, or it cannot take such crops.
    TrainingError
        A layer that the network does not have.

    Notes
    -----
    Weights are those that timm draws from PyTorch's global generator, until
    `cpcnn_core.training.starting_weights` sets others.

    Examples
    --------
    >>> network = TrainableNetwork("test_resnet", channels=5, crop_px=32, classes=3)
    >>> features, logits = network.embed(torch.zeros(2, 5, 32, 32))
    >>> tuple(features.shape), tuple(logits.shape)
    ((2, 96), (2, 3))
    """

    # Of timm: its layers have names that types do not tell.
    net: Any

    def __init__(
        self,
        backbone: str,
        channels: int,
        crop_px: int,
        classes: int,
        tap: str = "auto",
    ) -> None:
        super().__init__()
        self.is_reference = backbone == EFFICIENTNET_B0
        taps = tuple(TAP_DIMS) if self.is_reference else (POOLED,)
        self.tap = taps[0] if tap == "auto" else tap
        if self.tap not in taps:
            raise TrainingError(f"{backbone} has the layers {', '.join(taps)}, got {tap!r}")
        self.architecture = backbone if self.is_reference else f"{TIMM_PREFIX}{backbone}"
        if self.is_reference:
            self.net = create_efficientnet_b0(channels, classes)
        else:
            self.net = create_backbone(backbone, channels, classes, crop_px)

    @property
    def embed_dim(self) -> int:
        """Number of features."""
        if self.is_reference:
            dim: int = TAP_DIMS[self.tap] or self.net.num_classes
        else:
            dim = self.net.head_hidden_size
        return dim

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Map crops (n, c, crop_px, crop_px) to logits (n, classes)."""
        result: torch.Tensor = self.net(crops)
        return result

    def embed(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map crops to features (n, d) and logits (n, classes), in one pass."""
        if self.tap != "block6a_activation":
            top = self.net.forward_features(crops)
            logits = self.net.forward_head(top)
            if self.tap == "pool5":
                return top.mean(dim=2).mean(dim=2), logits
            if self.tap == "ClassProb":
                return logits.softmax(dim=1), logits
            return self.net.forward_head(top, pre_logits=True), logits
        tapped: list[torch.Tensor] = []
        layer = self.net.blocks[5][0].bn2
        handle = layer.register_forward_hook(lambda _layer, _given, made: tapped.append(made))
        try:
            logits = self.net(crops)
        finally:
            handle.remove()
        return tapped[0].mean(dim=2).mean(dim=2), logits


class ChannelwiseNetwork(nn.Module):
    """A backbone that sees each channel by itself, and a classifier on all of their features.

    Parameters
    ----------
    card : ModelCard
        Of a network of timm with a channel mode ``bag`` or ``rgb``: what becomes of a crop before
        the network sees it, and its channels.
    classes : int

    Raises
    ------
    WeightsError
        timm knows no such network, or it cannot take such crops.

    Notes
    -----
    Features are those that `cpcnn_core.load_model` computes of the model that is written.

    Examples
    --------
    >>> from cpcnn_core.models.card import ModelCard
    >>> card = ModelCard("mine", "", ("DNA", "ER"), 192, architecture="timm/test_resnet",
    ...     tap="pooled", channel_mode="rgb", crop_px=32)
    >>> network = ChannelwiseNetwork(card, classes=3)
    >>> features, logits = network.embed(torch.zeros(2, 2, 32, 32))
    >>> tuple(features.shape), tuple(logits.shape)
    ((2, 192), (2, 3))
    """

    is_reference = False
    tap = POOLED

    def __init__(self, card: ModelCard, classes: int) -> None:
        super().__init__()
        self.card, self.architecture = card, card.architecture
        backbone = card.architecture.removeprefix(TIMM_PREFIX)
        # timm draws weights inside from the same state, and leaves it as it was.
        network = TimmNetwork(
            backbone, card.channels_at_once, card.seen_px, card.architecture_options
        )
        self.backbone = WithInput(network, card)
        self.classifier = nn.Linear(self.embed_dim, classes)

    @property
    def net(self) -> Any:  # noqa: ANN401  (of timm, as of `TrainableNetwork`)
        """The network that sees a channel, without classifier."""
        return self.backbone.network.net

    @property
    def embed_dim(self) -> int:
        """Number of features of a crop, of all channels together."""
        return self.backbone.embed_dim

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Map crops (n, c, crop_px, crop_px) to logits (n, classes)."""
        return self.embed(crops)[1]

    def embed(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map crops to features (n, d) and logits (n, classes), in one pass."""
        features = self.backbone(crops)
        return features, self.classifier(features)


Network = TrainableNetwork | ChannelwiseNetwork


class ContrastNetwork(nn.Module):
    """A network, and where its features lie in the space in which cells are compared.

    Parameters
    ----------
    network : TrainableNetwork or ChannelwiseNetwork
    dimensions : int
        Of that space.

    Notes
    -----
    Two linear layers with a ReLU between them, then length 1, as of SimCLR
    (https://arxiv.org/abs/2002.05709). They are not part of the model.

    Examples
    --------
    >>> network = TrainableNetwork("test_resnet", channels=5, crop_px=32, classes=3)
    >>> logits, points = ContrastNetwork(network, 8)(torch.zeros(2, 5, 32, 32))
    >>> tuple(points.shape), points.norm(dim=1).round(decimals=4).tolist()
    ((2, 8), [1.0, 1.0])
    """

    def __init__(self, network: Network, dimensions: int) -> None:
        super().__init__()
        self.network = network
        width = min(network.embed_dim, 512)
        self.projection = nn.Sequential(
            nn.Linear(network.embed_dim, width), nn.ReLU(), nn.Linear(width, dimensions)
        )

    def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map crops to logits (n, classes) and points (n, dimensions) of length 1."""
        features, logits = self.network.embed(crops)
        return logits, nn.functional.normalize(self.projection(features), dim=1)


BATCH = 256


def predict(
    network: Network, accelerator: Accelerator, reader: CropReader, rows: np.ndarray
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Run cells through a network in evaluation mode, in float32, the processes in turns.

    Parameters
    ----------
    network : TrainableNetwork or ChannelwiseNetwork
    accelerator : Accelerator
    reader : CropReader
    rows : ndarray of shape (n,), integer, n > 0
        Rows of the reader's store.

    Yields
    ------
    part : slice
        Which of `rows`.
    features : ndarray of shape (m, d), float32
    logits : ndarray of shape (m, k), float32
    """
    processes = accelerator.num_processes
    rounds = -(-len(rows) // (BATCH * processes))
    size = -(-len(rows) // (rounds * processes))
    # Processes that gather have to bring equally many; what is too much is cut off.
    padded = np.resize(rows, rounds * size * processes).reshape(rounds, processes, size)
    own = list(padded[:, accelerator.process_index])
    network.eval()
    with torch.inference_mode():
        for number, crops in enumerate(reader.read(own)):
            start = number * size * processes
            part = slice(start, min(start + size * processes, len(rows)))
            batch = to_unit_range(crops, accelerator.device)
            features, logits = network.embed(batch.contiguous(memory_format=torch.channels_last))
            together = accelerator.gather((features.contiguous(), logits.contiguous()))
            features, logits = (one.cpu().numpy()[: part.stop - start] for one in together)
            yield part, features, logits
