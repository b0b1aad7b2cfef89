"""Pipelines that earlier versions of the module saved open and measure the same."""

import os

import numpy as np
import pytest
from cellprofiler_core.pipeline import Pipeline
from conftest import Bench, squares

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pipelines")
SHAPE = (200, 220)


@pytest.fixture
def saved():
    """Return the two modules of a pipeline that revision 1 saved."""
    pipeline = Pipeline()
    pipeline.load(os.path.join(FOLDER, "revision_1.cppipe"))
    modules = [m for m in pipeline.modules() if m.module_name == "MeasureCellPaintingCNN"]
    assert [module.variable_revision_number for module in modules] == [4, 4]
    return modules


def test_every_setting_is_where_it_belongs(saved):
    cells, nuclei = saved
    assert (cells.objects, cells.center_objects, cells.model) == (
        "Cells",
        "Nuclei",
        "untrained-efficientnet-b0",
    )
    assert not cells.mask_neighbors.value
    assert nuclei.mask_neighbors.value
    assert nuclei.center_objects.is_blank
    assert nuclei.model_directory.get_absolute_path() == "/data/models"
    assert nuclei.model_file_name == "two.safetensors"
    images = [[(g.name.value, g.image.value) for g in module.channels] for module in saved]
    assert images == [
        [(name, "Orig" + name) for name in ("DNA", "RNA", "ER", "AGP", "Mito")],
        [("DNA", "OrigDNA"), ("Actin", "OrigAGP")],
    ]
    for module in saved:
        assert (module.unit, module.prefix, module.threads) == ("Objects", "CPCNN", "Automatic")
        assert module.um_per_px == "Unknown"
        assert not module.wants_library.value
        assert len(module.settings()) == 19 + 2 * len(module.channels)


def test_what_the_second_revision_saved_is_where_it_belongs():
    pipeline = Pipeline()
    pipeline.load(os.path.join(FOLDER, "revision_2.cppipe"))
    (module,) = [m for m in pipeline.modules() if m.module_name == "MeasureCellPaintingCNN"]
    assert module.variable_revision_number == 4
    assert (module.objects, module.center_objects) == ("Cells", "Nuclei")
    assert (module.model, module.unit, module.prefix) == (
        "cell-painting-cnn-v1",
        "Objects",
        "CPCNN",
    )
    assert (module.um_per_px, module.treatment) == ("Unknown", "None")
    images = [(g.name.value, g.image.value) for g in module.channels]
    assert images == [(name, "Orig" + name) for name in ("DNA", "RNA", "ER", "AGP", "Mito")]


def test_what_the_third_revision_saved_is_where_it_belongs():
    pipeline = Pipeline()
    pipeline.load(os.path.join(FOLDER, "revision_3.cppipe"))
    (module,) = pipeline.modules()
    assert module.variable_revision_number == 4
    assert (module.objects, module.center_objects) == ("Cells", "Nuclei")
    assert (module.model, module.unit, module.prefix) == (
        "untrained-efficientnet-b0",
        "Objects",
        "Mine",
    )
    assert module.wants_library.value
    assert (module.neighbor_count.value, module.treatment) == (2, "taxol")
    assert (module.um_per_px, module.library_holds) == ("0.65", "Not asked yet")
    images = [(g.name.value, g.image.value) for g in module.channels]
    assert images == [(name, "Orig" + name) for name in ("DNA", "RNA", "ER", "AGP", "Mito")]


def test_it_measures_the_same_under_the_same_names(saved):
    cells = squares(SHAPE, {1: (60, 60), 2: (140, 150)}, half=30)
    nuclei = squares(SHAPE, {1: (50, 55), 2: (150, 160)}, half=5)

    def bench(module):
        made = Bench().add_images(SHAPE).add_objects(cells).add_objects(nuclei, "Nuclei")
        if module is not None:
            made.pipeline.remove_module(1)
            module.set_module_num(1)
            made.pipeline.add_module(module)
            made.module = module
        return made

    new = bench(None)
    new.module.center_objects.value = "Nuclei"
    old = bench(saved[0])
    np.testing.assert_array_equal(old.run(), new.run())
    columns = old.module.get_measurement_columns(old.pipeline)
    assert columns == new.module.get_measurement_columns(new.pipeline)
    assert [c[1] for c in columns if c[0] == "Cells"] == ["CPCNN_%03d" % n for n in range(672)]
