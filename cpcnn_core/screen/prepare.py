"""Make a DeepProfiler project's compressed images: those that are not there, or are of others."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cpcnn_core.errors import ImageError
from cpcnn_core.imaging.compression import ChannelStatistics, compress_plane
from cpcnn_core.io.atomic import remove_leftovers, write_atomically
from cpcnn_core.io.deepprofiler import DeepProfilerProject
from cpcnn_core.io.disk import require_room
from cpcnn_core.io.sites import read_stored
from cpcnn_core.screen.compressed_images import (
    PlateChannel,
    examine_channel,
    images_folder,
    name_of,
    plate_channels,
    record_file,
    said_of_channels,
    write_record,
)
from cpcnn_core.screen.examination import DONE, TO_DO
from cpcnn_core.screen.fingerprint import image_state, plane_hash


def prepare_project(
    project: DeepProfilerProject,
    progress: Callable[[Path], None] | None = None,
    *,
    force: bool = False,
    tell: Callable[[str], None] | None = None,
) -> list[Path]:
    """Write the 8-bit images of every channel of every plate that lacks some, or has others.

    Parameters
    ----------
    project : DeepProfilerProject
        With ``compressed`` set, or not: that decides only what is read later.
    progress : callable (Path), optional
        Called after every image that was written.
    force : bool
        Write all of them.
    tell : callable (str), optional
        Told how many channels are made again, and why.

    Returns
    -------
    list of Path
        The images written, under ``outputs/compressed/images``.

    Raises
    ------
    ImageError
        An image that cannot be read, differs in size from its plate's others, or changes
        while it is read.

    Examples
    --------
    >>> [path.name for path in prepare_project(project)][:2]
    ['A01_s1_DNA.png', 'A01_s2_DNA.png']
    >>> prepare_project(project)
    []
    """
    require_room(images_folder(project))
    written = []
    all_channels = plate_channels(project)
    for one in all_channels:
        moment = time.time_ns()
        states, doubted = examine_channel(project, one, force=force)
        if one.state == TO_DO:
            written += _make(project, one, progress)
        elif one.state == DONE and doubted:
            write_record(project, one, states, moment)
    if tell is not None:
        for line in said_of_channels(all_channels):
            tell(line)
    return written


def _make(
    project: DeepProfilerProject, one: PlateChannel, progress: Callable[[Path], None] | None
) -> list[Path]:
    record = record_file(project, one)
    # No record may remain beside images of something else, not even after a kill.
    record.unlink(missing_ok=True)
    moment = time.time_ns()
    states = {name_of(project, target): image_state(image) for image, target in one.files}
    statistics = ChannelStatistics(project.bits, project.down_scale)
    for image, target in one.files:
        plane = read_stored(image)
        states[name_of(project, target)]["pixels"] = plane_hash(plane)
        statistics.add(plane)
    illumination = statistics.illumination(project.median_px)
    upper = statistics.upper()
    for image, target in one.files:
        plane = read_stored(image)
        if plane_hash(plane) != states[name_of(project, target)]["pixels"]:
            raise ImageError(f"{image.path} changed while its plate was compressed; start again")
        _write_png(target, compress_plane(plane, illumination, upper))
        remove_leftovers(target)
        if progress is not None:
            progress(target)
    write_record(project, one, states, moment)
    return [target for _, target in one.files]


def _write_png(path: Path, plane: np.ndarray) -> None:
    from PIL import Image

    write_atomically(path, lambda temporary: Image.fromarray(plane).save(temporary))
