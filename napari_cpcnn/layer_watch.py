"""Tells when layers come, go, or get another name."""

from __future__ import annotations

from collections.abc import Callable

from napari.components import LayerList
from napari.layers import Layer


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
