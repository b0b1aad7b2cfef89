"""The work to do for a site: its inputs now against those its file was made from."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from cpcnn_core.errors import SiteError
from cpcnn_core.imaging.field import Field
from cpcnn_core.io.sites import Objects, Site, read_field
from cpcnn_core.screen.fingerprint import (
    State,
    file_state,
    is_as_recorded,
    labels_hash,
    may_be_as_recorded,
    pixels_changed,
    plane_hash,
    site_state,
)

TO_DO, DONE = "to do", "already done"
NO_LOCATIONS, NO_OBJECTS = "no locations", "no objects"
FORCED = "--force was given"
UNRECORDED = "an earlier cpcnn made the file, which does not say what from"
UNREADABLE = "the file is damaged, or not cpcnn's"
SAME_PLACE_PX = 1e-6


@dataclass(frozen=True)
class Record:
    """A site's own record of what its file was made from.

    Attributes
    ----------
    inputs : mapping
        See `cpcnn_core.screen.fingerprint`; with the hash of the labels, ``outlines``, where
        these were used.
    numbers : ndarray of shape (n,), integer
    locations : ndarray of shape (n, k), float64
        Where the objects were, x and y first.
    image_number : int
    moment_ns : int
        When it was read: the file's own time.
    metadata : mapping of str to str, optional
        What the screen's table said, where the file keeps it.

    Examples
    --------
    >>> Record({}, np.array([1]), np.array([[5.0, 6.0]]), 1, 0).metadata is None
    True
    """

    inputs: Mapping[str, Any]
    numbers: np.ndarray
    locations: np.ndarray
    image_number: int
    moment_ns: int
    metadata: Mapping[str, str] | None = None


@dataclass
class Examined:
    """The work to do for a site.

    Attributes
    ----------
    record : Record or str
        What its file says; or why there is no word, which is empty where there is no file.
    moment_ns : int
        When it was looked at.
    inputs : dict
        To be recorded; hashes are there when the site was read.
    state : str
        `TO_DO`, `DONE`, `NO_LOCATIONS` or `NO_OBJECTS`.
    redone : str
        Why it is done again; empty for the first time.
    doubted : bool
        Whether only reading could tell that nothing changed.
    image_number : int
        CellProfiler's number of the image set, or the site's row.
    notes : tuple of str
        What was odd about the objects.
    locations : ndarray of shape (n, k), optional
        Where the objects are, x and y first; None where they were not read.

    Examples
    --------
    >>> Examined("", 0, {}).state
    'to do'
    """

    record: Record | str
    moment_ns: int
    inputs: State
    state: str = TO_DO
    redone: str = ""
    doubted: bool = False
    image_number: int = 0
    notes: tuple[str, ...] = ()
    locations: np.ndarray | None = field(default=None, repr=False)

    def decide(self, *, force: bool = False) -> None:
        """Find out what there is to do; nothing is written.

        Files whose state is on record, and was not too young then, are not opened.

        Parameters
        ----------
        force : bool
            It is to be done in any case.

        Raises
        ------
        CPCNNError
            Whatever has to be read to find out, and cannot.
        """
        if isinstance(self.record, str):
            self.redone = self.record
            self.begin()
            return
        self.redone = self.changed(images=not force)
        if force and self.state == TO_DO:
            self.redone = FORCED
        elif self.state == TO_DO and not self.redone:
            self.state = DONE

    def begin(self) -> None:
        """Read whether a site without a record has cells at all."""

    def changed(self, *, images: bool) -> str:
        """Say what differs from the record; `images` may be left out."""
        raise NotImplementedError

    @property
    def may_stand(self) -> bool:
        """Whether the record may still be true, of a site that cannot be read."""
        return False

    @property
    def spoilt(self) -> bool:
        """Whether there is a file of cpcnn's that describes what is no more."""
        if self.state in (NO_LOCATIONS, NO_OBJECTS):
            return self.record not in ("", UNREADABLE)
        return isinstance(self.record, Record) and self.redone not in ("", FORCED)

    @property
    def outdated(self) -> bool:
        """Whether the file of a site that is done describes it otherwise than it would now."""
        record = cast("Record", self.record)
        if self.locations is not None:
            now = _as_recorded(self.locations, record)
            if not np.array_equal(now, record.locations, equal_nan=True):
                return True
        return self.inputs != record.inputs or self.image_number != record.image_number

    @property
    def confirmed_ns(self) -> int:
        """For which moment the inputs on record are known to be those of the site."""
        return self.moment_ns if self.doubted else cast("Record", self.record).moment_ns


