"""Fields in, features out: field by field, or several fields in a batch on a GPU."""

from __future__ import annotations

import warnings
from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import torch

from cpcnn_core.embedding.cells import check_cells, start_cells
from cpcnn_core.embedding.embedder import Embedder, Passes
from cpcnn_core.errors import ScaleWarning
from cpcnn_core.imaging.device_crops import cut_crops_on_device


@dataclass
class Cells:
    """The cells of one field, to be embedded.

    Attributes
    ----------
    image : ndarray of shape (c, h, w)
        Channels in the order of the model's card.
    centers : ndarray of shape (n, 2), float64, (row, col) in pixels
    labels : ndarray of shape (h, w), integer, or None
        Given, neighbouring cells are masked.
    label_ids : ndarray of shape (n,), or None
        As in `cpcnn_core.crop_cells`.
    key : object
        Handed back with the features.
    um_per_px : float or None
        As in `cpcnn_core.embed_cells`.
    """

    image: np.ndarray
    centers: np.ndarray
    labels: np.ndarray | None = None
    label_ids: np.ndarray | None = None
    key: Any = None
    um_per_px: float | None = None

    def as_given(
        self,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None, float | None]:
        """Return what `cpcnn_core.embedding.cells.start_cells` takes after the model."""
        return self.image, self.centers, self.labels, self.label_ids, self.um_per_px


@dataclass
class Embedded:
    """The outcome for the cells of one field: features (n, d) float32, or the error.

    The notes tell what was odd about this field. That it was resampled is not among them:
    its maker gave the scale, and has `cpcnn_core.imaging.scale.scale_notice` to say so once.
    """

    key: Any
    features: np.ndarray | None = None
    error: Exception | None = None
    notes: tuple[str, ...] = ()


class Batches(Protocol):
    """Takes fields one by one and gives those that are finished."""

    def add(self, cells: Cells) -> list[Embedded]:
        """Take a field; return the fields finished by now, in the order they came."""

    def flush(self) -> list[Embedded]:
        """Finish the fields that still wait."""


def batches_for(model: Embedder) -> Batches:
    """Return what suits the model's device.

    On a CPU every field has passes of its own, so that its features are the same bits
    whichever fields came before. On a GPU fields share batches, and every batch has the
    same shape for the same reason.

    Examples
    --------
    >>> from cpcnn_core.embedding.embedder import load_model
    >>> model = load_model("untrained-efficientnet-b0", device="cpu")
    >>> batches = batches_for(model)
    >>> cells = Cells(np.zeros((5, 99, 99)), np.array([[50.0, 50.0]]), key="A01")
    >>> done = batches.add(cells) + batches.flush()
    >>> done[0].key, done[0].features.shape
    ('A01', (1, 672))
    """
    return OwnPasses(model) if model.device.type == "cpu" else SharedBatches(model)


