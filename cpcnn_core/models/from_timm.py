"""Any network of timm as a model: pretrained, from a file, or untrained."""

from __future__ import annotations

import dataclasses
import statistics
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cpcnn_core.errors import DownloadError, WeightsError
from cpcnn_core.models.card import RESIZES, ModelCard
from cpcnn_core.models.card_schema import TIMM_PREFIX
from cpcnn_core.models.conversion import read_tensors
from cpcnn_core.models.download import quieten_hub, require_hub_with_tls
from cpcnn_core.models.efficientnet import import_timm
from cpcnn_core.models.network_builder import empty_network, random_weights
from cpcnn_core.models.registry import (
    CELL_PAINTING_CHANNELS,
    is_model_path,
    known_cards,
    model_file,
)
from cpcnn_core.models.timm_network import float_weights, size_option
from cpcnn_core.models.weights import save_model

if TYPE_CHECKING:
    from timm.models import PretrainedCfg

# "inflated" is how weights of pictures are widened; what then runs is a network of all
# channels in a fixed order.
MODES = {"rgb": "rgb", "bag": "bag", "inflated": "fixed"}
_INTO = {
    "rgb": "every channel alone as a grey picture",
    "bag": "every channel alone",
    "inflated": "its first layer widened to all channels",
}
# As long as CellProfiler's module takes.
LONGEST_PREFIX = 12
_COMMERCIAL = {"apache-2.0": True, "mit": True, "bsd-3-clause": True}


def save_timm_model(
    backbone: str,
    mode: str = "rgb",
    *,
    channels: Sequence[str] | None = None,
    crop_px: int = 128,
    input_px: int | None = None,
    weights: str | Path | None = None,
    seed: int | None = None,
    name: str | None = None,
    insecure: bool = False,
) -> tuple[ModelCard, Path]:
    """Put a network of timm among this user's models.

    Parameters
    ----------
    backbone : str
        timm's name, e.g. ``vit_small_patch14_dinov2.lvd142m``.
    mode : str
        ``rgb``: every channel alone, as a grey picture. ``bag``: every channel alone, the
        weights of the first layer summed over red, green and blue. ``inflated``: all channels
        together, the weights of the first layer repeated and scaled to as many channels.
    channels : sequence of str, optional
        Default: the five of Cell Painting.
    crop_px, input_px : int
        Side of the crops, and of what the network sees; default: what timm says of it.
    weights : str or Path, optional
        A file of the network's weights, safetensors or PyTorch's; default: timm's download.
    seed : int, optional
        Instead of weights that were learned: random ones.
    name : str, optional
        Default: timm's name and the mode.
    insecure : bool
        Also take weights from a mirror of the hub without TLS.

    Returns
    -------
    card : ModelCard
    path : Path

    Raises
    ------
    WeightsError
        No such network, one that cannot take such crops, or weights of another.
    DownloadError
        timm's weights are not available.

    Examples
    --------
    >>> card, path = save_timm_model("test_resnet", "bag", seed=1)
    >>> card.name, path.suffix
    ('test_resnet-bag-untrained', '.safetensors')
    """
    card = timm_card(
        backbone,
        mode,
        channels=channels,
        crop_px=crop_px,
        input_px=input_px,
        trained=seed is None,
        name=name,
    )
    if is_model_path(card.name) or card.name in known_cards():
        raise WeightsError(f"the name {card.name} cannot be used; give another with --name")
    values = _pretrained(card, weights, insecure) if seed is None else random_weights(card, seed)
    path = model_file(card.name)
    return save_model(path, card, values), path


def timm_card(
    backbone: str,
    mode: str = "rgb",
    *,
    channels: Sequence[str] | None = None,
    crop_px: int = 128,
    input_px: int | None = None,
    trained: bool = True,
    name: str | None = None,
) -> ModelCard:
    """Make the card of a network of timm; parameters as `save_timm_model`.

    Examples
    --------
    >>> card = timm_card("test_resnet", "bag", channels=("DNA", "ER"))
    >>> card.embed_dim, card.input_px
    (192, 160)
    """
    channels = tuple(channels or CELL_PAINTING_CHANNELS)
    timm = import_timm()
    config = timm.get_pretrained_cfg(backbone) if timm.is_model(backbone) else None
    px = input_px or (config.input_size[1] if config else crop_px)
    card = ModelCard(
        name=name or f"{backbone}-{mode}" + ("" if trained else "-untrained"),
        summary=f"{backbone} of timm, "
        + (f"{_INTO[mode]}." if trained else f"{_INTO[mode]}, with random weights."),
        channels=channels,
        # Until the network is asked, below.
        embed_dim=1,
        prefix=_prefix(backbone),
        architecture=f"{TIMM_PREFIX}{backbone}",
        tap="pooled",
        pooling="as timm pools it",
        channel_mode=MODES[mode],
        crop_px=crop_px,
        input_px=px,
        trained=trained,
    )
    if trained and config is not None:
        card = dataclasses.replace(card, **_trained_facts(config, mode))
    return dataclasses.replace(card, embed_dim=empty_network(card).embed_dim)


def _prefix(backbone: str) -> str:
    """Make a short first part of feature names of timm's name.

    Examples
    --------
    >>> _prefix("vit_small_patch14_dinov2.lvd142m")
    'VitSmallPatc'
    """
    parts = backbone.split(".", maxsplit=1)[0].split("_")
    return "".join(part.capitalize() for part in parts)[:LONGEST_PREFIX]


def _trained_facts(config: PretrainedCfg, mode: str) -> dict[str, Any]:
    """Return what timm knows of the weights: what they expect, and whose they are."""
    mean, std = tuple(config.mean), tuple(config.std)
    if mode != "rgb":
        # One number for every channel: none of ours is red, green or blue.
        mean, std = (statistics.fmean(mean),), (statistics.fmean(std),)
    licence = config.license or "unknown"
    return {
        "standardizer": "mean-std",
        "mean": mean,
        "std": std,
        "resize": config.interpolation if config.interpolation in RESIZES else "bilinear",
        "licence": licence,
        "commercial": False if "-nc" in licence else _COMMERCIAL.get(licence),
        "source": f"https://huggingface.co/{config.hf_hub_id}" if config.hf_hub_id else "timm",
    }


def _pretrained(
    card: ModelCard, weights: str | Path | None, insecure: bool
) -> dict[str, np.ndarray]:
    """Let timm load weights of RGB pictures into a network of other channels."""
    timm = import_timm()
    if weights is None:
        require_hub_with_tls(insecure=insecure)
    quieten_hub()
    backbone = card.architecture.removeprefix(TIMM_PREFIX)
    overlay = None if weights is None else {"state_dict": read_tensors(weights)}
    config = timm.get_pretrained_cfg(backbone)
    try:
        network = timm.create_model(
            backbone,
            pretrained=True,
            pretrained_cfg_overlay=overlay,
            in_chans=card.channels_at_once,
            num_classes=0,
            **size_option(config, card.seen_px),
        )
    except Exception as error:
        reason = textwrap.shorten(str(error) or type(error).__name__, 200, placeholder=" ...")
        if weights is not None:
            raise WeightsError(
                f"{weights} does not hold the weights of {backbone} ({reason}); give the file "
                "that belongs to this name of timm's"
            ) from error
        raise DownloadError(
            f"the weights of {backbone} are not available ({reason}). By hand: get "
            f"model.safetensors from {card.source} on any machine, copy it here, and run again "
            "with: --weights model.safetensors; or take random ones with: --untrained 1"
        ) from error
    return {
        name: value.numpy().astype(np.float32) for name, value in float_weights(network).items()
    }
