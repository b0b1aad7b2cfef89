"""Images without objects: tiles, or the whole field."""

import numpy as np
import pytest
from cellprofiler_core.constants.measurement import IMAGE
from conftest import CHANNELS, Bench, squares

TILES = "The whole image, in tiles"
FIELD = "The whole image, shrunk to one crop"


def whole(shape, unit, **replaced):
    bench = Bench().add_images(shape, **replaced)
    bench.module.unit.value = unit
    bench.module.run(bench.workspace())
    return bench


def features(bench):
    columns = bench.module.get_measurement_columns(bench.pipeline)
    names = [name for whose, name, _ in columns if whose == IMAGE]
    return np.array([bench.measurements.get_current_image_measurement(name) for name in names])


def test_tiles_lie_around_the_middle():
    from _cpcnn.measure import tile_centers

    centers = tile_centers((300, 400), 128)
    assert centers.tolist() == [
        [86.0, 72.0],
        [86.0, 200.0],
        [86.0, 328.0],
        [214.0, 72.0],
        [214.0, 200.0],
        [214.0, 328.0],
    ]
    assert tile_centers((100, 128), 128).tolist() == [[50.0, 64.0]]
    assert len(tile_centers((1080, 1080), 128)) == 64


def test_an_image_has_the_median_of_its_tiles():
    shape = (300, 410)
    centers = [(row, col) for row in (86, 214) for col in (77, 205, 333)]
    bench = Bench().add_images(shape)
    labels = squares(shape, dict(enumerate(centers, start=1)), half=4)
    tiles = bench.add_objects(labels).run()
    np.testing.assert_allclose(features(whole(shape, TILES)), np.median(tiles, axis=0), atol=1e-5)


def test_a_field_of_a_crops_size_is_that_crop():
    bench = Bench().add_images((128, 128))
    alone = bench.add_objects(squares((128, 128), {1: (64, 64)})).run()
    for unit in (TILES, FIELD):
        np.testing.assert_allclose(features(whole((128, 128), unit)), alone[0], atol=1e-5)


def test_a_large_field_is_shrunk():
    small = {c: np.random.RandomState(n).uniform(size=(128, 128)) for n, c in enumerate(CHANNELS)}
    large = {c: np.kron(pixels, np.ones((3, 3))).astype("f4") for c, pixels in small.items()}
    small = {c: pixels.astype("f4") for c, pixels in small.items()}
    expected = features(whole((128, 128), FIELD, **small))
    np.testing.assert_allclose(features(whole((384, 384), FIELD, **large)), expected, atol=1e-3)


def test_the_measurements_are_the_images_and_objects_are_not_asked_for():
    bench = Bench()
    bench.module.unit.value = TILES
    columns = bench.module.get_measurement_columns(bench.pipeline)
    assert [c[:2] for c in columns[:2]] == [(IMAGE, "CPCNN_000"), (IMAGE, "CPCNN_001")]
    once = ["CPCNN_Model_Image", "CPCNN_Weights_Image"]
    assert [c[:2] for c in columns[-2:]] == [("Experiment", name) for name in once]
    shown = [setting.text for setting in bench.module.visible_settings()]
    assert "Select the objects to measure" not in shown
    assert "Mask neighbouring cells?" not in shown


def test_images_of_different_sizes():
    with pytest.raises(RuntimeError, match=r"OrigAGP .for AGP. is 200 x 210 .* OrigDNA .for DNA."):
        whole((200, 220), TILES, AGP=np.zeros((200, 210), np.float32))
