"""From a cell of a table to its field: the images are opened when a cell is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from napari.components import ViewerModel
from napari.layers import Layer
from napari.qt.threading import create_worker
from qtpy.QtCore import QObject, Signal

from cpcnn_core.errors import CPCNNError, SiteError
from cpcnn_core.imaging.field import Field
from cpcnn_core.io.label_images import objects_from_labels
from cpcnn_core.io.load_data import image_names, read_load_data
from cpcnn_core.io.site_keys import KEYS
from cpcnn_core.io.sites import Objects, Site, read_field
from cpcnn_core.io.tables import read_text_table
from cpcnn_core.models.registry import CELL_PAINTING_CHANNELS, find_model
from cpcnn_core.schema.columns import CENTER_X, CENTER_Y, OBJECT_NUMBER
from napari_cpcnn.layer_links import ViewerLink
from napari_cpcnn.messages import Refusal, as_text, tell_error
from napari_cpcnn.planes import guess_channels
from napari_cpcnn.sample import COLORS
from napari_cpcnn.shared_state import FIELD, LAYER, PLANE, SharedState

if TYPE_CHECKING:
    import pandas as pd

    from cpcnn_core.schema.profiles import Profiles

LABELS_FOLDER = "labels"
# Cells of which only the centres are on record are drawn as discs.
DISC_PX = 12
DARKEST, BRIGHTEST = 1, 99.8


@dataclass(frozen=True)
class OpenedField:
    """A field that was read, and the rows of its cells, (n,) int."""

    field: Field
    rows: np.ndarray


class SiteOpener(QObject):
    """Opens the site of a cell of a table, in place of the one that it opened before.

    Parameters
    ----------
    viewer : napari.Viewer
    state : SharedState
    link : ViewerLink

    Attributes
    ----------
    table : Path or None
        The LoadData table that says where the images are.

    Signals
    -------
    opened : int
        The site of this cell is in the viewer.
    """

    opened = Signal(int)

    def __init__(
        self, viewer: ViewerModel, state: SharedState, link: ViewerLink, parent: QObject
    ) -> None:
        super().__init__(parent)
        self._viewer, self._state, self._link = viewer, state, link
        self.table: Path | None = None
        self._sites: dict[tuple[str, ...], Site] = {}
        self._layers: list[Layer] = []
        self._wanted = 0

    def read_table(self, path: str | Path) -> None:
        """Read where the images are; label images are taken from a folder ``labels`` beside it.

        Parameters
        ----------
        path : str or Path
            CellProfiler's LoadData table, as given to ``cpcnn embed``.

        Raises
        ------
        CPCNNError
            The table cannot be read, or does not tell the channels.
        """
        path = Path(path)
        channels = self._channels()
        images = image_names(read_text_table(path, FIELD).columns)
        guessed = {
            channel: image for channel, image in guess_channels(channels, images).items() if image
        }
        labels = objects_from_labels(path.parent / LABELS_FOLDER)
        sites = read_load_data(path, channels, guessed, labels)
        self._sites = {site.key: site for site in sites}
        self.table = path

    def show(self, row: int) -> None:
        """Read the site of a cell in the background and show it; `opened` follows.

        Raises
        ------
        CPCNNError
            The cell does not say where it is, or the table has no such site.
        """
        cells = cast("Profiles", self._state.cells)
        cells.require([*FIELD, OBJECT_NUMBER, CENTER_X, CENTER_Y])
        keys = cells.metadata[FIELD].astype(str)
        key = tuple(keys.iloc[row])
        if key not in self._sites:
            raise SiteError(
                f"{self.table} has no site {'/'.join(key)}; open the LoadData table of this screen"
            )
        rows = np.flatnonzero((keys == key).all(axis=1).to_numpy())
        self._wanted = row
        worker = create_worker(_read, self._sites[key], self._channels(), cells.metadata, rows)
        worker.returned.connect(self._take)
        worker.start()

    def _channels(self) -> tuple[str, ...]:
        """Name the channels: those of the cells, or of their model if it is here."""
        made = cast("Profiles", self._state.cells).provenance
        if made.get("channels"):
            return tuple(str(made["channels"]).split(","))
        try:
            return find_model(made.get("model", ""))[0].channels
        except CPCNNError:
            return CELL_PAINTING_CHANNELS

    def _take(self, read: OpenedField | Refusal) -> None:
        if isinstance(read, Refusal):
            tell_error(read.error)
            return
        if self._wanted not in read.rows:
            # Another cell was asked for in the meantime.
            return
        for layer in self._layers:
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
        field = read.field
        for layer in self._viewer.layers:
            layer.visible = False
        # napari shows layers' names as tooltips.
        place = as_text("-".join(str(field.metadata[name]) for name in KEYS[1:]))
        images = [
            self._viewer.add_image(
                plane,
                name=as_text(f"{name} {place}"),
                colormap=COLORS.get(name, "gray"),
                blending="additive",
                contrast_limits=_limits(plane),
            )
            for name, plane in zip(field.channels, field.image, strict=True)
        ]
        labels = self._viewer.add_labels(field.labels, name=f"cells {place}", opacity=0.15)
        self._layers = [*images, labels]
        self._state.set_metadata(PLANE, read.rows, "")
        self._state.set_metadata(LAYER, read.rows, labels.name)
        self._link.set_channels(labels, images)
        self._viewer.reset_view()
        self._link.go_to(self._wanted)
        self.opened.emit(self._wanted)


def _read(
    site: Site, channels: tuple[str, ...], metadata: pd.DataFrame, rows: np.ndarray
) -> OpenedField | Refusal:
    """Read a field, with labels that have the numbers of the table's cells."""
    try:
        objects = site.read_objects() or Objects(np.zeros((0, 2)), np.zeros(0, int))
        field = read_field(site, objects, channels)
    except CPCNNError as error:
        return Refusal(error)
    numbers = metadata[OBJECT_NUMBER].to_numpy()[rows].astype(int)
    if field.labels is None or not np.isin(numbers, field.labels).all():
        centers = metadata[[CENTER_Y, CENTER_X]].to_numpy(float)[rows]
        field.labels = discs(field.image.shape[1:], centers, numbers)
    return OpenedField(field, rows)


def discs(shape: tuple[int, int], centers: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Draw a disc around every centre, for cells without an outline.

    Parameters
    ----------
    shape : (height, width) in pixels
    centers : ndarray of shape (n, 2), (row, col) in pixels
    numbers : ndarray of shape (n,), int
        The labels.

    Returns
    -------
    ndarray of shape (height, width), int32

    Examples
    --------
    >>> discs((40, 40), np.array([[20.0, 20.0]]), np.array([7]))[20, 30]
    np.int32(7)
    """
    from skimage.draw import disk

    labels = np.zeros(shape, np.int32)
    for center, number in zip(centers, numbers, strict=True):
        labels[disk(tuple(center), DISC_PX, shape=shape)] = number
    return labels


def _limits(plane: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(plane, [DARKEST, BRIGHTEST])
    return float(low), float(max(high, low + 1e-6))
