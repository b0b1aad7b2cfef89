"""The tables of a virtual screen: what hosts read, and the truth behind the images."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path

from cpcnn_core.atomic import write_atomically
from cpcnn_core.simulation.design import ScreenDesign
from cpcnn_core.simulation.files import cells_file, image_file
from cpcnn_core.simulation.layout import Well, lay_out
from cpcnn_core.simulation.parameters import PARAMETERS, Parameter
from cpcnn_core.simulation.technique import CHANNELS, technique_of_plate, technique_of_well
from cpcnn_core.simulation.treatments import treatments_of
from cpcnn_core.spreadsheets import harmless_row

LOAD_DATA, PLATE_MAP = "load_data.csv", "platemap.csv"
TREATMENTS, PARAMETER_TABLE = "treatments.csv", "parameters.csv"
PLATES, WELLS, CELLS = "truth_plates.csv", "truth_wells.csv", "cells.csv"


def write_tables(design: ScreenDesign, out: Path) -> None:
    """Write every table that the design alone determines.

    Parameters
    ----------
    design : ScreenDesign
    out : Path
        The screen's folder. ``load_data.csv`` names images relative to it.

    Examples
    --------
    >>> write_tables(ScreenDesign(), Path("screen"))  # doctest: +SKIP
    """
    wells = list(lay_out(design))
    plates = {well.plate: well for well in reversed(wells)}
    tables: dict[str, Iterable[Mapping[str, object]]] = {
        LOAD_DATA: (
            _images_of(well, site) for well in wells for site in range(1, design.sites + 1)
        ),
        PLATE_MAP: (_named(well) for well in wells),
        TREATMENTS: _treatments(design),
        PARAMETER_TABLE: (_described(parameter) for parameter in PARAMETERS),
        PLATES: (
            {"Study": well.study_name, "Plate": name, **technique_of_plate(design, well)}
            for name, well in reversed(plates.items())
        ),
        WELLS: (
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
    >>> collect_cells(lay_out(design), design.sites, Path("screen"))  # doctest: +SKIP
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

    write_atomically(out / CELLS, write)


def _images_of(well: Well, site: int) -> dict[str, object]:
    row: dict[str, object] = {
        "Metadata_Study": well.study_name,
        "Metadata_Plate": well.plate,
        "Metadata_Well": well.name,
        "Metadata_Site": site,
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
        moved = {key: design.effect_strength * value for key, value in one.effects.items()}
        yield {
            "Treatment": one.name,
            "Mechanism": one.mechanism,
            "Strength": one.strength,
            "HalfDose": one.half_dose,
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
