"""Pixels of points, against slow loops."""

import numpy as np
import pytest

from napari_cpcnn.cell_map import density_raster
from napari_cpcnn.cell_map.density_raster import (
    DIMMED,
    FAINTEST,
    draw_density,
    draw_map,
    draw_points,
    inside_polygon,
    nearest_point,
)

VIEW, SIZE, BACKGROUND = (-1.0, -2.0, 3.0, 2.0), (24, 31), (38, 41, 48)


def made_up(count, seed=0):
    rng = np.random.default_rng(seed)
    positions = rng.uniform(-2.5, 3.5, (count, 2)).astype(np.float32)
    return positions, rng.integers(0, 256, (count, 3)).astype(np.uint8), rng.random(count) < 0.3


def pixel(position):
    x0, y0, x1, y1 = VIEW
    column = np.floor((position[0] - x0) / (x1 - x0) * SIZE[1])
    return np.floor((position[1] - y0) / (y1 - y0) * SIZE[0]), column


def blank():
    return np.full((*SIZE, 3), BACKGROUND, float)


def dots_by_loop(picture, positions, colors, rows, radius, strength):
    for line, column in np.ndindex(SIZE):
        best = (0, -1)
        for row in rows:
            down, right = np.subtract(pixel(positions[row]), (line, column))
            covered = round(8 * min(1, radius + 0.5 - np.hypot(down, right)))
            best = max(best, (covered, row))
        covered, row = best
        if covered > 0:
            under = picture[line, column]
            picture[line, column] = under + (colors[row] - under) * covered / 8 * strength
    return picture


@pytest.mark.parametrize("radius", [0.6, 1.6, 3.0])
def test_every_pixel_of_dots(radius):
    positions, colors, _ = made_up(60)
    expected = dots_by_loop(blank(), positions, colors, range(60), radius, 1)
    picture = draw_points(positions, VIEW, SIZE, colors, radius, background=BACKGROUND)
    assert picture.shape == (*SIZE, 4)
    assert (picture[..., 3] == 255).all()
    np.testing.assert_allclose(picture[..., :3], expected, atol=0.51)


def test_selected_dots_come_on_top_and_others_are_dimmed():
    positions, colors, selected = made_up(60)
    rest, chosen = np.flatnonzero(~selected), np.flatnonzero(selected)
    expected = dots_by_loop(blank(), positions, colors, rest, 2, DIMMED)
    expected = dots_by_loop(expected, positions, colors, chosen, 2.5, 1)
    picture = draw_points(positions, VIEW, SIZE, colors, 2, selected, background=BACKGROUND)
    np.testing.assert_allclose(picture[..., :3], expected, atol=1.1)


@pytest.mark.parametrize("draw", [draw_map, draw_density])
def test_no_selection_is_as_none(draw):
    positions, colors, _ = made_up(60)
    none = np.zeros(60, bool)
    expected = draw(positions, VIEW, SIZE, colors)
    assert (draw(positions, VIEW, SIZE, colors, none) == expected).all()


def test_ring_lies_around_the_picked_point_only():
    positions, colors, _ = made_up(5)
    positions[2] = 1, 0
    plain = draw_points(positions, VIEW, SIZE, colors, 2, background=BACKGROUND)
    ringed = draw_points(positions, VIEW, SIZE, colors, 2, picked=2, background=BACKGROUND)
    changed = np.argwhere((plain != ringed).any(axis=2))
    middle = np.array([12, 15.5]) - 0.5
    distances = np.hypot(*(changed - middle).T)
    assert len(changed) > 30
    assert np.abs(distances - (2 + density_raster.RING_GAP)).max() <= 1.5


@pytest.mark.parametrize("place", [(np.nan, 0), (1e30, 0), (3.05, 2.05), (-9, -9)])
def test_ring_of_a_point_that_is_not_in_view(place):
    positions, colors, _ = made_up(5)
    positions[2] = place
    draw_points(positions, VIEW, SIZE, colors, 2, picked=2)


@pytest.mark.parametrize("draw", [draw_map, draw_density])
def test_points_that_are_not_finite_are_not_drawn(draw):
    positions = np.array([[np.nan, 0], [0, np.inf], [-np.inf, np.nan]], np.float32)
    picture = draw(positions, VIEW, SIZE, np.full((3, 3), 255, np.uint8), background=BACKGROUND)
    assert (picture[..., :3] == BACKGROUND).all()


@pytest.mark.parametrize("draw", [draw_map, draw_density])
def test_no_points(draw):
    picture = draw(np.zeros((0, 2), np.float32), VIEW, SIZE, np.zeros((0, 3), np.uint8))
    assert (picture[..., :3] == 0).all()


