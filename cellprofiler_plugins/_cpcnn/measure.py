"""Measure the objects, or the whole, of one image set: read it, ask the worker, write values."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Callable, Iterator, Mapping

import numpy as np

from .display import Shown, keep_for_display
from .measurement_columns import EXPERIMENT, Names, told
from .request import IMAGE, TILES
from .worker_client import ask, ask_remembering
from .worker_python import WorkerError

if TYPE_CHECKING:
    from cellprofiler_core.image import ImageSet
    from cellprofiler_core.measurement import Measurements
    from cellprofiler_core.object import Objects
    from cellprofiler_core.workspace import Workspace

    from .request import LibraryRequest, MeasurementRequest
    from .worker_client import Answer, Arrays, Header

# CellProfiler loads files of this package under other names; they have one logger. It shows
# warnings where CellProfiler has set up nothing, so it has no handler that swallows them.
LOGGER = logging.getLogger("cellprofiler_plugins")
# Where the worker is told the plate and the well, if CellProfiler knows them.
PLACE = {"plate": "Metadata_Plate", "well": "Metadata_Well"}


def measure(request: MeasurementRequest, workspace: Workspace, *, show: bool) -> None:
    """Measure, write, and keep what the window shows if there is one."""
    measurements = workspace.measurements
    model = ask(request.worker, request.model_question())[0]
    names = Names.of(request, model["card"]["prefix"])
    _check_same(measurements, names.record("Model"), "model", model_identity(model["card"]))
    if request.of_objects:
        image, around, values = _measure_objects(request, workspace, model)
        written = values
    else:
        image, around, values = _measure_image(request, workspace, model)
        written = np.median(values, axis=0)
    library: Header | None = None
    similarities: Arrays = {}
    if request.library is not None:
        library, similarities = _compare(request, request.library, workspace, values)
        _check_same(measurements, names.record("Library"), "library", library_identity(library))
    # Only now, so that an image set with an error has none of this module's values.
    write_features(measurements, names, written)
    if request.library is not None and library is not None:
        write_similarities(measurements, names, request.library, library, similarities)
    if show:
        side = crop_side(model["card"], request.scale())
        shown = Shown(image, around, values, side, library, similarities)
        rows = [["Model", model_identity(model["card"])[:60]], ["Weights", model["weights"]]]
        keep_for_display(request, workspace, model["card"], rows, shown)


def record_origin(request: MeasurementRequest, measurements: Measurements) -> None:
    """Record, before the run, which model and which library its measurements come from."""
    model = ask_remembering(request.worker, request.model_question())
    names = Names.of(request, model["card"]["prefix"])
    origin = {"Model": model_identity(model["card"]), "Weights": model["weights"]}
    if request.library is not None:
        library = ask_remembering(request.worker, request.library_question(request.library))
        origin["Library"] = library_identity(library)
        origin["PValues"] = library["p_values"]
    for what, identity in origin.items():
        measurements.add_experiment_measurement(names.record(what), identity)


def model_identity(card: Mapping[str, Any]) -> str:
    """Say which weights these are, for the record."""
    sha256 = card["sha256"]
    return "%s sha256:%s" % (card["name"], sha256) if sha256 else str(card["name"])


def library_identity(library: Mapping[str, Any]) -> str:
    """Say which library this is, for the record."""
    return "%s sha256:%s" % (library["file"], library["sha256"])


def crop_side(card: Mapping[str, Any], um_per_px: float | None) -> int:
    """Return how many pixels of images of that scale (None: unknown) a crop covers."""
    side, trained = int(card["crop_px"]), card["um_per_px"]
    return round(side * trained / um_per_px) if um_per_px and trained else side


def _check_same(measurements: Measurements, name: str, what: str, now: str) -> None:
    """Refuse a model or a library that is not the one the run began with."""
    if not measurements.has_feature(EXPERIMENT, name):
        return
    begun = measurements.get_experiment_measurement(name)
    if begun != now:
        raise RuntimeError(
            "The %s was changed during the run: it began with %s, now there is %s. Start the run "
            "again." % (what, begun, now)
        )


def _in_words(
    request: MeasurementRequest, workspace: Workspace, do: Callable[[], Answer]
) -> Answer:
    """Return `do()`; an error says what was being measured."""
    try:
        return do()
    except WorkerError as error:
        raise RuntimeError(
            "%s could not measure %s in image set %d: %s"
            % (
                request.module_name,
                request.owner,
                workspace.measurements.image_set_number,
                error,
            )
        ) from error


def _warn(request: MeasurementRequest, workspace: Workspace, text: str) -> None:
    number = workspace.measurements.image_set_number
    LOGGER.warning("%s: image set %d: %s", request.module_name, number, text)


# ---- the image set -----------------------------------------------------------------------


def _measure_objects(
    request: MeasurementRequest, workspace: Workspace, model: Header
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """Return the image, the objects' centres, NaN where none, and their features."""
    name = request.objects
    objects = workspace.object_set.get_objects(name)
    if objects.volumetric:
        raise RuntimeError("%s are three-dimensional; this module measures 2D objects." % name)
    values = np.full((objects.count, len(model["features"])), np.nan)
    around = np.full((objects.count, 2), np.nan)
    numbers, found = _numbers_and_centers(request, workspace, objects)
    if not len(numbers):
        return None, around, values
    around[numbers - 1] = found
    image = stack_channels(
        workspace.image_set,
        request.images,
        objects.shape,
        "the objects %s were found on" % name,
    )
    layers = _layers(objects, numbers) if request.mask_neighbors else [(slice(None), None)]
    for chosen, labels in layers:
        arrays = {"image": image, "centers": found[chosen]}
        if labels is not None:
            arrays.update(labels=labels, label_ids=numbers[chosen])
        values[numbers[chosen] - 1] = _embed(request, workspace, model, arrays)
    return image, around, values


