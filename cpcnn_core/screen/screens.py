"""What a screen is read from: a table and where its cells are, or a DeepProfiler project.

Only texts and numbers, so that it can be sent to another machine, which opens its own files.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from cpcnn_core.io.cellprofiler_objects import objects_from_cellprofiler
from cpcnn_core.io.deepprofiler import DeepProfilerProject, objects_from_locations, read_project
from cpcnn_core.io.label_images import objects_from_labels
from cpcnn_core.io.object_sources import ObjectSource


@dataclass(frozen=True)
class CellProfilerObjects:
    """Cells at the positions that CellProfiler measured.

    Attributes
    ----------
    file : str
        ``Nuclei.csv``, or a SQLite database.
    object_name : str
        Whose positions, in a database.

    Examples
    --------
    >>> CellProfilerObjects("Nuclei.csv").source()
    Traceback (most recent call last):
    cpcnn_core.errors.SiteError: there is no file Nuclei.csv
    """

    file: str
    object_name: str = "Nuclei"

    def source(self) -> ObjectSource:
        """Return what looks up the objects of a site."""
        return objects_from_cellprofiler(self.file, self.object_name)

    def absolute(self) -> CellProfilerObjects:
        """Return the same for another working directory."""
        return dataclasses.replace(self, file=absolute_path(self.file))


@dataclass(frozen=True)
class LabelImages:
    """Cells with outlines, from a label image of every site.

    Attributes
    ----------
    folder : str
        Or a file name with ``{Plate}``, ``{Well}`` and ``{Site}``.
    mask : bool
        Mask neighbouring cells in crops.
    """

    folder: str
    mask: bool = False

    def source(self) -> ObjectSource:
        """Return what looks up the objects of a site."""
        return objects_from_labels(self.folder)

    def absolute(self) -> LabelImages:
        """Return the same for another working directory."""
        return dataclasses.replace(self, folder=absolute_path(self.folder))


@dataclass(frozen=True)
class LocationFiles:
    """Cells at the positions in DeepProfiler's location files.

    Attributes
    ----------
    folder : str
        As ``inputs/locations``.
    """

    folder: str

    def source(self) -> ObjectSource:
        """Return what looks up the objects of a site."""
        return objects_from_locations(self.folder)

    def absolute(self) -> LocationFiles:
        """Return the same for another working directory."""
        return dataclasses.replace(self, folder=absolute_path(self.folder))


Cells = CellProfilerObjects | LabelImages | LocationFiles


@dataclass(frozen=True)
class LoadDataScreen:
    """A screen of CellProfiler's LoadData table.

    Attributes
    ----------
    table : str
    cells : Cells
    channels : tuple of (channel, image)
        See `cpcnn_core.io.load_data.read_load_data`. A model that takes any channels is given
        these, in this order.
    um_per_px : float, optional
        Micrometres per pixel of all images; see `cpcnn_core.io.sites.with_scale`.

    Examples
    --------
    >>> LoadDataScreen("load_data.csv", LabelImages("labels", mask=True)).mask
    True
    """

    table: str
    cells: Cells
    channels: tuple[tuple[str, str], ...] = ()
    um_per_px: float | None = None

    @property
    def mask(self) -> bool:
        """Whether neighbouring cells are masked in crops."""
        return isinstance(self.cells, LabelImages) and self.cells.mask

    def absolute(self) -> LoadDataScreen:
        """Return the same for another working directory."""
        table, cells = absolute_path(self.table), self.cells.absolute()
        return dataclasses.replace(self, table=table, cells=cells)


@dataclass(frozen=True)
class DeepProfilerScreen:
    """A screen of a DeepProfiler project, which itself says where its cells are.

    Attributes
    ----------
    folder : str
    config : str, optional
        Its configuration, where there are several.
    experiment : str, optional
        Its experiment, where there are several.
    um_per_px : float, optional
        As of `LoadDataScreen`.

    Examples
    --------
    >>> DeepProfilerScreen("nowhere").project()
    Traceback (most recent call last):
    cpcnn_core.errors.SiteError: nowhere is no DeepProfiler project: it has no folder inputs...
    """

    folder: str
    config: str | None = None
    experiment: str | None = None
    um_per_px: float | None = None

    def project(self) -> DeepProfilerProject:
        """Read the configuration."""
        return read_project(self.folder, self.config)

    def absolute(self) -> DeepProfilerScreen:
        """Return the same for another working directory."""
        return dataclasses.replace(self, folder=absolute_path(self.folder))


Screen = LoadDataScreen | DeepProfilerScreen


def absolute_path(path: str) -> str:
    """Return the same path for another working directory.

    Examples
    --------
    >>> Path(absolute_path("labels")).is_absolute()
    True
    """
    return str(Path(path).absolute())
