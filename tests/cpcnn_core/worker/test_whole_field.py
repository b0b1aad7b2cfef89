"""A whole field as one crop."""

import numpy as np
import pytest

from cpcnn_core.embedding.cells import embed_cells
from cpcnn_core.embedding.embedder import load_model
from cpcnn_core.worker.server import Worker, shrink_field

UNTRAINED = "untrained-efficientnet-b0"


def test_pixels_are_the_means_of_those_they_stand_for():
    image = np.random.default_rng(0).random((2, 24, 24))
    blocks = [
        [[plane[r : r + 4, c : c + 4].mean() for c in range(0, 24, 4)] for r in range(0, 24, 4)]
        for plane in image
    ]
    np.testing.assert_allclose(shrink_field(image, 6), blocks, rtol=1e-6)


@pytest.mark.parametrize("shape", [(20, 10), (10, 20), (33, 17), (1, 50)])
def test_a_field_keeps_its_proportions_with_zeros_beside_it(shape):
    small = shrink_field(np.ones((1, *shape)), 10)[0]
    rows, cols = (max(1, round(10 * length / max(shape))) for length in shape)
    assert small.shape == (10, 10)
    assert np.count_nonzero(small) == rows * cols
    np.testing.assert_allclose(small[small > 0], 1, rtol=1e-6)
    # In the middle, to a pixel.
    middle = [np.flatnonzero(small.any(axis=axis)).mean() for axis in (1, 0)]
    assert np.abs(np.array(middle) - 4.5).max() <= 0.5


def test_whole_numbers_lose_nothing():
    image = np.full((1, 8, 8), 40_000, np.uint16)
    np.testing.assert_array_equal(shrink_field(image, 4), np.full((1, 4, 4), 40_000))


def test_a_request_without_centres_embeds_the_whole_field():
    image = np.random.default_rng(1).random((5, 384, 256), np.float32)
    header = {"type": "embed", "model": UNTRAINED, "channels": ["DNA", "RNA", "ER", "AGP", "Mito"]}
    features = Worker("cpu").answer(header, {"image": image})[1]["features"]
    model = load_model(UNTRAINED, device="cpu")
    expected = embed_cells(model, shrink_field(image, 128), [[64.0, 64.0]])
    np.testing.assert_array_equal(features, expected)
