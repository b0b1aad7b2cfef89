"""Records of what a DeepProfiler project's compressed images are made from, and their check.

For every channel of every plate, a record is kept of what its images were made from::

    outputs/compressed/images/                            the images, where DeepProfiler has them
    outputs/compressed/made_from/<plate>/<channel>.json   the record

All images of a channel of a plate are compressed by what all of them say together: where one
changed, all are made again.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cpcnn_core
from cpcnn_core.errors import some_of
from cpcnn_core.io.atomic import remove_leftovers
from cpcnn_core.io.damaged_files import read_checked, write_checked
from cpcnn_core.io.deepprofiler import DeepProfilerProject, read_sites
from cpcnn_core.io.sites import ImageFile, read_stored
from cpcnn_core.screen.examination import DONE, FORCED, TO_DO
from cpcnn_core.screen.fingerprint import (
    State,
    image_state,
    is_as_recorded,
    may_be_as_recorded,
    plane_hash,
)

FORMAT_VERSION = 1
KEPT = "kept"
UNRECORDED = "nothing says what they were made from"


@dataclass
class PlateChannel:
    """One channel of one plate.

    Attributes
    ----------
    plate, channel : str
    files : list of (ImageFile, Path)
        Every original, and the compressed image it becomes.
    state : str
        `DONE`, `TO_DO`, or `KEPT`: some original cannot be read, all compressed images are
        there, and nothing is known to differ.
    redone : str
        Why they are made again; empty for the first time.
    """

    plate: str
    channel: str
    files: list[tuple[ImageFile, Path]] = field(default_factory=list)
    state: str = TO_DO
    redone: str = ""

    def __str__(self) -> str:
        return f"{self.plate} {self.channel}"


def examine_project(project: DeepProfilerProject, *, force: bool = False) -> list[PlateChannel]:
    """Say what there is to make, and why; nothing is written.

    Examples
    --------
    >>> check_channels(examine_project(project))
    '5 channels of plates: 5 to do (no images yet)'
    """
    found = plate_channels(project)
    for one in found:
        examine_channel(project, one, force=force)
    return found


def said_of_channels(channels: Sequence[PlateChannel]) -> list[str]:
    """Say which channels of plates are made again or stay as they are, and why.

    Examples
    --------
    >>> said_of_channels([PlateChannel("P1", "DNA", redone="it has other images")])
    ['1 channel of a plate is made again: 1 because it has other images (P1 DNA)']
    """
    again = _by_reason(one for one in channels if one.state == TO_DO and one.redone)
    kept = [one for one in channels if one.state == KEPT]
    lines = []
    if again:
        count = sum(map(len, again.values()))
        what = "channel of a plate is" if count == 1 else "channels of plates are"
        parts = (f"{len(ones)} because {why} ({some_of(ones)})" for why, ones in again.items())
        lines.append(f"{count} {what} made again: {', '.join(parts)}")
    if kept:
        lines.append(f"what cannot be read stays as it was compressed before: {some_of(kept)}")
    return lines


def check_channels(channels: Sequence[PlateChannel]) -> str:
    """Say in a line what there is to make, of channels that were only looked at.

    Examples
    --------
    >>> check_channels([PlateChannel("P1", "DNA"), PlateChannel("P1", "ER", state=DONE)])
    '2 channels of plates: 1 already done, 1 to do (no images yet)'
    """
    parts = []
    for state, name in ((DONE, DONE), (KEPT, "kept, with originals that cannot be read")):
        count = sum(one.state == state for one in channels)
        parts += [f"{count} {name}"] if count else []
    new = sum(one.state == TO_DO and not one.redone for one in channels)
    parts += [f"{new} to do (no images yet)"] if new else []
    again = _by_reason(one for one in channels if one.state == TO_DO and one.redone)
    parts += [f"{len(ones)} to do again ({why}: {some_of(ones)})" for why, ones in again.items()]
    return f"{len(channels)} channels of plates: {', '.join(parts)}"


def stale_notices(project: DeepProfilerProject, places: Collection[int]) -> list[str]:
    """Say which compressed images are probably of other originals than there are now.

    Parameters
    ----------
    project : DeepProfilerProject
    places : collection of int
        Which sites of the index, from 0, are looked at: at the size and time of their
        originals alone.

    Returns
    -------
    list of str
        A sentence, or none.

    Examples
    --------
    >>> from cpcnn_core.screen.prepare import prepare_project
    >>> written = prepare_project(project)
    >>> stale_notices(project.with_compression(on=True), [0, 1])
    []
    """
    if not project.compressed:
        return []
    stale = []
    for one in plate_channels(project, places):
        before = _read_record(project, one).get("images", {})
        for image, target in one.files:
            now, old = image_state(image), before.get(name_of(project, target))
            if old and not _may_be(now, old):
                stale.append(one)
                break
    if not stale:
        return []
    said = (
        f"the originals of {some_of(stale)} have another size or time than those that the "
        f"compressed images were made from; cpcnn prepare {project.root} updates what changed"
    )
    return [said]


def plate_channels(
    project: DeepProfilerProject, places: Collection[int] | None = None
) -> list[PlateChannel]:
    """List the channels of the plates of a project.

    Parameters
    ----------
    project : DeepProfilerProject
    places : collection of int, optional
        Which sites of the index, from 0. Default: all.

    Examples
    --------
    >>> [str(one) for one in plate_channels(project)]
    ['P1 DNA', 'P1 RNA', 'P1 ER', 'P1 AGP', 'P1 Mito']
    """
    originals = read_sites(project.with_compression(on=False))
    folder = images_folder(project)
    # Without that folder there are no sites with compressed images.
    compressed = read_sites(project.with_compression(on=True)) if folder.is_dir() else None
    found: dict[tuple[str, str], PlateChannel] = {}
    for place, original in enumerate(originals):
        if places is not None and place not in places:
            continue
        plate = original.metadata["Plate"]
        for channel in project.channels:
            target = compressed[place].images[channel].path if compressed else folder / "none"
            one = found.setdefault((plate, channel), PlateChannel(plate, channel))
            one.files.append((original.images[channel], target))
    return list(found.values())


def examine_channel(
    project: DeepProfilerProject, one: PlateChannel, *, force: bool
) -> tuple[dict[str, State], bool]:
    """Find out what there is to do about a channel of a plate; it is told by its attributes.

    Returns
    -------
    states : dict of str to dict
        The originals', by the name of the compressed image.
    doubted : bool
        Whether some had to be read, to find that nothing changed.

    Examples
    --------
    >>> from cpcnn_core.screen.prepare import prepare_project
    >>> written = prepare_project(project)
    >>> one = plate_channels(project)[0]
    >>> states, _ = examine_channel(project, one, force=False)
    >>> one.state, sorted(states)[:2]
    ('already done', ['P1/A01_s1_DNA.png', 'P1/A01_s2_DNA.png'])
    """
    states = {name_of(project, target): image_state(image) for image, target in one.files}
    there = [target.is_file() for _, target in one.files]
    record = _read_record(project, one) if any(there) else {}
    doubted = False
    if record and record["images"].keys() != states.keys():
        one.redone = "the plate has other images"
    elif not all(there):
        one.redone = "some of its images are missing" if record else ""
    elif force:
        one.redone = FORCED
    elif _cannot_be_compared(record, states):
        one.state = KEPT
    else:
        one.redone = _settings_changed(project, record)
        if not one.redone:
            doubted = _complete(project, one, record, states)
            one.redone = _pixels_changed(record["images"], states)
        one.state = TO_DO if one.redone else DONE
    return states, doubted


def _cannot_be_compared(record: Mapping[str, Any], states: Mapping[str, State]) -> bool:
    """Tell whether some original cannot be read, and nothing is known to differ of the others."""
    before = record.get("images", states)
    unread = any("size" not in state for state in states.values())
    return unread and all(_may_be(state, before[name]) for name, state in states.items())


def _settings_changed(project: DeepProfilerProject, record: Mapping[str, Any]) -> str:
    if not record:
        return UNRECORDED
    settings, wanted = record["settings"], _settings(project)
    others = [n for n in settings | wanted if settings.get(n) != wanted.get(n)]
    return f"the settings are others ({', '.join(others)})" if others else ""


def _complete(
    project: DeepProfilerProject,
    one: PlateChannel,
    record: Mapping[str, Any],
    states: dict[str, State],
) -> bool:
    """Add the hashes to the states: those on record, or of the originals where these are doubted.

    Tells whether some had to be read.
    """
    doubted = False
    for image, target in one.files:
        state, before = states[name_of(project, target)], record["images"][name_of(project, target)]
        proven = is_as_recorded(state, before, record["moment_ns"])
        state["pixels"] = before["pixels"] if proven else plane_hash(read_stored(image))
        doubted |= not proven
    return doubted


def _pixels_changed(before: Mapping[str, Mapping[str, Any]], states: Mapping[str, State]) -> str:
    changed = sum(s["pixels"] != before[name]["pixels"] for name, s in states.items())
    return f"the pixels of {changed} of its {len(states)} images changed" if changed else ""


def _read_record(project: DeepProfilerProject, one: PlateChannel) -> dict[str, Any]:
    """Return what is on record, with the moment; nothing where there is no use in it."""
    path = record_file(project, one)
    try:
        record = read_checked(path)
        if record["format"] != FORMAT_VERSION:
            return {}
        whole = all("pixels" in state for state in record["images"].values())
        record |= {"moment_ns": path.stat().st_mtime_ns, "settings": dict(record["settings"])}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return record if whole else {}


def write_record(
    project: DeepProfilerProject, one: PlateChannel, states: dict[str, State], moment_ns: int
) -> None:
    """Write what the images of a channel of a plate were made from.

    Parameters
    ----------
    project : DeepProfilerProject
    one : PlateChannel
    states : dict of str to dict
        See `examine_channel`; with the hashes.
    moment_ns : int
        When the originals were looked at, which becomes the file's time.

    Examples
    --------
    >>> import time
    >>> one = plate_channels(project)[0]
    >>> write_record(project, one, examine_channel(project, one, force=False)[0], time.time_ns())
    >>> record_file(project, one).is_file()
    True
    """
    content = {"format": FORMAT_VERSION, "settings": _settings(project), "images": states}
    path = record_file(project, one)
    write_checked(path, content, indent=1, moment_ns=moment_ns)
    remove_leftovers(path)


def _settings(project: DeepProfilerProject) -> dict[str, object]:
    names = ("bits", "down_scale", "median_px")
    own = {name: getattr(project, name) for name in names}
    return {**own, "cpcnn": cpcnn_core.__version__}


def images_folder(project: DeepProfilerProject) -> Path:
    """Return where the compressed images are.

    Examples
    --------
    >>> images_folder(project).as_posix()
    'project/outputs/compressed/images'
    """
    return project.root / "outputs" / "compressed" / "images"


def record_file(project: DeepProfilerProject, one: PlateChannel) -> Path:
    """Return where it is kept what the images of a channel of a plate were made from.

    Examples
    --------
    >>> record_file(project, PlateChannel("P1", "DNA")).as_posix()
    'project/outputs/compressed/made_from/P1/DNA.json'
    """
    plate, channel = (
        urllib.parse.quote(name, safe="").replace(".", "%2E") for name in (one.plate, one.channel)
    )
    return images_folder(project).parent / "made_from" / plate / f"{channel}.json"


def name_of(project: DeepProfilerProject, target: Path) -> str:
    """Return what a compressed image is called on record.

    Examples
    --------
    >>> name_of(project, images_folder(project) / "P1" / "A01_s1_DNA.png")
    'P1/A01_s1_DNA.png'
    """
    folder = images_folder(project)
    return (target.relative_to(folder) if target.is_relative_to(folder) else target).as_posix()


def _may_be(now: State, before: Mapping[str, Any]) -> bool:
    """Tell whether nothing is known to differ, wherever the project is now."""
    return "size" not in now or may_be_as_recorded({**now, "file": before.get("file")}, before)


def _by_reason(channels: Iterable[PlateChannel]) -> dict[str, list[PlateChannel]]:
    groups: dict[str, list[PlateChannel]] = {}
    for one in channels:
        groups.setdefault(one.redone, []).append(one)
    return groups
