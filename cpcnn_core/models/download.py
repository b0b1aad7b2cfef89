"""Download the published weights, checked against the archive's own checksum."""

from __future__ import annotations

import urllib.parse
from pathlib import Path
from typing import NamedTuple

from cpcnn_core.errors import DownloadError, ModelNotFoundError
from cpcnn_core.models.shelf import known_cards


class Archive(NamedTuple):
    """Where the weights of a model are published: a DOI and a file in it."""

    doi: str
    file: str


ARCHIVES = {
    "cell-painting-cnn-v1": Archive("10.5281/zenodo.7114558", "Cell_Painting_CNN_v1.hdf5"),
}


def download_weights(
    name: str, folder: str | Path, url: str | None = None, progress: object | None = None
) -> Path:
    """Download a model's published weights file.

    Parameters
    ----------
    name : str
        A model with an archive: a key of `ARCHIVES`.
    folder : str or Path
        Where the file shall lie. A complete file that is there is not fetched again.
    url : str, optional
        A mirror, whose file is checked by its content at import only; default: the
        archive, whose checksum is asked for and compared.
    progress : object, optional
        Anything with ``total``, ``update``, ``reset`` and ``close``, e.g. a tqdm bar.

    Returns
    -------
    Path
        The Keras HDF5 file.

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
    import pooch
    import requests

    if name not in ARCHIVES:
        card = known_cards().get(name)
        raise ModelNotFoundError(
            f"{name} is made on this machine, there is nothing to download; use it as it is"
            if card and not card.trained
            else f"there is no download for {name!r}; there is one for: {', '.join(ARCHIVES)}"
        )
    archive = ARCHIVES[name]
    bar = False if progress is None else progress
    folder = Path(folder)
    pooch.get_logger().setLevel("WARNING")
    try:
        if url is not None:
            path = pooch.retrieve(
                url,
                known_hash=None,
                fname=archive.file,
                path=folder,
                downloader=pooch.HTTPDownloader(progressbar=bar),
            )
        else:
            shelf = pooch.create(folder, f"doi:{archive.doi}/", registry={archive.file: None})
            shelf.load_registry_from_doi()
            downloader = pooch.DOIDownloader(progressbar=bar)
            path = shelf.fetch(archive.file, downloader=downloader)
    except (requests.RequestException, OSError, ValueError, KeyError) as error:
        raise DownloadError(
            f"{name} could not be downloaded ({_reason(error)}). By hand: get {archive.file} from "
            f"{known_cards()[name].source} on any machine, copy it here, and run: "
            f"cpcnn models import {archive.file} --name {name}"
        ) from error
    return Path(path)


def _reason(error: Exception) -> str:
    """Say in few words what went wrong; libraries say it in many."""
    import requests

    if isinstance(error, requests.ConnectionError) and error.request is not None:
        return f"no connection to {urllib.parse.urlsplit(error.request.url).netloc}"
    return " ".join(str(error).split()) or repr(error)
