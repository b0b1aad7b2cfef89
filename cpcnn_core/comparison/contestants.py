"""Who takes part: models by name or file, each under a name of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cpcnn_core.errors import ProfileError
from cpcnn_core.models.card import ModelCard
from cpcnn_core.models.registry import find_model, is_model_path

CLASSICAL, NUMBER_OF_CELLS = "classical", "number of cells"


@dataclass(frozen=True)
class Contestant:
    """A model that takes part.

    Attributes
    ----------
    name : str
        In tables, and of its folder.
    model : str
        Name or file, as ``cpcnn embed --model`` takes it.
    card : ModelCard
    """

    name: str
    model: str
    card: ModelCard


def find_contestants(texts: Sequence[str]) -> list[Contestant]:
    """Find the models that are to be compared.

    Parameters
    ----------
    texts : sequence of str
        ``MODEL``, a name or a file, or ``NAME=MODEL``. A file without a name is called what
        the file is called.

    Returns
    -------
    list of Contestant

    Raises
    ------
    ModelNotFoundError
        A model that is not known or not on this machine.
    ProfileError
        Two of one name, a model twice, or a name that cannot name a folder.

    Examples
    --------
    >>> [one.name for one in find_contestants(["untrained-efficientnet-b0"])]
    ['untrained-efficientnet-b0']
    >>> find_contestants(["untrained-efficientnet-b0", "again=untrained-efficientnet-b0"])
    Traceback (most recent call last):
    cpcnn_core.errors.ProfileError: untrained-efficientnet-b0 is there twice; ...
    """
    found: dict[str, Contestant] = {}
    models = set()
    for text in texts:
        name, equals, model = text.partition("=")
        if not equals:
            name, model = (Path(text).stem if is_model_path(text) else text), text
        if not re.fullmatch(r"\w[\w.+-]*", name) or not model:
            raise ProfileError(
                f"expected MODEL or NAME=MODEL with a name of letters, digits and ._+-, got {text}"
            )
        if name in (CLASSICAL, NUMBER_OF_CELLS):
            raise ProfileError(
                f"{name} is what the classical measurements are called; rename {text}"
            )
        card, path = find_model(model)
        if (path or model) in models:
            raise ProfileError(f"{model} is there twice; name every model once")
        if name in found:
            raise ProfileError(
                f"{found[name].model} and {model} would both be called {name}; name them: "
                f"NAME={model}"
            )
        models.add(path or model)
        found[name] = Contestant(name, model, card)
    return list(found.values())
