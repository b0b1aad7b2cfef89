"""A model's card and weights, wherever they come from: a file, a package, a seed.

An untrained network is the same everywhere, and honest about itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cpcnn_core.models.card import EFFICIENTNET_B0, ModelCard
from cpcnn_core.models.efficientnet import TappedEfficientNet
from cpcnn_core.models.registry import find_model, known_cards, packaged_file
from cpcnn_core.models.weights import read_model, weights_sha256

SEED = 20241
# 1 / E[swish(z)^2] for standard normal z: undoes what a swish takes away.
SWISH_GAIN = 2.811
# 1 / E[v^2] of a min-max stretched crop, about.
STEM_GAIN = 10.0
# Opens the squeeze-and-excite gates most of the way: sigmoid(1.5) = 0.82.
GATE_BIAS = 1.5


def open_model(name_or_path: str | Path) -> tuple[ModelCard, dict[str, np.ndarray]]:
    """Return a model's card and its weights.

    Weights that an installed package holds become a file among this user's models when they are
    first used; from then on that file is read.

    Parameters
    ----------
    name_or_path : str or Path
        A name of ``cpcnn models list``, or a ``.safetensors`` file with a card.

    Returns
    -------
    card : ModelCard
    weights : dict of str to ndarray, float32

    Raises
    ------
    ModelNotFoundError
        Unknown name, or a model that is not on this machine yet.
    WeightsError
        A damaged file; a package's file that is not the one known.

    Examples
    --------
    >>> open_model("untrained-efficientnet-b0")[0].trained
    False
    """
    card, path = find_model(name_or_path)
    if path is None and not card.trained:
        return untrained_model(card)
    if path is None:
        # It reads formats, and knows publishers, that nothing else here needs.
        from cpcnn_core.models.weight_import import import_model

        _, path = import_model(packaged_file(card), card.name)
    return read_model(path)


def untrained_efficientnet_b0(
    channels: Sequence[str] | None = None, seed: int = SEED
) -> tuple[ModelCard, dict[str, np.ndarray]]:
    """Make EfficientNet-B0 up to block6a with random weights.

    Parameters
    ----------
    channels : sequence of str, optional
        Channel names, any number. Default: the five of Cell Painting.
    seed : int
        Equal seeds and channel counts give equal weights on every machine.

    Returns
    -------
    card : ModelCard
        Says ``trained=False``.
    weights : dict of str to ndarray, float32

    Notes
    -----
    Kernels are normal and batch norm is the identity, with variances chosen so
    that the signal neither dies out nor explodes on its way to block6a. What
    such a network tells treatments apart by is what any network would: an honest
    baseline for a trained one.

    Examples
    --------
    >>> card, weights = untrained_efficientnet_b0(("DNA", "Actin"))
    >>> card.trained, card.channels, weights["conv_stem.weight"].shape
    (False, ('DNA', 'Actin'), (32, 2, 3, 3))
    """
    card = known_cards()["untrained-efficientnet-b0"]
    if channels is not None and tuple(channels) != card.channels:
        name = f"{card.name}-{'-'.join(channels)}"
        card = dataclasses.replace(card, name=name, channels=tuple(channels))
    # RandomState's stream is frozen by NumPy for all time; Generator's is not.
    random = np.random.RandomState(seed)
    weights = {}
    for name, shape in TappedEfficientNet(len(card.channels), card.tap).weight_shapes().items():
        if len(shape) == 4:
            scale = np.sqrt(_gain(name) / np.prod(shape[1:]))
            weights[name] = (random.standard_normal(shape) * scale).astype(np.float32)
        else:
            weights[name] = np.full(shape, _constant(name), np.float32)
    return dataclasses.replace(card, sha256=weights_sha256(weights)), weights


def untrained_model(card: ModelCard) -> tuple[ModelCard, dict[str, np.ndarray]]:
    """Make the random weights of a card that says it is untrained; parameters as its own.

    Returns
    -------
    card : ModelCard
        With the weights' hash.
    weights : dict of str to ndarray, float32

    Examples
    --------
    >>> untrained_model(known_cards()["untrained-efficientnet-b0"])[0].embed_dim
    672
    """
    if card.architecture == EFFICIENTNET_B0:
        weights = untrained_efficientnet_b0(card.channels)[1]
    else:
        from cpcnn_core.models.network_builder import random_weights

        weights = random_weights(card, SEED)
    return dataclasses.replace(card, sha256=weights_sha256(weights)), weights


def _gain(name: str) -> float:
    """Return the variance gain that keeps the second moment near one."""
    if name == "conv_stem.weight":
        return STEM_GAIN
    is_expansion = name.endswith("conv_pw.weight") and not name.startswith("blocks.0.")
    return 1.0 if is_expansion or ".se." in name else SWISH_GAIN


def _constant(name: str) -> float:
    if name.endswith("se.conv_expand.bias"):
        return GATE_BIAS
    return 1.0 if name.endswith((".weight", ".running_var")) else 0.0
