"""Models of another kind: any channels, a licence to be accepted, another scale."""

import json
import os

import numpy as np
import pytest
from cellprofiler_core.setting import ValidationError
from conftest import CHANNELS, Bench, squares

SHAPE = (200, 220)
FEATURES = 96


@pytest.fixture
def bag():
    """A bench with the model that takes any channels, whose licence was accepted."""
    bench = with_bag(Bench())
    bench.module.accept_licence()
    bench.add_images(SHAPE).add_objects(squares(SHAPE, {1: (60, 60), 2: (140, 150)}))
    return bench


def with_bag(bench):
    folder, name = os.path.split(os.environ["CPCNN_TEST_BAG_MODEL"])
    bench.module.model.value = "Model file"
    bench.module.model_directory.join_parts("Elsewhere...", folder)
    bench.module.model_file_name.value = name
    return bench


def refused(module, bench):
    with pytest.raises(ValidationError) as caught:
        module.validate_module(bench.pipeline)
    return caught.value


def leave_out(module, *names):
    for group in module.channels:
        if group.name.value in names:
            group.image.value = "Leave out"


def test_a_licence_is_accepted_once_by_a_button():
    answers = os.path.join(os.environ["CPCNN_HOME"], "licences.json")
    if os.path.exists(answers):
        os.remove(answers)
    bench = with_bag(Bench())
    module = bench.module
    assert module.accept_button in module.visible_settings()
    error = refused(module, bench)
    assert error.setting is module.model
    assert "(CC BY-NC 4.0) forbids commercial use" in str(error)
    assert "cpcnn models accept bag" in str(error)
    module.accept_licence()
    assert module.accept_button not in module.visible_settings()
    module.validate_module(bench.pipeline)
    with open(answers) as file:
        assert json.load(file)["bag"]["licence"] == "CC BY-NC 4.0"


def test_channels_that_are_left_out_have_no_features(bag):
    whole = bag.run()
    assert whole.shape == (2, 5 * FEATURES)
    other = with_bag(Bench().add_images(SHAPE))
    other.add_objects(squares(SHAPE, {1: (60, 60), 2: (140, 150)}))
    leave_out(other.module, "RNA", "AGP", "Mito")
    other.module.validate_module(other.pipeline)
    values = other.run()
    assert values.shape == (2, 2 * FEATURES)
    # Channel by channel: DNA is the first of five, ER the third.
    parts = [CHANNELS.index(name) * FEATURES for name in ("DNA", "ER")]
    expected = np.hstack([whole[:, start : start + FEATURES] for start in parts])
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-5)


def test_measurements_are_called_as_the_model_calls_them(bag):
    columns = bag.module.get_measurement_columns(bag.pipeline)
    assert [name for whose, name, _ in columns if whose == "Cells"] == [
        "TestResnet_%03d" % number for number in range(5 * FEATURES)
    ]
    once = [name for whose, name, _ in columns if whose == "Experiment"]
    assert once == ["TestResnet_Model_Cells", "TestResnet_Weights_Cells"]
    bag.module.prefix.value = "Mine"
    assert bag.module.get_categories(bag.pipeline, "Cells") == ["Mine"]


def test_not_all_channels_can_be_left_out(bag):
    leave_out(bag.module, *CHANNELS)
    assert "one channel at least" in str(refused(bag.module, bag))


def test_the_published_kind_of_model_takes_all_of_its_channels(bench):
    leave_out(bench.module, "ER", "Mito")
    error = refused(bench.module, bench)
    assert "untrained-efficientnet-b0 takes all of its channels; select an image for ER, Mito" in (
        str(error)
    )


def test_choosing_the_model_again_keeps_channels_that_are_left_out(bag):
    leave_out(bag.module, "ER")
    bag.module.on_setting_changed(bag.module.model, bag.pipeline)
    assert [group.name.value for group in bag.module.channels] == list(CHANNELS)
    assert bag.module.channels[2].image.value == "Leave out"


def test_images_of_another_scale_are_resampled_to_the_models(bag):
    same = bag.run()
    bag.module.um_per_px.value = "0.5"
    np.testing.assert_array_equal(bag.run(), same)
    bag.module.um_per_px.value = "0.25"
    assert np.abs(bag.run() - same).max() > 0.01


def test_a_square_of_another_scale_is_the_same_to_the_model(bag):
    """The same smooth picture with pixels of half the size gives nearly the same features."""

    def drawn(scale):
        side = 200 * scale
        rows, cols = (np.mgrid[:side, :side] + 0.5) / scale
        bench = with_bag(Bench())
        spot = np.exp(-((rows - 100) ** 2 + (cols - 90) ** 2) / 300)
        planes = {
            name: spot * (1 + 0.2 * np.sin(cols / (6 + k))) for k, name in enumerate(CHANNELS)
        }
        bench.add_images((side, side), **planes)
        bench.add_objects(squares((side, side), {1: (100 * scale, 90 * scale)}, half=6))
        bench.module.um_per_px.value = str(0.5 / scale)
        return bench.run()

    coarse, fine = drawn(1), drawn(2)
    apart = np.linalg.norm(coarse - fine) / np.linalg.norm(coarse)
    assert apart < 0.1


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "half a micrometre"])
def test_what_is_no_scale_is_refused(bag, text):
    bag.module.um_per_px.value = text
    error = refused(bag.module, bag)
    assert error.setting is bag.module.um_per_px
    assert "positive number such as 0.65, or Unknown; got %r" % text in str(error)


def test_tiles_cover_as_much_of_the_specimen_at_any_scale(bag):
    from _cpcnn.measure import crop_side

    bag.module.unit.value = "The whole image, in tiles"
    bag.module.show_window = True
    sides = {}
    for scale in ("0.25", "Unknown"):
        bag.module.um_per_px.value = scale
        workspace = bag.workspace()
        bag.module.run(workspace)
        # Of the crops that are shown, beside each other with four pixels between them.
        sides[scale] = workspace.display_data.crops.shape[1] // len(CHANNELS) - 4
    assert sides == {"0.25": 128, "Unknown": 64}
    card = {"crop_px": 64, "um_per_px": 0.5}
    assert [crop_side(card, scale) for scale in (0.25, 0.5, 1, None)] == [128, 64, 32, 64]
    assert crop_side({**card, "um_per_px": None}, 0.25) == 64
