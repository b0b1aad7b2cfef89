"""Embed the objects of a labels layer, plane by plane, in steps that can be stopped between.

The network is in a process of its own. Loading PyTorch stops a window for seconds, and what it
brings along can crash beside the drivers that draw the window (two copies of LLVM). In a process of
its own it does neither, and stopping is ending it.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd
from napari.layers import Image, Labels

from cpcnn_core.errors import CPCNNError, ImageError
from cpcnn_core.imaging.scale import touches_border_at, zoom_of
from cpcnn_core.io.label_images import objects_of
from cpcnn_core.io.sites import Objects
from cpcnn_core.models.card import ModelCard
from cpcnn_core.models.registry import find_model
from cpcnn_core.models.verification import weights_statement
from cpcnn_core.schema.cells import cell_columns
from cpcnn_core.schema.columns import (
    OBJECT_NUMBER,
    feature_names,
)
from cpcnn_core.schema.profiles import Profiles
from napari_cpcnn.child_process import ChildProcess
from napari_cpcnn.planes import channel_planes, pixels, plane_name
from napari_cpcnn.shared_state import LAYER, PLANE

# Before a channel's name: the mean of its pixels under the cell's label.
INTENSITY = "Metadata_MeanIntensity_"
Step = tuple[int, int]


@dataclass(frozen=True)
class EmbedRequest:
    """Request to embed cells: model, layers and settings.

    Attributes
    ----------
    model : str
        A name or file, see `cpcnn_core.load_model`.
    channels : tuple of str
        The model's; or others, where it takes any.
    images : sequence of Image
        One for every channel, in their order; or one with all channels.
    labels : Labels
    planes : list of tuple of int
        See `napari_cpcnn.planes.plane_indices`.
    mask : bool
        Set everything outside a cell's own label to zero.
    um_per_px : float or None
        Micrometres per pixel; where the model has another scale, fields are resampled.
    """

    model: str
    channels: tuple[str, ...]
    images: Sequence[Image]
    labels: Labels
    planes: list[tuple[int, ...]]
    mask: bool = False
    um_per_px: float | None = None


def embed_layers(request: EmbedRequest, network: NetworkProcess) -> Generator[Step, None, Profiles]:
    """Embed the objects of a labels layer.

    Parameters
    ----------
    request : EmbedRequest
    network : NetworkProcess

    Yields
    ------
    (int, int)
        Cells done and cells in all, after every pass of the network.

    Returns
    -------
    Profiles
        A row for every label of every plane; ``Metadata_Layer``, ``Metadata_ObjectNumber``
        (the label) and ``Metadata_Plane`` say which. ``Metadata_MeanIntensity_DNA`` and its
        like are the mean of a channel's pixels under the label, in the image's unit.

    Raises
    ------
    ImageError, ChannelError
        Layers that do not belong together, or no label at all.
    """
    card = _card(request)
    # Objects first: what is missing is reported before the network is loaded.
    objects = [objects_of(np.asarray(pixels(request.labels)[index])) for index in request.planes]
    total = sum(len(found.numbers) for found in objects)
    if not total:
        raise ImageError(
            f"the layer {request.labels.name} has no labels here; paint some, or find nuclei first"
        )
    yield 0, total
    features, rows, before = [], [], 0
    for index, found in zip(request.planes, objects, strict=True):
        planes = channel_planes(request.images, request.labels, index)
        arrays = {"image": planes, "centers": found.centers}
        if request.mask:
            labels = cast("np.ndarray", found.labels)
            arrays |= {"labels": labels, "label_ids": found.numbers}
        asked = {"model": request.model, "channels": card.channels}
        passes = network.embed(asked | {"um_per_px": request.um_per_px}, arrays)
        while True:
            try:
                done, _ = next(passes)
            except StopIteration as end:
                features.append(end.value)
                break
            yield before + done, total
        before += len(found.numbers)
        rows.append(_rows(request, index, found, planes, card))
    names, provenance = _origin(request, card)
    metadata = pd.concat(rows, ignore_index=True)
    return Profiles(np.concatenate(features), metadata, names, provenance)


def announced(request: EmbedRequest) -> Profiles:
    """Return what `embed_layers` will give: its names and origin, a row a plane, no values.

    Examples
    --------
    >>> pixels = np.zeros((64, 64), np.uint16)
    >>> layers = [Image(pixels)], Labels(pixels, name="nuclei")
    >>> found = announced(EmbedRequest("untrained-resnet18", ("DNA",), *layers, [()]))
    >>> found.metadata["Metadata_Layer"].tolist(), len(found.feature_names)
    (['nuclei'], 512)
    """
    names, provenance = _origin(request, _card(request))
    planes = [plane_name(index) for index in request.planes]
    metadata = pd.DataFrame({LAYER: request.labels.name, PLANE: planes})
    return Profiles(np.zeros((len(planes), len(names)), np.float32), metadata, names, provenance)


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
    >>> rows = pd.DataFrame({LAYER: ["nuclei"], OBJECT_NUMBER: [7], PLANE: [""]})
    >>> layer_features(Profiles(np.ones((1, 1)), rows, ["CPCNN_000"]), "nuclei")
       index  CPCNN_000
    0      7        1.0
    """
    mine = cells.select((cells.metadata[LAYER] == layer).to_numpy())
    table = pd.DataFrame(mine.features, columns=mine.feature_names)
    if len(set(mine.metadata[PLANE])) > 1:
        table.insert(0, "plane", mine.metadata[PLANE])
    table.insert(0, "index", mine.metadata[OBJECT_NUMBER])
    return table


