"""SQLite takes 2,000 columns in a table: find out before the run, and what to choose."""

from cellprofiler_core.utilities.measurement import agg_ignore_feature

SQLITE_COLUMNS = 2000
PER_OBJECT_TYPE = "One table per object type"
SINGLE_VIEW = "Single object view"


def sqlite_complaint(pipeline):
    """Return a sentence for the first table that SQLite would refuse; None when all fit."""
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


def _complaint_of(export, pipeline):
    columns = export.filter_measurement_columns(pipeline.get_measurement_columns())
    counts = {}
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


def _sentence(table, count, cure):
    return (
        "ExportToDatabase would write %d columns to %s and SQLite takes %d. "
        "In ExportToDatabase, %s." % (count, table, SQLITE_COLUMNS, cure)
    )
