"""Turn weights as their makers publish them into a model file: the weights and their card."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

import cpcnn_core
from cpcnn_core.errors import DownloadError, ModelNotFoundError, WeightsError
from cpcnn_core.models.card import EFFICIENTNET_B0, ModelCard
from cpcnn_core.models.download import ask_publisher
from cpcnn_core.models.keras_hdf5 import read_keras_weights
from cpcnn_core.models.licences import check_licence
from cpcnn_core.models.registry import (
    CELL_PAINTING_CHANNELS,
    MODEL_SUFFIX,
    is_model_path,
    known_cards,
    model_file,
)
from cpcnn_core.models.verification import (
    NOT_VERIFIED,
    file_hashes,
    remember_import,
    require_published,
    weights_statement,
)
from cpcnn_core.models.weights import save_model, weights_sha256

CHECKPOINT_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")


def import_model(
    weights_file: str | Path,
    name: str | None = None,
    channels: Sequence[str] | None = None,
    out: str | Path | None = None,
    *,
    unverified: bool = False,
    tell: Callable[[str], object] | None = None,
) -> tuple[ModelCard, Path]:
    """Import weights as their makers publish them, and write down whether they are those.

    Parameters
    ----------
    weights_file : str or Path
        A Keras checkpoint of the published network; or of a model known by name the file
        of PyTorch or safetensors that its card names.
    name, channels, out
        As in `import_keras_model`. Other channels are for models that take any.
    unverified : bool
        Do not ask the publisher of a model known by name for the file's checksum: the file is
        another of the same network, in another format, say.
    tell : callable (str), optional
        Told whether the file is the published one, and why that is not known.

    Returns
    -------
    card : ModelCard
    path : Path

    Raises
    ------
    ModelNotFoundError, WeightsError, ChannelError
        No such file, or not what is in it as expected; or not the published file.

    Examples
    --------
    >>> import_model("weights.pth", "nobodys")
    Traceback (most recent call last):
    cpcnn_core.errors.WeightsError: weights.pth is no Keras checkpoint, and no model of that ...
    """
    weights_file = Path(weights_file)
    known = known_cards().get(name or Path(out or weights_file).stem)
    if known is None and weights_file.suffix.lower() in CHECKPOINT_SUFFIXES:
        raise WeightsError(
            f"{weights_file} is no Keras checkpoint, and no model of that name is known; say "
            "whose weights it holds with --name; all names: cpcnn models list"
        )
    if not weights_file.is_file():
        raise ModelNotFoundError(f"there is no file {weights_file}")
    hashes = file_hashes(weights_file)
    against, why = "", "no published model has this name" if known is None else ""
    # Before another file than the published one is read.
    if known is not None and not unverified:
        against, why = _compare_with_published(weights_file, known, hashes)
    if known is not None and known.architecture != EFFICIENTNET_B0:
        path = _path_to_write(known.name, out)
        card, weights = _read_checkpoint(weights_file, known, channels)
    else:
        name = name or Path(out or weights_file).stem
        path = _path_to_write(name, out)
        card, weights = read_keras_model(weights_file, name, channels)
    card = save_model(path, card, weights)
    remember_import(card, hashes, against)
    said = weights_statement(card)
    if tell is not None:
        tell(f"{said}: {why}" if said == NOT_VERIFIED and why else said)
    return card, path


def _compare_with_published(
    file: Path, card: ModelCard, hashes: Mapping[str, str]
) -> tuple[str, str]:
    """Return what the file was compared with, or nothing and why that cannot be."""
    try:
        published = ask_publisher(card)
    except DownloadError as error:
        return "", str(error)
    try:
        require_published(published, hashes, file)
    except WeightsError as error:
        raise WeightsError(
            f"{error}; or, when it is another file of the same network, import it with: "
            "--unverified"
        ) from error
    return published.where, ""


def _read_checkpoint(
    file: Path, card: ModelCard, channels: Sequence[str] | None
) -> tuple[ModelCard, dict[str, np.ndarray]]:
    from cpcnn_core.models.conversion import convert_checkpoint
    from cpcnn_core.models.network_builder import empty_network, refuse_other_features

    check_licence(card)
    if channels is not None:
        card = card.with_channels(tuple(channels))
    network = empty_network(card)
    refuse_other_features(card, network)
    weights = convert_checkpoint(file, card.architecture, network.weight_shapes())
    return dataclasses.replace(card, provenance=_provenance(file)), weights


def import_keras_model(
    weights_file: str | Path,
    name: str | None = None,
    channels: Sequence[str] | None = None,
    out: str | Path | None = None,
) -> tuple[ModelCard, Path]:
    """Import a Keras EfficientNet-B0 checkpoint, without comparing it with the published one.

    Parameters
    ----------
    weights_file : str or Path
        HDF5, weights only or full model; see `read_keras_weights`.
    name : str, optional
        The model's name; default: that of the file to write, or of the file read.
    channels : sequence of str, optional
        Channel names in the order of training; default: those of the named model,
        else the five of Cell Painting.
    out : str or Path, optional
        File to write; default: among this user's models, to be used by name.

    Returns
    -------
    card : ModelCard
    path : Path
        The file written; it appears only when complete.

    Raises
    ------
    WeightsError, ChannelError
        See `read_keras_weights`.

    Examples
    --------
    >>> import_keras_model("nowhere.hdf5")
    Traceback (most recent call last):
    cpcnn_core.errors.WeightsError: nowhere.hdf5 does not exist or is not a file...
    """
    name = name or Path(out or weights_file).stem
    path = _path_to_write(name, out)
    card, weights = read_keras_model(weights_file, name, channels)
    return save_model(path, card, weights), path


def read_keras_model(
    weights_file: str | Path, name: str | None = None, channels: Sequence[str] | None = None
) -> tuple[ModelCard, dict[str, np.ndarray]]:
    """Read a Keras checkpoint and make its card; write nothing.

    Parameters and errors are those of `import_keras_model`.

    Returns
    -------
    card : ModelCard
        With the hash of the weights, and where they come from.
    weights : dict of str to ndarray, float32

    Examples
    --------
    >>> read_keras_model("nowhere.hdf5")
    Traceback (most recent call last):
    cpcnn_core.errors.WeightsError: nowhere.hdf5 does not exist or is not a file...
    """
    weights_file = Path(weights_file)
    name = name or weights_file.stem
    known = known_cards().get(name)
    if known is not None and not known.trained:
        raise WeightsError(f"the name {name} belongs to a built-in model; give another with --name")
    if channels is None:
        channels = known.channels if known else CELL_PAINTING_CHANNELS
    weights = read_keras_weights(weights_file, len(channels))
    card = known or ModelCard(
        name=name,
        summary=f"Imported from {weights_file.name}.",
        channels=tuple(channels),
        embed_dim=672,
        source=weights_file.name,
    )
    card = dataclasses.replace(
        card,
        channels=tuple(channels),
        sha256=weights_sha256(weights),
        provenance=_provenance(weights_file),
    )
    return card, weights


def _path_to_write(name: str, out: str | Path | None) -> Path:
    if out is None and is_model_path(name):
        raise WeightsError(
            f"{name} is the name of a file, not of a model; give another with --name"
        )
    if out is not None and (Path(out).suffix.lower() != MODEL_SUFFIX or Path(out).is_dir()):
        raise WeightsError(
            f"expected a file *{MODEL_SUFFIX} to write, got {out}; give another --out"
        )
    return model_file(name) if out is None else Path(out)


def _provenance(file: Path) -> dict[str, str]:
    return {
        "imported_from": file.name,
        "imported_sha256": file_hashes(file)["sha256"],
        "imported_by": f"cpcnn {cpcnn_core.__version__}",
    }