class NetworkProcess:
    """Embeds cells in ``python -m cpcnn_core.worker``; started when it is first needed.

    Examples
    --------
    >>> network = NetworkProcess()
    >>> network.stop()
    """

    def __init__(self) -> None:
        self._child = _new_child()

    def embed(
        self, request: dict[str, object], arrays: dict[str, np.ndarray]
    ) -> Generator[Step, None, np.ndarray]:
        """Embed the cells of one plane.

        Parameters
        ----------
        request : dict
            ``model`` (a name or file), ``channels`` (their names, in the image's order).
        arrays : dict
            ``image`` (c, h, w), ``centers`` (n, 2) as (row, col); ``labels`` and
            ``label_ids`` where neighbours are masked.

        Yields
        ------
        (int, int)
            Cells done and cells in all.

        Returns
        -------
        ndarray of shape (n, d), float32

        Raises
        ------
        CancelledError
            `stop` was called.
        CPCNNError
            What the network's process says, or that it ended.
        """
        if not self._child.usable:
            self._child = _new_child()
        child = self._child
        child.send({"type": "embed", **request}, arrays)
        answer, found = child.receive()
        while answer["type"] == "progress":
            yield answer["done"], answer["total"]
            answer, found = child.receive()
        if answer["type"] == "error":
            raise CPCNNError(answer["message"])
        return found["features"]

    def stop(self) -> None:
        """End the process, whatever it does; the next request starts another."""
        self._child.stop()


def _card(request: EmbedRequest) -> ModelCard:
    return find_model(request.model)[0].with_channels(request.channels)


def _origin(request: EmbedRequest, card: ModelCard) -> tuple[list[str], dict[str, str | None]]:
    """Return the features' names, and what they are made with."""
    provenance = {
        "model": card.name,
        "model_sha256": card.sha256,
        "weights": weights_statement(card, find_model(request.model)[1]),
        "layer": card.tap,
        "channels": ",".join(card.channels),
        "crop_px": str(card.crop_px),
        "normalizer": card.normalizer,
        "mask_neighbors": str(request.mask),
    }
    return feature_names(card.embed_dim, card.prefix, "Cells"), provenance


def _rows(
    request: EmbedRequest,
    index: tuple[int, ...],
    found: Objects,
    planes: np.ndarray,
    card: ModelCard,
) -> pd.DataFrame:
    from scipy.ndimage import mean

    brightness = {
        f"{INTENSITY}{name}": mean(plane, found.labels, found.numbers)
        for name, plane in zip(card.channels, planes, strict=True)
    }
    scale = zoom_of(card.um_per_px, request.um_per_px)
    touches = touches_border_at(found.centers, planes.shape[1:], card.crop_px, scale)
    columns = cell_columns(
        {LAYER: request.labels.name, PLANE: plane_name(index)},
        found.numbers,
        found.centers[:, ::-1],
        touches,
        model=card.name,
        measured=brightness,
    )
    return pd.DataFrame(columns, index=pd.RangeIndex(len(found.numbers)))


def _new_child() -> ChildProcess:
    return ChildProcess("cpcnn_core.worker", "the network's process")
