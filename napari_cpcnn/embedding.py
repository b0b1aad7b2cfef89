"""Embed the objects of a labels layer, plane by plane, in steps that can be stopped between."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from napari.layers import Image, Labels

from cpcnn_core.cell_embedding import start_cells
from cpcnn_core.crops import touches_border
from cpcnn_core.embedding import Embedder, load_model
from cpcnn_core.errors import ImageError
from cpcnn_core.readers.label_images import objects_of
from cpcnn_core.tables.columns import feature_names
from cpcnn_core.tables.profiles import Profiles
from napari_cpcnn.explorer import LABEL, LAYER, PLANE
from napari_cpcnn.planes import channel_planes, pixels, plane_name

# Cells done, cells in all.
Step = tuple[int, int]


@dataclass(frozen=True)
class EmbedRequest:
    """What is to be embedded.

    Attributes
    ----------
    model : str
        A name or file, see `cpcnn_core.load_model`.
    images : sequence of Image
        One for every channel of the model, in its order; or one with all channels.
    labels : Labels
    planes : list of tuple of int
        See `napari_cpcnn.planes.plane_indices`.
    mask : bool
        Set everything outside a cell's own label to zero.
    """

    model: str
    images: Sequence[Image]
    labels: Labels
    planes: list[tuple[int, ...]]
    mask: bool = False


def embed_layers(request: EmbedRequest) -> Generator[Step, None, Profiles]:
    """Embed the objects of a labels layer.

    Parameters
    ----------
    request : EmbedRequest

    Yields
    ------
    (int, int)
        Cells done and cells in all, after every pass of the network.

    Returns
    -------
    Profiles
        A row for every label of every plane; ``Metadata_Layer``, ``Metadata_ObjectNumber``
        (the label) and ``Metadata_Plane`` say which.

    Raises
    ------
    ImageError, ChannelError
        Layers that do not belong together, or no label at all.

    Examples
    --------
    >>> list(embed_layers(request))  # doctest: +SKIP
    [(8, 120), (16, 120), ...]
    """
    # Objects first: what is missing shall be said before the network is loaded.
    objects = [objects_of(np.asarray(pixels(request.labels)[index])) for index in request.planes]
    total = sum(len(found.numbers) for found in objects)
    if not total:
        raise ImageError(
            f"the layer {request.labels.name} has no labels here; paint some, or find nuclei first"
        )
    yield 0, total
    model = _loaded(request.model)
    tables, before = [], 0
    for index, found in zip(request.planes, objects, strict=True):
        planes = channel_planes(request.images, request.labels, index)
        labels = found.labels if request.mask else None
        ids = found.numbers if request.mask else None
        passes = start_cells(model, planes, found.centers, labels, ids)
        for done in passes.steps():
            yield before + done, total
        before += len(found.numbers)
        rows = _rows(request, index, found.numbers, found.centers, planes.shape[1:], model)
        tables.append((passes.features, rows))
    features = np.concatenate([features for features, _ in tables])
    metadata = pd.concat([rows for _, rows in tables], ignore_index=True)
    card = model.card
    names = feature_names(card.embed_dim, compartment="Cells")
    provenance = {"model": card.name, "model_sha256": card.sha256}
    return Profiles(features, metadata, names, provenance)


def _rows(
    request: EmbedRequest,
    index: tuple[int, ...],
    numbers: np.ndarray,
    centers: np.ndarray,
    shape: tuple[int, int],
    model: Embedder,
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            LAYER: request.labels.name,
            PLANE: plane_name(index),
            LABEL: numbers,
            "Metadata_Location_Center_X": centers[:, 1],
            "Metadata_Location_Center_Y": centers[:, 0],
            "Metadata_CropTouchesBorder": touches_border(centers, shape, model.card.crop_px),
            "Metadata_Model": model.card.name,
        }
    )


@lru_cache(maxsize=2)
def _loaded(name: str) -> Embedder:
    return load_model(name)


def layer_features(cells: Profiles, layer: str) -> pd.DataFrame:
    """Return the table that napari keeps with a labels layer, for its other plugins.

    Parameters
    ----------
    cells : Profiles
    layer : str
        Name of the labels layer.

    Returns
    -------
    pandas.DataFrame
        ``index`` is the label, by which napari finds a row; ``plane`` where there are several;
        then the features.

    Examples
    --------
    >>> rows = pd.DataFrame({LAYER: ["nuclei"], LABEL: [7], PLANE: [""]})
    >>> layer_features(Profiles(np.ones((1, 1)), rows, ["CPCNN_000"]), "nuclei")
       index  CPCNN_000
    0      7        1.0
    """
    mine = cells.select((cells.metadata[LAYER] == layer).to_numpy())
    table = pd.DataFrame(mine.features, columns=mine.feature_names)
    if len(set(mine.metadata[PLANE])) > 1:
        table.insert(0, "plane", mine.metadata[PLANE])
    table.insert(0, "index", mine.metadata[LABEL])
    return table
