"""Make a DeepProfiler project's compressed images, those that are not there yet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from cpcnn_core.atomic import write_atomically
from cpcnn_core.compression import ChannelStatistics, compress_plane
from cpcnn_core.readers.deepprofiler import DeepProfilerProject, read_sites
from cpcnn_core.readers.images import read_plane
from cpcnn_core.readers.sites import Site


def prepare_project(
    project: DeepProfilerProject, progress: Callable[[Path], None] | None = None
) -> list[Path]:
    """Write the 8-bit images of every plate that lacks some.

    Parameters
    ----------
    project : DeepProfilerProject
        With ``compressed`` set, or not: that decides only what is read later.
    progress : callable (Path), optional
        Called after every image that was written.

    Returns
    -------
    list of Path
        The images written, under ``outputs/compressed/images``.

    Raises
    ------
    ImageError
        An image that cannot be read or differs in size from its plate's others.

    Examples
    --------
    >>> prepare_project(read_project("project"))  # doctest: +SKIP
    """
    (project.root / "outputs" / "compressed" / "images").mkdir(parents=True, exist_ok=True)
    originals = read_sites(project.with_compression(on=False))
    compressed = read_sites(project.with_compression(on=True))
    plates: dict[str, list[tuple[Site, Site]]] = {}
    for pair in zip(originals, compressed, strict=True):
        plates.setdefault(pair[0].metadata["Plate"], []).append(pair)
    written = []
    for sites in plates.values():
        for channel in project.channels:
            files = [(o.images[channel].path, c.images[channel].path) for o, c in sites]
            if all(target.is_file() for _, target in files):
                continue
            statistics = ChannelStatistics(project.bits, project.down_scale)
            for source, _ in files:
                statistics.add(read_plane(source))
            illumination = statistics.illumination(project.median_px)
            upper = statistics.upper()
            for source, target in files:
                _write_png(target, compress_plane(read_plane(source), illumination, upper))
                written.append(target)
                if progress is not None:
                    progress(target)
    return written


def _write_png(path: Path, plane: np.ndarray) -> None:
    from PIL import Image

    write_atomically(path, lambda temporary: Image.fromarray(plane).save(temporary))
