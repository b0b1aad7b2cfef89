"""A whole virtual screen on disk, field by field: images, labels, tables for hosts, and the truth.

Files are written whole, and recognized when they are there.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile

from cpcnn_core.errors import CancelledError, DiskFullError, SiteError
from cpcnn_core.io.atomic import remove_leftovers, write_atomically
from cpcnn_core.io.damaged_files import read_checked, write_checked
from cpcnn_core.io.disk import require_room
from cpcnn_core.io.spreadsheets import harmless_row, write_csv
from cpcnn_core.schema.columns import OBJECT_NUMBER, PLATE, SITE, STUDY, TREATMENT, WELL
from cpcnn_core.simulation.design import ScreenDesign
from cpcnn_core.simulation.field import SimulatedField, simulate_field
from cpcnn_core.simulation.layout import Well, lay_out
from cpcnn_core.simulation.parameters import PARAMETERS, PATTERNS, Parameter
from cpcnn_core.simulation.technique import CHANNELS, technique_of_plate, technique_of_well
from cpcnn_core.simulation.treatments import treatments_of

DESIGN = "design.json"


class FieldCounts(NamedTuple):
    """Fields that `simulate_screen` made, that were there, and that are still missing."""

    made: int
    found: int
    missing: int


def simulate_screen(
    design: ScreenDesign,
    out: str | Path,
    progress: Callable[[int, int], None] | None = None,
    cancel: Callable[[], bool] | None = None,
    shard: tuple[int, int] = (1, 1),
) -> FieldCounts:
    """Write a virtual screen, or what is missing of it.

    Parameters
    ----------
    design : ScreenDesign
    out : str or Path
        Folder for ``load_data.csv``, ``platemap.csv``, the images and label images it
        names, and the truth: ``treatments.csv``, ``parameters.csv``, ``truth_plates.csv``,
        ``truth_wells.csv``, and, when all fields are there, ``cells.csv``.
    progress : callable (done, total), optional
        Called after every field.
    cancel : callable () -> bool, optional
        Asked before every field.
    shard : (int, int)
        Which part of the fields, from 1, of how many.

    Returns
    -------
    FieldCounts

    Raises
    ------
    SiteError
        The folder holds another screen.
    CancelledError
        `cancel` said so; what is complete stays.

    Notes
    -----
    One field is in memory at a time. A field whose files are all there is left alone.

    Examples
    --------
    >>> import tempfile
    >>> design = ScreenDesign(plates=1, wells=6, treatments=2, size=64, cells=1)
    >>> with tempfile.TemporaryDirectory() as out:
    ...     simulate_screen(design, out, shard=(1, 3))
    ...     simulate_screen(design, out)
    FieldCounts(made=2, found=0, missing=4)
    FieldCounts(made=4, found=2, missing=0)
    """
    out = Path(out)
    _claim(design, out)
    require_room(out)
    write_tables(design, out)
    wells = list(lay_out(design))
    fields = [(well, site) for well in wells for site in range(1, design.sites + 1)]
    part, parts = shard
    mine = fields[part - 1 :: parts]
    made = 0
    for done, (well, site) in enumerate(mine, start=1):
        if cancel is not None and cancel():
            raise CancelledError("cancelled")
        if not is_there(out, well, site):
            field = simulate_field(design, well.plate, well.name, site)
            try:
                write_field(out, well, site, field, design.pixel_size)
            except DiskFullError as error:
                raise DiskFullError(
                    f"{done - 1} of {len(mine)} fields are done; {error}"
                ) from error
            made += 1
        if progress is not None:
            progress(done, len(mine))
    missing = sum(not is_there(out, *field) for field in fields)
    if not missing:
        collect_cells(wells, design.sites, out)
    return FieldCounts(made, len(mine) - made, missing)


def _claim(design: ScreenDesign, out: Path) -> None:
    """Write the design, or compare it with the one that is there."""
    path = out / DESIGN
    if not path.is_file():
        if (out / LOAD_DATA).exists():
            raise SiteError(
                f"{out} has a {LOAD_DATA} but no {DESIGN}: it is no virtual screen; choose a "
                "folder of its own"
            )
        write_checked(path, {"sha256": design.sha256, "design": design.values()}, indent=2)
        return
    there = _read_design(path)
    wanted = design.values()
    differing = [
        f"{name} is {there.get(name)!r} there and {wanted.get(name)!r} here"
        for name in sorted(wanted.keys() | there.keys())
        if there.get(name) != wanted.get(name)
    ]
    if differing:
        raise SiteError(
            f"{out} holds another screen: {', '.join(differing)}; choose another folder, or ask "
            "for that design"
        )


def _read_design(path: Path) -> dict[str, object]:
    try:
        # Designs from before there was a choice do not say it.
        return {"causes": ["classical"], **read_checked(path)["design"]}
    except (ValueError, KeyError, TypeError) as error:
        raise SiteError(
            f"{path} is damaged; remove the folder {path.parent} to simulate it again"
        ) from error


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
    >>> design = ScreenDesign(size=128, cells=3)
    >>> well = next(lay_out(design))
    >>> field = simulate_field(design, well.plate, well.name, 1)
    >>> write_field(Path("screen"), well, 1, field, design.pixel_size)
    >>> is_there(Path("screen"), well, 1)
    True
    """
    paths = [out / path for path in files_of(well, site)]
    for path in paths:
        remove_leftovers(path)
    *images, labels, nuclei, table = paths
    for path, plane in zip(images, field.image, strict=True):
        _write_image(path, plane, pixel_size)
    _write_image(labels, field.cell_labels.astype("uint16"), pixel_size)
    _write_image(nuclei, field.nucleus_labels.astype("uint16"), pixel_size)
    keys = {PLATE: well.plate, WELL: well.name, SITE: site}
    cells = field.cells.rename(columns={"number": OBJECT_NUMBER})
    for place, (name, value) in enumerate(keys.items()):
        cells.insert(place, name, value)
    cells.insert(4, TREATMENT, well.treatment)
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


