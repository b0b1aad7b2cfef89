"""Icons of the map's tools, drawn in the colour of the text."""

from __future__ import annotations

from qtpy.QtGui import QIcon, QPixmap

from napari_cpcnn.cell_map.colors import Rgb
from napari_cpcnn.cell_map.map_canvas import LASSO, PAN, RECTANGLE

# Drawn in a box of 16 by 16.
ICONS = {
    PAN: "M8 1v14M1 8h14M6 3l2-2 2 2M6 13l2 2 2-2M3 6l-2 2 2 2M13 6l2 2-2 2",
    LASSO: "M5 11C0 9 2 2 9 2s8 7 1 9c-3 .8-6-.5-6 1.5s2 2.5 1 3",
    RECTANGLE: "M2 4h2M6 4h4M12 4h2M2 12h2M6 12h4M12 12h2M2 4v2M2 10v2M14 4v2M14 10v2",
    "undo": "M6 2L2 6l4 4M2 6h8a4 4 0 0 1 0 8H6",
    "redo": "M10 2l4 4-4 4M14 6H6a4 4 0 0 0 0 8h4",
    "clear": "M3 3l10 10M13 3L3 13",
}
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64" viewBox="0 0 16 16">'
    '<path d="{}" fill="none" stroke="{}" stroke-width="1.4" stroke-linejoin="round"/></svg>'
)


def icon(name: str, ink: Rgb) -> QIcon:
    """Return an icon of `ICONS`.

    Examples
    --------
    >>> icon("undo", (240, 241, 242))  # doctest: +SKIP
    """
    picture = QPixmap()
    color = "#{:02x}{:02x}{:02x}".format(*ink)
    picture.loadFromData(SVG.format(ICONS[name], color).encode(), "SVG")
    return QIcon(picture)
