"""A DeepProfiler project as it lies: its users switch by changing one word.

Layout (REFERENCE c)::

    inputs/config/*.json                          which channels, box size, masks, compression
    inputs/metadata/index.csv                     one row per site, a column per channel
    inputs/metadata/outlines.csv                  label images, when masks are used
    inputs/images/, inputs/outlines/
    inputs/locations/<plate>/<well>-<site>-Nuclei.csv
    outputs/compressed/images/                    read instead when compression is on
    outputs/<experiment>/checkpoint/              the Keras weights
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cpcnn_core.errors import ImageError, SiteError
from cpcnn_core.readers.images import read_plane
from cpcnn_core.readers.locations import read_locations
from cpcnn_core.readers.sites import ImageFile, Objects, Site, refuse_duplicates
from cpcnn_core.readers.tables import read_text_table

# The reference replaces every such string of the index, with a dot that matches anything.
_TIFF = re.compile(r".tiff?\b")


@dataclass(frozen=True)
class DeepProfilerProject:
    """What a project's configuration says that matters for embedding.

    Attributes
    ----------
    root : Path
    channels : tuple of str
        In the order of the configuration; images are taken by name.
    size : (height, width) in pixels, or None where the configuration names none
    box_px : int
        Side of the crops.
    mask_objects : bool
    compressed : bool
        Whether the 8-bit images under ``outputs/compressed`` are read.
    feature_layer, checkpoint, model_name : str
    bits, down_scale, median_px : int
        How compressed images are made; see `cpcnn_core.compression`.

    Examples
    --------
    >>> read_project("nowhere")
    Traceback (most recent call last):
    cpcnn_core.errors.SiteError: nowhere is no DeepProfiler project: it has no folder inputs...
    """

    root: Path
    channels: tuple[str, ...]
    size: tuple[int, int] | None
    box_px: int
    mask_objects: bool
    compressed: bool
    feature_layer: str
    checkpoint: str
    model_name: str
    bits: int
    down_scale: int
    median_px: int

    def with_compression(self, *, on: bool) -> DeepProfilerProject:
        """Return the same project, reading its compressed or its original images."""
        return dataclasses.replace(self, compressed=on)


def read_project(root: str | Path, config: str | Path | None = None) -> DeepProfilerProject:
    """Read a project's configuration.

    Parameters
    ----------
    root : str or Path
    config : str or Path, optional
        Configuration file, as a path or a name in ``inputs/config``. Default: the
        only one there.

    Returns
    -------
    DeepProfilerProject

    Raises
    ------
    SiteError
        No project, several configurations, or an entry that is missing.

    Examples
    --------
    >>> read_project("nowhere")
    Traceback (most recent call last):
    cpcnn_core.errors.SiteError: nowhere is no DeepProfiler project: it has no folder inputs...
    """
    root = Path(root)
    if not (root / "inputs").is_dir():
        raise SiteError(f"{root} is no DeepProfiler project: it has no folder inputs")
    path = _config_path(root / "inputs" / "config", config)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        images = values["dataset"]["images"]
        locations = values["dataset"]["locations"]
        prepare, profile = values.get("prepare", {}), values.get("profile", {})
        correction = prepare.get("illumination_correction", {})
        scaling = prepare.get("compression", {}).get("scaling_factor", 1.0)
        if scaling != 1.0:
            raise SiteError(f"{path} asks for images scaled by {scaling}; only 1.0 is supported")
        mode = locations.get("mode", "single_cells")
        if mode != "single_cells":
            raise SiteError(f"{path} asks for the mode {mode}; only single_cells is supported")
        size = (int(images["height"]), int(images["width"])) if "height" in images else None
        return DeepProfilerProject(
            root=root,
            channels=tuple(images["channels"]),
            size=size,
            box_px=int(locations.get("box_size", 128)),
            mask_objects=bool(locations.get("mask_objects", False)),
            compressed=bool(prepare.get("compression", {}).get("implement", False)),
            feature_layer=profile.get("feature_layer", "block6a_activation"),
            checkpoint=profile.get("checkpoint", ""),
            model_name=values.get("train", {}).get("model", {}).get("name", ""),
            bits=int(images.get("bits", 16)),
            down_scale=int(correction.get("down_scale_factor", 4)),
            median_px=int(correction.get("median_filter_size", 24)),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, SiteError):
            raise
        raise SiteError(f"{path} is no configuration of DeepProfiler: {error!r}") from error


def read_sites(project: DeepProfilerProject) -> list[Site]:
    """List the sites of a project's index, in its order.

    Parameters
    ----------
    project : DeepProfilerProject

    Returns
    -------
    list of Site
        Metadata: every column of the index but the channels' files; ``Metadata_``
        is cut off.

    Raises
    ------
    SiteError
        A table that is missing, lacks a column, or has a site twice.

    Examples
    --------
    >>> read_sites(read_project("project"))  # doctest: +SKIP
    """
    index_path = project.root / "inputs" / "metadata" / "index.csv"
    required = ["Metadata_Plate", "Metadata_Well", "Metadata_Site", *project.channels]
    index = read_text_table(index_path, required)
    if project.compressed and not (project.root / "outputs" / "compressed" / "images").is_dir():
        raise SiteError(
            f"{project.root} is set to use compressed images and has none yet; make them with: "
            f"cpcnn prepare {project.root}"
        )
    outlines = _read_outlines(project) if project.mask_objects else {}
    rows = enumerate(index.to_dict("records"), start=1)
    sites = [_site(project, number, row, outlines) for number, row in rows]
    refuse_duplicates(sites, index_path)
    return sites


def _site(
    project: DeepProfilerProject,
    number: int,
    row: dict[str, str],
    outlines: dict[tuple[str, ...], Path],
) -> Site:
    metadata = {
        name.removeprefix("Metadata_"): value
        for name, value in row.items()
        if name not in project.channels
    }
    key = tuple(metadata[name] for name in ("Plate", "Well", "Site"))
    images = {name: ImageFile(_image_path(project, row[name])) for name in project.channels}
    return Site(
        metadata, images, lambda: _read_objects(project, key, outlines), number, project.size
    )


def _image_path(project: DeepProfilerProject, entry: str) -> Path:
    if project.compressed:
        return project.root / "outputs" / "compressed" / "images" / _TIFF.sub(".png", entry)
    # An absolute path wins over the folder before it, as in the reference.
    return project.root / "inputs" / "images" / entry


def _read_objects(
    project: DeepProfilerProject, key: tuple[str, ...], outlines: dict[tuple[str, ...], Path]
) -> Objects | None:
    plate, well, site = key
    path = project.root / "inputs" / "locations" / plate / f"{well}-{site}-Nuclei.csv"
    objects = read_locations(path)
    if objects is None or not project.mask_objects:
        return objects
    if key not in outlines:
        raise ImageError(f"inputs/metadata/outlines.csv names no outlines of site {'/'.join(key)}")
    labels = _label_regions(read_plane(outlines[key]))
    return objects._replace(labels=labels, numbers_are_labels=False)


def _label_regions(outlines: np.ndarray) -> np.ndarray:
    """Give every region of equal value, 8-connected, a number; value 1 is background."""
    from skimage.measure import label

    return label(outlines, background=1, connectivity=2)


def _read_outlines(project: DeepProfilerProject) -> dict[tuple[str, ...], Path]:
    columns = ["Metadata_Plate", "Metadata_Well", "Metadata_Site", "Outlines"]
    table = read_text_table(project.root / "inputs" / "metadata" / "outlines.csv", columns)
    folder = project.root / "inputs" / "outlines"
    return {tuple(row[:3]): folder / row[3] for row in table[columns].itertuples(index=False)}


def _config_path(folder: Path, config: str | Path | None) -> Path:
    if config is not None:
        named = next((p for p in (folder / config, Path(config)) if p.is_file()), None)
        if named is None:
            raise SiteError(f"there is no configuration {config}, nor one of that name in {folder}")
        return named
    found: Sequence[Path] = sorted(folder.glob("*.json"))
    if len(found) != 1:
        raise SiteError(
            f"expected one configuration in {folder}, got {len(found)}"
            + (f" ({', '.join(p.name for p in found)}); name one with --config" if found else "")
        )
    return found[0]
