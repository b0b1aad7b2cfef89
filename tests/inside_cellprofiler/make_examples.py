"""Write the pipelines of the folder examples: run by CellProfiler's Python.

Arguments: the plugins folder that ``cpcnn cellprofiler install`` prints, and the folder.
CPCNN_PYTHON has to name the Python with cpcnn.
"""

import os
import sys

import cellprofiler_core.preferences as preferences

preferences.set_headless()

from cellprofiler_core.pipeline import Pipeline
from cellprofiler_core.utilities.core.modules import fill_modules, instantiate_module

CHANNELS = ("DNA", "RNA", "ER", "AGP", "Mito")
IMAGES = ", ".join("Orig" + channel for channel in CHANNELS)
OBJECTS = ("Cells", "Cytoplasm", "Nuclei")
ALL_OBJECTS = ", ".join(OBJECTS)


class Recipe:
    """A pipeline that grows by modules."""

    def __init__(self):
        self.pipeline = Pipeline()

    def add(self, name, **settings):
        """Add a module with these settings, and return it."""
        module = instantiate_module(name)
        module.set_module_num(len(self.pipeline.modules()) + 1)
        module.show_window = name == "MeasureCellPaintingCNN"
        self.pipeline.add_module(module)
        for setting, value in settings.items():
            getattr(module, setting).value = value
        return module

    def write(self, path):
        """Write the pipeline to a file."""
        with open(path, "w") as file:
            self.pipeline.dump(file)


def add_objects(recipe):
    """Load a plate by its load_data.csv, and find nuclei, cells and cytoplasm."""
    load = recipe.add("LoadData", csv_file_name="load_data.csv", rescale=True)
    load.csv_directory.join_parts("Default Input Folder", "")
    nuclei = {"x_name": "OrigDNA", "y_name": "Nuclei", "size_range": (15, 90)}
    recipe.add("IdentifyPrimaryObjects", exclude_border_objects=False, **nuclei)
    recipe.add("IdentifySecondaryObjects", x_name="Nuclei", y_name="Cells", image_name="OrigRNA")
    recipe.add(
        "IdentifyTertiaryObjects",
        primary_objects_name="Nuclei",
        secondary_objects_name="Cells",
        subregion_objects_name="Cytoplasm",
    )


def add_classical(recipe):
    """Measure what Cell Painting is usually measured by."""
    recipe.add("MeasureObjectSizeShape", objects_list=ALL_OBJECTS)
    recipe.add("MeasureObjectIntensity", objects_list=ALL_OBJECTS, images_list=IMAGES)
    texture = recipe.add("MeasureTexture", objects_list=ALL_OBJECTS, images_list=IMAGES)
    texture.images_or_objects.value = "Objects"
    for _ in range(2):
        texture.add_scale()
    for group, scale in zip(texture.scale_groups, (3, 5, 10)):
        group.scale.value = scale
    granularity = recipe.add("MeasureGranularity", images_list=IMAGES, wants_objects=True)
    granularity.objects_list.value = ALL_OBJECTS
    radial = recipe.add("MeasureObjectIntensityDistribution", images_list=IMAGES)
    for _ in OBJECTS[1:]:
        radial.add_object()
    for group, name in zip(radial.objects, OBJECTS):
        group.object_name.value = name
    colocalization = recipe.add("MeasureColocalization", images_list=IMAGES)
    colocalization.images_or_objects.value = "Within objects"
    colocalization.objects_list.value = ALL_OBJECTS
    for name in ("Cells", "Nuclei"):
        method = {"distance_method": "Within a specified distance", "distance": 5}
        recipe.add("MeasureObjectNeighbors", object_name=name, neighbors_name=name, **method)


def add_deep(recipe):
    """Measure the cells with the published model, around their nuclei."""
    deep = recipe.add("MeasureCellPaintingCNN", objects="Cells", center_objects="Nuclei")
    for group in deep.channels:
        group.image.value = "Orig" + group.name.value


def add_database(recipe):
    """Export to SQLite with a properties file for CellProfiler Analyst."""
    export = recipe.add(
        "ExportToDatabase",
        db_type="SQLite",
        sqlite_file="measurements.db",
        experiment_name="CellPainting",
        want_table_prefix=False,
        save_cpa_properties=True,
        location_object="Cells",
        properties_plate_type="384",
        properties_plate_metadata="Plate",
        properties_well_metadata="Well",
        wants_agg_mean=False,
        wants_agg_median=False,
        wants_agg_std_dev=False,
        separate_object_tables="One table per object type",
        allow_overwrite="Data and schema",
    )
    export.directory.join_parts("Default Output Folder", "")


def main():
    """Write all pipelines."""
    preferences.set_plugin_directory(sys.argv[1], globally=False)
    fill_modules()
    for file_name, parts in (
        ("cell_painting_deep.cppipe", [add_objects, add_deep, add_database]),
        (
            "cell_painting_deep_beside_classical.cppipe",
            [add_objects, add_classical, add_deep, add_database],
        ),
    ):
        recipe = Recipe()
        for part in parts:
            part(recipe)
        recipe.write(os.path.join(sys.argv[2], file_name))


if __name__ == "__main__":
    main()
