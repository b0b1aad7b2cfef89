import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import QPoint, Qt

from cpcnn_core.schema.columns import OBJECT_NUMBER, feature_names
from cpcnn_core.schema.profiles import Profiles
from napari_cpcnn.gallery import (
    MAX_SHOWN,
    NO_CELLS,
    NO_IMAGES,
    Gallery,
    blend,
    nearest_first,
    own_channels,
)
from napari_cpcnn.shared_state import LAYER, SharedState

RED_GREEN = [((1.0, 0.0, 0.0), (0.0, 50.0)), ((0.0, 1.0, 0.0), (0.0, 400.0))]


def crop_of(row):
    random = np.random.default_rng(row)
    return np.stack([random.integers(0, 60, (16, 16)), random.integers(0, 500, (16, 16))])


def cells_of(count, features=None):
    random = np.random.default_rng(0)
    features = random.normal(size=(count, 4)) if features is None else features
    rows = pd.DataFrame({LAYER: "nuclei", OBJECT_NUMBER: np.arange(count) + 1})
    return Profiles(np.asarray(features, np.float32), rows, feature_names(4))


@pytest.fixture
def state():
    state = SharedState()
    state.crops_of = lambda rows: [crop_of(row) for row in rows]
    state.set_cells(cells_of(300))
    return state


@pytest.fixture
def gallery(qtbot, state):
    gallery = Gallery(state)
    gallery.set_channels(RED_GREEN)
    gallery.resize(300, 300)
    qtbot.addWidget(gallery)
    gallery.show()
    return gallery


def choose(state, rows):
    mask = np.zeros(len(state.selection), bool)
    mask[rows] = True
    state.select(mask)


def slowly_sorted(features, rows, center):
    distances = {}
    for row in rows:
        one = features[row].astype(float)
        cosine = one @ center / np.sqrt(one @ one) / np.sqrt(center @ center)
        distances[row] = 1 - cosine
    return sorted(rows, key=distances.get)


def test_nearest_first_equals_a_slow_loop():
    features = cells_of(60).features
    rows = np.arange(5, 50)
    middle = features[rows].astype(float).mean(axis=0)
    assert nearest_first(features, rows).tolist() == slowly_sorted(features, rows, middle)
    picked = nearest_first(features, rows, center=7)
    assert picked.tolist() == slowly_sorted(features, rows, features[7].astype(float))
    assert picked[0] == 7


def test_nearest_first_puts_what_cannot_be_compared_last():
    features = cells_of(5).features
    features[1], features[3] = np.nan, 0
    assert set(nearest_first(features, np.arange(5))[3:]) == {1, 3}
    features[:] = np.nan
    assert nearest_first(features, np.arange(5)).tolist() == [0, 1, 2, 3, 4]
    assert nearest_first(features, np.zeros(0, int)).size == 0


def test_very_many_cells_are_thinned_out_evenly():
    features = np.random.default_rng(0).normal(size=(12_000, 2)).astype(np.float32)
    found = nearest_first(features, np.arange(12_000))
    assert sorted(found.tolist()) == list(range(0, 12_000, 3))


def test_says_what_to_do_without_cells(qtbot):
    gallery = Gallery(SharedState())
    qtbot.addWidget(gallery)
    gallery.show()
    assert gallery.status.text() == NO_CELLS
    assert not gallery.view.isVisible()


def test_shows_the_selection_sorted_by_its_centre(qtbot, state, gallery):
    rows = np.arange(10, 60)
    choose(state, rows)
    qtbot.waitUntil(lambda: len(gallery.shown_rows()) == 50)
    features = state.cells.features
    expected = slowly_sorted(features, rows, features[rows].astype(float).mean(axis=0))
    assert gallery.shown_rows().tolist() == expected
    assert gallery.status.text() == "50 of 50 cells"


def test_shows_200_at_most(qtbot, state, gallery):
    state.select(np.ones(300, bool))
    qtbot.waitUntil(lambda: len(gallery.shown_rows()) == MAX_SHOWN)
    assert gallery.status.text() == "200 of 300 cells"


