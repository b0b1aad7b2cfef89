"""Objects and images compared with a library, as measurements of the pipeline."""

import os

import numpy as np
import pytest
from cellprofiler_core.constants.measurement import EXPERIMENT, IMAGE
from cellprofiler_core.setting import ValidationError
from conftest import Bench, squares

SHAPE = (200, 220)
LABELS = squares(SHAPE, {1: (60, 60), 3: (140, 150), 4: (100, 90)})
LIBRARY = os.environ["CPCNN_TEST_LIBRARY"]


def comparing(file_name="profiles.parquet", labels=LABELS, **settings):
    bench = Bench().add_images(SHAPE).add_objects(labels)
    bench.module.wants_library.value = True
    bench.module.library_directory.join_parts("Elsewhere...", LIBRARY)
    bench.module.library_file_name.value = file_name
    bench.module.treatment.value = "taxol"
    for name, value in settings.items():
        getattr(bench.module, name).value = value
    return bench


def checked(bench):
    """Find out what the library holds, as every run begins."""
    bench.module.validate_module(bench.pipeline)
    return bench


def image(bench, name):
    return bench.measurements.get_current_image_measurement("CPCNNNearest_" + name)


@pytest.fixture(scope="module")
def truth():
    """Wells and treatments of the library."""
    return dict(np.load(os.path.join(LIBRARY, "wells.npz")))


def cosine(a, b):
    return (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())


def test_every_object_and_the_image_are_compared(truth):
    bench = comparing()
    features = bench.run()[:, :672]
    measured = [0, 2, 3]
    controls = truth["wells"][truth["treatment"] == "DMSO"].astype(float)
    center = controls.mean(axis=0)
    spread = np.median([np.linalg.norm(row - center) for row in controls])
    profiles = {
        name: truth["wells"][truth["treatment"] == name].astype(float).mean(axis=0)
        for name in ("taxol", "nocodazole")
    }
    likes = bench.measurements.get_current_measurement("Cells", "CPCNNLike_Controls")
    expected = [1 / (1 + np.linalg.norm(row - center) / spread) for row in features[measured]]
    np.testing.assert_allclose(likes[measured], expected, rtol=1e-5)
    taxol = bench.measurements.get_current_measurement("Cells", "CPCNNLike_Treatment")
    expected = [cosine(row, profiles["taxol"]) for row in features[measured]]
    np.testing.assert_allclose(taxol[measured], expected, atol=1e-6)
    assert np.isnan(likes[1])
    assert np.isnan(taxol[1])

    whole = np.median(features[measured], axis=0)
    ranking = sorted(((cosine(whole, p), name) for name, p in profiles.items()), reverse=True)
    for rank, (similarity, name) in enumerate(ranking, start=1):
        assert image(bench, "Treatment%d_Cells" % rank) == name
        assert image(bench, "Similarity%d_Cells" % rank) == pytest.approx(similarity, abs=1e-6)
        told = [image(bench, "%sValue%d_Cells" % (letter, rank)) for letter in "PQ"]
        # Twelve controls of which three times four are held out, drawn in groups of two.
        assert 1 / (1 + 3 * 6) <= told[0] <= told[1] <= 1
    # There are two treatments, and three were asked for.
    assert image(bench, "Treatment3_Cells") == ""
    assert np.isnan(image(bench, "Similarity3_Cells"))
    assert np.isnan(image(bench, "PValue3_Cells"))
    near = 1 / (1 + np.linalg.norm(whole - center) / spread)
    assert image(bench, "LikeControls_Cells") == pytest.approx(near, rel=1e-5)


def test_every_measurement_is_announced_and_every_announced_one_is_made():
    bench = checked(comparing(neighbor_count=2))
    bench.run()
    rooms = __import__("_cpcnn.measure", fromlist=["x"])
    request = __import__("_cpcnn.request", fromlist=["x"]).MeasurementRequest
    rooms.record_origin(request.from_settings(bench.module), bench.measurements)
    announced = {c[:2] for c in bench.module.get_measurement_columns(bench.pipeline)}
    made = {
        (whose, name)
        for whose in ("Cells", IMAGE, EXPERIMENT)
        for name in bench.measurements.get_feature_names(whose)
        if name.startswith("CPCNN")
    }
    assert made == announced
    assert max(len(whose + "_" + name) for whose, name in made) < 40
    for whose, name in announced:
        category, rest = name.split("_", 1)
        assert category in bench.module.get_categories(bench.pipeline, whose)
        assert rest in bench.module.get_measurements(bench.pipeline, whose, category)