class OwnPasses:
    """Every field has passes of its own, and the next field's follow without a pause.

    Two fields are under way at a time: while the last passes of one run, threads that
    have nothing left to do for it begin with the other.

    Parameters
    ----------
    model : Embedder

    Examples
    --------
    >>> from cpcnn_core import load_model
    >>> batches = OwnPasses(load_model("untrained-resnet18", channels=["DNA"], device="cpu"))
    >>> image, centers = np.zeros((1, 100, 100), np.uint16), np.array([[40.0, 50.0]])
    >>> done = batches.add(Cells(image, centers, key="a")) + batches.flush()
    >>> [(one.key, one.features.shape) for one in done]
    [('a', (1, 512))]
    """

    def __init__(self, model: Embedder) -> None:
        self._model = model
        self._under_way: deque[tuple[Embedded, Passes | None]] = deque()

    def add(self, cells: Cells) -> list[Embedded]:
        """Start a field; return those finished by now, at least all but the last."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                passes, error = start_cells(self._model, *cells.as_given()), None
            except Exception as raised:  # noqa: BLE001  (handed on with the field it belongs to)
                passes, error = None, raised
        embedded = Embedded(cells.key, error=error, notes=_texts(caught))
        self._under_way.append((embedded, passes))
        return self._finish(1)

    def flush(self) -> list[Embedded]:
        """Finish the fields that are under way."""
        return self._finish(0)

    def _finish(self, left: int) -> list[Embedded]:
        done = []
        while self._under_way and (len(self._under_way) > left or self._is_done()):
            embedded, passes = self._under_way.popleft()
            try:
                embedded.features = None if passes is None else passes.wait()
            except Exception as error:  # noqa: BLE001  (handed on with the field it belongs to)
                embedded.error = error
            done.append(embedded)
        return done

    def _is_done(self) -> bool:
        passes = self._under_way[0][1]
        return passes is None or passes.done()


class SharedBatches:
    """Fields are uploaded once, cut on the device, and share batches of one shape.

    The batch before is fetched while the device works on the next. A field that cannot
    be used is handed back with its error; an error of the device ends the work.

    Parameters
    ----------
    model : Embedder
        With PyTorch as its engine.

    Examples
    --------
    >>> from cpcnn_core import load_model
    >>> batches = SharedBatches(load_model("untrained-resnet18", channels=["DNA"], device="cpu"))
    >>> image, centers = np.zeros((1, 100, 100), np.uint16), np.array([[40.0, 50.0]])
    >>> done = batches.add(Cells(image, centers, key="a")) + batches.flush()
    >>> [(one.key, one.features.shape) for one in done]
    [('a', (1, 512))]
    """

    def __init__(self, model: Embedder) -> None:
        self._model = model
        card = model.card
        shape = (model.batch_size, len(card.channels), card.crop_px, card.crop_px)
        self._crops = torch.zeros(shape, device=model.device)
        self._filled = 0
        # Which cells of which field are in the batch being filled, and in the one on its way.
        self._filling: list[tuple[_Waiting, slice, slice]] = []
        self._on_its_way: _OnItsWay | None = None
        self._waiting: list[_Waiting] = []

    def add(self, cells: Cells) -> list[Embedded]:
        """Take a field; return the fields finished by now."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                checked = check_cells(self._model.card, *cells.as_given())
            except Exception as error:  # noqa: BLE001  (handed on with the field it belongs to)
                self._waiting.append(_Waiting(Embedded(cells.key, error=error), 0))
                return self._finished()
        count = len(cells.centers)
        features = np.empty((count, self._model.card.embed_dim), np.float32)
        field = _Waiting(Embedded(cells.key, features, notes=_texts(caught)), count)
        self._waiting.append(field)
        self._cut(Cells(*checked), field)
        return self._finished()

    def flush(self) -> list[Embedded]:
        """Finish the fields that still wait."""
        if self._filled:
            self._launch()
        self._fetch()
        return self._finished()

    def _cut(self, cells: Cells, field: _Waiting) -> None:
        device, card = self._model.device, self._model.card
        image = torch.from_numpy(cells.image).to(device)
        labels = None
        if cells.labels is not None:
            labels = torch.from_numpy(cells.labels).to(device)
        start = 0
        while start < len(cells.centers):
            room = len(self._crops) - self._filled
            part = slice(start, min(start + room, len(cells.centers)))
            place = slice(self._filled, self._filled + part.stop - part.start)
            ids = None if cells.label_ids is None else cells.label_ids[part]
            self._crops[place] = cut_crops_on_device(
                image, cells.centers[part], card.crop_px, labels, ids, card.normalizer
            )
            self._filling.append((field, part, place))
            self._filled, start = place.stop, part.stop
            if self._filled == len(self._crops):
                self._launch()

    def _launch(self) -> None:
        features = self._model.embed_on_device(self._crops)
        batch = _OnItsWay(features, self._filling)
        self._fetch()
        self._on_its_way, self._filling, self._filled = batch, [], 0

    def _fetch(self) -> None:
        if self._on_its_way is None:
            return
        features = self._on_its_way.arrive()
        for field, part, place in self._on_its_way.owners:
            # Those that wait have room for their features.
            cast("np.ndarray", field.embedded.features)[part] = features[place]
            field.missing -= part.stop - part.start
        self._on_its_way = None

    def _finished(self) -> list[Embedded]:
        done = []
        while self._waiting and self._waiting[0].missing == 0:
            done.append(self._waiting.pop(0).embedded)
        return done


@dataclass
class _Waiting:
    """A field, and how many of its cells have no features yet."""

    embedded: Embedded
    missing: int


class _OnItsWay:
    """Features that the device is working on, copied to the host as soon as they are there."""

    def __init__(self, features: torch.Tensor, owners: list[tuple[_Waiting, slice, slice]]) -> None:
        self.owners = owners
        on_gpu = features.device.type == "cuda"
        # Only into pinned memory does a copy run beside the device's other work.
        self._host = torch.empty(features.shape, dtype=features.dtype, pin_memory=on_gpu)
        self._host.copy_(features, non_blocking=on_gpu)
        self._there = torch.cuda.Event() if on_gpu else None
        if self._there is not None:
            self._there.record()

    def arrive(self) -> np.ndarray:
        """Wait for the features, and for these only."""
        if self._there is not None:
            self._there.synchronize()
        return self._host.numpy()


def _texts(caught: list[warnings.WarningMessage]) -> tuple[str, ...]:
    texts = (one.message for one in caught if not issubclass(one.category, ScaleWarning))
    return tuple(map(str, texts))
