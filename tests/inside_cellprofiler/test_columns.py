"""Names of measurements are listed without a process, and are those that a run writes."""

import io
import os
import subprocess

import pytest
from cellprofiler_core.constants import measurement as words
from cellprofiler_core.pipeline import Pipeline
from cellprofiler_core.setting import ValidationError
from conftest import CHANNELS, Bench, squares

SHAPE = (200, 220)
FEATURES = {
    "CPCNN_TEST_MODEL": ("CPCNN", 672),
    "CPCNN_TEST_SMALL_MODEL": ("CPCNN", 6),
    "CPCNN_TEST_OTHER_MODEL": ("CPCNN", 672),
    "CPCNN_TEST_BAG_MODEL": ("TestResnet", 5 * 96),
}
OF_EVERY_LIBRARY = ["CPCNNNearest_Treatment1_Cells", "CPCNNNearest_Similarity1_Cells"]
OF_CONTROLS = ["CPCNNNearest_LikeControls_Cells"]
OF_P_VALUES = ["CPCNNNearest_PValue1_Cells", "CPCNNNearest_QValue1_Cells"]


@pytest.fixture
def no_process(monkeypatch):
    """Nothing can be started, and nothing that was answered before is known."""
    import _cpcnn.worker_client

    def refuse(*arguments, **options):
        raise AssertionError("a process was started: %s" % (arguments,))

    _cpcnn.worker_client.close_all()
    _cpcnn.worker_client.forget()
    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(os, "fork", refuse)


def use_file(bench, path):
    folder, name = os.path.split(path)
    bench.module.model.value = "Model file"
    bench.module.model_directory.join_parts("Elsewhere...", folder)
    bench.module.model_file_name.value = name
    return bench


def use_library(bench, name="profiles.parquet"):
    bench.module.wants_library.value = True
    bench.module.library_directory.join_parts("Elsewhere...", os.environ["CPCNN_TEST_LIBRARY"])
    bench.module.library_file_name.value = name
    bench.module.neighbor_count.value = 1
    return bench


def listed(bench, whose="Cells"):
    """List names as CellProfiler's modules and windows ask for them, which is in three ways."""
    module, pipeline = bench.module, bench.pipeline
    names = [name for owner, name, _ in module.get_measurement_columns(pipeline) if owner == whose]
    spelt = [
        category + "_" + rest
        for category in module.get_categories(pipeline, whose)
        for rest in module.get_measurements(pipeline, whose, category)
    ]
    assert sorted(spelt) == sorted(names)
    assert set(names) <= {c[1] for c in pipeline.get_measurement_columns() if c[0] == whose}
    return names


@pytest.mark.usefixtures("no_process")
@pytest.mark.parametrize("variable", FEATURES)
def test_the_columns_of_a_model_file_are_in_the_file(variable):
    prefix, count = FEATURES[variable]
    bench = use_file(Bench(), os.environ[variable])
    assert listed(bench) == ["%s_%03d" % (prefix, number) for number in range(count)]
    bench.module.prefix.value = "Mine"
    assert listed(bench)[-1] == "Mine_%03d" % (count - 1)


@pytest.mark.usefixtures("no_process")
@pytest.mark.parametrize(
    ("model", "prefix", "count"),
    [("untrained-efficientnet-b0", "CPCNN", 672), ("untrained-resnet18", "UntrainedRN", 2560)],
)
def test_so_are_those_of_networks_without_a_file(model, prefix, count):
    bench = Bench()
    bench.module.model.value = model
    width = len(str(max(count, 100)))
    assert listed(bench) == ["%s_%0*d" % (prefix, width, number) for number in range(count)]
    # What a pipeline keeps is enough.
    text = io.StringIO()
    bench.pipeline.dump(text)
    bench.pipeline = Pipeline()
    bench.pipeline.load(io.StringIO(text.getvalue()))
    bench.module = bench.pipeline.modules()[0]
    assert len(listed(bench)) == count


