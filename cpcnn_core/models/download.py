"""Get a model's published weights: from this machine's caches, a mirror, or where they lie."""

from __future__ import annotations

import os
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING

from cpcnn_core.errors import DownloadError, ModelNotFoundError
from cpcnn_core.models.shelf import known_cards

if TYPE_CHECKING:
    from cpcnn_core.models.card import ModelCard

MIRROR = "CPCNN_MIRROR"
_DOI = "doi:"


def download_weights(
    name: str, folder: str | Path, url: str | None = None, progress: object | None = None
) -> Path:
    """Get a model's published weights file.

    Looked for in this order: the folder; the address given, or the mirror that the variable
    ``CPCNN_MIRROR`` names, a folder of files by their published names; Hugging Face's cache
    on this machine; where the file is published.

    Parameters
    ----------
    name : str
        A model whose card says where its weights are published.
    folder : str or Path
        Where the file shall lie. A complete file that is there is not fetched again.
    url : str, optional
        The file's address elsewhere. What comes from there, or from a mirror, is checked by
        its content at import; an archive's own checksum is asked for and compared.
    progress : object, optional
        Anything with ``total``, ``update``, ``reset`` and ``close``, e.g. a tqdm bar.

    Returns
    -------
    Path
        The file, as its makers published it.

    Raises
    ------
    ModelNotFoundError
        A model that is nowhere published.
    DownloadError
        No connection, another checksum: says where to get the file by other means
        and what to run then.

    Examples
    --------
    >>> download_weights("untrained-efficientnet-b0", ".")
    Traceback (most recent call last):
    cpcnn_core.errors.ModelNotFoundError: untrained-efficientnet-b0 is made on this machine...
    """
    card = _published(name)
    address = url if url is not None else _on_mirror(card)
    try:
        if address is not None:
            return _from_address(address, card.hub_file, Path(folder), progress)
        if card.hub.startswith("https://"):
            address = f"{card.hub.rstrip('/')}/{card.hub_file}"
            return _from_address(address, card.hub_file, Path(folder), progress)
        if card.hub.startswith(_DOI):
            return _from_archive(card, Path(folder), progress)
        return _from_hub(card)
    except Exception as error:
        # Libraries of three makers, each with errors of their own.
        raise DownloadError(
            f"{name} could not be downloaded ({_reason(error)}). By hand: get {card.hub_file} from "
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


def _from_address(address: str, file: str, folder: Path, progress: object | None) -> Path:
    import pooch

    pooch.get_logger().setLevel("WARNING")
    downloader = pooch.HTTPDownloader(progressbar=False if progress is None else progress)
    name = Path(file).name
    return Path(pooch.retrieve(address, None, fname=name, path=folder, downloader=downloader))


def _from_archive(card: ModelCard, folder: Path, progress: object | None) -> Path:
    import pooch

    pooch.get_logger().setLevel("WARNING")
    shelf = pooch.create(folder, f"{card.hub}/", registry={card.hub_file: None})
    shelf.load_registry_from_doi()
    downloader = pooch.DOIDownloader(progressbar=False if progress is None else progress)
    return Path(shelf.fetch(card.hub_file, downloader=downloader))


def _from_hub(card: ModelCard) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    quieten_hub()
    try:
        return Path(hf_hub_download(card.hub, card.hub_file, local_files_only=True))
    except LocalEntryNotFoundError:
        return Path(hf_hub_download(card.hub, card.hub_file))


def quieten_hub() -> None:
    """Leave it to our errors to say what went wrong: the hub's library tells of every try.

    Examples
    --------
    >>> quieten_hub()
    """
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()


def _reason(error: Exception) -> str:
    """Say in few words what went wrong; libraries say it in many."""
    import requests

    if isinstance(error, requests.ConnectionError) and error.request is not None:
        return f"no connection to {urllib.parse.urlsplit(error.request.url).netloc}"
    return " ".join(str(error).split()) or repr(error)
