"""The picture: a map that is a principal component analysis, and the right crops."""

import numpy as np
import pytest
from matplotlib.image import imread
from PIL import Image

from cpcnn_core.demo.cells import Cells, _montage, cell_map, draw_cells

CROP_PX = 32


@pytest.fixture
def fields(tmp_path):
    """Two fields of black in which every cell is a square of its own colour."""
    rng = np.random.default_rng(0)
    rows, cols = np.arange(12, 200, 40), np.arange(20, 220, 40)
    place = np.stack(np.meshgrid(rows, cols, indexing="ij"), axis=-1).reshape(-1, 2)
    centers = np.concatenate([place, place]).astype(float)
    number = np.repeat([1, 2], len(place))
    colors = rng.integers(0, 256, (len(centers), 3), np.uint8)
    colors[np.arange(len(centers)), rng.integers(0, 3, len(centers))] = 255
    images = np.zeros((2, 200, 240, 3), np.uint8)
    for (row, col), field, color in zip(centers.astype(int), number, colors, strict=True):
        images[field - 1, max(row - 16, 0) : row + 16, max(col - 16, 0) : col + 16] = color
    paths = [tmp_path / f"field{i}.tiff" for i in (1, 2)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    known = {"size": rng.random(len(centers)), "shape": rng.random(len(centers))}
    cells = Cells(rng.random((len(centers), 12)), number, centers, known, 2, 30)
    return cells, paths, colors


def test_the_map_is_a_principal_component_analysis():
    features = np.random.default_rng(1).normal(1, 1, (40, 6))
    found = cell_map(features)
    rows = np.array([row / np.sqrt(sum(value**2 for value in row)) for row in features])
    rows = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    values, vectors = np.linalg.eigh(np.cov(rows.T, bias=True))
    assert found.shape == (40, 2)
    for axis in (0, 1):
        expected = rows @ vectors[:, -1 - axis]
        sign = np.sign(expected[0] * found[0, axis])
        np.testing.assert_allclose(found[:, axis], sign * expected, atol=1e-10)
        np.testing.assert_allclose(found[:, axis].var(), values[-1 - axis], rtol=1e-10)


def test_the_length_of_a_profile_does_not_move_it_on_the_map():
    rng = np.random.default_rng(2)
    features = rng.normal(0, 1, (20, 5))
    longer = features * rng.uniform(0.1, 10, (20, 1))
    np.testing.assert_allclose(cell_map(longer), cell_map(features), atol=1e-10)


def test_constant_features_and_empty_profiles_do_no_harm():
    features = np.random.default_rng(3).normal(0, 1, (9, 4))
    features[:, 2] = 0
    features[4] = 0
    found = cell_map(features)
    assert np.isfinite(found).all()
    assert np.abs(found).max() > 0.1


def test_the_montage_shows_the_cells_asked_for_in_their_order(fields):
    cells, paths, colors = fields
    chosen = np.array([31, 0 + 6, 44, 12, 7, 8, 11, 13, 36, 18])
    sheet = _montage(cells, paths, CROP_PX, chosen)
    assert sheet.shape == (6 * 34 - 2, 8 * 34 - 2, 3)
    for place, cell in enumerate(chosen):
        top, left = place // 8 * 34, place % 8 * 34
        crop = sheet[top : top + CROP_PX, left : left + CROP_PX]
        assert (crop == colors[cell]).all(), (place, cell)
        assert (sheet[top : top + CROP_PX, left + CROP_PX : left + 34] == 255).all()


def test_dim_images_are_shown_bright(fields):
    cells, paths, _ = fields
    dim = np.zeros((200, 240, 3), np.uint8)
    dim[36:68, 44:76] = (10, 5, 0)
    Image.fromarray(dim).save(paths[0])
    sheet = _montage(cells, paths, CROP_PX, np.array([6]))
    assert cells.centers[6].tolist() == [52, 60]
    assert sheet[0, 0].tolist() == [255, 127, 0]


def test_a_png_is_drawn(fields, tmp_path):
    cells, paths, colors = fields
    out = draw_cells(cells, paths, CROP_PX, tmp_path / "cells.png")
    assert out == tmp_path / "cells.png"
    drawn = (imread(out)[..., :3] * 255).round().astype(int)
    assert drawn.shape == (550, 1650, 3)
    seen = {tuple(color) for color in drawn.reshape(-1, 3).tolist()}
    # The crops of the first row of cells reach over the border.
    whole = cells.centers[:, 0] > 12
    assert 0 < whole.sum() < 48
    assert [tuple(color) in seen for color in colors.tolist()] == whole.tolist()


def test_a_field_without_whole_crops_is_drawn_too(fields, tmp_path):
    cells, paths, _ = fields
    out = draw_cells(cells, paths, 500, tmp_path / "cells.png")
    assert imread(out).shape[:2] == (550, 1650)