@pytest.mark.usefixtures("no_process")
def test_the_published_model_is_read_where_it_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("CPCNN_HOME", str(tmp_path))
    bench = Bench()
    bench.module.model.value = "cell-painting-cnn-v1"
    assert listed(bench) == []
    (tmp_path / "models").mkdir()
    file = tmp_path / "models" / "cell-painting-cnn-v1.safetensors"
    with open(os.environ["CPCNN_TEST_SMALL_MODEL"], "rb") as model:
        file.write_bytes(model.read())
    assert len(listed(Bench_of(bench))) == 6
    # Another file is there now.
    with open(os.environ["CPCNN_TEST_MODEL"], "rb") as model:
        file.write_bytes(model.read())
    assert len(listed(Bench_of(bench))) == 672


def Bench_of(bench):  # noqa: N802
    """Return a bench with the same model, in a pipeline that has not listed columns yet."""
    fresh = Bench()
    fresh.module.model.value = bench.module.model.value
    return fresh


@pytest.mark.usefixtures("no_process")
def test_channels_that_are_left_out_are_reckoned_with():
    bench = use_file(Bench(), os.environ["CPCNN_TEST_BAG_MODEL"])
    for group in bench.module.channels[1:3]:
        group.image.value = "Leave out"
    assert len(listed(bench)) == 3 * 96
    for group in bench.module.channels:
        group.image.value = "Leave out"
    assert listed(bench) == []
    bench = Bench()
    bench.module.channels[2].image.value = "Leave out"
    assert listed(bench) == []


@pytest.mark.usefixtures("no_process")
def test_a_program_that_the_pipeline_names_is_not_started_either(tmp_path):
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho ran >> '%s'\n" % (tmp_path / "mark"))
    program.chmod(0o755)
    import _cpcnn.worker_python

    _cpcnn.worker_python.allow_program(str(program))
    bench = use_library(Bench())
    bench.module.python.value = str(program)
    assert len(listed(bench)) == 672
    assert listed(bench, words.IMAGE) == OF_EVERY_LIBRARY
    assert not (tmp_path / "mark").exists()


def test_the_program_of_that_test_leaves_a_mark_when_it_is_started(tmp_path):
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho ran >> '%s'\n" % (tmp_path / "mark"))
    program.chmod(0o755)
    import _cpcnn.worker_python

    _cpcnn.worker_python.allow_program(str(program))
    bench = Bench()
    bench.module.python.value = str(program)
    with pytest.raises(ValidationError):
        bench.module.validate_module(bench.pipeline)
    assert (tmp_path / "mark").exists()


LIBRARIES = {
    "profiles.parquet": OF_EVERY_LIBRARY + OF_P_VALUES + OF_CONTROLS,
    "few controls.parquet": OF_EVERY_LIBRARY + OF_CONTROLS,
    "without controls Größe.parquet": OF_EVERY_LIBRARY,
}


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_run_announces_what_it_writes_though_columns_were_listed_before(name):
    """CellProfiler without a window lists columns, and keeps the list, before prepare_run."""
    bench = use_library(Bench().add_images(SHAPE), name)
    bench.add_objects(squares(SHAPE, {1: (60, 60), 2: (140, 150)}))
    assert listed(bench, words.IMAGE) == OF_EVERY_LIBRARY
    bench.module.validate_module(bench.pipeline)
    announced = listed(bench) + listed(bench, words.IMAGE)
    assert sorted(listed(bench, words.IMAGE)) == sorted(LIBRARIES[name])
    bench.module.run(bench.workspace())
    written = [
        feature
        for whose in ("Cells", words.IMAGE)
        for feature in bench.measurements.get_feature_names(whose)
        if feature.startswith("CPCNN")
    ]
    assert sorted(written) == sorted(announced)


def test_what_a_library_holds_is_kept_in_the_pipeline(request):
    bench = use_library(Bench())
    bench.module.validate_module(bench.pipeline)
    text = io.StringIO()
    bench.pipeline.dump(text)
    request.getfixturevalue("no_process")
    bench.pipeline = Pipeline()
    bench.pipeline.load(io.StringIO(text.getvalue()))
    bench.module = bench.pipeline.modules()[0]
    assert sorted(listed(bench, words.IMAGE)) == sorted(LIBRARIES["profiles.parquet"])
    # The hidden setting has nothing for the user.
    assert bench.module.library_holds not in bench.module.help_settings()


