"""Connections that cannot be tampered with on the way: anything without TLS is refused."""

from __future__ import annotations

import urllib.parse
from typing import TYPE_CHECKING

from cpcnn_core.errors import DownloadError

if TYPE_CHECKING:
    from requests import Response


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
    >>> import requests
    >>> requests.get("https://zenodo.org", hooks={"response": follow_with_tls})  # doctest: +SKIP
    """
    if response.is_redirect:
        require_tls(urllib.parse.urljoin(response.url, response.headers["location"]))
