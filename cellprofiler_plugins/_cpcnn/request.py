"""What a module's settings ask for, as plain values that need no CellProfiler.

`MeasurementRequest.from_settings` is the one place where settings are read. All that follows
(checks, names, measuring) gets what it returns.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .worker_client import WorkerChoice
from .worker_python import AUTOMATIC

if TYPE_CHECKING:
    from cellprofiler_core.module import Module

OBJECTS = "Objects"
TILES = "The whole image, in tiles"
FIELD = "The whole image, shrunk to one crop"
UNITS = (OBJECTS, TILES, FIELD)
MODEL_FILE = "Model file"
UNKNOWN = "Unknown"
NO_TREATMENT = "None"
# CellProfiler's name for what measurements of a whole image belong to.
IMAGE = "Image"


class SettingError(RuntimeError):
    """A setting has to be changed; the text says why, for the user.

    `setting` is its name in the module; with a `channel`, it is the image of that channel.
    """

    def __init__(self, text: str, setting: str, channel: str | None = None) -> None:
        super().__init__(text)
        self.setting, self.channel = setting, channel


@dataclass(frozen=True)
class LibraryRequest:
    """A library of treatments, and what is wanted from it."""

    path: str
    treatment_column: str
    neighbor_count: int
    # The one that every object is compared with.
    treatment: str | None
    # What it held when the worker was last asked, see `measurement_columns.LIBRARY_HOLDS`.
    holds: str


@dataclass(frozen=True)
class MeasurementRequest:
    """Everything that one module is set to.

    Texts that the user enters (`um_per_px`, `prefix`, `worker`) are as entered: a pipeline with
    a mistake in one has names of measurements all the same.
    """

    module_name: str
    module_number: int
    unit: str
    objects: str
    # None: every object's own centre.
    center_objects: str | None
    mask_neighbors: bool
    # A name that the worker knows, or the path of a file.
    model: str
    # Channel of the model and its image, None where it is left out.
    channels: tuple[tuple[str, str | None], ...]
    um_per_px: str
    # None: the model's own.
    prefix: str | None
    worker: WorkerChoice
    library: LibraryRequest | None

    @classmethod
    def from_settings(cls, module: Module) -> MeasurementRequest:
        """Read the settings of a module."""
        model = module.model.value
        if model == MODEL_FILE:
            folder = module.model_directory.get_absolute_path()
            model = os.path.join(folder, module.model_file_name.value)
        of_objects = module.unit.value == OBJECTS
        library = None
        if module.wants_library.value:
            treatment = module.treatment.value
            folder = module.library_directory.get_absolute_path()
            library = LibraryRequest(
                path=os.path.join(folder, module.library_file_name.value),
                treatment_column=module.treatment_column.value,
                neighbor_count=module.neighbor_count.value,
                treatment=treatment if of_objects and treatment != NO_TREATMENT else None,
                holds=module.library_holds.value,
            )
        own_centers = module.center_objects.is_blank
        return cls(
            module_name=module.module_name,
            module_number=module.module_num,
            unit=module.unit.value,
            objects=module.objects.value,
            center_objects=None if own_centers else module.center_objects.value,
            mask_neighbors=of_objects and bool(module.mask_neighbors.value),
            model=model,
            channels=tuple(
                (group.name.value, None if group.image.is_blank else group.image.value)
                for group in module.channels
            ),
            um_per_px=module.um_per_px.value,
            prefix=None if module.prefix.value == AUTOMATIC else module.prefix.value,
            worker=WorkerChoice(module.python.value, module.threads.value),
            library=library,
        )

    @property
    def of_objects(self) -> bool:
        """Whether objects are measured, rather than whole images."""
        return self.unit == OBJECTS

    @property
    def owner(self) -> str:
        """Whose measurements the features are: the objects' or the image's."""
        return self.objects if self.of_objects else IMAGE

    @property
    def images(self) -> dict[str, str]:
        """The image of every channel that is not left out, in the model's order."""
        return {channel: image for channel, image in self.channels if image is not None}

    @property
    def chosen_channels(self) -> list[str] | None:
        """The channels that are not left out; None where none is."""
        chosen = list(self.images)
        return chosen if len(chosen) < len(self.channels) else None

    def scale(self) -> float | None:
        """Return the images' micrometres per pixel, or None where unknown.

        Raises a SettingError for a text that is neither.
        """
        text = self.um_per_px.strip()
        if text in ("", UNKNOWN):
            return None
        try:
            number = float(text)
        except ValueError:
            number = 0
        # Written so that NaN fails too.
        if not 0 < number < float("inf"):
            raise SettingError(
                "Expected micrometres per pixel as a positive number such as 0.65, or %s; got %r."
                % (UNKNOWN, text),
                "um_per_px",
            )
        return number

    def model_question(self, *, whole: bool = False) -> dict[str, Any]:
        """Return what the worker is asked about the model.

        `whole`: its card as it is, before channels are left out.
        """
        question: dict[str, Any] = {"type": "describe", "model": self.model}
        if self.chosen_channels is not None and not whole:
            question["channels"] = self.chosen_channels
        return question

    def embed_question(self, sha256: str | None) -> dict[str, Any]:
        """Return what the worker is asked with the pixels of an image set."""
        question = {
            "type": "embed",
            "model": self.model,
            "sha256": sha256,
            "channels": list(self.images),
        }
        scale = self.scale()
        return question if scale is None else {**question, "um_per_px": scale}

    def library_question(self, library: LibraryRequest, kind: str = "library") -> dict[str, Any]:
        """Return what the worker is asked about the library, or (``compare``) with features."""
        return {
            "type": kind,
            "library": library.path,
            "by": library.treatment_column,
            "model": self.model,
            "channels": self.chosen_channels,
            "mask_neighbors": self.mask_neighbors if self.of_objects else None,
            "treatment": library.treatment,
        }
