"""Cells on the map and cells in the viewer: a click on one shows the other.

`LayerWatch` tells when layers come, go, or get another name.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
from napari.components import LayerList, ViewerModel
from napari.layers import Image, Labels, Layer
from qtpy.QtCore import QObject, QTimer

from cpcnn_core.imaging.crops import CROP_PX
from cpcnn_core.models.registry import CELL_PAINTING_CHANNELS
from cpcnn_core.schema.columns import CENTER_X, CENTER_Y, OBJECT_NUMBER
from napari_cpcnn.planes import (
    channel_planes,
    guess_channels,
    pixels,
    plane_indices,
    plane_name,
)
from napari_cpcnn.shared_state import ADD, LAYER, PLANE, SharedState

if TYPE_CHECKING:
    from napari.utils.events import Event

    from cpcnn_core.schema.profiles import Profiles

OVERLAY = "selected cells"
SELECTED, PICKED, OUTLINE_PX = 1, 2, 2
COLORS = {None: "transparent", SELECTED: "#56b4e9", PICKED: "#f0e442"}
DELAY_MS = 30


class ViewerLink(QObject):
    """Keeps viewer and cells together, by label, never by the order of rows.

    Selected cells are shown by a layer of their own (`OVERLAY`): recolouring the user's
    labels would take seconds and undo what they chose.

    Parameters
    ----------
    viewer : napari.Viewer
    state : SharedState
    """

    def __init__(self, viewer: ViewerModel, state: SharedState, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer, self._state = viewer, state
        # Which image layers show the channels of a labels layer, by name.
        self._channels: dict[str, list[str]] = {}
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(DELAY_MS)
        self._timer.timeout.connect(self._highlight)
        for signal in (
            state.selection_changed,
            state.picked_changed,
            state.cells_changed,
        ):
            signal.connect(self._timer.start)
        state.crops_of = self.crops_of
        viewer.mouse_drag_callbacks.append(self._clicked)
        viewer.dims.events.current_step.connect(self._step)
        self._names: dict[int, str] = {}
        self._watch = LayerWatch(viewer.layers, self._follow_names)
        self._follow_names()

    def detach(self) -> None:
        """Let go of the viewer."""
        self._timer.stop()
        if self._clicked in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._clicked)
        self._viewer.dims.events.current_step.disconnect(self._step)
        self._watch.detach()
        if OVERLAY in self._viewer.layers:
            self._viewer.layers.remove(OVERLAY)

    def set_channels(self, labels: Labels, images: Sequence[Image]) -> None:
        """Remember which layers show the channels of a labels layer."""
        self._channels[labels.name] = [layer.name for layer in images]

    def channel_layers(self, labels: str) -> list[Image]:
        """Return the image layers of a labels layer that are still there.

        For cells that were embedded in an earlier session they are guessed by name.
        """
        names = self._channels.get(labels)
        if names is None:
            images = [layer.name for layer in self._viewer.layers if isinstance(layer, Image)]
            found = guess_channels(CELL_PAINTING_CHANNELS, images).values()
            names = [name for name in found if name] if all(found) else []
        return [self._viewer.layers[name] for name in names if name in self._viewer.layers]

    def go_to(self, row: int) -> bool:
        """Move the viewer to a cell, to its plane too; False where its layer is not open."""
        rows = cast("Profiles", self._state.cells).metadata.iloc[row]
        layer = self._layer(rows.get(LAYER))
        if layer is None:
            return False
        place = [*_index(rows[PLANE])]
        place += [rows[CENTER_Y], rows[CENTER_X]]
        world = layer.data_to_world(place)
        self._viewer.dims.set_point(range(len(world) - 2), world[:-2])
        self._viewer.camera.center = (0, *world[-2:])
        self._state.pick(row)
        return True

    def crops_of(self, rows: np.ndarray) -> list[np.ndarray | None]:
        """Return the pixels around some cells, (c, side, side); None where no image is open."""
        metadata = cast("Profiles", self._state.cells).metadata.iloc[rows]
        if LAYER not in metadata.columns:
            return [None] * len(rows)
        crops: list[np.ndarray | None] = [None] * len(rows)
        places = list(zip(metadata[LAYER], metadata[PLANE], strict=True))
        for place in set(places):
            layer, images = self._layer(place[0]), self.channel_layers(place[0])
            if layer is None or not images:
                continue
            planes = channel_planes(images, layer, _index(place[1]))
            for number, other in enumerate(places):
                if other == place:
                    cell = metadata.iloc[number]
                    center = cell[CENTER_Y], cell[CENTER_X]
                    crops[number] = _square(planes, center, CROP_PX)
        return crops

    def _layer(self, name: object) -> Labels | None:
        if name in self._viewer.layers and isinstance(self._viewer.layers[name], Labels):
            return self._viewer.layers[name]
        return None

    def part(self, labels: Labels, name: str) -> None:
        """Give a layer another name, and leave the cells of the old one to another layer."""
        self._names[id(labels)] = name
        labels.name = name

    def _follow_names(self) -> None:
        """Take a layer's new name for its cells and channels too."""
        for layer in self._viewer.layers:
            before = self._names.get(id(layer), layer.name)
            if before != layer.name:
                self._rename(before, layer.name)
        self._names = {id(layer): layer.name for layer in self._viewer.layers}

    def _rename(self, before: str, after: str) -> None:
        self._channels = {
            after if labels == before else labels: [
                after if name == before else name for name in images
            ]
            for labels, images in self._channels.items()
        }
        cells = self._state.cells
        if cells is not None and LAYER in cells.metadata.columns:
            rows = np.flatnonzero((cells.metadata[LAYER] == before).to_numpy())
            if len(rows):
                self._state.set_metadata(LAYER, rows, after)

    def _step(self) -> None:
        self._timer.start()

    def _highlight(self) -> None:
        shown = self._shown_layer()
        marks = None if shown is None else self._marks(shown)
        if marks is None:
            if OVERLAY in self._viewer.layers:
                self._viewer.layers[OVERLAY].visible = False
            return
        if OVERLAY not in self._viewer.layers:
            self._add_overlay(marks, shown)
            return
        layers = self._viewer.layers
        overlay = layers[OVERLAY]
        if layers[-1] is not overlay:
            # Images that were opened later are blended with the layers below them.
            layers.move(layers.index(overlay), len(layers))
        # napari redraws a layer at every assignment, changed or not.
        for name in ("scale", "translate"):
            if not np.array_equal(getattr(overlay, name), getattr(shown, name)[-2:]):
                setattr(overlay, name, getattr(shown, name)[-2:])
        overlay.data = marks
        if not overlay.visible:
            overlay.visible = True

    def _add_overlay(self, marks: np.ndarray, shown: Labels) -> None:
        from napari.utils.colormaps import DirectLabelColormap

        active = self._viewer.layers.selection.active
        overlay = Labels(
            marks,
            name=OVERLAY,
            scale=shown.scale[-2:],
            translate=shown.translate[-2:],
            colormap=DirectLabelColormap(color_dict=COLORS),
            opacity=1,
        )
        overlay.editable = False
        self._viewer.add_layer(overlay)
        self._viewer.layers.selection.active = active

    def _shown_layer(self) -> Labels | None:
        """Return the labels layer with embedded cells: the one of the picked cell, else the top."""
        cells = self._state.cells
        if cells is None or LAYER not in cells.metadata.columns:
            return None
        if self._state.picked is not None:
            layer = self._layer(cells.metadata[LAYER].iloc[self._state.picked])
            if layer is not None:
                return layer
        there = set(cells.metadata[LAYER])
        names = [layer.name for layer in reversed(self._viewer.layers) if layer.name in there]
        return self._layer(names[0]) if names else None

    def _marks(self, layer: Labels) -> np.ndarray | None:
        """Outline the selected and the picked cells of the plane that is shown, uint8."""
        rows = self._rows_shown(layer)
        selected = rows[self._state.selection[rows]]
        picked = rows[rows == self._state.picked]
        if not (len(selected) or len(picked)):
            return None
        labels = np.asarray(pixels(layer)[self._plane(layer)])
        numbers = cast("Profiles", self._state.cells).metadata[OBJECT_NUMBER].to_numpy()
        marks = np.where(np.isin(labels, numbers[selected]), np.uint8(SELECTED), np.uint8(0))
        marks[np.isin(labels, numbers[picked])] = PICKED
        # napari can draw outlines itself, but ten times as slowly.
        marks[~outlines(labels)] = 0
        return marks

    def _rows_shown(self, layer: Labels) -> np.ndarray:
        metadata = cast("Profiles", self._state.cells).metadata
        here = (metadata[LAYER] == layer.name) & (metadata[PLANE] == plane_name(self._plane(layer)))
        return np.flatnonzero(here.to_numpy())

    def _plane(self, layer: Labels) -> tuple[int, ...]:
        return plane_indices(layer, self._viewer.dims.current_step, every=False)[0]

    def _clicked(self, _viewer: ViewerModel, event: Event) -> Generator[None, None, None]:
        """Pick the cell that is clicked; with Shift, add it to the selection."""
        yield
        if event.type != "mouse_release" or self._state.cells is None:
            return
        layer = self._shown_layer()
        if layer is None or event.button != 1:
            return
        label = layer.get_value(event.position, world=True)
        if not label:
            return
        rows = self._rows_shown(layer)
        mine = rows[self._state.cells.metadata[OBJECT_NUMBER].to_numpy()[rows] == label]
        if not len(mine):
            return
        self._state.pick(mine[0])
        if "Shift" in event.modifiers:
            mask = np.zeros(len(self._state.selection), bool)
            mask[mine[0]] = True
            self._state.select(mask, ADD)


