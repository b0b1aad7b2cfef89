"""Any network of timm, from crops to what it feeds its classifier."""

from __future__ import annotations

import difflib
import functools
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from cpcnn_core.errors import WeightsError
from cpcnn_core.models.card_schema import is_timm_name
from cpcnn_core.models.efficientnet import import_timm

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from timm.models import PretrainedCfg

POOLED = "pooled"


class TimmNetwork(nn.Module):
    """A network of timm without its classifier.

    Parameters
    ----------
    backbone : str
        timm's name, e.g. ``resnet18``.
    channels, crop_px : int
        Of the crops as the network sees them.
    options : mapping, optional
        Handed to timm as they are, e.g. ``{"global_pool": "token"}``; a card has only those
        that are known to be harmless.

    Raises
    ------
    WeightsError
        timm knows no such network, or it cannot take such crops or options.

    Examples
    --------
    >>> net = TimmNetwork("test_resnet", 5, 64)
    >>> tuple(net(torch.zeros(2, 5, 64, 64)).shape)
    (2, 96)
    """

    tap = POOLED
    # Of timm: its layers have names that types do not tell.
    net: Any

    def __init__(
        self,
        backbone: str,
        channels: int,
        crop_px: int,
        options: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__()
        # timm draws weights, which are replaced; the caller's random state stays as it was.
        with torch.random.fork_rng(devices=[]):
            self.net = create_backbone(backbone, channels, 0, crop_px, options)

    @property
    def embed_dim(self) -> int:
        """Number of features."""
        dim: int = self.net.head_hidden_size
        return dim

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Map crops (n, c, crop_px, crop_px) to features (n, d)."""
        result: torch.Tensor = self.net.forward_head(
            self.net.forward_features(crops), pre_logits=True
        )
        return result

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name every weight this network needs, with its shape.

        Examples
        --------
        >>> TimmNetwork("test_resnet", 5, 64).weight_shapes()["conv1.0.weight"]
        (16, 5, 3, 3)
        """
        return {name: tuple(value.shape) for name, value in float_weights(self.net).items()}

    def load_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        """Take copies of the weights; names and shapes must be those of `weight_shapes`."""
        taken = {name: torch.from_numpy(weights[name].copy()) for name in self.weight_shapes()}
        # What is not float is counted or computed when the network is built.
        self.net.load_state_dict(taken, strict=False)


def float_weights(network: nn.Module) -> dict[str, torch.Tensor]:
    """Return what of a network's state is numbers that were learned, by name.

    Examples
    --------
    >>> list(float_weights(nn.BatchNorm2d(3)))
    ['weight', 'bias', 'running_mean', 'running_var']
    """
    state = network.state_dict()
    return {name: value for name, value in state.items() if value.is_floating_point()}


def create_backbone(
    backbone: str,
    channels: int,
    classes: int,
    crop_px: int,
    options: Mapping[str, object] | None = None,
) -> nn.Module:
    """Make a network of timm, with a classifier for that many classes, or none.

    Parameters
    ----------
    backbone : str
    channels, classes, crop_px : int
    options : mapping, optional
        Further arguments of timm's ``create_model``.

    Raises
    ------
    WeightsError
        timm knows no such network, or it cannot take such crops or options.

    Examples
    --------
    >>> create_backbone("resnet18x", 5, 3, 64)
    Traceback (most recent call last):
    cpcnn_core.errors.WeightsError: timm ... has no network 'resnet18x'; did you mean resnet18? ...
    """
    timm = import_timm()
    # First: timm takes what it does not know for a folder, or for an address on a hub.
    if not (is_timm_name(backbone) and timm.is_model(backbone)):
        near = difflib.get_close_matches(backbone, timm.list_models(), 1)
        raise WeightsError(
            f"timm {timm.__version__} has no network {backbone!r}"
            + (f"; did you mean {near[0]}?" if near else ";")
            + " timm.list_models() names all"
        )
    create: Callable[[], nn.Module] = functools.partial(
        timm.create_model,
        backbone,
        in_chans=channels,
        num_classes=classes,
        **size_option(timm.get_pretrained_cfg(backbone), crop_px),
        **(options or {}),
    )
    try:
        # Many networks can be made for any size, and then not take it. Tried without memory,
        # which a stranger's model may want much of, and without using up random numbers.
        with torch.random.fork_rng(devices=[]), torch.device("meta"), torch.inference_mode():
            create().eval()(torch.zeros(1, channels, crop_px, crop_px))
        return create()
    except (TypeError, ValueError, AssertionError, RuntimeError, IndexError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        given = f" with {dict(options)}" if options else ""
        raise WeightsError(
            f"the network {backbone} cannot take crops of {channels} x {crop_px} x {crop_px}"
            f"{given} ({reason}); choose another"
        ) from error


def size_option(config: PretrainedCfg | None, px: int) -> dict[str, int]:
    """Return what timm has to be told of the size of images.

    Only networks made for one size take it, and need it.

    Examples
    --------
    >>> size_option(None, 64)
    {}
    """
    return {"img_size": px} if config is not None and config.fixed_input_size else {}
