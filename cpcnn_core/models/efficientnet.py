"""EfficientNet-B0 that stops at the layer whose features are wanted.

timm's ``tf_efficientnet_b0`` has TensorFlow's padding and batch norm epsilon;
docs/method.md#network lists the layers and the numbers that must hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from cpcnn_core.errors import DependencyError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    import numpy as np

# The layers that can be tapped, and how many features each gives. ClassProb has
# as many as the network has classes.
TAP_DIMS = {"block6a_activation": 672, "pool5": 1280, "ClassProb": None}
BN_EPSILON = 1e-3


class TappedEfficientNet(nn.Module):
    """EfficientNet-B0 from crops to the features of one layer.

    Parameters
    ----------
    channels : int
        Number of input channels.
    tap : str
        ``block6a_activation``: the depthwise convolution of stage 6's first block
        after batch norm and swish, averaged over height, then over width (672).
        ``pool5``: the average after the last convolution (1280). ``ClassProb``:
        the softmax over the training classes.
    classes : int
        Number of training classes, for ``ClassProb`` only.

    Notes
    -----
    Layers beyond the tap are not built, let alone computed: stopping at block6a
    saves 32 % of the multiply-adds (docs/method.md#network). Built on torch's ``meta``
    device: without weights, and without touching the caller's random state.

    Examples
    --------
    >>> net = TappedEfficientNet(5, "block6a_activation")
    >>> sum(p.numel() for p in net.parameters())
    947136
    """

    # Of timm: its layers have names that types do not tell.
    net: Any

    def __init__(self, channels: int, tap: str, classes: int = 0) -> None:
        super().__init__()
        self.tap = tap
        with torch.device("meta"):
            self.net = create_efficientnet_b0(channels, classes if tap == "ClassProb" else 0)
        if tap == "block6a_activation":
            last = self.net.blocks[5][0]
            for name in ("se", "conv_pwl", "bn3", "drop_path"):
                setattr(last, name, nn.Identity())
            self.net.blocks[5] = self.net.blocks[5][:1]
            self.net.blocks = self.net.blocks[:6]
            self.net.conv_head = self.net.bn2 = self.net.classifier = nn.Identity()

    @property
    def embed_dim(self) -> int:
        """Number of features."""
        dim: int = TAP_DIMS[self.tap] or self.net.num_classes
        return dim

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Map crops (n, c, 128, 128) to features (n, d).

        Examples
        --------
        >>> net = TappedEfficientNet(3, "pool5")
        >>> tuple(net(torch.empty(2, 3, 128, 128, device="meta")).shape)
        (2, 1280)
        """
        if self.tap == "ClassProb":
            result: torch.Tensor = self.net(crops).softmax(dim=1)
            return result
        return self.feature_map(crops).mean(dim=2).mean(dim=2)

    def feature_map(self, crops: torch.Tensor) -> torch.Tensor:
        """Map crops to the tapped layer before averaging, (n, d, 4, 4) for 128 px.

        Examples
        --------
        >>> net = TappedEfficientNet(5, "block6a_activation")
        >>> tuple(net.feature_map(torch.empty(1, 5, 128, 128, device="meta")).shape)
        (1, 672, 4, 4)
        """
        if self.tap != "block6a_activation":
            result: torch.Tensor = self.net.forward_features(crops)
            return result
        x = self.net.bn1(self.net.conv_stem(crops))
        for stage in self.net.blocks[:5]:
            x = stage(x)
        last = self.net.blocks[5][0]
        tapped: torch.Tensor = last.bn2(last.conv_dw(last.bn1(last.conv_pw(x))))
        return tapped

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name every weight this network needs, with its shape.

        Examples
        --------
        >>> net = TappedEfficientNet(5, "block6a_activation")
        >>> net.weight_shapes()["conv_stem.weight"]
        (32, 5, 3, 3)
        """
        return {
            name: tuple(value.shape)
            for name, value in self.net.state_dict().items()
            if not name.endswith("num_batches_tracked")
        }

    def load_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        """Take the weights; names and shapes must be those of `weight_shapes`.

        Examples
        --------
        >>> import numpy as np
        >>> net = TappedEfficientNet(5, "block6a_activation")
        >>> net.load_weights({k: np.ones(s, "f4") for k, s in net.weight_shapes().items()})
        >>> net.net.conv_stem.weight.device.type
        'cpu'
        """
        state = {
            name: torch.zeros((), dtype=torch.int64)
            if name.endswith("num_batches_tracked")
            else torch.from_numpy(weights[name].copy())
            for name in self.net.state_dict()
        }
        self.net.load_state_dict(state, assign=True)


def create_efficientnet_b0(channels: int, classes: int) -> nn.Module:
    """Make the whole network, ready to be trained as the reference was.

    Parameters
    ----------
    channels : int
    classes : int
        0 for none: then there is no classifier.

    Examples
    --------
    >>> with torch.device("meta"):
    ...     create_efficientnet_b0(5, 490).classifier.out_features
    490
    """
    # timm's defaults for this name include 'same' padding. BN momentum 0.01 is Keras's
    # 0.99, and 0.2 the reference's drop connect: for training.
    result: nn.Module = import_timm().create_model(
        "tf_efficientnet_b0",
        in_chans=channels,
        num_classes=classes,
        bn_eps=BN_EPSILON,
        bn_momentum=0.01,
        drop_path_rate=0.2,
    )
    return result


def import_timm() -> ModuleType:
    """Return timm, or say why it is not available.

    Raises
    ------
    DependencyError
        torch and torchvision do not belong together.

    Examples
    --------
    >>> import_timm().__name__
    'timm'
    """
    try:
        import timm
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        # pytorch/vision 9077: a CPU wheel of torch beside a CUDA wheel of torchvision.
        raise DependencyError(
            "torch and torchvision do not belong together (torchvision's operators are missing); "
            "install both from the same place: pip install --force-reinstall torch torchvision"
        ) from error
    return timm
