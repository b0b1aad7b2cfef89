"""Starting weights of a network: random as Keras draws them, ImageNet's, or another model's."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from cpcnn_core.errors import (
    DependencyError,
    DownloadError,
    ModelNotFoundError,
    TrainingError,
    WeightsError,
)
from cpcnn_core.models.card import ONE_BY_ONE, ModelCard
from cpcnn_core.models.card_schema import TIMM_PREFIX
from cpcnn_core.models.download import require_hub_with_tls
from cpcnn_core.models.efficientnet import import_timm
from cpcnn_core.models.opening import open_model
from cpcnn_core.models.timm_network import POOLED
from cpcnn_core.training.config import EACH
from cpcnn_core.training.network import ChannelwiseNetwork, Network, TrainableNetwork

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cpcnn_core.training.config import NetworkConfig


# `network.initialization` that is not a model's name.
RANDOM, IMAGENET = DRAWN = ("random", "imagenet")


def make_network(
    config: NetworkConfig,
    channels: Sequence[str],
    crop_px: int,
    classes: Sequence[str],
    seed: int,
) -> tuple[Network, str]:
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
    network : TrainableNetwork or ChannelwiseNetwork
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
        The model to start from lacks channels of the crops, or takes them in another way.

    Examples
    --------
    >>> from cpcnn_core.training.config import NetworkConfig
    >>> make_network(NetworkConfig(), ("DNA", "ER"), 128, ("DMSO", "taxol"), 0)[1]
    'random, seed 0'
    """
    torch.manual_seed(seed)
    if config.channels == EACH:
        return _make_channelwise(config, channels, crop_px, len(classes), seed)
    network = TrainableNetwork(config.backbone, len(channels), crop_px, len(classes), config.tap)
    if network.is_reference:
        initialize_like_keras(network.net, seed)
    if config.initialization == RANDOM:
        return network, f"random, seed {seed}"
    if config.initialization == IMAGENET:
        name = IMAGENET_WEIGHTS if network.is_reference else config.backbone
        weights = read_imagenet_weights(name, config.imagenet_file or None)
        initialize_from_imagenet(network.net, weights, seed)
        return network, f"ImageNet, {name}"
    card, arrays = open_model(config.initialization)
    tensors = {name: torch.from_numpy(value) for name, value in arrays.items()}
    _take(network, card, tensors, channels, classes)
    return network, f"the model {card.name}, sha256 {card.sha256}"


def _make_channelwise(
    config: NetworkConfig, channels: Sequence[str], crop_px: int, classes: int, seed: int
) -> tuple[ChannelwiseNetwork, str]:
    """Make a network that sees each channel by itself, as `make_network` does."""
    card = ModelCard(
        config.backbone,
        "",
        tuple(channels),
        len(channels),
        architecture=f"{TIMM_PREFIX}{config.backbone}",
        tap=POOLED,
        channel_mode="rgb",
        crop_px=crop_px,
        input_px=config.input_px or None,
    )
    if config.initialization == RANDOM:
        return ChannelwiseNetwork(card, classes), f"random, seed {seed}"
    if config.initialization == IMAGENET:
        weights = read_imagenet_weights(config.backbone, config.imagenet_file or None)
        seen: Any = import_timm().get_pretrained_cfg(config.backbone)
        values = {"standardizer": "mean-std", "mean": seen.mean, "std": seen.std}
        network = ChannelwiseNetwork(dataclasses.replace(card, **values), classes)
        initialize_from_imagenet(network.net, weights, seed)
        return network, f"ImageNet, {config.backbone}"
    theirs, arrays = open_model(config.initialization)
    _refuse_other_architecture(theirs, card.architecture)
    if theirs.channel_mode not in ONE_BY_ONE:
        raise TrainingError(
            f"{theirs.name} takes its channels together, and network.channels is each; set "
            'network.channels = "together", or start from another model'
        )
    card = dataclasses.replace(
        theirs.with_channels(tuple(channels)), crop_px=crop_px, input_px=card.input_px
    )
    network = ChannelwiseNetwork(card, classes)
    network.backbone.load_weights(arrays)
    return network, f"the model {theirs.name}, sha256 {theirs.sha256}"


def _refuse_other_architecture(card: ModelCard, architecture: str) -> None:
    if card.architecture != architecture:
        raise WeightsError(
            f"{card.name} is a {card.architecture}, and the network to be trained is "
            f"{architecture}; change network.backbone or network.initialization"
        )


