"""Names of the measurements, and the objects that they belong to.

With the model's own name CPCNN and objects Cells::

    Cells       CPCNN_000 ...                 the features
    Cells       CPCNNLike_Controls            1 at the negative controls, less away from them
    Cells       CPCNNLike_Treatment           cosine with the chosen treatment
    Image       CPCNNNearest_Treatment1_Cells, CPCNNNearest_Similarity1_Cells,
                CPCNNNearest_PValue1_Cells, CPCNNNearest_QValue1_Cells, ...
    Image       CPCNNNearest_LikeControls_Cells
    Experiment  CPCNN_Model_Cells, CPCNN_Library_Cells, CPCNN_PValues_Cells

The features have a first part of their own, so that ``Cells_CPCNN_*`` are they alone.
"""

import re

from cellprofiler_core.constants.measurement import (
    COLTYPE_FLOAT,
    COLTYPE_VARCHAR,
    COLTYPE_VARCHAR_FORMAT,
    EXPERIMENT,
    IMAGE,
)

from . import libraries, models
from .python_finder import AUTOMATIC
from .settings import NO_TREATMENT, OBJECTS

VALID_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9]{0,11}")
# What the worker says of a treatment that an image is like, and what it is called here.
TOLD = {"treatment": "Treatment", "similarity": "Similarity"}
TOLD_WITH_P_VALUES = dict(TOLD, p_value="PValue", q_value="QValue")
TREATMENT_NAME = COLTYPE_VARCHAR_FORMAT % 255


def owner(module):
    """Return whose measurements the features are: the objects' or the image's."""
    return module.objects.value if module.unit == OBJECTS else IMAGE


def prefix(module):
    """Return the first part of the names: as entered, else as the model's card has it.

    Raises a RuntimeError where the model is unknown.
    """
    if module.prefix == AUTOMATIC:
        return models.whole_card(module)["prefix"]
    return module.prefix.value


def features(module, card):
    """Name the features."""
    first = prefix(module)
    return ["%s_%s" % (first, number) for number in card["features"]]


def like(module, what):
    """Name the likeness of objects to the Controls or the Treatment."""
    return "%sLike_%s" % (prefix(module), what)


def nearest(module, what, rank=""):
    """Name what is said of an image's nearest treatments, or of the one of some rank."""
    return "%sNearest_%s%s_%s" % (prefix(module), what, rank, owner(module))


def told(library):
    """Return what is said of the nearest treatments of a library: {worker's name: our name}."""
    return TOLD_WITH_P_VALUES if library["has_p_values"] else TOLD


def record(module, what):
    """Name what is recorded once for the run: the Model, its Weights, the Library, its PValues."""
    return "%s_%s_%s" % (prefix(module), what, owner(module))


def columns(module):
    """List all measurements as (whose, name, type); none while the model is unknown."""
    try:
        named = features(module, models.card(module))
    except RuntimeError:
        return []
    mine = owner(module)
    found = [(mine, name, COLTYPE_FLOAT) for name in named]
    if module.wants_library:
        found += _library_columns(module)
    records = ["Model", "Weights"]
    if module.wants_library:
        records += ["Library", "PValues"]
    return found + [(EXPERIMENT, record(module, what), COLTYPE_VARCHAR) for what in records]


def _library_columns(module):
    try:
        library = libraries.describe(module)
    except RuntimeError:
        library = {"controls": 0, "has_p_values": False}
    controls = library["controls"]
    found = []
    if module.unit == OBJECTS:
        if controls:
            found.append((owner(module), like(module, "Controls"), COLTYPE_FLOAT))
        if module.treatment != NO_TREATMENT:
            found.append((owner(module), like(module, "Treatment"), COLTYPE_FLOAT))
    for rank in range(1, module.neighbor_count.value + 1):
        for what in told(library).values():
            kind = TREATMENT_NAME if what == "Treatment" else COLTYPE_FLOAT
            found.append((IMAGE, nearest(module, what, rank), kind))
    if controls:
        found.append((IMAGE, nearest(module, "LikeControls"), COLTYPE_FLOAT))
    return found


def categories(module, object_name):
    """List the first parts of the names of an object's or the image's measurements."""
    names = [name for whose, name, _ in columns(module) if whose == object_name]
    return list(dict.fromkeys(name.split("_")[0] for name in names))


def measurements(module, object_name, category):
    """List the names of an object's or the image's measurements, without that first part."""
    start = category + "_"
    return [
        name[len(start) :]
        for whose, name, _ in columns(module)
        if whose == object_name and name.startswith(start)
    ]
