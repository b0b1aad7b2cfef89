"""Photograph the dock widget on real images, for the guide and the README.

Needs a folder with the CPJUMP1 example images (``index.csv`` with a column for every channel and
one for the treatment) and a screen, Xvfb will do. Run it from the project's folder::

    xvfb-run -a -s "-screen 0 1600x1000x24" python docs/make_screenshots.py FOLDER
"""

import argparse
from pathlib import Path

import napari
import numpy as np
import pandas as pd
import tifffile
from napari.settings import get_settings
from PIL import Image
from qtpy.QtCore import QEventLoop, QTimer
from qtpy.QtWidgets import QApplication

from cpcnn_core.io.profile_files import write_profiles
from cpcnn_core.schema.profiles import Profiles
from napari_cpcnn.sample import COLORS
from napari_cpcnn.shared_state import LAYER
from napari_cpcnn.widget import CellPaintingWidget

IMAGES = Path(__file__).parent / "images"
MODEL, TREATMENT = "untrained-efficientnet-b0", "Metadata_Treatment"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=IMAGES)
    options = parser.parse_args()
    sites = pd.read_csv(options.folder / "index.csv", dtype=str)
    # How many nuclei were found is not what the pictures are for.
    get_settings().application.gui_notification_level = "error"
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1560, 940)
    widget = CellPaintingWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Cell Painting CNN", area="right")
    widget.embed.models.box.setCurrentIndex(widget.embed.models.box.findData(MODEL))
    for _, site in sites.iterrows():
        embed_site(viewer, widget, options.folder, site)
    shown = widget.state.cells.metadata[LAYER].iloc[-1]
    take(viewer, widget, widget.embed, options.out / "napari_embed.jpg")
    widget.map.color_by.setCurrentIndex(widget.map.color_by.findText("Treatment"))
    pick_group(widget, shown)
    take(viewer, widget, widget.map, options.out / "napari_map.jpg")
    library = options.out / "library.parquet"
    write_profiles(wells_of(widget.state.cells), library)
    widget.nearest.open(library)
    take(viewer, widget, widget.nearest, options.out / "napari_nearest.jpg", 2500)
    library.unlink()
    take(viewer, widget, widget.gallery, options.out / "napari_gallery.jpg")
    widget.phenotypes.name_selection("like the picked cell")
    take(viewer, widget, widget.phenotypes, options.out / "napari_phenotypes.jpg")
    viewer.theme = "light"
    take(viewer, widget, widget.map, options.out / "napari_light.jpg")
    widget.detach()
    viewer.close()


def embed_site(viewer, widget, folder, site):
    """Open one field, find its nuclei, embed them, and note the treatment."""
    viewer.layers.clear()
    for name, color in COLORS.items():
        image = tifffile.imread(folder / site[name])
        limits = np.percentile(image, [1, 99.8])
        viewer.add_image(
            image, name=name, colormap=color, blending="additive", contrast_limits=limits
        )
    loop = QEventLoop()
    widget.embed.nuclei.found.connect(loop.quit)
    widget.embed.nuclei.click()
    loop.exec()
    labels = viewer.layers["nuclei"]
    labels.name, labels.opacity = f"nuclei {site['treatment']}", 0.15
    widget.embed.finished.connect(loop.quit)
    widget.embed.run()
    loop.exec()
    mine = (widget.state.cells.metadata[LAYER] == labels.name).to_numpy()
    widget.state.set_metadata(TREATMENT, np.flatnonzero(mine), site["treatment"])


def pick_group(widget, layer):
    """Select the twenty cells of the shown field that are most like one of them."""
    cells = widget.state.cells
    mine = np.flatnonzero((cells.metadata[LAYER] == layer).to_numpy())
    unit = cells.features / np.linalg.norm(cells.features, axis=1, keepdims=True)
    centre = unit[mine].mean(axis=0)
    first = mine[np.argmin(unit[mine] @ centre)]
    nearest = mine[np.argsort(-(unit[mine] @ unit[first]))[:20]]
    mask = np.zeros(len(unit), bool)
    mask[nearest] = True
    widget.state.select(mask)
    widget.state.pick(first)


def wells_of(cells):
    """Make a small library for the picture: twelve parts of every field, as if they were wells."""
    metadata, features = [], []
    for name, rows in cells.metadata.groupby(TREATMENT):
        for well, part in enumerate(np.array_split(rows.index.to_numpy(), 12)):
            metadata.append(
                {"Metadata_Plate": "P1", "Metadata_Well": f"A{well + 1:02d}", TREATMENT: name}
            )
            features.append(np.median(cells.features[part], axis=0))
    provenance = {**cells.provenance, "controls": "Treatment == 'DMSO'"}
    return Profiles(np.array(features), pd.DataFrame(metadata), cells.feature_names, provenance)


def take(viewer, widget, panel, path, wait_ms=900):
    widget.tabs.setCurrentWidget(panel)
    loop = QEventLoop()
    QTimer.singleShot(wait_ms, loop.quit)
    loop.exec()
    QApplication.processEvents()
    pixels = viewer.window.screenshot(canvas_only=False, flash=False)
    Image.fromarray(pixels).convert("RGB").save(path, quality=92)


if __name__ == "__main__":
    main()