@dataclass
class ExaminedSite(Examined):
    """The work to do for a site whose images and objects can be read.

    Attributes
    ----------
    site : Site
    channels : tuple of str
    masked : bool
        Whether the labels matter, beside the objects' positions.
    objects : Objects or None
        None where they need not be read.
    field : Field or None
        See `read`.
    """

    site: Site = field(kw_only=True)
    channels: tuple[str, ...] = ()
    masked: bool = False
    objects: Objects | None = None
    field: Field | None = field(default=None, repr=False)
    _same_objects: bool = False

    @property
    def may_stand(self) -> bool:
        """Whether the record may still be true, of a site that cannot be read."""
        if isinstance(self.record, str) or self.spoilt:
            return False
        now, before = self.inputs["images"], self.record.inputs["images"]
        same = [may_be_as_recorded(now.get(name, {}), before.get(name)) for name in self.channels]
        return all(same) and (self._same_objects or self._objects_may_stand())

    @property
    def outdated(self) -> bool:
        """Whether the file of a site that is done describes it otherwise than it would now."""
        known = cast("Record", self.record).metadata
        return super().outdated or known not in (None, dict(self.site.metadata))

    def read(self) -> Field:
        """Read what was not read yet; `inputs` are complete then.

        Raises
        ------
        CPCNNError
            What is missing or cannot be used.
        """
        if self.objects is None:
            self.take(self.site.read_objects())
        none = self.state in (NO_LOCATIONS, NO_OBJECTS)
        if self.field is None and self.objects is not None and not none:
            if self.masked and self.objects.labels is None:
                raise SiteError(
                    f"site {self.site} has no label image to mask neighbouring cells with"
                )
            self.field = read_field(self.site, self.objects, self.channels)
            for name, plane in zip(self.channels, self.field.image, strict=True):
                self.inputs["images"][name]["pixels"] = plane_hash(plane)
        # Only sites that have cells are asked for them.
        return cast("Field", self.field)

    def take(self, objects: Objects | None) -> None:
        """Take the objects as they were read."""
        self.objects = objects
        if objects is None:
            self.state = NO_LOCATIONS
            return
        self.notes = tuple(objects.notes)
        given = objects.locations
        self.locations = objects.centers[:, ::-1] if given is None else given
        if objects.image_number is not None:
            self.image_number = objects.image_number
        if not len(objects.centers):
            self.state = NO_OBJECTS
        elif self.masked and objects.labels is not None:
            self.inputs["outlines"] = labels_hash(objects.labels)

    def begin(self) -> None:
        """See `Examined.begin`."""
        self.take(self.site.read_objects())

    def changed(self, *, images: bool) -> str:
        """See `Examined.changed`."""
        reason = "" if self._are_objects_proven() else self._objects_changed()
        if reason or self.state != TO_DO:
            return reason
        self._same_objects = True
        return self._images_changed() if images else ""

    def _are_objects_proven(self) -> bool:
        """Tell whether the states of the objects' own files say that nothing is new."""
        record, states = cast("Record", self.record), self.inputs["objects"]
        before = record.inputs["objects"]
        proven = (
            bool(states)
            and len(states) == len(before)
            and self.image_number == record.image_number
            and all(map(is_as_recorded, states, before, [record.moment_ns] * len(states)))
        )
        if proven and "outlines" in record.inputs:
            self.inputs["outlines"] = record.inputs["outlines"]
        self.doubted |= bool(states) and not proven
        return proven

    def _objects_changed(self) -> str:
        record = cast("Record", self.record)
        self.take(self.site.read_objects())
        if self.state == NO_LOCATIONS and any(map(_is_out_of_reach, record.inputs["objects"])):
            self.state = TO_DO
            folder = Path(record.inputs["objects"][0]["file"]).parent
            raise SiteError(
                f"site {self.site} has no locations now, and the folder {folder}, where they were, "
                "is empty or not there; is its disk there?"
            )
        if self.state != TO_DO:
            return ""
        numbers = cast("Objects", self.objects).numbers
        if not np.array_equal(record.numbers, numbers):
            same = np.array_equal(np.sort(record.numbers), np.sort(numbers))
            return "its objects are in another order" if same else "it has other objects"
        now = _as_recorded(cast("np.ndarray", self.locations), record)
        before = record.locations
        # Programs that write a table again change the last digits.
        if before.shape != now.shape or not np.allclose(
            before, now, rtol=0, atol=SAME_PLACE_PX, equal_nan=True
        ):
            return "its objects moved"
        if self.masked and self.inputs.get("outlines") != record.inputs.get("outlines"):
            return "the outlines of its objects changed"
        return ""

    def _images_changed(self) -> str:
        record = cast("Record", self.record)
        states, before = self.inputs["images"], record.inputs["images"]
        if len(states) == len(self.channels) and all(
            is_as_recorded(states[name], before.get(name), record.moment_ns) for name in states
        ):
            for name, state in states.items():
                state["pixels"] = before[name]["pixels"]
            return ""
        self.doubted = True
        self.read()
        return pixels_changed(states, before) if self.state == TO_DO else ""

    def _objects_may_stand(self) -> bool:
        states = self.inputs["objects"]
        before = cast("Record", self.record).inputs["objects"]
        if not states:
            # None is found under any name: then those on record.
            states = [file_state(Path(state["file"])) for state in before]
        return (
            bool(before)
            and len(states) == len(before)
            and all(map(may_be_as_recorded, states, before))
        )


