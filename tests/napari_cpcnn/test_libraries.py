from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.errors import ProfileError
from cpcnn_core.io.profile_files import write_profiles
from cpcnn_core.profiles.corrected_wells import CorrectedWells
from cpcnn_core.profiles.correction import fit_correction
from cpcnn_core.profiles.library import build_library
from cpcnn_core.profiles.library_files import read_marked, write_corrected
from cpcnn_core.profiles.similarity import cosine_similarity
from cpcnn_core.profiles.wells import choose_rows
from cpcnn_core.schema.columns import feature_names
from cpcnn_core.schema.profiles import Profiles
from napari_cpcnn.nearest.libraries import (
    find_matches,
    open_library,
    query_of,
    rows_like,
    treatment_columns,
)

CONTROLS = "Treatment == 'DMSO'"
NAMES = feature_names(6, compartment="Cells")


@pytest.fixture
def wells():
    """Two plates of 12 controls and 3 wells of each of 5 treatments."""
    random = np.random.default_rng(0)
    treatments = ["DMSO"] * 12 + [name for name in "abcde" for _ in range(3)]
    centers = {name: random.normal(size=6) * 3 for name in dict.fromkeys(treatments)}
    rows, features = [], []
    for plate in ("P1", "P2"):
        shift = random.normal(size=6)
        for number, name in enumerate(treatments):
            rows.append((plate, f"A{number + 1:02d}", name, f"moa {ord(name[0]) % 2}"))
            features.append(centers[name] + shift + random.normal(size=6))
    columns = ["Metadata_Plate", "Metadata_Well", "Metadata_Treatment", "Metadata_moa"]
    metadata = pd.DataFrame(rows, columns=columns)
    provenance = {"model": "one", "controls": CONTROLS}
    return Profiles(np.array(features, np.float32), metadata, NAMES, provenance)


@pytest.fixture
def cells():
    random = np.random.default_rng(1)
    metadata = pd.DataFrame(
        {
            "Metadata_Plate": ["P1"] * 20 + ["P2"] * 20,
            "Metadata_Treatment": ["a", "b"] * 20,
        }
    )
    features = random.normal(size=(40, 6)).astype(np.float32) + 1
    return Profiles(features, metadata, NAMES, {"model": "one"})


@pytest.fixture
def save(tmp_path, wells):
    """Write wells as ``cpcnn profile`` does; returns the path and the correction."""

    def write(method, name="screen.parquet", *, earlier=False, **settings):
        chosen = choose_rows(wells, CONTROLS)
        correction = fit_correction(wells, chosen, method, **settings)
        corrected = correction.transform(wells)
        if not earlier:
            write_corrected(corrected, correction, tmp_path / name, wells)
            return tmp_path / name, correction
        write_profiles(corrected, tmp_path / name)
        # As earlier versions called it, which kept nothing of the wells before.
        correction.save(tmp_path / f"{name.split('.')[0]}.correction.npz")
        return tmp_path / name, correction

    return write


def test_uncorrected(save):
    path, _ = save("none")
    opened = open_library(path)
    assert opened.correction is None
    assert opened.name == "screen.parquet"
    assert opened.controls == CONTROLS
    assert opened.library.controls.sum() == 24
    expected = "2 plates, 5 treatments; compared as they are, without a correction"
    assert opened.description == expected


