"""Real CellProfiler objects for the module: run by CellProfiler's own Python.

The tests of this folder are started by tests/cellprofiler_plugins/test_module.py,
once for each Python that CellProfiler 4.2.8 runs on.
"""

import os
import sys

import numpy as np
import pytest

import cellprofiler_core.preferences as preferences

preferences.set_headless()

from cellprofiler_core.image import Image, ImageSetList
from cellprofiler_core.measurement import Measurements
from cellprofiler_core.object import Objects, ObjectSet
from cellprofiler_core.pipeline import Pipeline
from cellprofiler_core.utilities.core.modules import fill_modules, instantiate_module
from cellprofiler_core.workspace import Workspace

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

CHANNELS = ("DNA", "RNA", "ER", "AGP", "Mito")
PLUGINS = os.environ["CPCNN_TEST_PLUGINS"]
# Of six features: to write 672 of them takes CellProfiler seconds.
SMALL_MODEL = os.environ["CPCNN_TEST_SMALL_MODEL"]


@pytest.fixture(scope="session", autouse=True)
def all_modules():
    preferences.set_plugin_directory(PLUGINS, globally=False)
    fill_modules()
    from cellprofiler_core.constants.modules import all_modules

    return all_modules


class Bench:
    """One module in a pipeline, and one image set for it to work on."""

    def __init__(self):
        self.pipeline = Pipeline()
        self.module = instantiate_module("MeasureCellPaintingCNN")
        self.module.set_module_num(1)
        self.module.show_window = False
        self.pipeline.add_module(self.module)
        self.module.objects.value = "Cells"
        self.module.model.value = "untrained-efficientnet-b0"
        self.module.python.value = "Automatic"
        for group in self.module.channels:
            group.image.value = "Orig" + group.name.value
        self.measurements = Measurements()
        self.images = ImageSetList().get_image_set(0)
        self.object_set = ObjectSet()

    def add_images(self, shape=(200, 220), **replaced):
        random = np.random.RandomState(3)
        for channel in CHANNELS:
            pixels = random.uniform(size=shape).astype(np.float32)
            pixels = replaced.get(channel, pixels)
            self.images.add("Orig" + channel, Image(pixels))
        return self

    def add_objects(self, labels, name="Cells"):
        objects = Objects()
        objects.segmented = labels
        self.object_set.add_objects(objects, name)
        return self

    def use_file(self, path):
        folder, name = os.path.split(str(path))
        self.module.model.value = "Model file"
        self.module.model_directory.join_parts("Elsewhere...", folder)
        self.module.model_file_name.value = name
        return self

    def workspace(self):
        return Workspace(
            self.pipeline,
            self.module,
            self.images,
            self.object_set,
            self.measurements,
            ImageSetList(),
        )

    def run(self):
        self.module.run(self.workspace())
        return self.features()

    def features(self, name="Cells"):
        columns = [c[1] for c in self.module.get_measurement_columns(self.pipeline) if c[0] == name]
        return np.column_stack(
            [self.measurements.get_current_measurement(name, feature) for feature in columns]
        )


@pytest.fixture
def bench():
    return Bench()


def squares(shape, numbered_centers, half=6):
    """Return labels with a square around each centre."""
    labels = np.zeros(shape, np.int32)
    for number, (row, col) in numbered_centers.items():
        labels[row - half : row + half + 1, col - half : col + half + 1] = number
    return labels
