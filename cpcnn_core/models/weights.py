"""One file per model: the weights as safetensors, the card in its header.

Layout: safetensors, version 1 of ours. Header entry ``cpcnn_card`` holds the
card as JSON (so a program without torch can read it), ``cpcnn_format`` the
version. Tensors are float32 and have timm's names.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from cpcnn_core.errors import ChannelError, ModelNotFoundError, WeightsError
from cpcnn_core.io.atomic import write_atomically
from cpcnn_core.io.json_files import parse_json
from cpcnn_core.models.card import ModelCard

FORMAT_VERSION = "1"


def save_model(path: str | Path, card: ModelCard, weights: Mapping[str, np.ndarray]) -> ModelCard:
    """Write a model; equal ones are equal bytes, and appear under their name only when complete.

    Parameters
    ----------
    path : str or Path
        File to write, by custom ``*.safetensors``.
    card : ModelCard
    weights : mapping of str to ndarray, float32

    Returns
    -------
    ModelCard
        The card as written, with the hash of the weights.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> card = ModelCard("tiny", "An example.", ("DNA",), 3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     written = save_model(f"{folder}/tiny.safetensors", card, {"w": np.ones(3, "f4")})
    ...     read_card(f"{folder}/tiny.safetensors") == written
    True
    """
    card = dataclasses.replace(card, sha256=weights_sha256(weights))
    write_tensors(path, weights, {"cpcnn_format": FORMAT_VERSION, "cpcnn_card": card.to_json()})
    return card


def write_tensors(
    path: str | Path, tensors: Mapping[str, np.ndarray], header: Mapping[str, str]
) -> None:
    """Write a safetensors file; equal ones are equal bytes, and it appears when it is complete.

    Examples
    --------
    >>> import numpy as np
    >>> write_tensors("one.safetensors", {"w": np.ones(3, np.float32)}, {"made_by": "me"})
    >>> safe_open("one.safetensors", framework="np").metadata()
    {'made_by': 'me'}
    """
    # safetensors writes the bytes as they are in memory, whatever the strides say.
    tensors = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    data = save(tensors, dict(header))
    write_atomically(path, lambda temporary: _write_in_order(temporary, data))


def read_card(path: str | Path) -> ModelCard:
    """Read the card of a model file without reading its weights.

    Raises
    ------
    ModelNotFoundError
        No such file.
    WeightsError
        Not a model file of ours.

    Examples
    --------
    >>> read_card("nowhere.safetensors")
    Traceback (most recent call last):
    cpcnn_core.errors.ModelNotFoundError: there is no model file nowhere.safetensors
    """
    with _open(Path(path)) as file:
        return _card_in(Path(path), file)


def read_model(path: str | Path) -> tuple[ModelCard, dict[str, np.ndarray]]:
    """Read card and weights, and check the weights against the card's hash.

    Returns
    -------
    card : ModelCard
    weights : dict of str to ndarray, float32

    Raises
    ------
    ModelNotFoundError, WeightsError
        As `read_card`; also when the hash is another, naming both.

    Examples
    --------
    >>> read_model("nowhere.safetensors")
    Traceback (most recent call last):
    cpcnn_core.errors.ModelNotFoundError: there is no model file nowhere.safetensors
    """
    path = Path(path)
    with _open(path) as file:
        card = _card_in(path, file)
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    found = weights_sha256(weights)
    if found != card.sha256:
        raise WeightsError(
            f"{path} has been altered: its weights have the sha256 {found}, "
            f"its card says {card.sha256}; import or fetch the model again"
        )
    return card, weights


def weights_sha256(weights: Mapping[str, np.ndarray]) -> str:
    """Hash names, shapes and little-endian float32 values, in order of the names.

    Examples
    --------
    >>> import numpy as np
    >>> weights_sha256({"w": np.zeros(2, np.float32)})[:12]
    '9cc212800a75'
    """
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(f"{name}{tuple(weights[name].shape)}".encode())
        digest.update(np.ascontiguousarray(weights[name], "<f4").data)
    return digest.hexdigest()


def _write_in_order(path: Path, data: bytes) -> None:
    """Write what safetensors made, whose entries of the header come in any order."""
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(parse_json(data[8:start]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.write(memoryview(data)[start:])


def _open(path: Path) -> safe_open:
    if not path.is_file():
        raise ModelNotFoundError(f"there is no model file {path}")
    try:
        return safe_open(str(path), framework="np")
    except SafetensorError as error:
        raise WeightsError(
            f"{path} is not a complete safetensors file ({error}); Keras checkpoints are "
            "turned into one with: cpcnn models import FILE.hdf5 --out MODEL.safetensors"
        ) from error


def _card_in(path: Path, file: safe_open) -> ModelCard:
    metadata = file.metadata() or {}
    if "cpcnn_card" not in metadata:
        raise WeightsError(
            f"{path} has no model card, so its channels and preprocessing are not known; "
            "expected a file written by: cpcnn models import"
        )
    if metadata.get("cpcnn_format") != FORMAT_VERSION:
        raise WeightsError(
            f"{path} has format {metadata.get('cpcnn_format')!r}, this cpcnn reads "
            f"{FORMAT_VERSION!r}; upgrade with: pip install --upgrade cpcnn"
        )
    try:
        return ModelCard.from_json(metadata["cpcnn_card"])
    except (WeightsError, ChannelError) as error:
        raise WeightsError(f"{path}: {error}") from error
