"""The inputs of a site: the state of its files, and a hash of what was read from them.

A site's own file records, for every channel::

    {"file": ..., "size": ..., "mtime_ns": ..., "ctime_ns": ...,      the state of the image
     "page": 2, "series": 1, "illumination": {"file": ..., ...},      where there are such
     "pixels": "9f86d081884c7d65..."}                                 see `plane_hash`

As long as the states are those on record, nothing is read again. Where one differs, the pixels
decide: a screen that was copied, or whose files were touched, is what it was.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cpcnn_core.io.sites import ImageFile, Site

# Times of files count in steps, of up to two seconds: a file that was written just before it was
# read may have been written again just after, and have the same time.
STEP_NS = 2 * 10**9
# Clocks of file servers may be ahead of ours, by less than this. A time that is farther in the
# future is a camera's mistake, and says no less than others.
CLOCKS_APART_NS = 86400 * 10**9
State = dict[str, Any]


def file_state(path: Path | None) -> State:
    """Return name, size and times of a file; of one that is not there, its name alone.

    Examples
    --------
    >>> file_state(Path("/nowhere/1.tif"))
    {'file': '/nowhere/1.tif'}
    """
    if path is None:
        return {"file": ""}
    name = os.path.abspath(path)  # noqa: PTH100  (Path.resolve would ask for every folder)
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return {"file": name}
    times = {"mtime_ns": found.st_mtime_ns, "ctime_ns": found.st_ctime_ns}
    return {"file": name, "size": found.st_size, **times}


def image_state(image: ImageFile) -> State:
    """Return the state of a channel: its file, the plane in it, what it is divided by.

    Examples
    --------
    >>> image_state(ImageFile(Path("/nowhere/1.tif"), 2, Path("/nowhere/illum.npy")))
    {'file': '/nowhere/1.tif', 'page': 2, 'illumination': {'file': '/nowhere/illum.npy'}}
    """
    state = _plane_state(None if image.error else image.path, image.page, image.series)
    if image.illumination is not None:
        plane = (image.illumination, image.illumination_page, image.illumination_series)
        state["illumination"] = _plane_state(*plane)
    return state


def site_state(site: Site, channels: Sequence[str]) -> State:
    """Return the states of a site's files, as they are recorded: those of its objects too.

    Examples
    --------
    >>> site = Site({}, {"DNA": ImageFile(Path("/nowhere/1.tif"))}, lambda: None)
    >>> site_state(site, ["DNA"])
    {'images': {'DNA': {'file': '/nowhere/1.tif'}}, 'objects': []}
    """
    images = {name: image_state(site.images[name]) for name in channels if name in site.images}
    return {"images": images, "objects": [file_state(path) for path in site.object_files()]}


def is_as_recorded(now: State, before: Mapping[str, Any] | None, moment_ns: int) -> bool:
    """Tell whether a file's state proves that it is what it was when it was recorded.

    Parameters
    ----------
    now : dict
    before : mapping or None
        The state on record, with or without the hash.
    moment_ns : int
        When that was, in nanoseconds of `time.time_ns`.

    Examples
    --------
    >>> state = {"file": "/1.tif", "size": 5, "mtime_ns": 10**10, "ctime_ns": 10**10}
    >>> is_as_recorded(state, state, 10**11), is_as_recorded(state, state, 10**10 + 1)
    (True, False)
    """
    if before is None or "size" not in now:
        return False
    if any(now.get(name) != before.get(name) for name in {*now, *before} - {"pixels"}):
        return False
    files = [now, now["illumination"]] if "illumination" in now else [now]
    return all("size" in file and _is_settled(file, moment_ns) for file in files)


def may_be_as_recorded(now: State, before: Mapping[str, Any] | None) -> bool:
    """Tell whether nothing is known to differ, of a file that perhaps cannot be reached now.

    Examples
    --------
    >>> before = {"file": "/1.tif", "size": 5, "mtime_ns": 1, "ctime_ns": 1, "pixels": "ab"}
    >>> may_be_as_recorded({"file": "/1.tif"}, before)
    True
    >>> may_be_as_recorded({"file": "/1.tif", "size": 6, "mtime_ns": 1, "ctime_ns": 1}, before)
    False
    """
    if before is None or not _is_same_place(now, before):
        return False
    parts = [(now, before), (now.get("illumination"), before.get("illumination"))]
    return all(_may_be_same_file(*part) for part in parts)


def plane_hash(plane: np.ndarray) -> str:
    """Hash the values of an image, whatever its type: 7 and 7.0 are the same.

    Parameters
    ----------
    plane : ndarray of any shape, real

    Examples
    --------
    >>> plane_hash(np.eye(2, dtype=np.uint16)) == plane_hash(np.eye(2, dtype=np.float32))
    True
    >>> plane_hash(np.eye(2)) == plane_hash(np.ones((2, 2)))
    False
    """
    # A camera's values are hashed as such: other channels of the site may have brought them to a
    # larger type.
    with np.errstate(invalid="ignore"):
        whole = plane.astype(np.uint16, copy=False)
    if np.array_equal(whole, plane):
        return _hash(whole)
    return _hash(plane.astype(np.result_type(plane.dtype, np.float32), copy=False))


def labels_hash(labels: np.ndarray) -> str:
    """Hash a label image, whatever its type.

    Examples
    --------
    >>> labels_hash(np.eye(2, dtype=np.uint8)) == labels_hash(np.eye(2, dtype=np.int32))
    True
    """
    return _hash(labels.astype(np.int64, copy=False))


def pixels_changed(
    now: Mapping[str, Mapping[str, Any]], before: Mapping[str, Mapping[str, Any]]
) -> str:
    """Say in words which channels have other pixels than on record; nothing where none has.

    Parameters
    ----------
    now, before : mapping of str to mapping
        The states of every channel, with the hashes of its pixels.

    Examples
    --------
    >>> before = {name: {"file": f"/{name}.tif", "pixels": "ab"} for name in ("DNA", "ER", "RNA")}
    >>> now = {**before, "DNA": {"file": "/DNA.tif", "pixels": "cd"}}
    >>> pixels_changed(now, before)
    'the pixels of DNA changed'
    >>> pixels_changed(now | {"ER": {"file": "/a/ER.tif", "pixels": "ef"}}, before)
    'the pixels of DNA changed, and ER is another image'
    """
    pixels, illumination, images = [], [], []
    for name, state in now.items():
        old = before.get(name, {})
        if state["pixels"] == old.get("pixels"):
            continue
        if not _is_same_plane(state, old):
            images.append(name)
        elif _is_same_file(state, old) and state.get("illumination") != old.get("illumination"):
            illumination.append(name)
        else:
            pixels.append(name)
    reasons = []
    if pixels:
        reasons.append(f"the pixels of {listed(pixels)} changed")
    if illumination:
        reasons.append(f"the illumination function of {listed(illumination)} changed")
    if images:
        other = "is another image" if len(images) == 1 else "are other images"
        reasons.append(f"{listed(images)} {other}")
    return ", and ".join(reasons)


def listed(names: Sequence[str]) -> str:
    """Put names into a sentence.

    Examples
    --------
    >>> listed(["DNA"]), listed(["DNA", "ER", "RNA"])
    ('DNA', 'DNA, ER and RNA')
    """
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def _plane_state(path: Path | None, page: int | None, series: int | None) -> State:
    state = file_state(path)
    if page is not None:
        state["page"] = page
    if series is not None:
        state["series"] = series
    return state


def _is_settled(state: Mapping[str, Any], moment_ns: int) -> bool:
    times = (state["mtime_ns"] - moment_ns, state["ctime_ns"] - moment_ns)
    return not any(-STEP_NS <= since < CLOCKS_APART_NS for since in times)


def _is_same_plane(now: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    return all(now.get(name) == before.get(name) for name in ("file", "page", "series"))


def _is_same_place(now: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    divided = [state.get("illumination", {}) for state in (now, before)]
    return _is_same_plane(now, before) and _is_same_plane(*divided)


def _is_same_file(now: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    return all(now.get(name) == before.get(name) for name in ("size", "mtime_ns"))


def _may_be_same_file(now: Mapping[str, Any] | None, before: Mapping[str, Any] | None) -> bool:
    if now is None or "size" not in now:
        return True
    return before is not None and _is_same_file(now, before)


def _hash(values: np.ndarray) -> str:
    native = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    digest = hashlib.blake2b(f"{native.dtype}{native.shape}".encode(), digest_size=16)
    digest.update(native.data)
    return digest.hexdigest()
