"""How long napari's window is frozen while the dock widget works, milliseconds.

A timer asks the window's thread for a sign of life every 5 ms; written down is the longest wait
between two signs while a real viewer with the widget embeds a field (1080 x 1080, about 90 cells),
makes a map of 50,000 cells, a UMAP of them and clusters. Then the time until a Labels layer of
1080 x 1080 shows another selection. Under Xvfb, software draws the window: then whatever changes
in it, a progress bar too, has the whole canvas composed again. How long that takes alone is
written down beside the rest, and embedding once more with the canvas hidden.
Run it from the project's folder, with a screen or under ``xvfb-run``::

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/window.py --record
"""

import argparse
import gc
import importlib.metadata
import json
import statistics
import time
from pathlib import Path

import napari
import numpy as np
import pandas as pd
from machine import machine
from qtpy.QtCore import QEventLoop, QTimer
from qtpy.QtWidgets import QApplication

from cpcnn_core.schema.profiles import Profiles
from cpcnn_core.simulation.design import ScreenDesign
from cpcnn_core.simulation.field import simulate_field
from napari_cpcnn.cell_map.background_maps import CLUSTERS, PCA, UMAP
from napari_cpcnn.layer_links import OVERLAY
from napari_cpcnn.sample import COLORS
from napari_cpcnn.widget import CellPaintingWidget

CELLS, FEATURES, GROUPS, TICK_MS, ROUNDS = 50_000, 672, 9, 5, 9
DESIGN = ScreenDesign(plates=1, wells=6, treatments=1, size=1080, cells=90)
MODEL = "untrained-efficientnet-b0"


class Signs:
    """The longest wait between two signs of life, in ms, since it was last asked.

    Beside it, how long Python's garbage collector ran in one go: it looks through all that
    napari holds, whenever enough new objects were made, by whomever.
    """

    def __init__(self):
        self.collecting = {}
        self._worst = self._collected = self._collects = 0
        self._last = time.perf_counter()
        gc.callbacks.append(self._collect)
        self._timer = QTimer(interval=TICK_MS)
        self._timer.timeout.connect(self._sign)
        self._timer.start()

    def longest(self, what=None):
        now = time.perf_counter()
        # What lasts until now has given no sign yet.
        found = max(self._worst, now - self._last)
        if what is not None:
            self.collecting[what] = round(1000 * self._collected, 1)
        self._last, self._worst, self._collected = now, 0, 0
        return round(1000 * found, 1)

    def _collect(self, phase, _):
        now = time.perf_counter()
        if phase == "start":
            self._collects = now
        else:
            self._collected = max(self._collected, now - self._collects)

    def _sign(self):
        now = time.perf_counter()
        self._worst, self._last = max(self._worst, now - self._last), now


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="write window.json")
    options = parser.parse_args()
    viewer = napari.Viewer(show=True)
    widget = CellPaintingWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Cell Painting CNN")
    field = simulate_field(DESIGN, "S1P1", "A01", 1)
    for name, plane in zip(COLORS, field.image, strict=True):
        viewer.add_image(plane, name=name, colormap=COLORS[name], blending="additive")
    viewer.add_labels(field.nucleus_labels, name="nuclei")
    widget.embed.models.box.setCurrentIndex(widget.embed.models.box.findData(MODEL))
    wait(2000)
    signs, still = Signs(), {}
    wait(2000)
    still["nothing to do"] = signs.longest("nothing to do")
    # Drawing, by software here, comes between any two signs of life.
    window = viewer.window._qt_window  # noqa: SLF001  (no public way)
    canvas = viewer.window._qt_viewer.canvas.native  # noqa: SLF001
    for _ in range(ROUNDS):
        window.update()
        canvas.update()
        wait(100)
    still["the window drawn again, nothing else"] = signs.longest(
        "the window drawn again, nothing else"
    )
    still |= embed(widget, signs, "")
    canvas.hide()
    still |= embed(widget, signs, ", the canvas hidden")
    canvas.show()
    recolor = recolor_times(viewer, widget)
    widget.map.show()
    widget.tabs.setCurrentWidget(widget.map)
    cells = many_cells()
    signs.longest()
    widget.state.set_cells(cells)
    still["show 50,000 cells"] = signs.longest("show 50,000 cells")
    until(lambda: widget.map.making.map_of(PCA) is not None)
    still["PCA of 50,000 cells"] = signs.longest("PCA of 50,000 cells")
    started = time.perf_counter()
    widget.map.method.setCurrentText(UMAP)
    until(lambda: widget.map.making.map_of(UMAP) is not None)
    umap_s = round(time.perf_counter() - started, 1)
    still["UMAP of 50,000 cells"] = signs.longest("UMAP of 50,000 cells")
    widget.map.making.ask(CLUSTERS, 8)
    until(lambda: not widget.map.making.running(CLUSTERS))
    still["8 clusters of 50,000 cells"] = signs.longest("8 clusters of 50,000 cells")
    result = {
        "milliseconds the window stood still, at most": still,
        "of which Python's garbage collector, at most": signs.collecting,
        "seconds of the UMAP": umap_s,
        "milliseconds until a Labels layer of 1080 x 1080 shows a selection": recolor,
        "rounds, medians": ROUNDS,
        "versions": {
            name: importlib.metadata.version(name)
            for name in ("napari", "numpy", "umap-learn", "scikit-learn", "pyqtgraph")
        },
        **machine(),
    }
    text = json.dumps(result, indent=2)
    print(text)
    if options.record:
        Path(__file__).with_suffix(".json").write_text(text + "\n")
    widget.detach()
    viewer.close()


def embed(widget, signs, how):
    """Embed twice: with the start of the network's process, and when it is there."""
    widget.embed.stop()
    wait(1000)
    signs.longest()
    still = {}
    for name in ("embed, the network's start included", "embed again"):
        widget.embed.run()
        until(lambda: not widget.embed.running)
        still[name + how] = signs.longest(name + how)
    return still


def recolor_times(viewer, widget):
    """Select other cells, and wait until the viewer has drawn them."""
    random, times = np.random.default_rng(0), []
    cells = len(widget.state.cells.metadata)
    happened = set()
    canvas = viewer.window._qt_viewer.canvas._scene_canvas  # noqa: SLF001  (no public way)
    canvas.events.draw.connect(lambda _: happened.add("drawn") if "new" in happened else None)
    widget.state.select(random.random(cells) < 0.5)
    wait(500)
    viewer.layers[OVERLAY].events.set_data.connect(lambda _: happened.add("new"))
    for _ in range(ROUNDS):
        happened.clear()
        started = time.perf_counter()
        widget.state.select(random.random(cells) < 0.5)
        until(lambda: "drawn" in happened)
        times.append(1000 * (time.perf_counter() - started))
        wait(100)
    return round(statistics.median(times), 1)


def many_cells():
    random = np.random.default_rng(0)
    group = random.integers(0, GROUPS, CELLS)
    centers = random.normal(scale=3, size=(GROUPS, FEATURES))
    features = (centers[group] + random.normal(size=(CELLS, FEATURES))).astype(np.float32)
    metadata = pd.DataFrame({"Metadata_Treatment": [f"t{n}" for n in group]})
    return Profiles(features, metadata, [f"Cells_CPCNN_{n:03d}" for n in range(FEATURES)])


def until(true):
    while not true():
        QApplication.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 50)
        time.sleep(0.001)


def wait(ms):
    loop = QEventLoop()
    QTimer.singleShot(ms, loop.quit)
    loop.exec()


if __name__ == "__main__":
    main()
