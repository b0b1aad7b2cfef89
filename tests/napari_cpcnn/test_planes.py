"""Layers to channels: by name, by shape, by plane."""

import numpy as np
import pytest
from napari.layers import Image, Labels

from cpcnn_core.errors import ChannelError, ImageError
from napari_cpcnn.planes import channel_planes, check_channels, guess_channels, plane_indices

CHANNELS = ("DNA", "RNA", "ER", "AGP", "Mito")


@pytest.mark.parametrize(
    "names",
    [
        ("OrigDNA", "OrigRNA", "OrigER", "OrigAGP", "OrigMito"),
        ("Hoechst 33342", "SYTO14", "ConA", "Phalloidin-WGA", "MitoTracker Deep Red"),
        ("plate1_dapi", "plate1_rna", "plate1_er", "plate1_actin", "plate1_mitochondria"),
    ],
)
def test_channels_are_guessed_by_what_people_call_them(names):
    shuffled = [names[i] for i in (3, 0, 4, 2, 1)]
    assert guess_channels(CHANNELS, ["Brightfield", *shuffled]) == dict(
        zip(CHANNELS, names, strict=True)
    )


def test_what_tells_nothing_is_not_guessed():
    # "er" is part of these, but not a word of its own.
    found = guess_channels(CHANNELS, ["layer", "filter", "Image [1]"])
    assert found == dict.fromkeys(CHANNELS)


def test_planes_of_a_stack_follow_the_viewer():
    labels = Labels(np.zeros((3, 2, 8, 9), int))
    assert plane_indices(labels, (2, 1, 0, 0), every=False) == [(2, 1)]
    # The viewer has one axis more, in front.
    assert plane_indices(labels, (5, 2, 0, 0, 0), every=False) == [(2, 0)]
    assert plane_indices(labels, (0, 0, 0, 0), every=True) == [
        (t, z) for t in range(3) for z in range(2)
    ]
    assert plane_indices(Labels(np.zeros((8, 9), int)), (4, 0, 0), every=False) == [()]


def test_planes_come_in_the_order_of_the_channels():
    random = np.random.default_rng(0)
    stack = random.integers(0, 99, (5, 3, 8, 9))
    labels = Labels(np.zeros((3, 8, 9), int))
    layers = [Image(channel, name=name) for channel, name in zip(stack, CHANNELS, strict=True)]
    np.testing.assert_array_equal(channel_planes(layers, labels, (2,)), stack[:, 2])
    np.testing.assert_array_equal(channel_planes([Image(stack)], labels, (1,)), stack[:, 1])
    pyramid = Image([stack[0], stack[0, :, ::2, ::2]], multiscale=True)
    np.testing.assert_array_equal(channel_planes([pyramid], labels, (0,)), stack[:1, 0])


def test_layers_that_do_not_fit_are_named():
    labels = Labels(np.zeros((8, 9), int), name="cells")
    with pytest.raises(ImageError, match="the layer picture shows colours"):
        channel_planes([Image(np.zeros((8, 9, 3), np.uint8), rgb=True, name="picture")], labels, ())
    with pytest.raises(ImageError, match="small has 8 x 8 pixels, the labels cells 8 x 9"):
        channel_planes([Image(np.zeros((8, 8)), name="small")], labels, ())
    with pytest.raises(ChannelError, match="choose an image layer for RNA, Mito"):
        check_channels(("DNA", "RNA", "Mito"), [Image(np.zeros((2, 2))), None, None])
