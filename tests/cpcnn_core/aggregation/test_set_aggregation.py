"""Mean and residual: equal to a loop over wells and cells, and the mean at its limit."""

from dataclasses import replace

import numpy as np
import pytest

from cpcnn_core.aggregation.apply import aggregate_learned
from cpcnn_core.aggregation.fit import fit_aggregation
from cpcnn_core.aggregation.scored_sets import fit_space, score_sets
from cpcnn_core.aggregation.set_aggregation import centers_of_plates, pool
from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.wells import well_profiles


@pytest.fixture(scope="module")
def scored(screen):
    sets, _, controls = screen
    return score_sets(sets, controls, controls, 6, 0)


@pytest.fixture(scope="module")
def trained(scored, screen, settings):
    return fit_aggregation(scored, screen[1], settings)


def loop(sets, controls, aggregation):
    """Return the profiles, a cell at a time, from the formula."""
    space, plates = aggregation.space, sets.wells.texts("Metadata_Plate")
    means = sets.wells.features
    pooled = {}
    for plate in set(plates):
        center = means[controls & (plates == plate)].mean(axis=0)
        for well in np.flatnonzero(plates == plate):
            pooled[well] = [
                np.tanh(
                    (space.components @ ((cell - center) / space.scale) / space.spread)
                    @ aggregation.hidden
                    + aggregation.bias
                )
                for cell in sets.cells[sets.starts[well] : sets.starts[well + 1]]
            ]
    found = np.empty_like(means)
    for well, plate in enumerate(plates):
        others = np.flatnonzero(controls & (plates == plate))
        usual = np.mean(np.concatenate([pooled[other] for other in others]), axis=0)
        more = (np.mean(pooled[well], axis=0) - usual) @ aggregation.output
        found[well] = means[well] + aggregation.strength * space.scale * (
            (more * space.spread) @ space.components
        )
    return found


def test_profiles_equal_a_loop(screen, scored, trained):
    found = scored.aggregate(trained)
    assert np.abs(found - screen[0].wells.features).max() > 0.1
    np.testing.assert_allclose(found, loop(screen[0], screen[2], trained), rtol=0, atol=1e-4)


def test_tables_give_what_sets_in_memory_give(folder, screen, scored, trained):
    wells, tables = screen[0].wells, sorted((folder / "plates").iterdir())
    found = aggregate_learned(wells, screen[2], trained, tables).features
    np.testing.assert_allclose(found, scored.aggregate(trained), rtol=0, atol=1e-5)


def test_controls_of_a_plate_are_moved_by_nothing_on_average(screen, scored, trained):
    moved = scored.aggregate(trained) - screen[0].wells.features
    plates = screen[0].wells.texts("Metadata_Plate")
    for plate in set(plates):
        mine = screen[2] & (plates == plate)
        np.testing.assert_allclose(moved[mine].mean(axis=0), 0, atol=1e-6)


def test_untrained_and_of_no_strength_it_is_the_mean_to_the_bit(folder, screen, scored, trained):
    untrained = replace(trained, output=np.zeros_like(trained.output))
    tables = sorted((folder / "plates").iterdir())
    plain = well_profiles([folder], cells="mean")
    for limit in (untrained, replace(trained, strength=0.0)):
        assert scored.aggregate(limit).tobytes() == screen[0].wells.features.tobytes()
        found = aggregate_learned(plain, screen[2], limit, tables)
        assert found.features.tobytes() == plain.features.tobytes()


def test_half_the_strength_moves_half_as_far(screen, scored, trained):
    means = screen[0].wells.features
    half = scored.aggregate(replace(trained, strength=0.5)) - means
    np.testing.assert_allclose(2 * half, scored.aggregate(trained) - means, rtol=0, atol=1e-5)


def test_the_space_is_that_of_the_controls_alone(screen):
    sets, _, controls = screen
    space = fit_space(sets, controls, 6)
    spoilt = sets.cells.copy()
    spoilt[~controls[sets.well_of_cell]] = 1e6
    means = np.where(controls[:, None], sets.wells.features, 1e6)
    other = replace(sets, cells=spoilt, wells=replace(sets.wells, features=means))
    again = fit_space(other, controls, 6)
    np.testing.assert_array_equal(again.components, space.components)
    np.testing.assert_array_equal(again.scale, space.scale)
    # In these units, the control cells have a spread of 1 along every component.
    centers = centers_of_plates(sets.wells.features, sets.wells.texts("Metadata_Plate"), controls)
    mine = controls[sets.well_of_cell]
    scores = space.scores(sets.cells[mine], centers[sets.well_of_cell[mine]])
    np.testing.assert_allclose(scores.std(axis=0, ddof=1), 1, atol=1e-4)
    np.testing.assert_allclose(np.cov(scores.T), np.eye(6), atol=1e-3)


def test_a_feature_that_controls_do_not_vary_in_is_left_as_it_is(screen, settings):
    sets, names, controls = screen
    cells, means = sets.cells.copy(), sets.wells.features.copy()
    cells[:, 2] = 7
    means[:, 2] = 7
    sets = replace(sets, cells=cells, wells=replace(sets.wells, features=means))
    scored = score_sets(sets, controls, controls, 6, 0)
    moved = scored.aggregate(fit_aggregation(scored, names, settings)) - means
    assert (moved[:, 2] == 0).all()
    assert (moved[~controls][:, 3] != 0).all()


def test_pooling_equals_a_loop():
    random = np.random.default_rng(0)
    values, rows = random.normal(size=(50, 3)), random.integers(0, 6, 50)
    rows[rows == 4] = 5
    expected = np.zeros((6, 3))
    for value, row in zip(values, rows, strict=True):
        expected[row] += value
    np.testing.assert_allclose(pool(values, rows, 6), expected, atol=1e-12)
    assert not pool(values[:0], rows[:0], 6).any()


def test_a_plate_without_controls_is_named():
    plates = np.array(["P1", "P2"])
    with pytest.raises(ProfileError, match=r"plate P2 has no control wells.*--controls.*--where"):
        centers_of_plates(np.ones((2, 1)), plates, np.array([True, False]))