def test_sphering_is_found_beside_the_table_and_described(save):
    path, correction = save("sphering", regularization=0.1, relative=True)
    opened = open_library(path)
    assert opened.correction.settings == correction.settings
    assert opened.feature_names == NAMES
    assert opened.description == (
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
    opened = open_library(path, "Well == 'A01'")
    *_, whole = find_matches(opened, cells, np.array([3]), 4)
    assert "no p-values: " in whole.note


def test_their_own_treatments_can_be_left_out(save, cells):
    path, _ = save("none")
    rows = np.array([0, 2])
    *_, (found, *_) = find_matches(open_library(path), cells, rows, 10, leave_out=True)
    assert set(found["Metadata_Treatment"]) == set("bcde")


def test_compartments_are_ignored_and_told(save, cells):
    path, _ = save("sphering")
    opened = open_library(path)
    nuclei = replace(cells, feature_names=feature_names(6, compartment="Nuclei"))
    features, _, note = query_of(nuclei, np.array([1, 2]), opened)
    assert "Nuclei_CPCNN_000" in note
    assert "Cells_CPCNN_000" in note
    expected, _, nothing = query_of(cells, np.array([1, 2]), opened)
    np.testing.assert_array_equal(features, expected)
    assert nothing == ""


def test_cells_with_nan_are_left_out_and_told(save, cells):
    path, _ = save("sphering")
    opened = open_library(path)
    cells.features[1, 3] = np.nan
    features, _, note = query_of(cells, np.array([1, 2, 3]), opened)
    np.testing.assert_array_equal(features, query_of(cells, np.array([2, 3]), opened)[0])
    assert note == "1 of 3 cells are left out: NaN features"
    with pytest.raises(ProfileError, match="NaN"):
        query_of(cells, np.array([1]), opened)


@pytest.mark.parametrize("count", [2048, 2049, 5000])
def test_many_cells_are_corrected_in_parts(save, cells, count):
    path, correction = save("plate-mad")
    rows = np.random.default_rng(0).integers(0, 40, count)
    features, *_ = query_of(cells, rows, open_library(path))
    np.testing.assert_allclose(features, correction.transform(cells.select(rows)).features)


def test_wells_that_are_corrected_already_are_not_corrected_again(save):
    path, _ = save("sphering")
    opened = open_library(path)
    features, *_ = query_of(opened.library.wells, np.array([5]), opened)
    np.testing.assert_array_equal(features, opened.library.wells.features[[5]])
    other = replace(opened.library.wells, provenance={"correction": "plate-mad"})
    with pytest.raises(ProfileError, match="correction is plate-mad and sphering"):
        query_of(other, np.array([5]), opened)


def test_a_corrected_table_without_its_correction_is_refused(save):
    path, _ = save("sphering", earlier=True)
    path.with_name("screen.correction.npz").unlink()
    with pytest.raises(ProfileError, match=r"corrected \(sphering\).*screen.correction.npz"):
        open_library(path)


def test_the_correction_of_another_table_is_refused(save):
    path, _ = save("sphering", earlier=True, regularization=0.1)
    _, other = save("sphering", name="other.parquet", regularization=0.5)
    other.save(path.with_name("screen.correction.npz"))
    with pytest.raises(ProfileError, match=r"not belong to screen.parquet: lambda is 0.5"):
        open_library(path)


def test_a_table_of_text_takes_the_correction_beside_it(save):
    path, _ = save("sphering", name="screen.csv", regularization=0.2)
    opened = open_library(path, CONTROLS)
    assert opened.description.endswith("sphering, lambda 0.2, is applied to your cells")
    assert opened.library.controls.sum() == 24
    assert not open_library(path).library.controls.any()


def test_another_model_is_refused(save, cells):
    opened = open_library(save("none")[0])
    with pytest.raises(ProfileError, match="model is two and one"):
        query_of(replace(cells, provenance={"model": "two"}), np.array([0]), opened)
    # What one side does not know is no contradiction.
    query_of(replace(cells, provenance={}), np.array([0]), opened)
    query_of(replace(cells, provenance={"model": "one", "model_sha256": "x"}), [0], opened)


def test_weights_tell_more_than_names(save, cells):
    opened = open_library(save("none")[0])
    opened = replace(opened, provenance={"model": "one", "model_sha256": "aa"})
    same = replace(cells, provenance={"model": "renamed", "model_sha256": "aa"})
    query_of(same, np.array([0]), opened)
    other = replace(cells, provenance={"model": "one", "model_sha256": "bb"})
    with pytest.raises(ProfileError, match="model_sha256 is bb and aa"):
        query_of(other, np.array([0]), opened)


def test_other_features_are_refused(save, cells):
    opened = open_library(save("none")[0])
    fewer = replace(cells, features=cells.features[:, :5], feature_names=NAMES[:5])
    with pytest.raises(ProfileError, match=r"5 features .* the library has 6"):
        query_of(fewer, np.array([0]), opened)


@pytest.mark.parametrize("method", ["none", "sphering", "pca-mad"])
def test_features_are_taken_by_their_names(save, cells, method):
    opened = open_library(save(method)[0])
    rows, order = np.array([3, 8]), [4, 2, 0, 5, 1, 3]
    mixed = replace(
        cells, features=cells.features[:, order], feature_names=[NAMES[n] for n in order]
    )
    features, _, note = query_of(mixed, rows, opened)
    np.testing.assert_array_equal(features, query_of(cells, rows, opened)[0])
    assert note == ""


@pytest.mark.parametrize(
    ("fact", "theirs", "mine"),
    [
        ("channels", "DNA,ER", "ER,DNA"),
        ("crop_px", "128", "96"),
        ("normalizer", "minmax-per-crop", "none"),
        ("mask_neighbors", "False", "True"),
    ],
)
def test_cells_that_were_measured_in_another_way_are_refused(save, cells, fact, theirs, mine):
    opened = open_library(save("none")[0])
    opened = replace(opened, provenance=opened.provenance | {fact: theirs})
    with pytest.raises(ProfileError, match=f"{fact} is {mine} and {theirs}; embed the cells with"):
        query_of(replace(cells, provenance={"model": "one", fact: mine}), [0], opened)
    query_of(replace(cells, provenance={"model": "one", fact: theirs}), [0], opened)
    query_of(cells, [0], opened)


def test_features_of_other_models_and_of_other_kinds_are_refused(save, cells):
    opened = open_library(save("none")[0])
    for names in (feature_names(6, "DINOv2S", "Cells"), [f"Cells_Texture_{n}" for n in range(6)]):
        with pytest.raises(ProfileError, match=rf"6 features from {names[0]} .* the library has 6"):
            query_of(replace(cells, feature_names=names), [0], opened)


def test_a_corrected_table_of_text_is_not_corrected_twice(save, wells):
    path, correction = save("sphering", name="screen.csv")
    opened = open_library(path, CONTROLS)
    cells = read_marked(path)
    features, *_ = query_of(cells, np.arange(5), opened)
    expected = correction.transform(wells).features[:5]
    np.testing.assert_allclose(features, expected, rtol=0, atol=1e-5)


def test_an_unknown_plate_is_told(save, cells):
    opened = open_library(save("plate-mad")[0])
    cells.metadata["Metadata_Plate"] = "P9"
    with pytest.raises(ProfileError, match="plate P9"):
        query_of(cells, np.array([0]), opened)
    without = replace(cells, metadata=cells.metadata[["Metadata_Treatment"]])
    with pytest.raises(ProfileError, match="Metadata_Plate"):
        query_of(without, np.array([0]), opened)


@pytest.mark.parametrize("rows", [np.zeros(0, int), np.zeros(40, bool)])
def test_no_rows_are_refused(save, cells, rows):
    with pytest.raises(ProfileError, match="click a cell or draw a lasso"):
        query_of(cells, rows, open_library(save("none")[0]))


def test_wrong_files_columns_and_expressions_are_refused(save, tmp_path):
    path, _ = save("none")
    text = tmp_path / "text.parquet"
    text.write_text("no table")
    with pytest.raises(ProfileError, match="cannot be read as a table"):
        open_library(text)
    with pytest.raises(ProfileError, match="no column Metadata_Gene"):
        open_library(path, by="Metadata_Gene")
    with pytest.raises(ProfileError, match="true for none"):
        open_library(path, "Treatment == 'water'")
    with pytest.raises(ProfileError, match="cannot understand"):
        open_library(path, "Treatment ==")


def test_a_table_without_treatments_is_refused(tmp_path, wells):
    places = wells.metadata[["Metadata_Plate", "Metadata_Well"]]
    write_profiles(replace(wells, metadata=places, provenance={}), tmp_path / "bare.parquet")
    with pytest.raises(ProfileError, match=r"bare.parquet has no column that names treatments"):
        open_library(tmp_path / "bare.parquet")


def test_treatment_columns_are_ranked_by_their_names(wells):
    metadata = wells.metadata.rename(columns={"Metadata_Treatment": "Metadata_pert_iname"})
    metadata["Metadata_CellCount"] = 7
    assert treatment_columns(replace(wells, metadata=metadata)) == [
        "Metadata_pert_iname",
        "Metadata_moa",
    ]


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
