"""Settings kept in a pipeline, errors found before the run, and names of the columns."""

import importlib.util
import io
import json
import os
import sys

import cellprofiler
import pytest
from cellprofiler_core.constants.measurement import EXPERIMENT
from cellprofiler_core.pipeline import Pipeline
from cellprofiler_core.setting import ValidationError
from cellprofiler_core.utilities.core.modules import instantiate_module
from conftest import CHANNELS, Bench

NAMES = ["CPCNN_%03d" % i for i in range(672)]


def test_the_module_loads_in_cellprofiler_without_torch(all_modules):
    assert cellprofiler.__version__.startswith("4.2.8")
    assert "MeasureCellPaintingCNN" in all_modules
    assert "torch" not in sys.modules
    assert importlib.util.find_spec("torch") is None
    assert "cpcnn_core" not in sys.modules


def test_columns_are_the_672_features_and_the_model(bench):
    columns = bench.module.get_measurement_columns(bench.pipeline)
    assert [c for c in columns if c[0] == "Cells"] == [("Cells", n, "float") for n in NAMES]
    once = ["CPCNN_Model_Cells", "CPCNN_Weights_Cells"]
    assert [c[:2] for c in columns if c[0] != "Cells"] == [(EXPERIMENT, name) for name in once]


def test_categories_and_measurements_spell_the_columns(bench):
    module, pipeline = bench.module, bench.pipeline
    for owner, feature, _ in module.get_measurement_columns(pipeline):
        (category,) = module.get_categories(pipeline, owner)
        names = [category + "_" + m for m in module.get_measurements(pipeline, owner, category)]
        assert feature in names
    assert module.get_categories(pipeline, "Image") == []
    assert module.get_measurements(pipeline, "Image", "CPCNN") == []
    assert module.get_measurements(pipeline, "Cells", "AreaShape") == []


def test_a_pipeline_keeps_every_setting(bench):
    module = bench.module
    module.center_objects.value = "Nuclei"
    module.mask_neighbors.value = True
    module.model.value = "Model file"
    module.model_directory.join_parts("Elsewhere...", "/some/where")
    module.python.value = "/opt/python"
    text = io.StringIO()
    bench.pipeline.dump(text)
    again = Pipeline()
    again.load(io.StringIO(text.getvalue()))
    before = [s.unicode_value for s in module.settings()]
    after = [s.unicode_value for s in again.modules()[0].settings()]
    assert after == before
    assert len(after) == 19 + 2 * len(CHANNELS)


def test_channels_follow_the_model(bench):
    folder, name = os.path.split(os.environ["CPCNN_TEST_OTHER_MODEL"])
    module = bench.module
    module.model.value = "Model file"
    module.model_directory.join_parts("Elsewhere...", folder)
    module.model_file_name.value = name
    module.on_setting_changed(module.model, bench.pipeline)
    assert [group.name.value for group in module.channels] == ["DNA", "Actin"]
    assert [group.image.value for group in module.channels] == ["OrigDNA", "None"]
    shown = [setting.text for setting in module.visible_settings()]
    assert "Select the Actin image" in shown
    assert "Model file name" in shown


def test_the_choice_of_models_is_what_the_worker_knows(bench):
    bench.module.model.test_valid(bench.pipeline)
    assert bench.module.model.choices[:3] == [
        "cell-painting-cnn-v1",
        "imagenet-efficientnet-lite0",
        "untrained-efficientnet-b0",
    ]
    assert bench.module.model.choices[-1] == "Model file"


def test_images_are_guessed_only_on_request_and_only_when_clear():
    from _cpcnn.channel_names import guess_images

    images = ["None", "OrigER", "corr_dna", "ActinFilter", "Mito1", "Mito2", "RNA", "CorrAGP"]
    assert guess_images(CHANNELS, images) == {"DNA": "corr_dna", "RNA": "RNA", "ER": "OrigER"}
    assert guess_images(["DNA", "Hoechst"], ["Hoechst"]) == {}


def refusal(bench):
    with pytest.raises(ValidationError) as error:
        bench.module.validate_module(bench.pipeline)
    with pytest.raises(RuntimeError, match="MeasureCellPaintingCNN cannot run"):
        bench.module.prepare_run(bench.workspace())
    return str(error.value)


def test_a_model_that_is_not_here(bench):
    bench.module.model.value = "cell-painting-cnn-v1"
    assert "cpcnn models fetch cell-painting-cnn-v1" in refusal(bench)


def test_a_model_nobody_knows(bench):
    bench.module.model.value = "untrained-efficientnet"
    assert "did you mean untrained-efficientnet-b0" in refusal(bench)