def outlines(labels: np.ndarray) -> np.ndarray:
    """Tell which pixels (h, w) have another label within `OUTLINE_PX` up, down, left or right.

    Examples
    --------
    >>> outlines(np.array([[0, 7, 7, 7, 7, 7, 0]]))[0].astype(int).tolist()
    [1, 1, 1, 0, 1, 1, 1]
    """
    edge = np.zeros(labels.shape, bool)
    for step in range(1, OUTLINE_PX + 1):
        for one, other in ((edge, labels), (edge.T, labels.T)):
            differs = other[step:] != other[:-step]
            one[step:] |= differs
            one[:-step] |= differs
    return edge


def _index(plane: str) -> tuple[int, ...]:
    return tuple(int(part) for part in plane.split(",")) if plane else ()


def _square(planes: np.ndarray, center: tuple[float, float], side: int) -> np.ndarray:
    """Cut a square (c, side, side) around a centre; zero outside the image."""
    top, left = (round(middle - side / 2) for middle in center)
    crop = np.zeros((len(planes), side, side), planes.dtype)
    height, width = planes.shape[1:]
    rows = slice(max(top, 0), min(top + side, height))
    cols = slice(max(left, 0), min(left + side, width))
    if rows.start < rows.stop and cols.start < cols.stop:
        part = planes[:, rows, cols]
        crop[:, rows.start - top : rows.stop - top, cols.start - left : cols.stop - left] = part
    return crop


