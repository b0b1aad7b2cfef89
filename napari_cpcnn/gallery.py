"""Crops of cells side by side, those most alike first, each channel in its color."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
from qtpy.QtCore import QAbstractListModel, QModelIndex, QRect, QSize, Qt, QTimer
from qtpy.QtGui import QColor, QImage, QPainter, QPen
from qtpy.QtWidgets import (
    QCheckBox,
    QListView,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QVBoxLayout,
    QWidget,
)

from cpcnn_core.errors import ImageError
from cpcnn_core.schema.columns import OBJECT_NUMBER
from napari_cpcnn.messages import PlainLabel, as_text
from napari_cpcnn.shared_state import LAYER, SharedState

if TYPE_CHECKING:
    from cpcnn_core.schema.profiles import Profiles

MAX_SHOWN = 200
MAX_COMPARED = 5_000  # more are thinned out evenly, so that sorting takes no time
MAX_CUT = 5_000  # how many cells are tried, where the images of many are not open
THUMBNAIL, GAP = 64, 2
DELAY_MS = 100
ACCENT = (0, 122, 204)  # napari's, seen on dark and on light; its palette's highlight is grey

NO_CELLS = "Click a cell or draw a lasso on the map to see its cells here."
NO_IMAGES = "The images of these cells are not open; open them to see the cells."


def nearest_first(features: np.ndarray, rows: np.ndarray, center: int | None = None) -> np.ndarray:
    """Sort cells by cosine distance to one of them, or to their own mean.

    Parameters
    ----------
    features : ndarray of shape (n, d)
        Of all cells.
    rows : ndarray of shape (m,), int
        The cells to be sorted; where they are more than 5,000, an evenly spaced sample of them.
    center : int, optional
        The row of the cell that they are compared with.

    Returns
    -------
    ndarray of shape (m,), int
        Cells with NaN, and those of zeros, come last.

    Examples
    --------
    >>> features = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.1]])
    >>> nearest_first(features, np.array([0, 1, 2]), center=1)
    array([1, 2, 0])
    """
    rows = np.asarray(rows, int)
    rows = rows[:: -(-len(rows) // MAX_COMPARED) or 1]
    own = np.asarray(features[rows], np.float32)
    usable = np.isfinite(own).all(axis=1)
    if not usable.any():
        return rows
    middle = own[usable].mean(axis=0) if center is None else np.float32(features[center])
    lengths = np.sqrt(np.einsum("ij,ij->i", own, own))
    with np.errstate(invalid="ignore", divide="ignore"):
        similarity = np.nan_to_num((own @ middle) / lengths, nan=-np.inf)
    return rows[np.argsort(-similarity, kind="stable")]


class Gallery(QWidget):
    """Crops of the selected cells, or of given ones; a click picks the cell.

    Parameters
    ----------
    state : SharedState
        Its `crops_of` gives the crops.
    parent : QWidget, optional
    follows : bool
        Show what is selected. Otherwise `show_rows` says what is shown.
    """

    def __init__(
        self, state: SharedState, parent: QWidget | None = None, *, follows: bool = True
    ) -> None:
        super().__init__(parent)
        self.state = state
        self.model = _CropsModel(self)
        self._features: np.ndarray | None = None
        self._picked_here = False
        self.status = PlainLabel(NO_CELLS)
        self.status.setWordWrap(True)
        self.own_scale = QCheckBox("Stretch each cell")
        self.own_scale.setToolTip(
            "Show every cell from its own darkest to its own brightest pixel, as the model sees "
            "it; otherwise with the viewer's contrast limits"
        )
        self.own_scale.toggled.connect(self._repaint)
        self.view = self._make_view()
        layout = QVBoxLayout(self)
        layout.addWidget(self.own_scale)
        layout.addWidget(self.status)
        # The little stretch below takes the space that a hidden view leaves.
        layout.addWidget(self.view, 1000)
        layout.addStretch(1)
        if not follows:
            layout.setContentsMargins(0, 0, 0, 0)
        self.own_scale.setVisible(follows)
        self._timer = QTimer(self, singleShot=True, interval=DELAY_MS)
        self._timer.timeout.connect(self._show_chosen)
        state.picked_changed.connect(self._picked_changed)
        state.cells_changed.connect(self._cells_changed)
        if follows:
            state.selection_changed.connect(self._timer.start)
        self._follows = follows
        self._show([], 0)

    def show_rows(self, rows: np.ndarray, caption: str = "") -> None:
        """Show these cells, the most alike first.

        Parameters
        ----------
        rows : ndarray of shape (m,), int
        caption : str
            What they are.
        """
        cells, picked = self.state.cells, self.state.picked
        if cells is None or not len(rows):
            self._show([], 0, caption)
            return
        center = picked if self._follows or picked in rows else None
        self._features = cells.features
        self._show(self._cut(nearest_first(cells.features, rows, center)), len(rows), caption)

    def set_channels(self, channels: Sequence[Channel]) -> None:
        """Colour the channels as in the viewer.

        Parameters
        ----------
        channels : sequence of tuples (colour, (low, high))
            See `blend`. Where there are none, or too few, every cell is stretched by its
            own minimum and maximum, in napari's colours.
        """
        self.model.channels = list(channels)
        self._repaint()

    def shown_rows(self) -> np.ndarray:
        """Return the cells that are shown, in order, (k,) int."""
        return np.array([row for row, _ in self.model.crops], int)

    def _make_view(self) -> QListView:
        view = QListView()
        view.setModel(self.model)
        view.setItemDelegate(_CropPainter(self))
        view.setViewMode(QListView.ViewMode.IconMode)
        view.setResizeMode(QListView.ResizeMode.Adjust)
        view.setMovement(QListView.Movement.Static)
        view.setUniformItemSizes(True)
        view.setSpacing(GAP)
        view.setMinimumHeight(THUMBNAIL + 6 * GAP)
        view.setVerticalScrollMode(QListView.ScrollMode.ScrollPerPixel)
        view.setToolTip("Cells, the most alike first; click one to look at it")
        view.clicked.connect(self._pick)
        view.activated.connect(self._pick)
        return view

    def _pick(self, index: QModelIndex) -> None:
        # The cells stay where they are under the mouse; only the frame moves.
        self._picked_here = True
        self.state.pick(self.model.crops[index.row()][0])
        self._picked_here = False

    def _picked_changed(self) -> None:
        if self._follows and not self._picked_here:
            self._timer.start()
        self.view.viewport().update()

    def _cells_changed(self) -> None:
        cells = self.state.cells
        # The same features: only what is known about the cells has changed.
        if cells is None or cells.features is not self._features:
            self._show([], 0)

    def _show_chosen(self) -> None:
        self.show_rows(self.state.chosen_rows())

    def _cut(self, rows: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """Get crops of the first cells that have some, a few at a time."""
        found: list[tuple[int, np.ndarray]] = []
        for start in range(0, min(len(rows), MAX_CUT), MAX_SHOWN):
            some = rows[start : start + MAX_SHOWN]
            crops = zip(some.tolist(), self.state.crops_of(some), strict=True)
            found += [(row, crop) for row, crop in crops if crop is not None]
            if len(found) >= MAX_SHOWN:
                break
        return found[:MAX_SHOWN]

    def _show(self, crops: list[tuple[int, np.ndarray]], wanted: int, caption: str = "") -> None:
        self.model.set_crops(crops)
        self.view.setVisible(bool(crops))
        few = f"{len(crops):,} of {wanted:,} cells"
        text = few if crops else NO_IMAGES if wanted else NO_CELLS
        self.status.setText(f"{caption}: {text}" if caption else text)

    def _repaint(self) -> None:
        self.model.own_scale = self.own_scale.isChecked()
        self.model.forget_pictures()
        self.view.viewport().update()


class _CropsModel(QAbstractListModel):
    """Crops and what cells they are of; pictures are made of those that come into sight."""

    def __init__(self, gallery: Gallery) -> None:
        super().__init__(gallery)
        self.state = gallery.state
        self.crops: list[tuple[int, np.ndarray]] = []
        self.channels: list[Channel] = []
        self.own_scale = False
        self._pictures: dict[int, QImage] = {}

    def set_crops(self, crops: list[tuple[int, np.ndarray]]) -> None:
        self.beginResetModel()
        self.crops = crops
        self.forget_pictures()
        self.endResetModel()

    def forget_pictures(self) -> None:
        self._pictures = {}

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802
        return 0 if parent is not None and parent.isValid() else len(self.crops)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        row, crop = self.crops[index.row()]
        if role == Qt.ItemDataRole.DecorationRole:
            if row not in self._pictures:
                self._pictures[row] = _image(self.colour(crop))
            return self._pictures[row]
        if role == Qt.ItemDataRole.ToolTipRole:
            metadata = cast("Profiles", self.state.cells).metadata
            known = metadata.reindex(columns=[LAYER, OBJECT_NUMBER]).iloc[row]
            return as_text(", ".join(str(value) for value in known.dropna()) or f"cell {row}")
        return None

    def colour(self, crop: np.ndarray) -> np.ndarray:
        if self.own_scale or len(self.channels) != len(crop):
            return blend(crop, own_channels(crop, self.channels))
        return blend(crop, self.channels)


class _CropPainter(QStyledItemDelegate):
    """Draws a crop, and a frame around the picked one."""

    def __init__(self, gallery: Gallery) -> None:
        super().__init__(gallery)
        self.gallery = gallery

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> QSize:  # noqa: ARG002, N802
        return QSize(THUMBNAIL, THUMBNAIL)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        picture: QImage = index.data(Qt.ItemDataRole.DecorationRole)
        size = picture.size().scaled(option.rect.size(), Qt.AspectRatioMode.KeepAspectRatio)
        place = QRect(option.rect.topLeft(), size)
        place.moveCenter(option.rect.center())
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.drawImage(place, picture)
        if self.gallery.model.crops[index.row()][0] == self.gallery.state.picked:
            # Two colours: one of them is seen on every picture.
            for inset, colour in ((0, QColor(*ACCENT)), (2, QColor("white"))):
                painter.setPen(QPen(colour, 2))
                painter.drawRect(place.adjusted(inset + 1, inset + 1, -inset - 1, -inset - 1))
        painter.restore()


def _image(picture: np.ndarray) -> QImage:
    height, width = picture.shape[:2]
    data = np.ascontiguousarray(picture)
    # A copy: Qt would keep reading the array's memory after it is gone.
    return QImage(data.data, width, height, 3 * width, QImage.Format.Format_RGB888).copy()


# The colour (red, green, blue; 0 to 1) and the values that are black and fully bright.
Channel = tuple[tuple[float, float, float], tuple[float, float]]

GREY = (1.0, 1.0, 1.0)
# napari's own order for several channels, then what is left.
COLOURS = (
    (0.0, 1.0, 1.0), (1.0, 1.0, 0.0), (1.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0),
    (0.0, 0.0, 1.0),
)  # fmt: skip


def blend(crop: np.ndarray, channels: Sequence[Channel]) -> np.ndarray:
    """Make a picture of a crop as napari does with additive blending.

    Parameters
    ----------
    crop : ndarray of shape (c, h, w)
        Raw pixel values; what is NaN is black.
    channels : sequence of c tuples (colour, (low, high))
        ``colour`` is (red, green, blue), each from 0 to 1; ``low`` and below is black,
        ``high`` and above has the full colour.

    Returns
    -------
    ndarray of shape (h, w, 3), uint8

    Raises
    ------
    ImageError
        Another number of channels than colours.

    Examples
    --------
    >>> crop = np.array([[[0, 50, 100]], [[7, 7, 9]]])
    >>> blend(crop, [((1, 0, 0), (0, 100)), ((0, 1, 1), (7, 9))])[0].tolist()
    [[0, 0, 0], [128, 0, 0], [255, 255, 255]]
    """
    crop = np.asarray(crop)
    if crop.ndim != 3 or len(crop) != len(channels):
        raise ImageError(
            f"expected a crop of shape (c, h, w) with {len(channels)} channels, as there are "
            f"colours, got {crop.shape}"
        )
    picture = np.zeros((*crop.shape[1:], 3), np.float32)
    for values, (colour, (low, high)) in zip(crop, channels, strict=True):
        span = (high - low) or 1
        bright = np.clip((np.nan_to_num(values.astype(np.float32), nan=low) - low) / span, 0, 1)
        picture += bright[..., None] * np.asarray(colour, np.float32)
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)


def own_channels(crop: np.ndarray, channels: Sequence[Channel] = ()) -> list[Channel]:
    """Stretch every channel by the crop's own minimum and maximum.

    Parameters
    ----------
    crop : ndarray of shape (c, h, w)
    channels : sequence of c tuples (colour, (low, high))
        Their colours are kept. With another number of them the colours are `COLOURS`, or
        grey for one channel.

    Returns
    -------
    list of c tuples (colour, (low, high))

    Examples
    --------
    >>> own_channels(np.array([[[3, 5, 4]]]))
    [((1.0, 1.0, 1.0), (3.0, 5.0))]
    """
    colours = [colour for colour, _ in channels]
    if len(colours) != len(crop):
        colours = (
            [GREY] if len(crop) == 1 else [COLOURS[n % len(COLOURS)] for n in range(len(crop))]
        )
    limits = []
    for values in np.asarray(crop, np.float32):
        finite = values[np.isfinite(values)]
        limits.append((float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0))
    return list(zip(colours, limits, strict=True))