def test_the_features_have_a_first_part_of_their_own():
    bench = checked(comparing())
    names = bench.module.get_measurements(bench.pipeline, "Cells", "CPCNN")
    assert len(names) == 672
    assert bench.module.get_categories(bench.pipeline, "Cells") == ["CPCNN", "CPCNNLike"]
    assert bench.module.get_categories(bench.pipeline, IMAGE) == ["CPCNNNearest"]


def test_an_image_without_objects_is_like_nothing():
    bench = checked(comparing(labels=np.zeros(SHAPE, np.int32)))
    assert bench.run().shape == (0, 672 + 2)
    assert image(bench, "Treatment1_Cells") == ""
    assert np.isnan(image(bench, "Similarity1_Cells"))


def test_without_known_controls_there_is_no_similarity_to_them():
    bench = checked(comparing("without controls Größe.parquet", treatment="None"))
    assert bench.module.get_categories(bench.pipeline, "Cells") == ["CPCNN"]
    bench.run()
    assert not bench.measurements.has_feature(IMAGE, "CPCNNNearest_LikeControls_Cells")
    with pytest.raises(ValidationError, match="does not say which wells are negative controls"):
        bench.module.validate_module_warnings(bench.pipeline)


def test_with_few_controls_there_are_no_p_values_and_the_reason_is_told():
    bench = checked(comparing("few controls.parquet"))
    columns = {column[1] for column in bench.module.get_measurement_columns(bench.pipeline)}
    assert "CPCNNNearest_Similarity1_Cells" in columns
    assert "CPCNNNearest_PValue1_Cells" not in columns
    bench.run()
    assert not bench.measurements.has_feature(IMAGE, "CPCNNNearest_PValue1_Cells")
    with pytest.raises(ValidationError, match=r"few controls\.parquet: no p-values: .* at most 3"):
        bench.module.validate_module_warnings(bench.pipeline)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"file_name": "other.parquet"}, r"other.parquet was made with the model cell-painting-"),
        ({"file_name": "masked.parquet"}, r"made with mask_neighbors True, here it is False"),
        ({"file_name": "none.parquet"}, r"there is no table .*none.parquet"),
        ({"treatment": "Taxol"}, r"no treatment 'Taxol' in profiles.parquet; did you mean taxol"),
        ({"treatment_column": "Compound"}, r"there is no column Metadata_Compound"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_run(settings, words):
    bench = comparing(**settings)
    with pytest.raises(ValidationError, match=words):
        bench.module.validate_module(bench.pipeline)
    with pytest.raises(RuntimeError, match=words):
        bench.run()


@pytest.mark.parametrize("name", ["pandas", "method", "import", "hang", "deep"])
def test_a_library_whose_controls_are_an_attack_is_refused_and_nothing_runs(name):
    bench = comparing("hostile %s.parquet" % name)
    with pytest.raises(ValidationError, match="cannot understand"):
        bench.module.validate_module(bench.pipeline)
    with pytest.raises(RuntimeError, match="cannot understand"):
        bench.run()
    assert not os.path.exists(os.path.join(LIBRARY, "made"))


def test_a_library_of_masked_cells_takes_masked_cells():
    bench = comparing("masked.parquet", mask_neighbors=True)
    bench.module.validate_module(bench.pipeline)
    assert bench.run().shape == (4, 672 + 2)


def test_a_library_that_changes_during_the_run():
    bench = comparing()
    bench.measurements.add_experiment_measurement("CPCNN_Library_Cells", "old sha256:1")
    with pytest.raises(RuntimeError, match="The library was changed during the run: it began wit"):
        bench.run()
    assert not bench.measurements.has_current_measurements("Cells", "CPCNN_000")


def test_tiles_of_an_image_are_compared_too():
    bench = comparing(unit="The whole image, in tiles")
    bench.module.run(bench.workspace())
    assert image(bench, "Treatment1_Image") in ("taxol", "nocodazole")
    assert bench.module.get_categories(bench.pipeline, IMAGE) == ["CPCNN", "CPCNNNearest"]


def test_filters_and_classifiers_find_the_measurements():
    from cellprofiler_core.utilities.core.modules import instantiate_module

    bench = checked(comparing())
    chooser = instantiate_module("FilterObjects")
    chooser.set_module_num(2)
    bench.pipeline.add_module(chooser)
    columns = bench.pipeline.get_measurement_columns(chooser)
    assert ("Cells", "CPCNNLike_Controls", "float") in columns
    chooser.x_name.value = "Cells"
    group = chooser.measurements[0]
    group.measurement.value = "CPCNNLike_Treatment"
    group.measurement.test_valid(bench.pipeline)