def test_a_library_that_is_chosen_in_the_window_is_asked_at_once():
    bench = use_library(Bench(), "nowhere.parquet")
    module = bench.module
    for name in (*LIBRARIES, "nowhere.parquet"):
        module.library_file_name.value = name
        module.on_setting_changed(module.library_file_name, bench.pipeline)
        expected = LIBRARIES.get(name, OF_EVERY_LIBRARY)
        assert sorted(listed(bench, words.IMAGE)) == sorted(expected)
    # Made of masked cells.
    module.library_file_name.value = "masked.parquet"
    module.on_setting_changed(module.library_file_name, bench.pipeline)
    assert sorted(listed(bench, words.IMAGE)) == sorted(OF_EVERY_LIBRARY)
    module.mask_neighbors.value = True
    module.on_setting_changed(module.mask_neighbors, bench.pipeline)
    assert sorted(listed(bench, words.IMAGE)) == sorted(LIBRARIES["profiles.parquet"])
    module.wants_library.value = False
    module.on_setting_changed(module.wants_library, bench.pipeline)
    assert listed(bench, words.IMAGE) == []


def test_the_library_of_an_earlier_pipeline_is_asked_when_the_module_is_looked_at():
    bench = use_library(Bench())
    assert sorted(listed(bench, words.IMAGE)) == sorted(OF_EVERY_LIBRARY)
    bench.module.on_activated(bench.workspace())
    assert sorted(listed(bench, words.IMAGE)) == sorted(LIBRARIES["profiles.parquet"])


def test_a_model_whose_names_would_be_others_is_refused(bench, monkeypatch):
    import _cpcnn.measurement_columns as names

    monkeypatch.setitem(
        names.WITHOUT_FILE, "untrained-efficientnet-b0", names.CardFacts("CPCNN", 600, 5, "fixed")
    )
    with pytest.raises(ValidationError, match=r"672 measurements of untrained-.* expected 600"):
        bench.module.validate_module(bench.pipeline)
    monkeypatch.delitem(names.WITHOUT_FILE, "untrained-efficientnet-b0")
    with pytest.raises(ValidationError, match=r"CPCNN_000 to CPCNN_671; .* expected 0"):
        bench.module.validate_module(bench.pipeline)


def test_the_words_are_cellprofilers():
    import _cpcnn.measurement_columns as names
    import _cpcnn.request

    assert _cpcnn.request.IMAGE == words.IMAGE
    assert names.EXPERIMENT == words.EXPERIMENT
    assert (names.FLOAT, names.TEXT) == (words.COLTYPE_FLOAT, words.COLTYPE_VARCHAR)
    assert names.TREATMENT_NAME == words.COLTYPE_VARCHAR_FORMAT % 255


def test_a_request_has_what_is_set(bench, tmp_path):
    from _cpcnn.request import LibraryRequest, MeasurementRequest
    from _cpcnn.worker_client import WorkerChoice

    module = use_library(use_file(bench, str(tmp_path / "mine.safetensors"))).module
    module.center_objects.value = "Nuclei"
    module.mask_neighbors.value = True
    module.channels[1].image.value = "Leave out"
    module.prefix.value = "Mine"
    module.treatment.value = "taxol"
    module.um_per_px.value = "0.5"
    found = MeasurementRequest.from_settings(module)
    folder = os.environ["CPCNN_TEST_LIBRARY"]
    library = LibraryRequest(
        os.path.join(folder, "profiles.parquet"), "Treatment", 1, "taxol", "Not asked yet"
    )
    images = [None if name == "RNA" else "Orig" + name for name in CHANNELS]
    assert found == MeasurementRequest(
        module_name="MeasureCellPaintingCNN",
        module_number=1,
        unit="Objects",
        objects="Cells",
        center_objects="Nuclei",
        mask_neighbors=True,
        model=str(tmp_path / "mine.safetensors"),
        channels=tuple(zip(CHANNELS, images)),
        um_per_px="0.5",
        prefix="Mine",
        worker=WorkerChoice("Automatic", "Automatic"),
        library=library,
    )
    assert found.scale() == 0.5
    # Where images are measured as a whole, neither neighbours nor a treatment of cells count.
    module.unit.value = "The whole image, in tiles"
    whole = MeasurementRequest.from_settings(module)
    assert (whole.owner, whole.mask_neighbors, whole.library.treatment) == ("Image", False, None)
