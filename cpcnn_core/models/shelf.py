"""The cards of all models known by name: ours, a file each, and those of other packages.

Another package adds its models by an entry point of the group ``cpcnn.models``: a list of
`ModelCard`, or a function that returns one.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.resources
import tomllib
import warnings
from collections.abc import Iterable

from cpcnn_core.errors import ModelWarning, WeightsError
from cpcnn_core.models.card import ModelCard

ENTRY_POINTS = "cpcnn.models"
# The published network first, and what runs at once: what one chooses before anything else.
_FIRST = ("cell-painting-cnn-v1", "untrained-efficientnet-b0", "untrained-resnet18")


@functools.cache
def known_cards() -> dict[str, ModelCard]:
    """Return every card by name: the published network, our others, other packages'.

    Warns
    -----
    ModelWarning
        A package's models cannot be read, or have a name that is taken; those are left
        out and all others stay.

    Examples
    --------
    >>> known_cards()["cell-painting-cnn-v1"].embed_dim
    672
    """
    cards = {card.name: card for card in sorted(_our_cards(), key=_place)}
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        try:
            theirs = entry.load()
            found = _checked(theirs() if callable(theirs) else theirs, cards)
        except Exception as error:  # noqa: BLE001  (another package's code may do anything)
            warnings.warn(
                f"the models that {entry.value} adds cannot be used: {type(error).__name__}: "
                f"{error}; tell its makers, or remove the package",
                ModelWarning,
                stacklevel=2,
            )
        else:
            cards |= found
    return cards


def _checked(theirs: Iterable[ModelCard], taken: dict[str, ModelCard]) -> dict[str, ModelCard]:
    found = {}
    for card in theirs:
        if not isinstance(card, ModelCard):
            raise WeightsError(f"expected cards of models, got {card!r}")
        if card.name in taken or card.name in found:
            raise WeightsError(f"the name {card.name} is taken")
        found[card.name] = card
    return found


def _our_cards() -> list[ModelCard]:
    folder = importlib.resources.files("cpcnn_core.models") / "cards"
    files = [file for file in folder.iterdir() if file.name.endswith(".toml")]
    return [ModelCard.from_values(tomllib.loads(file.read_text("utf-8"))) for file in files]


def _place(card: ModelCard) -> tuple[int, str]:
    return (_FIRST.index(card.name) if card.name in _FIRST else len(_FIRST), card.name)
