"""Measure the objects, or the whole, of one image set."""

import logging

import numpy as np
from cellprofiler_core.constants.measurement import EXPERIMENT

from . import asking, centers, libraries, models, names
from .channels import stack_channels
from .settings import OBJECTS, TILES
from .showing import keep_for_display
from .tiles import tile_centers
from .writing import write_features, write_likeness

# CellProfiler loads files of this package under other names; they have one logger. It shows
# warnings where CellProfiler has set up nothing, so it has no handler that swallows them.
LOGGER = logging.getLogger("cellprofiler_plugins")


def measure(module, workspace):
    """Measure, write, and keep what the window shows."""
    measurements = workspace.measurements
    card = models.card(module, asking.ask)
    _check_same(measurements, names.record(module, "Model"), "model", models.identity(card))
    if module.unit == OBJECTS:
        image, around, values = _measure_objects(module, workspace, card)
        written = values
    else:
        image, around, values = _measure_image(module, workspace, card)
        written = np.median(values, axis=0)
    library, likeness = None, {}
    if module.wants_library:
        library, likeness = _compare(module, workspace, values)
    # Only now, so that an image set with an error has none of this module's values.
    write_features(measurements, names.owner(module), names.features(module, card), written)
    if module.wants_library:
        write_likeness(module, measurements, library, likeness)
    if module.show_window:
        keep_for_display(module, workspace, card, image, around, values, library, likeness)


def record_origin(module, measurements):
    """Record, before the run, which model and which library its measurements come from."""
    card = models.card(module)
    origin = {"Model": models.identity(card), "Weights": card["weights"]}
    if module.wants_library:
        library = libraries.describe(module)
        origin["Library"] = libraries.identity(library)
        origin["PValues"] = library["p_values"]
    for what, identity in origin.items():
        measurements.add_experiment_measurement(names.record(module, what), identity)


def _measure_objects(module, workspace, card):
    """Return the image, the objects' centres, NaN where none, and their features."""
    name = module.objects.value
    objects = workspace.object_set.get_objects(name)
    if objects.volumetric:
        raise RuntimeError("%s are three-dimensional; this module measures 2D objects." % name)
    values = np.full((objects.count, len(card["features"])), np.nan)
    around = np.full((objects.count, 2), np.nan)
    numbers, found = _numbers_and_centers(module, workspace, objects)
    if not len(numbers):
        return None, around, values
    around[numbers - 1] = found
    image = stack_channels(
        workspace.image_set,
        models.images(module),
        objects.shape,
        "the objects %s were found on" % name,
    )
    for chosen, labels in _layers(module, objects, numbers):
        arrays = {"image": image, "centers": found[chosen]}
        if labels is not None:
            arrays.update(labels=labels, label_ids=numbers[chosen])
        values[numbers[chosen] - 1] = _embed(module, workspace, card, arrays)
    return image, around, values


def _measure_image(module, workspace, card):
    """Return the image, the centres of its tiles or of itself, and their features."""
    image = stack_channels(workspace.image_set, models.images(module))
    arrays = {"image": image}
    around = np.array([image.shape[1:]]) / 2.0
    if module.unit == TILES:
        around = arrays["centers"] = tile_centers(image.shape[1:], models.crop_side(module, card))
    return image, around, _embed(module, workspace, card, arrays)


def _numbers_and_centers(module, workspace, objects):
    """Return the numbers of the objects to measure and the centres of their crops."""
    numbers, own = centers.centers_of(objects)
    if module.center_objects.is_blank or not len(numbers):
        return numbers, own
    name, center_name = module.objects.value, module.center_objects.value
    others = workspace.object_set.get_objects(center_name)
    partners = centers.partners(workspace.measurements, name, objects, center_name, others)
    found, around = centers.centers_of_partners(numbers, partners, others)
    if not found.all():
        _warn(
            module,
            workspace,
            "%d of %d %s have no %s to measure around and get no features; their numbers: %s"
            % (
                np.count_nonzero(~found),
                len(numbers),
                name,
                center_name,
                ", ".join(str(n) for n in numbers[~found]),
            ),
        )
    return numbers[found], around


def _layers(module, objects, numbers):
    """Yield (which of the numbers, label image or None) to embed together."""
    if not module.mask_neighbors:
        yield slice(None), None
        return
    left = np.ones(len(numbers), bool)
    for labels, indices in objects.get_labels():
        # Labels that overlap are in several planes; each object is in one.
        chosen = left & np.isin(numbers, indices)
        if chosen.any():
            left &= ~chosen
            yield chosen, labels.astype(np.int32)


def _embed(module, workspace, card, arrays):
    request = {
        "type": "embed",
        "model": models.chosen_model(module),
        "sha256": card["sha256"],
        "channels": list(models.images(module)),
    }
    scale = models.um_per_px(module)
    if scale is not None:
        request["um_per_px"] = scale
    answer, arrays = _in_words(
        module, workspace, lambda: asking.ask_with_arrays(module, request, arrays)
    )
    for warning in answer["warnings"]:
        _warn(module, workspace, warning)
    return arrays["features"]


def _compare(module, workspace, values):
    answer, likeness = _in_words(
        module, workspace, lambda: libraries.compare(module, workspace, values)
    )
    _check_same(
        workspace.measurements,
        names.record(module, "Library"),
        "library",
        libraries.identity(answer),
    )
    return answer, likeness


def _in_words(module, workspace, ask):
    """Return `ask()`; an error says what was being measured."""
    try:
        return ask()
    except RuntimeError as error:
        number = workspace.measurements.image_set_number
        raise RuntimeError(
            "%s could not measure %s in image set %d: %s"
            % (module.module_name, names.owner(module), number, error)
        ) from error


def _check_same(measurements, name, what, now):
    """Refuse a model or a library that is not the one the run began with."""
    if not measurements.has_feature(EXPERIMENT, name):
        return
    begun = measurements.get_experiment_measurement(name)
    if begun != now:
        raise RuntimeError(
            "The %s was changed during the run: it began with %s, now there is %s. Start the run "
            "again." % (what, begun, now)
        )


def _warn(module, workspace, text):
    number = workspace.measurements.image_set_number
    LOGGER.warning("%s: image set %d: %s", module.module_name, number, text)
