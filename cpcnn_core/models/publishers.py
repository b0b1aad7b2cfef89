"""The checksum of a model's published file, asked of its publisher: an archive, or a hub."""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cpcnn_core.errors import DownloadError
from cpcnn_core.models.tls import follow_with_tls

if TYPE_CHECKING:
    from cpcnn_core.models.card import ModelCard

# Whatever mirror the weights come from, the publisher says what they should be.
PUBLIC_HUB = "https://huggingface.co"
DOI = "doi:"
_ZENODO = re.compile(r"10\.5281/zenodo\.(\d+)")
_SHA256 = re.compile("[0-9a-f]{64}")
# An answer is short; users without a connection should not have to wait for it.
SECONDS = 10


@dataclass(frozen=True)
class Published:
    """A publisher's checksum of a file.

    Attributes
    ----------
    where : str
        Who says it, e.g. ``Zenodo record 7114558``.
    kind, value : str
        ``md5`` or ``sha256``, and the file's, in hexadecimal.

    Examples
    --------
    >>> Published("Zenodo record 1", "md5", "00").where
    'Zenodo record 1'
    """

    where: str
    kind: str
    value: str


def publisher(card: ModelCard) -> str:
    """Say who publishes a model's weights; an empty text if no publisher gives their checksum.

    Examples
    --------
    >>> from cpcnn_core.models.shelf import known_cards
    >>> publisher(known_cards()["cell-painting-cnn-v1"])
    'Zenodo record 7114558'
    >>> publisher(known_cards()["morphem"])
    'Hugging Face CaicedoLab/MorphEm'
    """
    if card.hub.startswith(DOI):
        record = _ZENODO.fullmatch(card.hub.removeprefix(DOI))
        return f"Zenodo record {record[1]}" if record else card.hub
    return f"Hugging Face {card.hub}" if card.hub and "://" not in card.hub else ""


def ask_publisher(card: ModelCard) -> Published:
    """Ask for the checksum of a model's published file, within seconds.

    Parameters
    ----------
    card : ModelCard
        One that is known by name: what it calls its publisher is asked.

    Raises
    ------
    DownloadError
        No connection, no such file, or a publisher that tells no checksum.

    Examples
    --------
    >>> from cpcnn_core.models.shelf import known_cards
    >>> ask_publisher(known_cards()["cell-painting-cnn-v1"]).kind  # doctest: +SKIP
    'md5'
    """
    where = publisher(card)
    if not where:
        raise DownloadError("its publisher tells no checksum")
    try:
        said = _ask_archive(card) if card.hub.startswith(DOI) else _ask_hub(card)
    except Exception as error:
        # Libraries of three makers, each with errors of their own.
        raise DownloadError(f"{where} could not be asked: {reason(error)}") from error
    kind, _, value = said.lower().partition(":")
    if kind not in ("md5", "sha256") or not re.fullmatch("[0-9a-f]+", value):
        raise DownloadError(f"{where} tells no checksum of {card.hub_file}")
    return Published(where, kind, value)


def reason(error: Exception) -> str:
    """Say in few words what went wrong; libraries say it in many.

    Examples
    --------
    >>> reason(ValueError("a  b"))
    'a b'
    """
    import requests

    if isinstance(error, requests.ConnectionError) and error.request is not None:
        return f"no connection to {urllib.parse.urlsplit(str(error.request.url)).netloc}"
    return " ".join(str(error).split()) or repr(error)


def quieten_hub() -> None:
    """Leave it to our errors to say what went wrong: the hub's library tells of every try.

    Examples
    --------
    >>> quieten_hub()
    """
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()


def _ask_archive(card: ModelCard) -> str:
    import pooch
    from pooch.downloaders import REQUESTS_HEADERS, doi_to_repository

    pooch.get_logger().setLevel("WARNING")
    shelf = pooch.create(".", f"{card.hub}/", registry={card.hub_file: None})
    # What the shelf's own `load_registry_from_doi` does, with a short wait, and TLS only.
    archive = doi_to_repository(
        card.hub.removeprefix(DOI),
        headers=REQUESTS_HEADERS,
        timeout=SECONDS,
        hooks={"response": follow_with_tls},
    )
    archive.populate_registry(shelf)
    return shelf.registry[card.hub_file] or ""


def _ask_hub(card: ModelCard) -> str:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    quieten_hub()
    url = hf_hub_url(card.hub, card.hub_file, endpoint=PUBLIC_HUB)
    etag = get_hf_file_metadata(url, timeout=SECONDS).etag or ""
    # Of a small file it is another hash, of the text that git keeps.
    return f"sha256:{etag}" if _SHA256.fullmatch(etag) else ""
