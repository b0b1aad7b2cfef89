"""Write many measurements at the least cost that CellProfiler allows."""

import numpy as np

from . import names
from .settings import OBJECTS


def write_features(measurements, owner, features, values):
    """Write a value, or a value for each object, under each name.

    `values` is (n, d) for objects and (d,) for the image. `add_measurement` numbers the
    objects again with every measurement, which takes half of its time; it is used for the
    first one, and the dictionary that it fills (the same in CellProfiler 4.2 and 5) for
    all others.
    """
    columns = values.T
    measurements.add_measurement(owner, features[0], columns[0])
    number = measurements.image_set_number
    for name, column in zip(features[1:], columns[1:]):
        measurements.hdf5_dict[owner, name, number] = column


def write_likeness(module, measurements, library, likeness):
    """Write what an image and its objects are like.

    `library` is the worker's answer, with the nearest treatments; `likeness` maps the worker's
    names to arrays.
    """
    if module.unit == OBJECTS:
        for what, values in (("Controls", "like_controls"), ("Treatment", "like_treatment")):
            if values in likeness:
                measurements.add_measurement(
                    module.objects.value, names.like(module, what), likeness[values]
                )
    nearest, none = library["nearest"], {"treatment": ""}
    for rank in range(1, module.neighbor_count.value + 1):
        one = nearest[rank - 1] if rank <= len(nearest) else none
        for what, called in names.told(library).items():
            measurements.add_image_measurement(
                names.nearest(module, called, rank), one.get(what, np.nan)
            )
    if "image_like_controls" in likeness:
        measurements.add_image_measurement(
            names.nearest(module, "LikeControls"), likeness["image_like_controls"][0]
        )
