"""A whole virtual screen on disk, field by field."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from cpcnn_core.damage import read_checked, write_checked
from cpcnn_core.disk import require_room
from cpcnn_core.errors import CancelledError, DiskFullError, SiteError
from cpcnn_core.simulation.design import ScreenDesign
from cpcnn_core.simulation.field import simulate_field
from cpcnn_core.simulation.files import is_there, write_field
from cpcnn_core.simulation.layout import lay_out
from cpcnn_core.simulation.truth import LOAD_DATA, collect_cells, write_tables

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
    asked = design.values()
    differing = [
        f"{name} is {there.get(name)!r} there and {asked.get(name)!r} here"
        for name in sorted(asked.keys() | there.keys())
        if there.get(name) != asked.get(name)
    ]
    if differing:
        raise SiteError(
            f"{out} holds another screen: {', '.join(differing)}; choose another folder, or ask "
            "for that design"
        )


def _read_design(path: Path) -> dict[str, object]:
    try:
        return dict(read_checked(path)["design"])
    except (ValueError, KeyError, TypeError) as error:
        raise SiteError(
            f"{path} is damaged; remove the folder {path.parent} to simulate it again"
        ) from error
