"""DeepProfiler's compression, to the last bit."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from cpcnn_core.errors import ImageError
from cpcnn_core.imaging.compression import ChannelStatistics, compress_plane, illumination_function

DATA = Path(__file__).parents[2] / "data"
CHANNELS = ("DNA", "RNA", "ER", "AGP", "Mito")
SITES = ("A01_s1", "A01_s2", "B02_s3", "B03_s4")


@pytest.fixture(scope="module")
def expected():
    return np.load(DATA / "compression" / "expected.npz")


@pytest.fixture(scope="module")
def images():
    folder = DATA / "deepprofiler_project" / "inputs" / "images" / "P1"
    return {(s, c): tifffile.imread(folder / f"{s}_{c}.tif") for s in SITES for c in CHANNELS}


@pytest.fixture(scope="module")
def statistics(images):
    found = {channel: ChannelStatistics() for channel in CHANNELS}
    for (_, channel), plane in images.items():
        found[channel].add(plane)
    return found


@pytest.mark.parametrize("channel", range(5), ids=CHANNELS)
def test_statistics_of_a_plate(statistics, expected, channel):
    mine = statistics[CHANNELS[channel]]
    assert mine.upper() == expected["upper_percentiles"][channel]
    # The reference keeps these two as float32.
    mean, illumination = expected["mean_image"], expected["illum_function"]
    np.testing.assert_allclose(mine.mean_thumbnail(), mean[..., channel], rtol=1e-7)
    np.testing.assert_allclose(mine.illumination(), illumination[..., channel], rtol=1e-7)


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("site", range(4), ids=SITES)
def test_compressed_images_are_the_references_own(images, statistics, expected, site, channel):
    mine = statistics[channel]
    found = compress_plane(images[SITES[site], channel], mine.illumination(), mine.upper())
    theirs = expected[f"png_site{site + 1}"][..., CHANNELS.index(channel)]
    np.testing.assert_array_equal(found, theirs)
    assert found.dtype == np.uint8


def test_an_image_without_contrast_becomes_zero():
    assert not compress_plane(np.full((9, 9), 7), np.ones((9, 9)), 65535).any()


def test_black_plates_and_images_that_do_not_fit_are_errors():
    with pytest.raises(ImageError, match="images are black"):
        illumination_function(np.zeros((8, 8)), (32, 32))
    statistics = ChannelStatistics(bits=8)
    with pytest.raises(ImageError, match="whole numbers below 256, got uint16 up to 300"):
        statistics.add(np.full((32, 32), 300, np.uint16))
    statistics.add(np.zeros((32, 32), np.uint8))
    with pytest.raises(
        ImageError, match=r"images of \(32, 32\) as the plate's first, got \(16, 16\)"
    ):
        statistics.add(np.zeros((16, 16), np.uint8))