def _take(
    network: TrainableNetwork,
    card: ModelCard,
    weights: dict[str, torch.Tensor],
    channels: Sequence[str],
    classes: Sequence[str],
) -> None:
    """Start from a model, whose channels are taken by name; what it lacks stays as drawn."""
    _refuse_other_architecture(card, network.architecture)
    alone = card.channel_mode in ONE_BY_ONE
    missing = [name for name in channels if name not in card.channels]
    if missing and not alone:
        raise TrainingError(
            f"{card.name} was trained on {', '.join(card.channels)}, and has not seen "
            f"{', '.join(missing)}; say in data.studies.channels which channel is which of its"
        )
    order = [] if alone else [card.channels.index(name) for name in channels]
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
        if layer in stems and found.ndim == 4 and alone:
            found = _inflate(found, card, len(channels))
        elif layer in stems and found.ndim == 4 and found.shape[1] == len(card.channels):
            found = found[:, order]
        if found.shape != value.shape:
            raise WeightsError(
                f"{card.name} cannot be gone on from: expected {name} of shape "
                f"{tuple(value.shape)}, got {tuple(found.shape)}"
            )
        taken[name] = found
    network.net.load_state_dict(taken, strict=False)


def _inflate(kernel: torch.Tensor, card: ModelCard, channels: int) -> torch.Tensor:
    """Let a first layer that saw one channel see several: to each its share of the answer.

    What standardizing subtracts is left to the batch norm behind it.
    """
    std = torch.tensor(card.std or (1.0,)).reshape(1, -1, 1, 1)
    gray = (kernel / std).sum(dim=1, keepdim=True)
    return gray.expand(-1, channels, -1, -1) / channels


def fresh_parameters(network: nn.Module, config: NetworkConfig) -> set[str]:
    """Name the parameters that were drawn: of classifiers, or all where nothing was taken.

    Parameters
    ----------
    network : Module
        Holds one of `make_network`, or is one.
    config : NetworkConfig

    Examples
    --------
    >>> from cpcnn_core.training.config import NetworkConfig
    >>> config = NetworkConfig(initialization="untrained-efficientnet-b0")
    >>> network, _ = make_network(config, ("DNA",), 128, ("DMSO", "taxol"), 0)
    >>> sorted(fresh_parameters(network, config))
    ['net.classifier.bias', 'net.classifier.weight']
    """
    taken: set[int] = set()
    if config.initialization != RANDOM:
        inner = next(module for module in network.modules() if isinstance(module, Network))
        drawn = tuple(f"{layer}." for layer in layers_of_role(inner.net, "classifier"))
        taken = {id(p) for name, p in inner.net.named_parameters() if not name.startswith(drawn)}
    return {name for name, p in network.named_parameters() if id(p) not in taken}


def classes_text(classes: Sequence[str]) -> str:
    """Write classes as a model's card keeps them, in the order of the outputs.

    Examples
    --------
    >>> classes_text(("DMSO", "taxol"))
    '["DMSO", "taxol"]'
    """
    return json.dumps(list(classes), ensure_ascii=False)


# AutoAugment weights, those of the reference (docs/method.md#initialisation).
IMAGENET_WEIGHTS = "tf_efficientnet_b0.aa_in1k"
# Standard deviation of a standard normal that is cut off at two.
TRUNCATED_DEVIATION = 0.87962566103423978


def initialize_like_keras(network: nn.Module, seed: int) -> None:
    """Draw the weights of an EfficientNet as the reference draws them.

    Parameters
    ----------
    network : nn.Module
        Convolutions, linear layers and batch norm, on the CPU; changed in place.
    seed : int
        Equal seeds give equal weights.

    Raises
    ------
    TrainingError
        A layer of another kind has weights.

    Notes
    -----
    Convolutions: variance scaling 2 / fan out with a normal distribution cut off at two
    standard deviations, fan out being height * width * outputs / groups. Linear layers: Glorot
    uniform. Biases 0; batch norm the identity. These are the initialisers of the package
    ``efficientnet`` 1.1.1, and Keras's default for the dense layer that the reference adds.

    Examples
    --------
    >>> network = nn.Sequential(nn.Conv2d(5, 32, 3), nn.BatchNorm2d(32))
    >>> initialize_like_keras(network, seed=0)
    >>> network[0].bias.abs().max().item(), round(network[0].weight.std().item(), 2)
    (0.0, 0.08)
    """
    generator = torch.Generator().manual_seed(seed)
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d):
            _draw_convolution(layer, generator)
        elif isinstance(layer, nn.Linear):
            _draw_linear(layer, generator)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
        elif any(True for _ in layer.parameters(recurse=False)):
            raise TrainingError(
                f"expected convolutions, linear layers and batch norm, got {name}, a "
                f"{type(layer).__name__}; leave such a network to its own initialisation"
            )