def haze_by_loop(picture, positions, colors, rows, strength):
    counts, sums = np.zeros(SIZE), np.zeros((*SIZE, 3))
    for row in rows:
        line, column = (int(at) for at in pixel(positions[row]))
        if not (0 <= line < SIZE[0] and 0 <= column < SIZE[1]):
            continue
        for down, right in np.ndindex(3, 3):
            at = line + down - 1, column + right - 1
            if 0 <= at[0] < SIZE[0] and 0 <= at[1] < SIZE[1]:
                share = 0.5 ** (abs(down - 1) + abs(right - 1))
                counts[at] += share
                sums[at] += share * colors[row]
    full = max(np.percentile(counts[counts > 0], 99.5), np.e)
    for at in np.argwhere(counts > 0):
        count = counts[tuple(at)]
        more = min(np.log(max(count, 1)) / np.log(full), 1)
        alpha = strength * (FAINTEST * min(count, 1) + (1 - FAINTEST) * more)
        under = picture[tuple(at)]
        picture[tuple(at)] = under + (sums[tuple(at)] / count - under) * alpha
    return picture


def test_every_pixel_of_a_density():
    positions, colors, selected = made_up(3000)
    rest, chosen = np.flatnonzero(~selected), np.flatnonzero(selected)
    expected = haze_by_loop(blank(), positions, colors, range(3000), 1)
    picture = draw_density(positions, VIEW, SIZE, colors, background=BACKGROUND)
    np.testing.assert_allclose(picture[..., :3], expected, atol=0.6)
    expected = haze_by_loop(blank(), positions, colors, rest, DIMMED)
    expected = haze_by_loop(expected, positions, colors, chosen, 1)
    picture = draw_density(positions, VIEW, SIZE, colors, selected, BACKGROUND)
    np.testing.assert_allclose(picture[..., :3], expected, atol=1.1)


def test_many_points_in_view_become_a_density(monkeypatch):
    monkeypatch.setattr(density_raster, "MANY", 50)
    positions, colors, _ = made_up(300)
    density = draw_density(positions, VIEW, SIZE, colors)
    assert (draw_map(positions, VIEW, SIZE, colors) == density).all()
    close = 0.0, 0.0, 0.8, 0.8
    dots = draw_points(positions, close, SIZE, colors, density_raster.LARGEST_RADIUS)
    few = draw_map(positions, close, SIZE, colors)
    assert (few == draw_density(positions, close, SIZE, colors)).mean() < 0.9
    assert few.shape == dots.shape


def test_fewer_points_make_bigger_dots():
    colors = np.full((1000, 3), 255, np.uint8)
    positions = np.full((1000, 2), 0.5, np.float32)
    inks = [
        (draw_map(positions[:count], (0, 0, 1, 1), (200, 200), colors[:count])[..., 0] > 0).sum()
        for count in (1000, 300, 1)
    ]
    assert inks[0] < inks[1] < inks[2]


def test_finer_pixels_show_the_same(monkeypatch):
    random = np.random.default_rng(3)
    crowd = np.concatenate([random.normal(0, 0.3, (5000, 2)), random.uniform(-1, 1, (200, 2))])
    crowd = crowd.astype(np.float32)
    chosen = np.arange(len(crowd)) < 30

    def both(**options):
        white = np.full((len(crowd), 3), 255, np.uint8)
        for scale in (1, 2):
            size = 120 * scale, 120 * scale
            picture = draw_map(crowd, (-1, -1, 1, 1), size, white, scale=scale, **options)
            # As seen from afar: no eye tells four pixels of a screen from the next four.
            yield picture[..., 0].reshape(15, 8 * scale, 15, 8 * scale).mean(axis=(1, 3))

    dots, finer_dots = both(selected=chosen, picked=5100)
    assert np.abs(dots - finer_dots).max() < 0.05 * 255
    monkeypatch.setattr(density_raster, "MANY", 0)
    density, finer_density = both(picked=5100)
    assert np.abs(density - finer_density).max() < 0.15 * 255


def test_nearest_point_equals_a_loop():
    positions = made_up(200)[0]
    for at in np.random.default_rng(1).uniform(-3, 4, (50, 2)):
        distances = [np.hypot(*(position - at)) for position in positions]
        best = int(np.argmin(distances))
        expected = best if distances[best] <= 0.3 else None
        assert nearest_point(positions, tuple(at), 0.3) == expected


def test_nearest_of_none():
    assert nearest_point(np.zeros((0, 2)), (0, 0), 1) is None
    # In the square around the place, but not in the circle.
    assert nearest_point(np.array([[0.9, 0.9]]), (0, 0), 1) is None


def inside_by_loop(point, polygon):
    inside = False
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, 1, axis=0), strict=True):
        if (y0 > point[1]) != (y1 > point[1]):
            inside ^= point[0] < x0 + (point[1] - y0) * (x1 - x0) / (y1 - y0)
    return inside


def test_polygon_equals_a_loop():
    positions = made_up(1000)[0]
    turn = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    polygon = ((1 + 0.5 * np.sin(5 * turn)) * np.array([np.cos(turn), np.sin(turn)])).T
    mask = inside_polygon(positions, polygon)
    assert 20 < mask.sum() < 500
    assert mask.tolist() == [inside_by_loop(point, polygon) for point in positions]


def test_polygon_without_an_area_or_points():
    positions = np.array([[0, 0], [np.nan, 0]], np.float32)
    assert not inside_polygon(positions, np.array([[-1, -1], [1, 1]])).any()
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    assert inside_polygon(positions, square).tolist() == [True, False]
    assert inside_polygon(positions[:0], square).shape == (0,)
