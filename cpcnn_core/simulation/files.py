"""The files of a virtual screen's fields: written whole, and recognised when they are there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from cpcnn_core.atomic import remove_leftovers, write_atomically
from cpcnn_core.simulation.field import SimulatedField
from cpcnn_core.simulation.layout import Well
from cpcnn_core.simulation.technique import CHANNELS
from cpcnn_core.spreadsheets import write_csv

IMAGES, LABELS, NUCLEI, CELLS = "images", "labels", "nuclei", "cells"


def image_file(well: Well, site: int, channel: str) -> Path:
    """Return the path of a channel's image in the screen's folder.

    Examples
    --------
    >>> image_file(Well(0, "S1P1", "A01", 0, 0, "DMSO", 0.0), 1, "ER").as_posix()
    'images/S1P1/A01_1_ER.tif'
    """
    return Path(IMAGES, well.plate, f"{well.name}_{site}_{channel}.tif")


def label_file(folder: str, well: Well, site: int) -> Path:
    """Return the path of a label image, with the name that ``cpcnn embed --labels`` looks for.

    Examples
    --------
    >>> label_file(NUCLEI, Well(0, "S1P1", "A01", 0, 0, "DMSO", 0.0), 1).as_posix()
    'nuclei/S1P1_A01_1.tif'
    """
    return Path(folder, f"{well.plate}_{well.name}_{site}.tif")


def cells_file(well: Well, site: int) -> Path:
    """Return the path of the table of a field's cells in the screen's folder.

    Examples
    --------
    >>> cells_file(Well(0, "S1P1", "A01", 0, 0, "DMSO", 0.0), 1).as_posix()
    'cells/S1P1/A01_1.csv'
    """
    return Path(CELLS, well.plate, f"{well.name}_{site}.csv")


def files_of(well: Well, site: int) -> list[Path]:
    """Return all files of a field, in the order in which they are written.

    Examples
    --------
    >>> well = Well(0, "S1P1", "A01", 0, 0, "DMSO", 0.0)
    >>> [path.as_posix() for path in files_of(well, 1)][-2:]
    ['nuclei/S1P1_A01_1.tif', 'cells/S1P1/A01_1.csv']
    """
    images = [image_file(well, site, channel) for channel in CHANNELS]
    labels = [label_file(folder, well, site) for folder in (LABELS, NUCLEI)]
    return [*images, *labels, cells_file(well, site)]


def is_there(out: Path, well: Well, site: int) -> bool:
    """Say whether a field is complete.

    Examples
    --------
    >>> well = Well(0, "S1P1", "A01", 0, 0, "DMSO", 0.0)
    >>> is_there(Path("nowhere"), well, 1)
    False
    """
    return all((out / path).is_file() for path in files_of(well, site))


def write_field(out: Path, well: Well, site: int, field: SimulatedField, pixel_size: float) -> None:
    """Write the images, label images and table of one field.

    Parameters
    ----------
    out : Path
        The screen's folder.
    well : Well
    site : int
    field : SimulatedField
    pixel_size : float
        Micrometres per pixel, which the images tell.

    Examples
    --------
    >>> write_field(Path("screen"), well, 1, field, 0.6)  # doctest: +SKIP
    """
    paths = [out / path for path in files_of(well, site)]
    for path in paths:
        remove_leftovers(path)
    *images, labels, nuclei, table = paths
    for path, plane in zip(images, field.image, strict=True):
        _write_image(path, plane, pixel_size)
    _write_image(labels, field.cell_labels.astype("uint16"), pixel_size)
    _write_image(nuclei, field.nucleus_labels.astype("uint16"), pixel_size)
    keys = {"Plate": well.plate, "Well": well.name, "Site": site}
    cells = field.cells.rename(columns={"number": "Metadata_ObjectNumber"})
    for place, (name, value) in enumerate(keys.items()):
        cells.insert(place, f"Metadata_{name}", value)
    cells.insert(4, "Metadata_Treatment", well.treatment)
    write_atomically(table, lambda path: write_csv(cells, path, "%.6g"))


def _write_image(path: Path, plane: np.ndarray, pixel_size: float) -> None:
    # Pixels per centimetre.
    resolution = (1e4 / pixel_size, 1e4 / pixel_size)
    write_atomically(
        path,
        lambda part: tifffile.imwrite(
            part,
            plane,
            compression="zlib",
            predictor=True,
            photometric="minisblack",
            resolution=resolution,
            resolutionunit="CENTIMETER",
            metadata=None,
        ),
    )
