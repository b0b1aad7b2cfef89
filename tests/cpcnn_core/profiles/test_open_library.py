"""Libraries opened from their files, and profiles made ready to be compared with them."""

from dataclasses import replace

import numpy as np
import pytest

from cpcnn_core.errors import ProfileError
from cpcnn_core.io.profile_files import write_profiles
from cpcnn_core.profiles.library import treatment_columns
from cpcnn_core.profiles.library_files import read_marked
from cpcnn_core.profiles.open_library import open_library
from cpcnn_core.schema.columns import feature_names

from ...saved_library import (  # noqa: F401
    CONTROLS,
    NAMES,
    fixture_cells,
    fixture_save,
    fixture_wells,
)


def made_by(opened, facts):
    """Return a library whose table says how it was made."""
    wells = replace(opened.library.wells, provenance=facts)
    return replace(opened, library=replace(opened.library, wells=wells))


def test_compartments_are_ignored_and_told(save, cells):
    path, _ = save("sphering")
    opened = open_library(path)
    nuclei = replace(cells, feature_names=feature_names(6, compartment="Nuclei"))
    features, _, note = opened.prepare_query(nuclei.select(np.array([1, 2])))
    assert "Nuclei_CPCNN_000" in note
    assert "Cells_CPCNN_000" in note
    expected, _, nothing = opened.prepare_query(cells.select(np.array([1, 2])))
    np.testing.assert_array_equal(features, expected)
    assert nothing == ""


def test_cells_with_nan_are_left_out_and_told(save, cells):
    path, _ = save("sphering")
    opened = open_library(path)
    cells.features[1, 3] = np.nan
    features, _, note = opened.prepare_query(cells.select(np.array([1, 2, 3])))
    np.testing.assert_array_equal(features, opened.prepare_query(cells.select(np.array([2, 3])))[0])
    assert note == "1 of 3 cells are left out: NaN features"
    with pytest.raises(ProfileError, match="NaN"):
        opened.prepare_query(cells.select(np.array([1])))


@pytest.mark.parametrize("count", [2048, 2049, 5000])
def test_many_cells_are_corrected_in_parts(save, cells, count):
    path, correction = save("plate-mad")
    rows = np.random.default_rng(0).integers(0, 40, count)
    features, *_ = open_library(path).prepare_query(cells.select(rows))
    np.testing.assert_allclose(features, correction.transform(cells.select(rows)).features)


def test_wells_that_are_corrected_already_are_not_corrected_again(save):
    path, _ = save("sphering")
    opened = open_library(path)
    features, *_ = opened.prepare_query(opened.library.wells.select(np.array([5])))
    np.testing.assert_array_equal(features, opened.library.wells.features[[5]])
    other = replace(opened.library.wells, provenance={"correction": "plate-mad"})
    with pytest.raises(ProfileError, match="correction is plate-mad and sphering"):
        opened.prepare_query(other.select(np.array([5])))


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
    opened = open_library(path, controls=CONTROLS)
    assert opened.describe_correction().endswith("sphering, lambda 0.2, is applied to your cells")
    assert opened.library.controls.sum() == 24
    assert not open_library(path).library.controls.any()


def test_another_model_is_refused(save, cells):
    opened = open_library(save("none")[0])
    with pytest.raises(ProfileError, match="model is two and one"):
        opened.prepare_query(replace(cells, provenance={"model": "two"}))
    # What one side does not know is no contradiction.
    opened.prepare_query(replace(cells, provenance={}))
    opened.prepare_query(replace(cells, provenance={"model": "one", "model_sha256": "x"}))


def test_weights_tell_more_than_names(save, cells):
    opened = open_library(save("none")[0])
    opened = made_by(opened, {"model": "one", "model_sha256": "aa"})
    same = replace(cells, provenance={"model": "renamed", "model_sha256": "aa"})
    opened.prepare_query(same.select(np.array([0])))
    other = replace(cells, provenance={"model": "one", "model_sha256": "bb"})
    with pytest.raises(ProfileError, match="model_sha256 is bb and aa"):
        opened.prepare_query(other.select(np.array([0])))


def test_other_features_are_refused(save, cells):
    opened = open_library(save("none")[0])
    fewer = replace(cells, features=cells.features[:, :5], feature_names=NAMES[:5])
    with pytest.raises(ProfileError, match=r"5 features .* the library has 6"):
        opened.prepare_query(fewer.select(np.array([0])))


@pytest.mark.parametrize("method", ["none", "sphering", "pca-mad"])
def test_features_are_taken_by_their_names(save, cells, method):
    opened = open_library(save(method)[0])
    rows, order = np.array([3, 8]), [4, 2, 0, 5, 1, 3]
    mixed = replace(
        cells, features=cells.features[:, order], feature_names=[NAMES[n] for n in order]
    )
    features, _, note = opened.prepare_query(mixed.select(rows))
    np.testing.assert_array_equal(features, opened.prepare_query(cells.select(rows))[0])
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
    opened = made_by(opened, opened.provenance | {fact: theirs})
    with pytest.raises(ProfileError, match=f"{fact} is {mine} and {theirs}; embed the cells with"):
        opened.prepare_query(replace(cells, provenance={"model": "one", fact: mine}))
    opened.prepare_query(replace(cells, provenance={"model": "one", fact: theirs}))
    opened.prepare_query(cells.select(np.array([0])))


def test_features_of_other_models_and_of_other_kinds_are_refused(save, cells):
    opened = open_library(save("none")[0])
    for names in (feature_names(6, "DINOv2S", "Cells"), [f"Cells_Texture_{n}" for n in range(6)]):
        with pytest.raises(ProfileError, match=rf"6 features from {names[0]} .* the library has 6"):
            opened.prepare_query(replace(cells, feature_names=names))


def test_a_corrected_table_of_text_is_not_corrected_twice(save, wells):
    path, correction = save("sphering", name="screen.csv")
    opened = open_library(path, controls=CONTROLS)
    cells = read_marked(path)
    features, *_ = opened.prepare_query(cells.select(np.arange(5)))
    expected = correction.transform(wells).features[:5]
    np.testing.assert_allclose(features, expected, rtol=0, atol=1e-5)


def test_an_unknown_plate_is_told(save, cells):
    opened = open_library(save("plate-mad")[0])
    cells.metadata["Metadata_Plate"] = "P9"
    with pytest.raises(ProfileError, match="plate P9"):
        opened.prepare_query(cells.select(np.array([0])))
    without = replace(cells, metadata=cells.metadata[["Metadata_Treatment"]])
    with pytest.raises(ProfileError, match="Metadata_Plate"):
        opened.prepare_query(without.select(np.array([0])))


def test_wrong_files_columns_and_expressions_are_refused(save, tmp_path):
    path, _ = save("none")
    text = tmp_path / "text.parquet"
    text.write_text("no table")
    with pytest.raises(ProfileError, match="cannot be read as a table"):
        open_library(text)
    with pytest.raises(ProfileError, match="no column Metadata_Gene"):
        open_library(path, by="Metadata_Gene")
    with pytest.raises(ProfileError, match="true for none"):
        open_library(path, controls="Treatment == 'water'")
    with pytest.raises(ProfileError, match="cannot understand"):
        open_library(path, controls="Treatment ==")


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
