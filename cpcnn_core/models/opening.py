"""A model's card and weights, wherever they come from: a file, a package, a seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cpcnn_core.models.card import ModelCard
from cpcnn_core.models.packaged_weights import packaged_file
from cpcnn_core.models.registry import find_model
from cpcnn_core.models.untrained import untrained_model
from cpcnn_core.models.weights import read_model


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