def examine(
    site: Site, channels: Sequence[str], record: Record | str, *, masked: bool = False
) -> ExaminedSite:
    """Look at the states of a site's files; `Examined.decide` says what there is to do.

    Parameters
    ----------
    site : Site
    channels : sequence of str
    record : Record or str
        What its file says, or why there is no word of it.
    masked : bool
        Whether the objects' labels matter too.

    Examples
    --------
    >>> site = Site({"Plate": "P1", "Well": "A01", "Site": "1"}, {}, lambda: None)
    >>> found = examine(site, ["DNA"], "")
    >>> found.decide()
    >>> found.state
    'no locations'
    """
    # Before anything is read: what is written while it is read differs from what is on record.
    moment = time.time_ns()
    state = site_state(site, channels)
    found = ExaminedSite(record, moment, state, site=site, channels=tuple(channels), masked=masked)
    found.image_number = site.image_number
    return found


def is_record(inputs: object) -> bool:
    """Tell whether what a file holds as its inputs can be compared with others.

    Examples
    --------
    >>> is_record({"images": {"DNA": {"file": "/1.tif", "pixels": "ab"}}, "objects": []})
    True
    >>> is_record(None), is_record({"images": {"DNA": "1.tif"}, "objects": []})
    (False, False)
    """
    if not isinstance(inputs, dict):
        return False
    images, objects = inputs.get("images"), inputs.get("objects")
    if not (isinstance(images, dict) and isinstance(objects, list)):
        return False
    hashed = all(isinstance(state, dict) and "pixels" in state for state in images.values())
    return hashed and all(isinstance(state, dict) for state in objects)


def _as_recorded(locations: np.ndarray, record: Record) -> np.ndarray:
    """Return the columns that are on record: of crops, x and y alone."""
    return np.asarray(locations, np.float64)[:, : record.locations.shape[1]]


def _is_out_of_reach(state: Mapping[str, Any]) -> bool:
    """Tell whether a file is not there, nor anything else in its folder: a disk, perhaps."""
    path = Path(state["file"])
    try:
        return not path.exists() and not any(path.parent.iterdir())
    except OSError:
        return True
