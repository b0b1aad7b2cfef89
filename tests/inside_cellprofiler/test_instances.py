"""Several of the module in one pipeline: one worker, and names that differ."""

import os

import numpy as np
import pytest
from cellprofiler_core.setting import ValidationError
from cellprofiler_core.utilities.core.modules import instantiate_module
from conftest import Bench, squares

SHAPE = (200, 220)
LABELS = squares(SHAPE, {1: (60, 60), 2: (140, 150)})


def add_another(bench, **settings):
    other = instantiate_module("MeasureCellPaintingCNN")
    other.set_module_num(len(bench.pipeline.modules()) + 1)
    other.show_window = False
    bench.pipeline.add_module(other)
    for group in other.channels:
        group.image.value = "Orig" + group.name.value
    other.model.value = bench.module.model.value
    for name, value in settings.items():
        getattr(other, name).value = value
    return other


def use_two_channels(module):
    folder, name = os.path.split(os.environ["CPCNN_TEST_OTHER_MODEL"])
    module.model.value = "Model file"
    module.model_directory.join_parts("Elsewhere...", folder)
    module.model_file_name.value = name
    module.on_setting_changed(module.model, None)
    module.channels[1].image.value = "OrigAGP"


def test_cells_nuclei_and_a_second_model_share_one_worker():
    from _cpcnn import worker_client as client

    bench = Bench().add_images(SHAPE).add_objects(LABELS).add_objects(LABELS, "Nuclei")
    nuclei = add_another(bench, objects="Nuclei", mask_neighbors=True)
    second = add_another(bench, objects="Cells", prefix="Second")
    use_two_channels(second)
    for module in bench.pipeline.modules():
        module.validate_module(bench.pipeline)
        module.run(bench.workspace())
    assert len(client._workers) == 1
    columns = bench.pipeline.get_measurement_columns()
    names = [column[:2] for column in columns]
    assert len(names) == len(set(names))
    ours = [(w, n) for w, n in names if n.startswith(("CPCNN", "Second"))]
    # Beside the features, of each once the model and whose its weights are.
    assert len(ours) == 3 * 672 + 3 * 2
    first, other = (
        bench.measurements.get_current_measurement("Cells", name)
        for name in ("CPCNN_000", "Second_000")
    )
    assert np.isfinite([first, other]).all()
    assert not np.array_equal(first, other)
    assert nuclei.get_measurements(bench.pipeline, "Nuclei", "CPCNN")[0] == "000"
    assert nuclei.get_measurements(bench.pipeline, "Cells", "CPCNN") == []


def test_the_same_names_twice_are_refused_by_the_second():
    bench = Bench()
    other = add_another(bench, objects="Cells")
    bench.module.validate_module(bench.pipeline)
    with pytest.raises(ValidationError, match="Module 1 writes measurements of Cells called CPCNN"):
        other.validate_module(bench.pipeline)
    other.prefix.value = "Masked"
    other.validate_module(bench.pipeline)


@pytest.mark.parametrize("prefix", ["", "my features", "9lives", "Deep_1", "Größe", "A" * 13])
def test_a_name_that_databases_do_not_like(bench, prefix):
    bench.module.prefix.value = prefix
    with pytest.raises(ValidationError, match="Expected a letter, then letters or digits, at most"):
        bench.module.validate_module(bench.pipeline)
