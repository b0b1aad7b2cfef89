"""Fields: what belongs together is together, channels are found by name."""

import numpy as np
import pytest

from cpcnn_core.errors import ChannelError, ImageError
from cpcnn_core.imaging.field import Field

IMAGE = np.arange(3 * 4 * 5).reshape(3, 4, 5)
CHANNELS = ("DNA", "ER", "Mito")
CENTERS = np.array([[1.5, 2.0], [3.0, 0.5]])


def test_objects_are_numbered_from_one_when_nobody_did():
    site = Field(IMAGE, CHANNELS, CENTERS)
    assert site.object_numbers.tolist() == [1, 2]
    assert site.metadata == {}
    assert site.labels is None


def test_numbers_with_gaps_are_kept():
    site = Field(IMAGE, CHANNELS, CENTERS, object_numbers=[9, 4])
    assert site.object_numbers.tolist() == [9, 4]
    assert site.object_numbers.dtype == np.int64


def test_lists_are_taken_for_arrays():
    site = Field(IMAGE.tolist(), list(CHANNELS), CENTERS.tolist())
    assert site.image.shape == (3, 4, 5)
    assert site.channels == CHANNELS
    assert site.centers.dtype == np.float64


def test_two_fields_share_no_metadata():
    first, second = (Field(IMAGE, CHANNELS, CENTERS) for _ in range(2))
    first.metadata["Well"] = "A01"
    assert second.metadata == {}


@pytest.mark.parametrize("names", [("Mito", "DNA"), ("ER",), ("Mito", "ER", "DNA"), CHANNELS])
def test_planes_are_chosen_by_name_in_the_order_asked_for(names):
    planes = Field(IMAGE, CHANNELS, CENTERS).planes(names)
    assert planes.shape == (len(names), 4, 5)
    for name, plane in zip(names, planes, strict=True):
        np.testing.assert_array_equal(plane, IMAGE[CHANNELS.index(name)])


def test_planes_in_their_own_order_are_not_copied():
    assert Field(IMAGE, CHANNELS, CENTERS).planes(list(CHANNELS)) is IMAGE


def test_missing_channels_are_named():
    words = (
        r"the model needs 4 channels \(DNA, RNA, ER, AGP\); this field has 3 \(DNA, ER, Mito\) "
        r"and lacks RNA, AGP; name the planes"
    )
    with pytest.raises(ChannelError, match=words):
        Field(IMAGE, CHANNELS, CENTERS).planes(("DNA", "RNA", "ER", "AGP"))


@pytest.mark.parametrize(
    ("image", "channels", "words"),
    [
        (IMAGE, ("DNA", "ER"), r"got 2 names for shape \(3, 4, 5\)"),
        (IMAGE[0], ("DNA",), r"got 1 names for shape \(4, 5\)"),
        (IMAGE, ("DNA", "ER", "DNA"), "every channel name once, got DNA, ER, DNA"),
    ],
)
def test_channel_names_that_do_not_fit_are_named(image, channels, words):
    with pytest.raises(ChannelError, match=words):
        Field(image, channels, CENTERS)


def test_centres_that_are_none_are_an_error():
    with pytest.raises(ImageError, match=r"shape \(n, 2\)"):
        Field(IMAGE, CHANNELS, np.ones((2, 3)))


@pytest.mark.parametrize("numbers", [[1], [1, 2, 3], [[1, 2]]])
def test_object_numbers_that_do_not_fit_are_an_error(numbers):
    with pytest.raises(ImageError, match="one object number per centre"):
        Field(IMAGE, CHANNELS, CENTERS, object_numbers=numbers)


def test_labels_of_another_size_are_an_error():
    with pytest.raises(ImageError, match=r"\(4, 5\)"):
        Field(IMAGE, CHANNELS, CENTERS, labels=np.ones((5, 4), int))


def test_a_scale_is_kept_as_a_number_and_no_other_is_taken():
    assert Field(IMAGE, CHANNELS, CENTERS).um_per_px is None
    assert Field(IMAGE, CHANNELS, CENTERS, um_per_px=np.float32(0.5)).um_per_px == 0.5
    with pytest.raises(ImageError, match=r"positive number, got -0\.5"):
        Field(IMAGE, CHANNELS, CENTERS, um_per_px=-0.5)