def test_a_pick_elsewhere_sorts_a_click_here_does_not(qtbot, state, gallery):
    choose(state, np.arange(40))
    state.pick(17)
    qtbot.waitUntil(lambda: len(gallery.shown_rows()) and gallery.shown_rows()[0] == 17)
    before = gallery.shown_rows().tolist()
    view = gallery.view
    place = view.visualRect(view.model().index(2, 0)).center()
    with qtbot.waitSignal(state.picked_changed):
        qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert state.picked == before[2]
    qtbot.wait(250)
    assert gallery.shown_rows().tolist() == before


def test_the_picked_cell_has_a_frame(qtbot, state, gallery):
    choose(state, np.arange(6))
    qtbot.waitUntil(lambda: len(gallery.shown_rows()) == 6)
    view = gallery.view
    first = view.visualRect(view.model().index(0, 0))

    def edge():
        picture = view.viewport().grab().toImage()
        return [picture.pixelColor(first.topLeft() + QPoint(n, 20)).name() for n in range(4)]

    before = edge()
    with qtbot.waitSignal(state.picked_changed):
        view.clicked.emit(view.model().index(0, 0))
    assert edge() != before
    assert "#ffffff" in edge()


def test_pictures_are_blended_with_the_channels_that_are_set(state, gallery):
    gallery.show_rows(np.array([3]))
    picture = shown_picture(gallery)
    np.testing.assert_array_equal(picture, blend(crop_of(3), RED_GREEN))
    gallery.own_scale.setChecked(True)
    stretched = blend(crop_of(3), own_channels(crop_of(3), RED_GREEN))
    np.testing.assert_array_equal(shown_picture(gallery), stretched)
    gallery.own_scale.setChecked(False)
    gallery.set_channels([])
    plain = blend(crop_of(3), own_channels(crop_of(3)))
    np.testing.assert_array_equal(shown_picture(gallery), plain)


def shown_picture(gallery):
    image = gallery.model.index(0, 0).data(Qt.ItemDataRole.DecorationRole)
    return np.array(
        [
            [image.pixelColor(x, y).getRgb()[:3] for x in range(image.width())]
            for y in range(image.height())
        ]
    )


def test_cells_without_open_images(qtbot, state, gallery):
    state.crops_of = lambda rows: [crop_of(row) if row >= 250 else None for row in rows]
    state.select(np.ones(300, bool))
    qtbot.waitUntil(lambda: len(gallery.shown_rows()) == 50)
    assert min(gallery.shown_rows()) == 250
    assert gallery.status.text() == "50 of 300 cells"
    state.crops_of = lambda rows: [None] * len(rows)
    gallery.show_rows(np.arange(9))
    assert gallery.status.text() == NO_IMAGES
    assert not gallery.view.isVisible()


def test_given_rows_stay_when_the_selection_changes(qtbot, state):
    gallery = Gallery(state, follows=False)
    qtbot.addWidget(gallery)
    gallery.show_rows(np.array([1, 2]), "taxol")
    assert gallery.status.text() == "taxol: 2 of 2 cells"
    choose(state, np.arange(9))
    qtbot.wait(200)
    assert set(gallery.shown_rows()) == {1, 2}


def test_other_cells_empty_it_a_new_name_does_not(qtbot, state, gallery):
    choose(state, np.arange(9))
    qtbot.waitUntil(lambda: len(gallery.shown_rows()) == 9)
    state.set_metadata("Metadata_Phenotype", np.arange(3), "round")
    assert len(gallery.shown_rows()) == 9
    state.set_cells(cells_of(2))
    assert len(gallery.shown_rows()) == 0


def test_only_pictures_in_sight_are_made(qtbot, state, gallery):
    state.select(np.ones(300, bool))
    qtbot.waitUntil(lambda: len(gallery.shown_rows()) == MAX_SHOWN)
    gallery.view.viewport().grab()
    assert 0 < len(gallery.model._pictures) < 60


def test_the_flow_follows_the_width(qtbot, state, gallery):
    gallery.show_rows(np.arange(30))

    def columns():
        view = gallery.view
        tops = [view.visualRect(view.model().index(n, 0)).top() for n in range(30)]
        return tops.count(tops[0])

    qtbot.waitUntil(lambda: columns() > 1)
    narrow = columns()
    gallery.resize(600, 300)
    qtbot.waitUntil(lambda: columns() > narrow)