def initialize_from_imagenet(
    network: nn.Module, weights: Mapping[str, torch.Tensor], seed: int
) -> None:
    """Take the weights of a network for ImageNet, with any number of channels and classes.

    Parameters
    ----------
    network : nn.Module
        Made by timm (``efficientnet_b0`` of ours is), on the CPU; changed in place.
    weights : mapping of str to Tensor
        Of the same network for three channels, see `read_imagenet_weights`.
    seed : int
        Of the classifier.

    Raises
    ------
    WeightsError
        The weights are those of another network; names what is missing or of another shape.

    Notes
    -----
    Channel i of the first convolution gets the kernel of channel i mod 3 (R, G, B, R, G for
    five), not rescaled; the classifier is drawn Glorot uniform, its bias is 0; all else is
    copied. docs/method.md#initialisation.

    Examples
    --------
    >>> timm = import_timm()
    >>> rgb = timm.create_model("tf_efficientnet_b0").state_dict()
    >>> network = timm.create_model("tf_efficientnet_b0", in_chans=5, num_classes=20)
    >>> initialize_from_imagenet(network, rgb, seed=0)
    >>> bool((network.conv_stem.weight[:, 3] == rgb["conv_stem.weight"][:, 0]).all())
    True
    """
    stems = tuple(f"{name}.weight" for name in layers_of_role(network, "first_conv"))
    classifiers = layers_of_role(network, "classifier")
    drawn = tuple(f"{layer}." for layer in classifiers)
    state = network.state_dict()
    taken = {}
    for name, value in state.items():
        if name.startswith(drawn) or name.endswith("num_batches_tracked"):
            continue
        found = weights.get(name)
        if name in stems and found is not None and found.ndim == 4 and found.shape[1] == 3:
            found = found[:, torch.arange(value.shape[1]) % 3]
        if found is None or found.shape != value.shape:
            came = "nothing" if found is None else f"{tuple(found.shape)}"
            raise WeightsError(
                f"the ImageNet weights are those of another network: expected {name} of shape "
                f"{tuple(value.shape)}, got {came}"
            )
        taken[name] = found
    network.load_state_dict(state | taken)
    generator = torch.Generator().manual_seed(seed)
    for name in classifiers:
        for layer in network.get_submodule(name).modules():
            if isinstance(layer, nn.Linear):
                _draw_linear(layer, generator)


def read_imagenet_weights(
    name: str = IMAGENET_WEIGHTS, file: str | Path | None = None
) -> dict[str, torch.Tensor]:
    """Return the weights of a network for ImageNet.

    Parameters
    ----------
    name : str
        timm's name of network and weights. Downloaded from the Hugging Face Hub, once.
    file : str or Path, optional
        The file ``model.safetensors`` of these weights, where there is no connection.

    Returns
    -------
    dict of str to Tensor, float32

    Raises
    ------
    DependencyError
        The package huggingface_hub is missing.
    ModelNotFoundError
        There are no such weights.
    DownloadError
        No connection, and not downloaded before; says what to do.
    WeightsError
        The file is damaged, or no safetensors.

    Examples
    --------
    >>> read_imagenet_weights(file="nowhere.safetensors")
    Traceback (most recent call last):
    cpcnn_core.errors.ModelNotFoundError: there is no weights file nowhere.safetensors
    """
    if file is not None:
        return _read_safetensors(Path(file))
    timm = import_timm()
    if find_spec("huggingface_hub") is None:
        raise DependencyError(
            "ImageNet weights are downloaded by the package huggingface_hub; install it with: "
            "pip install huggingface_hub"
        )
    require_hub_with_tls(instead="name the file as network.imagenet_file")
    try:
        state: dict[str, torch.Tensor] = timm.create_model(name, pretrained=True).state_dict()
    except RuntimeError as error:
        raise ModelNotFoundError(f"timm has no ImageNet weights {name!r}: {error}") from error
    except OSError as error:
        raise DownloadError(
            f"the ImageNet weights {name} could not be downloaded, and were not before. By hand: "
            f"get model.safetensors of timm/{name} from the Hugging Face Hub on any machine, copy "
            "it here, and name the file as network.imagenet_file"
        ) from error
    return state


def layers_of_role(network: nn.Module, role: str) -> tuple[str, ...]:
    """Name the layers that timm says are the first convolution, or the classifier.

    Parameters
    ----------
    network : torch.nn.Module
        Of timm.
    role : str
        ``first_conv`` or ``classifier``.

    Examples
    --------
    >>> import timm
    >>> layers_of_role(timm.create_model("resnet10t"), "classifier")
    ('fc',)
    """
    config: Any = network.pretrained_cfg
    names = config.get(role) or ()
    return (names,) if isinstance(names, str) else tuple(names)


def _read_safetensors(file: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not file.is_file():
        raise ModelNotFoundError(f"there is no weights file {file}")
    try:
        return load_file(file)
    except SafetensorError as error:
        raise WeightsError(f"{file} is not a complete safetensors file ({error})") from error


def _draw_convolution(layer: nn.Conv2d, generator: torch.Generator) -> None:
    height, width = layer.kernel_size
    fan_out = height * width * layer.out_channels // layer.groups
    deviation = math.sqrt(2 / fan_out) / TRUNCATED_DEVIATION
    ends = -2 * deviation, 2 * deviation
    nn.init.trunc_normal_(layer.weight, 0.0, deviation, *ends, generator=generator)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _draw_linear(layer: nn.Linear, generator: torch.Generator) -> None:
    nn.init.xavier_uniform_(layer.weight, generator=generator)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