class LayerWatch:
    """Calls back until it is detached.

    In napari 0.6 the list of layers does not tell of new names; a layer itself does, in
    every version.

    Parameters
    ----------
    layers : LayerList
    changed : callable ()

    Examples
    --------
    >>> import numpy as np
    >>> from napari.layers import Image
    >>> layers, names = LayerList([Image(np.eye(4), name="a")]), []
    >>> watch = LayerWatch(layers, lambda: names.append(layers[0].name))
    >>> layers[0].name = "b"
    >>> names
    ['b']
    """

    def __init__(self, layers: LayerList, changed: Callable[[], None]) -> None:
        self._layers, self._changed = layers, changed
        self._watched: list[Layer] = []
        layers.events.inserted.connect(self._update)
        layers.events.removed.connect(self._update)
        self._watch()

    def detach(self) -> None:
        """Call back no more."""
        self._layers.events.inserted.disconnect(self._update)
        self._layers.events.removed.disconnect(self._update)
        for layer in self._watched:
            layer.events.name.disconnect(self._tell)
        self._watched = []

    def _update(self) -> None:
        self._watch()
        self._changed()

    def _watch(self) -> None:
        now = list(self._layers)
        for layer in self._watched:
            if layer not in now:
                layer.events.name.disconnect(self._tell)
        for layer in now:
            if layer not in self._watched:
                layer.events.name.connect(self._tell)
        self._watched = now

    def _tell(self) -> None:
        self._changed()