def _measure_image(
    request: MeasurementRequest, workspace: Workspace, model: Header
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the image, the centres of its tiles or of itself, and their features."""
    image = stack_channels(workspace.image_set, request.images)
    arrays = {"image": image}
    around = np.array([image.shape[1:]]) / 2.0
    if request.unit == TILES:
        side = crop_side(model["card"], request.scale())
        around = arrays["centers"] = tile_centers(image.shape[1:], side)
    return image, around, _embed(request, workspace, model, arrays)


def _embed(
    request: MeasurementRequest, workspace: Workspace, model: Header, arrays: Arrays
) -> np.ndarray:
    question = request.embed_question(model["card"]["sha256"])
    answer, found = _in_words(request, workspace, lambda: ask(request.worker, question, arrays))
    for warning in answer["warnings"]:
        _warn(request, workspace, warning)
    return found["features"]


def _compare(
    request: MeasurementRequest, library: LibraryRequest, workspace: Workspace, values: np.ndarray
) -> Answer:
    """Compare the features (n, d) of this image set with the library."""
    question = request.library_question(library, "compare")
    question["count"] = library.neighbor_count
    measurements = workspace.measurements
    for what, column in PLACE.items():
        if measurements.has_current_measurements(IMAGE, column):
            question[what] = str(measurements.get_current_image_measurement(column))
    arrays = {"features": values.astype(np.float32)}
    return _in_words(request, workspace, lambda: ask(request.worker, question, arrays))


def stack_channels(
    image_set: ImageSet,
    images: Mapping[str, str],
    shape: tuple[int, ...] | None = None,
    of_what: str = "",
) -> np.ndarray:
    """Stack the images as float32 (c, h, w), in the unit that CellProfiler holds.

    `images` is {channel: image name} in the model's order. All of them have to be of
    `shape`, which is that `of_what`; by default that of the first.
    """
    planes = []
    for channel, name in images.items():
        what = "%s (for %s)" % (name, channel)
        if name not in image_set.names:
            raise RuntimeError(
                "There is no image %s; this image set has %s. Choose one of these, or look at the "
                "module that should make it." % (what, ", ".join(image_set.names) or "none")
            )
        pixels = image_set.get_image(name, must_be_grayscale=True).pixel_data
        if shape is None:
            shape, of_what = pixels.shape, "%s is" % what
        if pixels.shape != tuple(shape):
            raise RuntimeError(
                "%s is %s pixels, %s %s; use images of one size."
                % (what, _size(pixels.shape), of_what, _size(shape))
            )
        if pixels.ndim != 2:
            raise RuntimeError("%s is three-dimensional; this module measures 2D images." % what)
        bad = np.argwhere(~np.isfinite(pixels))
        if len(bad):
            raise RuntimeError(
                "%s has %d pixels that are not numbers (NaN or infinite), the first at x %d, "
                "y %d; look at the module that made this image."
                % (what, len(bad), bad[0][1], bad[0][0])
            )
        planes.append(pixels.astype(np.float32))
    return np.stack(planes)


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(str(length) for length in shape)


# ---- where crops are cut -----------------------------------------------------------------


def tile_centers(shape: tuple[int, int], side: int) -> np.ndarray:
    """Return the centres (row, col) of the tiles that cover a field, row by row.

    Tiles of `side` pixels are side by side around the middle of the field; what is
    left at its borders is less than a tile. A field smaller than a tile gets one.
    """
    rows, cols = (_centers_along(length, side) for length in shape)
    return np.array([(row, col) for row in rows for col in cols], float)


def _centers_along(length: int, side: int) -> np.ndarray:
    count = max(1, length // side)
    centers: np.ndarray = (length - count * side) / 2 + side * (np.arange(count) + 0.5)
    return centers


def _numbers_and_centers(
    request: MeasurementRequest, workspace: Workspace, objects: Objects
) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the objects to measure and the centres of their crops."""
    numbers, own = centers_of(objects)
    if request.center_objects is None or not len(numbers):
        return numbers, own
    name, center_name = request.objects, request.center_objects
    others = workspace.object_set.get_objects(center_name)
    partners = find_partners(workspace.measurements, name, objects, center_name, others)
    found, around = centers_of_partners(numbers, partners, others)
    if not found.all():
        _warn(
            request,
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


def _layers(objects: Objects, numbers: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (which of the numbers, label image) to embed together.

    Labels that overlap are in several planes; each object is in one.
    """
    left = np.ones(len(numbers), bool)
    for labels, indices in objects.get_labels():
        chosen = left & np.isin(numbers, indices)
        if chosen.any():
            left &= ~chosen
            yield chosen, labels.astype(np.int32)


def centers_of(objects: Objects) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the objects that have pixels, and their centres.

    `objects` is CellProfiler's; numbers may have gaps and labels may overlap. The
    centre is the mean pixel position, (row, col), as CellProfiler's own
    Location_Center_Y and _X.
    """
    rows, cols, labels = _pixels(objects)
    counts = np.bincount(labels, minlength=1)
    numbers = np.flatnonzero(counts)
    sums = [np.bincount(labels, weights=axis, minlength=1)[numbers] for axis in (rows, cols)]
    return numbers, np.column_stack(sums) / counts[numbers][:, None]


def find_partners(
    measurements: Measurements, name: str, objects: Objects, other_name: str, others: Objects
) -> np.ndarray:
    """Return the number of each object's partner among the others, 0 where it has none.

    Known from the Identify modules, as parent or child, else by overlap. Entry i
    belongs to object number i + 1.
    """
    if measurements.has_current_measurements(name, "Parent_" + other_name):
        return partners_by_parent(
            measurements.get_current_measurement(name, "Parent_" + other_name)
        )
    if measurements.has_current_measurements(other_name, "Parent_" + name):
        parents = measurements.get_current_measurement(other_name, "Parent_" + name)
        return partners_by_child(parents, others, objects.count)
    return partners_by_overlap(objects, others, objects.count)


def centers_of_partners(
    numbers: np.ndarray, partners: np.ndarray, others: Objects
) -> tuple[np.ndarray, np.ndarray]:
    """Return which of the objects have a partner with pixels, and those partners' centres."""
    other_numbers, other_centers = centers_of(others)
    row_of = dict(zip(other_numbers.tolist(), range(len(other_numbers))))
    partner_of = dict(enumerate(partners.tolist(), start=1))
    rows = np.array([row_of.get(partner_of.get(n), -1) for n in numbers.tolist()], int)
    return rows >= 0, other_centers[rows[rows >= 0]].reshape(-1, 2)


def partners_by_parent(parents: np.ndarray) -> np.ndarray:
    """Turn CellProfiler's Parent measurement (0: none) into partner numbers."""
    parents = np.asarray(parents, float)
    return np.where(np.isfinite(parents), parents, 0).astype(int)


def partners_by_child(parents: np.ndarray, children: Objects, count: int) -> np.ndarray:
    """Give each of `count` objects its largest child; 0 where it has none.

    `parents` is the Parent measurement of the children, `children` their objects.
    """
    parents = partners_by_parent(parents)
    areas = np.bincount(_pixels(children)[2], minlength=len(parents) + 1)[1 : len(parents) + 1]
    partners = np.zeros(count, int)
    # Small to large, of equals the last number first: the best one is written last.
    for child in np.lexsort((-np.arange(len(parents)), areas)):
        if areas[child] and 0 < parents[child] <= count:
            partners[parents[child] - 1] = child + 1
    return partners


def partners_by_overlap(objects: Objects, others: Objects, count: int) -> np.ndarray:
    """Give each of `count` objects the other that covers most of it; 0 where none does."""
    partners = np.zeros(count, int)
    most = np.zeros(count, int)
    for labels, _ in objects.get_labels():
        for other, _ in others.get_labels():
            both = (labels > 0) & (other > 0)
            pairs = np.column_stack([labels[both], other[both]]).astype(int)
            found, pixels = np.unique(pairs, axis=0, return_counts=True)
            for (number, partner), covered in zip(found, pixels):
                if covered > most[number - 1]:
                    most[number - 1], partners[number - 1] = covered, partner
    return partners


def _pixels(objects: Objects) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    ijv = np.asarray(objects.ijv)
    return ijv[:, 0], ijv[:, 1], ijv[:, 2].astype(int)


# ---- what is written ---------------------------------------------------------------------


def write_features(measurements: Measurements, names: Names, values: np.ndarray) -> None:
    """Write a value, or a value for each object, under each feature's name.

    `values` is (n, d) for objects and (d,) for the image. `add_measurement` numbers the
    objects again with every measurement, which takes half of its time; it is used for the
    first one, and the dictionary that it fills (the same in CellProfiler 4.2 and 5) for
    all others.
    """
    columns = values.T
    features = names.features(len(columns))
    measurements.add_measurement(names.owner, features[0], columns[0])
    number = measurements.image_set_number
    for name, column in zip(features[1:], columns[1:]):
        measurements.hdf5_dict[names.owner, name, number] = column


def write_similarities(
    measurements: Measurements,
    names: Names,
    request: LibraryRequest,
    library: Header,
    similarities: Arrays,
) -> None:
    """Write what an image and its objects are like.

    `library` is the worker's answer, with the nearest treatments; `similarities` maps the worker's
    names to arrays.
    """
    if names.owner != IMAGE:
        for what, values in (("Controls", "like_controls"), ("Treatment", "like_treatment")):
            if values in similarities:
                measurements.add_measurement(names.owner, names.like(what), similarities[values])
    nearest, none = library["nearest"], {"treatment": ""}
    for rank in range(1, request.neighbor_count + 1):
        one = nearest[rank - 1] if rank <= len(nearest) else none
        for what, called in told(p_values=library["has_p_values"]).items():
            measurements.add_image_measurement(names.nearest(called, rank), one.get(what, np.nan))
    if "image_like_controls" in similarities:
        measurements.add_image_measurement(
            names.nearest("LikeControls"), similarities["image_like_controls"][0]
        )
