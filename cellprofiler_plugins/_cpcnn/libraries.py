"""The library of treatments that is chosen: what it is, and how objects compare with it."""

import os

import numpy as np
from cellprofiler_core.constants.measurement import IMAGE

from . import asking, models
from .settings import NO_TREATMENT, OBJECTS

PLACE = {"plate": "Metadata_Plate", "well": "Metadata_Well"}


def chosen_library(module):
    """Return the path of the library."""
    folder = module.library_directory.get_absolute_path()
    return os.path.join(folder, module.library_file_name.value)


def describe(module, ask=asking.remembered):
    """Return what is in the library; a RuntimeError says why it cannot be used."""
    return ask(module, _request(module, "library"))


def identity(library):
    """Say which library this is, for the record."""
    return "%s sha256:%s" % (library["file"], library["sha256"])


def compare(module, workspace, features):
    """Compare the features (n, d) of this image set with the library.

    Returns what the worker answers: its header, and its arrays by name.
    """
    request = dict(_request(module, "compare"), count=module.neighbor_count.value)
    measurements = workspace.measurements
    for what, column in PLACE.items():
        if measurements.has_current_measurements(IMAGE, column):
            request[what] = str(measurements.get_current_image_measurement(column))
    return asking.ask_with_arrays(module, request, {"features": features.astype(np.float32)})


def _request(module, kind):
    treatment = module.treatment.value
    of_objects = module.unit == OBJECTS
    return {
        "type": kind,
        "library": chosen_library(module),
        "by": module.treatment_column.value,
        "model": models.chosen_model(module),
        "channels": models.chosen_channels(module),
        "mask_neighbors": bool(module.mask_neighbors) if of_objects else None,
        "treatment": treatment if of_objects and treatment != NO_TREATMENT else None,
    }