def test_channels_that_are_not_the_models(bench):
    del bench.module.channels[4:]
    assert "takes 5 channels (DNA, RNA, ER, AGP, Mito), this module was set up for 4" in refusal(
        bench
    )


def test_one_image_for_two_channels_is_worth_a_warning(bench):
    bench.module.channels[1].image.value = "OrigDNA"
    with pytest.raises(ValidationError, match="OrigDNA is chosen for both DNA and RNA"):
        bench.module.validate_module_warnings(bench.pipeline)
    bench.module.channels[1].image.value = "OrigRNA"
    bench.module.validate_module_warnings(bench.pipeline)


def test_a_module_before_its_objects_says_where_it_belongs(bench):
    with pytest.raises(RuntimeError, match=r"Select the objects to measure: .* place it after"):
        bench.module.prepare_run(bench.workspace())


def test_no_python_with_cpcnn(bench, monkeypatch):
    monkeypatch.delenv("CPCNN_PYTHON")
    monkeypatch.setenv("PATH", "/nowhere")
    import _cpcnn.worker_python as finder

    with pytest.raises(RuntimeError, match="cpcnn cellprofiler install"):
        finder.find_python("Automatic", record="/nowhere/python.json")


def test_pythons_are_looked_for_in_order(tmp_path, monkeypatch):
    import _cpcnn.worker_python as finder

    monkeypatch.setenv("CPCNN_HOME", str(tmp_path / "home"))
    for name in ("set", "variable", "recorded", "path"):
        folder = tmp_path / name / "bin"
        folder.mkdir(parents=True)
        (folder / "python").write_text("")
    command = tmp_path / "path" / "bin" / "cpcnn"
    command.write_text("")
    command.chmod(0o755)
    record = tmp_path / "python.json"
    record.write_text(json.dumps({"python": str(tmp_path / "recorded" / "bin" / "python")}))
    monkeypatch.setenv("PATH", str(tmp_path / "path" / "bin"))
    monkeypatch.setenv("CPCNN_PYTHON", str(tmp_path / "variable"))

    def found(setting="Automatic", at=record):
        return finder.find_python(setting, str(at))[0].split(os.sep)[-3]

    finder.allow_program(str(tmp_path / "set"))
    assert found(str(tmp_path / "set")) == "set"
    assert found(str(tmp_path / "recorded")) == "recorded"
    assert found() == "variable"
    monkeypatch.delenv("CPCNN_PYTHON")
    assert found() == "recorded"
    assert found(at=tmp_path / "none") == "path"


def exporting(tables, means=False, copies=1):
    """Return a bench that measures several kinds of objects and exports to SQLite."""
    bench = Bench()
    for number in range(1, copies):
        other = instantiate_module("MeasureCellPaintingCNN")
        other.set_module_num(number + 1)
        other.model.value = bench.module.model.value
        other.objects.value = "Cells%d" % number
        bench.pipeline.add_module(other)
    export = instantiate_module("ExportToDatabase")
    export.set_module_num(copies + 1)
    bench.pipeline.add_module(export)
    export.db_type.value = "SQLite"
    export.separate_object_tables.value = tables
    export.wants_agg_mean.value = means
    return bench


def complaint(bench):
    import _cpcnn.checks

    return _cpcnn.checks.sqlite_complaint(bench.pipeline)


def test_three_kinds_of_objects_do_not_fit_one_sqlite_table():
    bench = exporting("Single object table", copies=3)
    # 3 x 672 features, ImageNumber and ObjectNumber.
    assert "would write 2018 columns to Per_Object table and SQLite takes 2000" in complaint(bench)
    assert '"One table per object type"' in refusal(bench)


def test_nor_one_view():
    assert "2018 columns to Per_Object view" in complaint(exporting("Single object view", copies=3))


def test_a_table_for_each_kind_fits():
    assert complaint(exporting("One table per object type", copies=3)) is None


def test_means_per_image_count_too():
    text = complaint(exporting("One table per object type", means=True, copies=3))
    assert "columns to Per_Image" in text
    assert "per-image means" in text


def test_a_switched_off_export_does_not_matter():
    bench = exporting("Single object table", copies=3)
    bench.pipeline.modules()[-1].enabled = False
    assert complaint(bench) is None


def test_batches_run_elsewhere_find_the_model_file(bench):
    bench.module.model_directory.join_parts("Elsewhere...", "/here/models")
    bench.module.prepare_to_create_batch(
        bench.workspace(), lambda path, **_: path.replace("/here", "/there")
    )
    assert bench.module.model_directory.get_absolute_path() == "/there/models"


def test_help_can_be_shown(bench):
    assert "672" in bench.module.get_help()
