"""Checks before a run: find what would stop it or spoil its results.

Whatever has to be changed is a `SettingError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterable

from .measurement_columns import VALID_PREFIX, Names, features, first_part
from .request import SettingError
from .worker_client import ask_remembering
from .worker_python import WorkerError, checked_threads, find_python

if TYPE_CHECKING:
    from cellprofiler.modules.exporttodatabase import ExportToDatabase
    from cellprofiler_core.pipeline import Pipeline

    from .request import LibraryRequest, MeasurementRequest

SQLITE_COLUMNS = 2000
PER_OBJECT_TYPE = "One table per object type"
SINGLE_VIEW = "Single object view"


def check(
    request: MeasurementRequest, before: Iterable[MeasurementRequest] = ()
) -> dict[str, Any] | None:
    """Raise a SettingError with the setting that has to be changed.

    Parameters
    ----------
    request : MeasurementRequest
    before : iterable of MeasurementRequest
        Of the same modules that come before this one in the pipeline.

    Returns
    -------
    dict or None
        What is in the library, as the worker describes it; None where none is compared with.
    """
    # Before anything is asked of the worker.
    try:
        find_python(request.worker.python)
    except WorkerError as error:
        raise SettingError(str(error), "python") from error
    _check_prefix(request, before)
    try:
        checked_threads(request.worker.threads)
    except WorkerError as error:
        raise SettingError(str(error), "threads") from error
    _check_model(request)
    request.scale()
    if request.library is None:
        return None
    return _describe(request, request.library)


def check_warnings(request: MeasurementRequest) -> None:
    """Raise a SettingError for what may be meant but rarely is."""
    chosen: dict[str, str] = {}
    for channel, image in request.images.items():
        if image in chosen:
            raise SettingError(
                "%s is chosen for both %s and %s. The model expects a different image in each."
                % (image, chosen[image], channel),
                "channels",
                channel,
            )
        chosen[image] = channel
    if request.library is None:
        return
    library = _describe(request, request.library)
    if not library["controls"]:
        raise SettingError(
            "%s does not say which wells are negative controls, so nothing is compared with "
            "them. Make it again with: cpcnn profile --controls" % library["file"],
            "library_file_name",
        )
    if not library["has_p_values"]:
        raise SettingError("%s: %s" % (library["file"], library["p_values"]), "library_file_name")


def _describe(request: MeasurementRequest, library: LibraryRequest) -> dict[str, Any]:
    try:
        return ask_remembering(request.worker, request.library_question(library))
    except WorkerError as error:
        raise SettingError(str(error), "library_file_name") from error


def _check_prefix(request: MeasurementRequest, before: Iterable[MeasurementRequest]) -> None:
    prefix = first_part(request)
    if prefix is None:
        return  # the check of the model says why
    if not VALID_PREFIX.fullmatch(prefix):
        raise SettingError(
            "Expected a letter, then letters or digits, at most 12 in all; got %r." % prefix,
            "prefix",
        )
    for other in before:
        if other.owner == request.owner and first_part(other) == prefix:
            raise SettingError(
                "Module %d writes measurements of %s called %s already. Choose another name for "
                "those of this one." % (other.module_number, request.owner, prefix),
                "prefix",
            )


def _check_model(request: MeasurementRequest) -> None:
    try:
        answer = ask_remembering(request.worker, request.model_question(whole=True))
    except WorkerError as error:
        raise SettingError(str(error), "model") from error
    card = answer["card"]
    expected, found = card["channels"], [channel for channel, _ in request.channels]
    if expected != found:
        raise SettingError(
            "%s takes %d channels (%s), this module was set up for %d (%s). Choose the model "
            "again to get its channels."
            % (card["name"], len(expected), ", ".join(expected), len(found), ", ".join(found)),
            "model",
        )
    left_out = [channel for channel, image in request.channels if image is None]
    if left_out and card["channel_mode"] == "fixed":
        raise SettingError(
            "%s takes all of its channels; select an image for %s, or a model that takes any "
            "channels." % (card["name"], ", ".join(left_out)),
            "channels",
            left_out[0],
        )
    if len(left_out) == len(request.channels):
        raise SettingError("Select an image for one channel at least.", "channels", left_out[0])
    if answer["to_accept"]:
        raise SettingError(
            "%s. When that suits your work, press the button below, or run: "
            "cpcnn models accept %s"
            % (answer["to_accept"][0].upper() + answer["to_accept"][1:], card["name"]),
            "model",
        )
    _check_names(request, card)


def _check_names(request: MeasurementRequest, card: dict[str, Any]) -> None:
    """Refuse a model whose measurements would have other names than those that were announced.

    Names are known without the worker (see `measurement_columns`), and export modules believe
    them.
    """
    try:
        answer = ask_remembering(request.worker, request.model_question())
    except WorkerError as error:
        raise SettingError(str(error), "model") from error
    names = Names.of(request, card["prefix"]).features(len(answer["features"]))
    if features(request) != names:
        raise SettingError(
            "The worker gives %d measurements of %s, called %s to %s; this module expected %d, "
            "since it cannot read the card of that model, or cpcnn is of another version. Run "
            "cpcnn cellprofiler install, or choose another model."
            % (len(names), card["name"], names[0], names[-1], len(features(request))),
            "model",
        )


def sqlite_complaint(pipeline: Pipeline) -> str | None:
    """Return a sentence for the first table that SQLite would refuse; None when all fit.

    It takes 2,000 columns in a table.
    """
    for module in pipeline.modules():
        if (
            module.module_name == "ExportToDatabase"
            and module.enabled
            and module.db_type == "SQLite"
        ):
            complaint = _complaint_of(module, pipeline)
            if complaint:
                return complaint
    return None


def _complaint_of(export: ExportToDatabase, pipeline: Pipeline) -> str | None:
    from cellprofiler_core.utilities.measurement import agg_ignore_feature

    columns = export.filter_measurement_columns(pipeline.get_measurement_columns())
    counts: dict[str, int] = {}
    aggregates = 0
    for name, feature in (column[:2] for column in columns):
        # Execution times are columns of the image table only.
        if export.ignore_feature(name, feature, wanttime=name == "Image"):
            continue
        counts[name] = counts.get(name, 0) + 1
        if name != "Image" and not agg_ignore_feature(feature):
            aggregates += len(export.agg_names)
    # Every table has ImageNumber; a table of several object types ObjectNumber too.
    images = counts.pop("Image", 0) + aggregates + 1
    if images > SQLITE_COLUMNS:
        return _sentence(
            "Per_Image",
            images,
            "switch off the per-image means, medians and standard deviations (%d columns)"
            % aggregates,
        )
    if export.separate_object_tables == PER_OBJECT_TYPE:
        for name, count in sorted(counts.items()):
            if count + 1 > SQLITE_COLUMNS:
                return _sentence(
                    "Per_" + name,
                    count + 1,
                    "choose MySQL as the database, or use ExportToSpreadsheet, or measure fewer "
                    "features of %s: another model, or channels left out" % name,
                )
        return None
    together = sum(counts.values()) + 2
    if together > SQLITE_COLUMNS:
        what = "view" if export.separate_object_tables == SINGLE_VIEW else "table"
        return _sentence(
            "Per_Object " + what, together, 'choose "%s" for its object tables' % PER_OBJECT_TYPE
        )
    return None


def _sentence(table: str, count: int, cure: str) -> str:
    return (
        "ExportToDatabase would write %d columns to %s and SQLite takes %d. "
        "In ExportToDatabase, %s." % (count, table, SQLITE_COLUMNS, cure)
    )
