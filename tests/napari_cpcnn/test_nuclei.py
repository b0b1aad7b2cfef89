"""Nuclei are found in one click, about as many as there are."""

import numpy as np
import pytest
from scipy import ndimage

from cpcnn_core.errors import ImageError
from napari_cpcnn.embed.nuclei import find_nuclei
from napari_cpcnn.sample import made_up_fields


@pytest.fixture(scope="module")
def field():
    return {options["name"]: data for data, options, _ in made_up_fields()}


def test_the_samples_nuclei_are_found_one_by_one(field):
    found = find_nuclei(field["DNA"])
    # Nuclei of one cell have one number in the sample; what hangs together is one nucleus.
    truth, count = ndimage.label(field["nuclei"])
    large = [n for n in range(1, count + 1) if (truth == n).sum() >= 60]
    assert len(large) > 50
    hits = 0
    for number in large:
        mine = truth == number
        best = np.bincount(found[mine])[1:]
        if best.size:
            other = found == best.argmax() + 1
            hits += (mine & other).sum() / (mine | other).sum() > 0.5
    assert hits >= 0.85 * len(large)


def test_the_sample_has_all_channels(field):
    assert list(field) == ["DNA", "RNA", "ER", "AGP", "Mito", "nuclei"]
    assert all(field[name].dtype == np.uint16 for name in list(field)[:5])
    for name in list(field)[:5]:
        # Cells stand out from the background.
        assert np.percentile(field[name], 99) > 2 * np.percentile(field[name], 5)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((3, 50, 50)), "nuclei are found in flat images"),
        (np.full((50, 50), 7), "the same value everywhere"),
        (np.arange(3600).reshape(60, 60) == 1830, "nothing in this image looks like a nucleus"),
    ],
)
def test_images_without_nuclei_are_one_line(image, message):
    with pytest.raises(ImageError, match=message):
        find_nuclei(image)
