from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.errors import ProfileError
from cpcnn_core.expressions import choose_rows
from cpcnn_core.profiles.corrected_wells import CorrectedWells
from cpcnn_core.profiles.library import build_library
from cpcnn_core.profiles.open_library import open_library
from cpcnn_core.profiles.similarity import cosine_similarity
from napari_cpcnn.nearest.matches import describe_library, find_matches, rows_like

from ..saved_library import (  # noqa: F401
    CONTROLS,
    NAMES,
    fixture_cells,
    fixture_save,
    fixture_wells,
)


def test_uncorrected(save):
    path, _ = save("none")
    opened = open_library(path)
    assert opened.correction is None
    assert opened.name == "screen.parquet"
    assert opened.controls == CONTROLS
    assert opened.library.controls.sum() == 24
    expected = "2 plates, 5 treatments; compared as they are, without a correction"
    assert describe_library(opened) == expected


def test_sphering_is_found_beside_the_table_and_described(save):
    path, correction = save("sphering", regularization=0.1, relative=True)
    opened = open_library(path)
    assert opened.correction.settings == correction.settings
    assert opened.feature_names == NAMES
    assert describe_library(opened) == (
        "2 plates, 5 treatments; sphering, lambda 0.1 of the mean eigenvalue, is applied to "
        "your cells"
    )


@pytest.mark.parametrize("method", ["none", "sphering", "centred-sphering", "plate-mad", "pca-mad"])
def test_matches_are_those_of_the_core(save, wells, cells, method):
    path, correction = save(method)
    rows = np.array([3, 8, 21, 30])
    fast, whole = find_matches(open_library(path), cells, rows, 4)
    corrected = correction.transform(wells)
    written = replace(corrected, features=corrected.features.astype(np.float32))
    paired = CorrectedWells(written, wells, correction)
    library = build_library(paired, controls=choose_rows(wells, CONTROLS))
    query = correction.transform(cells.select(rows)).features
    asked = cells.select(rows)
    expected = library.nearest(query, 4, significance=True, uncorrected=asked)
    pd.testing.assert_frame_equal(whole.table, expected)
    assert fast.pending
    assert not whole.pending
    assert whole.note == library.significance.describe(expected["Metadata_Treatment"])
    assert "24 control wells, drawn plate by plate, held out in 3 folds; none of" in whole.note
    assert fast[0]["Metadata_Treatment"].tolist() == expected["Metadata_Treatment"].tolist()
    # Once more by a plain loop over the wells of each treatment.
    similarity = {}
    for name in "abcde":
        mine = (wells.metadata["Metadata_Treatment"] == name).to_numpy()
        mean = written.features[mine].astype(float).mean(axis=0, keepdims=True)
        similarity[name] = cosine_similarity(query.mean(axis=0, keepdims=True), mean)[0, 0]
    ranked = sorted(similarity, key=similarity.get, reverse=True)[:4]
    assert whole[0]["Metadata_Treatment"].tolist() == ranked
    np.testing.assert_allclose(whole[0]["similarity"], [similarity[name] for name in ranked])


def test_why_there_are_no_p_values_is_said(save, cells):
    path, _ = save("sphering", earlier=True)
    fast, whole = find_matches(open_library(path), cells, np.array([3]), 4)
    assert "p_value" not in whole.table.columns
    assert whole.note.startswith("no p-values: p-values need the wells as they were before")
    assert not whole.pending
    pd.testing.assert_frame_equal(fast.table, whole.table)
    opened = open_library(path, controls="Well == 'A01'")
    *_, whole = find_matches(opened, cells, np.array([3]), 4)
    assert "no p-values: " in whole.note


def test_their_own_treatments_can_be_left_out(save, cells):
    path, _ = save("none")
    rows = np.array([0, 2])
    *_, (found, *_) = find_matches(open_library(path), cells, rows, 10, leave_out=True)
    assert set(found["Metadata_Treatment"]) == set("bcde")


@pytest.mark.parametrize("rows", [np.zeros(0, int), np.zeros(40, bool)])
def test_no_rows_are_refused(save, cells, rows):
    with pytest.raises(ProfileError, match="click a cell or draw a lasso"):
        list(find_matches(open_library(save("none")[0]), cells, rows, 4))


def test_rows_like(wells):
    metadata = wells.metadata
    row = 14
    expected = [
        n
        for n in range(len(metadata))
        if metadata["Metadata_Plate"][n] == metadata["Metadata_Plate"][row]
        and metadata["Metadata_Treatment"][n] == metadata["Metadata_Treatment"][row]
    ]
    found = rows_like(wells, row, ["Metadata_Plate", "Metadata_Treatment"])
    assert found.tolist() == expected
    with pytest.raises(ProfileError, match="no column Metadata_Field"):
        rows_like(wells, row, ["Metadata_Field"])
