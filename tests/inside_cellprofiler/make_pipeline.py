"""Write pipelines: run by CellProfiler's Python with a JSON description on each line.

After each, "MADE" is printed.

{"out": FILE, "plugins": DIR, "load_data": CSV, "group_by": ...,
 "cnn": [{"objects": ..., "centers": ...,
 "model_file": ... or "model": ..., "images": {channel: image}, "mask": bool,
 "library": FILE or null, "treatment": ...}],
 "rows": [first, last] or null,
 "cytoplasm": bool, "classical": bool, "held": DIR or null,
 "spreadsheet": bool or "as it comes" or "combined" or "with metadata",
 "sabotage": {"deeds": ..., "model_file": ...} or null,
 "database": {"file": ..., "tables": ..., "prefix": bool, "means": bool} or null}
"""

import json
import os
import sys

import cellprofiler_core.preferences as preferences

preferences.set_headless()

from cellprofiler_core.pipeline import Pipeline
from cellprofiler_core.preferences import ABSOLUTE_FOLDER_NAME
from cellprofiler_core.utilities.core.modules import fill_modules, instantiate_module


def make(job):
    if preferences.get_plugin_directory() != job["plugins"]:
        preferences.set_plugin_directory(job["plugins"], globally=False)
        fill_modules()
    pipeline = Pipeline()

    def add(name):
        module = instantiate_module(name)
        module.set_module_num(len(pipeline.modules()) + 1)
        module.show_window = False
        pipeline.add_module(module)
        return module

    load = add("LoadData")
    folder, name = os.path.split(job["load_data"])
    load.csv_directory.join_parts(ABSOLUTE_FOLDER_NAME, folder)
    load.csv_file_name.value = name
    load.rescale.value = True
    load.wants_image_groupings.value = "group_by" in job
    load.metadata_fields.value = job.get("group_by", "")
    load.wants_rows.value = "rows" in job
    load.row_range.value = tuple(job.get("rows", (1, 1)))

    nuclei = add("IdentifyPrimaryObjects")
    nuclei.x_name.value = "OrigDNA"
    nuclei.y_name.value = "Nuclei"
    nuclei.size_range.value = (15, 90)
    nuclei.exclude_border_objects.value = False

    cells = add("IdentifySecondaryObjects")
    cells.x_name.value = "Nuclei"
    cells.y_name.value = "Cells"
    cells.image_name.value = "OrigRNA"

    if job.get("cytoplasm"):
        cytoplasm = add("IdentifyTertiaryObjects")
        cytoplasm.secondary_objects_name.value = "Cells"
        cytoplasm.primary_objects_name.value = "Nuclei"
        cytoplasm.subregion_objects_name.value = "Cytoplasm"

    if job.get("classical", True):
        shape = add("MeasureObjectSizeShape")
        shape.objects_list.value = "Cells, Nuclei"
        intensity = add("MeasureObjectIntensity")
        intensity.objects_list.value = "Cells, Nuclei"
        intensity.images_list.value = "OrigDNA, OrigRNA"

    if job.get("sabotage"):
        sabotage = add("Sabotage")
        sabotage.deeds.value = job["sabotage"]["deeds"]
        sabotage.model_file.value = job["sabotage"]["model_file"]

    for settings in job.get("cnn", []):
        cnn = add("MeasureCellPaintingCNN")
        configure(cnn, settings)

    if job.get("held"):
        add_held_images(add, job["held"])
    if job.get("spreadsheet", True):
        sheet = add("ExportToSpreadsheet")
        sheet.wants_overwrite_without_warning.value = True
        configure_sheet(sheet, job.get("spreadsheet", True))
    if job.get("database"):
        base = add("ExportToDatabase")
        base.db_type.value = "SQLite"
        base.directory.join_parts("Default Output Folder", "")
        base.sqlite_file.value = job["database"]["file"]
        base.location_object.value = "Cells"
        base.separate_object_tables.value = job["database"].get(
            "tables", "One table per object type"
        )
        base.want_table_prefix.value = job["database"].get("prefix", True)
        means = job["database"].get("means", False)
        base.wants_agg_mean.value = means
        base.wants_agg_median.value = False
        base.wants_agg_std_dev.value = means
    with open(job["out"], "w") as file:
        pipeline.dump(file)


def configure_sheet(sheet, kind):
    if kind is True:
        sheet.wants_prefix.value = False
    elif kind == "with metadata":
        sheet.add_metadata.value = True
        sheet.delimiter.value = "Tab"
        sheet.nan_representation.value = "Null"
    elif kind == "combined":
        sheet.wants_everything.value = False
        for place, name in enumerate(("Cells", "Nuclei", "Image")):
            if place:
                sheet.add_button.on_event_fired()
            sheet.object_groups[place].name.value = name
        sheet.object_groups[1].previous_file.value = True


def add_held_images(add, folder):
    """Save what CellProfiler holds: the channels, and the nuclei's labels."""
    labels = add("ConvertObjectsToImage")
    labels.object_name.value = "Nuclei"
    labels.image_name.value = "NucleiLabels"
    labels.image_mode.value = "uint16"
    for image in ("NucleiLabels", "OrigDNA", "OrigRNA", "OrigER", "OrigAGP", "OrigMito"):
        save = add("SaveImages")
        save.image_name.value = image
        save.file_name_method.value = "From image filename"
        save.file_image_name.value = "OrigDNA"
        save.wants_file_name_suffix.value = True
        save.file_name_suffix.value = "_" + image
        save.file_format.value = "npy"
        save.pathname.join_parts(ABSOLUTE_FOLDER_NAME, folder)
        save.overwrite.value = True
        save.create_subdirectories.value = False


def configure(cnn, settings):
    others = len(cnn.settings()) - 2 * len(cnn.channels)
    cnn.prepare_settings(["x"] * others + [v for pair in settings["images"].items() for v in pair])
    cnn.objects.value = settings.get("objects", "Cells")
    if settings.get("centers"):
        cnn.center_objects.value = settings["centers"]
    cnn.mask_neighbors.value = settings.get("mask", False)
    if "model_file" in settings:
        cnn.model.value = "Model file"
        folder, name = os.path.split(settings["model_file"])
        cnn.model_directory.join_parts(ABSOLUTE_FOLDER_NAME, folder)
        cnn.model_file_name.value = name
    else:
        cnn.model.value = settings["model"]
    if settings.get("library"):
        cnn.wants_library.value = True
        folder, name = os.path.split(settings["library"])
        cnn.library_directory.join_parts(ABSOLUTE_FOLDER_NAME, folder)
        cnn.library_file_name.value = name
        cnn.treatment.value = settings["treatment"]
    for group, image in zip(cnn.channels, settings["images"].values()):
        group.image.value = image


if __name__ == "__main__":
    for line in sys.stdin:
        make(json.loads(line))
        print("MADE", flush=True)
