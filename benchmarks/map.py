"""Milliseconds to draw, recolour and lasso a map of cells, medians.

The canvas of the napari plugin is shown in a window and draws as for a user: from the call
until the picture is on the screen. Cells are in nine clouds. ``PCA`` is the time until the
map of that many cells with 672 features is computed, in its thread. Run it from the
project's folder, with a screen or under ``xvfb-run``::

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/map.py --record
"""

import argparse
import importlib.metadata
import json
import statistics
import time
from pathlib import Path

import numpy as np
from machine import machine
from qtpy.QtWidgets import QApplication

from napari_cpcnn.cell_map.density_raster import inside_polygon, nearest_point
from napari_cpcnn.cell_map.map_canvas import MapCanvas
from napari_cpcnn.cell_map.maps import components_of

COUNTS, ROUNDS, SIZE, CORNERS = (10_000, 100_000, 1_000_000), 9, (700, 700), 200
PCA_COUNTS, FEATURES = (10_000, 100_000), 672


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="write map.json")
    options = parser.parse_args()
    app = QApplication([])
    canvas = MapCanvas()
    canvas.resize(*SIZE)
    canvas.show()
    result = {
        "milliseconds": {str(count): times_of(canvas, app, count) for count in COUNTS},
        "milliseconds of PCA": {str(count): pca_time(count) for count in PCA_COUNTS},
        "rounds, medians": ROUNDS,
        "pixels": list(SIZE),
        "corners of the lasso": CORNERS,
        "versions": {
            name: importlib.metadata.version(name) for name in ("numpy", "pyqtgraph", "matplotlib")
        },
        **machine(),
    }
    text = json.dumps(result, indent=2)
    print(text)
    if options.record:
        Path(__file__).with_suffix(".json").write_text(text + "\n")


def times_of(canvas, app, count):
    rng = np.random.default_rng(0)
    clouds = rng.normal(scale=3, size=(9, 2))[rng.integers(0, 9, count)]
    positions = (clouds + rng.normal(size=(count, 2))).astype(np.float32)
    colors = rng.integers(0, 256, (9, 3))[rng.integers(0, 9, count)].astype(np.uint8)
    turn = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    reach = 3 + np.sin(5 * turn)
    lasso = np.stack([reach * np.cos(turn), reach * np.sin(turn)], axis=1)

    pictures = []
    canvas.drawn.connect(lambda: pictures.append(1))

    def shown(change):
        def run():
            pictures.clear()
            change()
            while not pictures:
                app.processEvents()
            app.processEvents()

        return run

    selected = inside_polygon(positions, lasso)
    return {
        "new points": median(shown(lambda: canvas.set_points(positions))),
        "recolour": median(shown(lambda: canvas.set_colors(colors))),
        "select": median(shown(lambda: canvas.set_selected(selected))),
        "lasso": median(lambda: inside_polygon(positions, lasso)),
        "point at": median(lambda: nearest_point(positions, (0, 0), 0.1)),
    }


def pca_time(count):
    features = np.random.default_rng(0).normal(size=(count, FEATURES)).astype(np.float32)
    return median(lambda: components_of(features), rounds=3)


def median(run, rounds=ROUNDS):
    run()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - started))
    return round(statistics.median(times), 1)


if __name__ == "__main__":
    main()