LOAD_DATA, PLATE_MAP = "load_data.csv", "platemap.csv"
TREATMENTS, PARAMETER_TABLE = "treatments.csv", "parameters.csv"
PLATES_FILE, WELLS_FILE, CELLS_FILE = "truth_plates.csv", "truth_wells.csv", "cells.csv"


def write_tables(design: ScreenDesign, out: Path) -> None:
    """Write every table that the design alone determines.

    Parameters
    ----------
    design : ScreenDesign
    out : Path
        The screen's folder. ``load_data.csv`` names images relative to it.

    Examples
    --------
    >>> write_tables(ScreenDesign(), Path("screen"))
    >>> sorted(path.name for path in Path("screen").iterdir())
    ['load_data.csv', 'parameters.csv', 'platemap.csv', 'treatments.csv', 'truth_plates.csv',
     'truth_wells.csv']
    """
    wells = list(lay_out(design))
    plates = {well.plate: well for well in reversed(wells)}
    tables: dict[str, Iterable[Mapping[str, object]]] = {
        LOAD_DATA: (
            _images_of(well, site) for well in wells for site in range(1, design.sites + 1)
        ),
        PLATE_MAP: (_named(well) for well in wells),
        TREATMENTS: _treatments(design),
        PARAMETER_TABLE: (_described(parameter) for parameter in (*PARAMETERS, *PATTERNS)),
        PLATES_FILE: (
            {"Study": well.study_name, "Plate": name, **technique_of_plate(design, well)}
            for name, well in reversed(plates.items())
        ),
        WELLS_FILE: (
            {"Study": well.study_name, **_named(well)} | technique_of_well(design, well)
            for well in wells
        ),
    }
    for name, rows in tables.items():
        _write(out / name, rows)


def collect_cells(wells: Iterable[Well], sites: int, out: Path) -> None:
    """Put the tables of all fields' cells into one, a field at a time.

    Parameters
    ----------
    wells : iterable of Well
    sites : int
        Of every well.
    out : Path
        The screen's folder.

    Examples
    --------
    >>> import pandas as pd
    >>> wells = list(lay_out(ScreenDesign()))[:2]
    >>> for well in wells:
    ...     path = Path("screen", cells_file(well, 1))
    ...     path.parent.mkdir(parents=True, exist_ok=True)
    ...     pd.DataFrame({"Well": [well.name], "area_px": [400]}).to_csv(path, index=False)
    >>> collect_cells(wells, 1, Path("screen"))
    >>> pd.read_csv(Path("screen", CELLS_FILE))["Well"].tolist()
    ['A01', 'A02']
    """

    def write(path: Path) -> None:
        with path.open("w", encoding="utf-8") as collected:
            for number, (well, site) in enumerate(
                (well, site) for well in wells for site in range(1, sites + 1)
            ):
                with (out / cells_file(well, site)).open(encoding="utf-8") as part:
                    header = part.readline()
                    collected.write("" if number else header)
                    collected.writelines(part)

    write_atomically(out / CELLS_FILE, write)


def _images_of(well: Well, site: int) -> dict[str, object]:
    row: dict[str, object] = {
        STUDY: well.study_name,
        PLATE: well.plate,
        WELL: well.name,
        SITE: site,
    }
    for channel in CHANNELS:
        file = image_file(well, site, channel)
        row[f"FileName_{channel}"] = file.name
        row[f"PathName_{channel}"] = file.parent.as_posix()
    return row


def _named(well: Well) -> dict[str, object]:
    return {
        "Plate": well.plate,
        "Well": well.name,
        "Treatment": well.treatment,
        "Dose": well.dose,
    }


def _treatments(design: ScreenDesign) -> Iterable[dict[str, object]]:
    for one in treatments_of(design).values():
        moved = {
            parameter.name: design.effect_strength * one.effects.get(parameter.name, 0.0)
            for parameter in (*PARAMETERS, *PATTERNS)
        }
        yield {
            "Treatment": one.name,
            "Family": one.family,
            "Mechanism": one.mechanism,
            "Strength": one.strength,
            "HalfDose": one.half_dose,
            "AffectedFraction": one.fraction,
        } | moved


def _described(parameter: Parameter) -> dict[str, object]:
    return dataclasses.asdict(parameter)


def _write(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    rows = list(rows)

    def write(part: Path) -> None:
        with part.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            table.writeheader()
            table.writerows(harmless_row(row) for row in rows)

    write_atomically(path, write)
