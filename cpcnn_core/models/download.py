"""Get a model's published weights: from this machine's caches, a mirror, or their publisher."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cpcnn_core.errors import DownloadError, ModelNotFoundError
from cpcnn_core.models.publishers import DOI, PUBLIC_HUB, quieten_hub, reason
from cpcnn_core.models.shelf import known_cards
from cpcnn_core.models.tls import follow_with_tls, require_hub_with_tls, require_tls

if TYPE_CHECKING:
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

    Looked for in this order: the folder; the address given, or the mirror that the variable
    ``CPCNN_MIRROR`` names, a folder of files by their published names; Hugging Face's cache
    on this machine; where the file is published.

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
        A model that is nowhere published.
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
