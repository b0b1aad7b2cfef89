"""AnnData tables: X as features, obs as metadata, and damage in one line."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from cpcnn_core.errors import TableError
from cpcnn_core.io.anndata_files import is_anndata, read_anndata
from cpcnn_core.io.profile_files import read_profiles, write_profiles
from cpcnn_core.profiles.wells import well_profiles

anndata = pytest.importorskip("anndata")
NAMES = ["Cells_A", "Nuclei_B", "anything"]


@pytest.fixture
def obs():
    return pd.DataFrame(
        {
            "Metadata_Plate": pd.Categorical(["000123"] * 4),
            "Metadata_Well": ["A01", "A02", "A03", "A04"],
            "Dose": pd.Categorical(["10", "0.5", "10", "NA"]),
            "Metadata_Count": pd.array([1, 2, None, 4], dtype="Int64"),
            "Metadata_Control": [True, False, True, False],
            "Treatment": ["DMSO", "nan", "NA@NA", "7157"],
        },
        index=["a", "b", "c", "d"],
    )


def written(path, values, obs, **how):
    anndata.AnnData(values, obs, pd.DataFrame(index=NAMES), **how).write_h5ad(path)
    return path


@pytest.mark.parametrize(
    "convert",
    [
        lambda values: values,
        lambda values: values.astype(np.float32),
        lambda values: np.round(values).astype(np.int32),
        lambda values: sparse.csr_matrix(np.where(values > 0, values, 0)),
        lambda values: sparse.csc_matrix(values.astype(np.float32)),
    ],
    ids=["float64", "float32", "int32", "sparse rows", "sparse columns"],
)
def test_any_matrix_is_read(tmp_path, obs, convert):
    values = convert(np.random.default_rng(0).normal(size=(4, 3)))
    found = read_anndata(written(tmp_path / "t.h5ad", values, obs))
    dense = values.toarray() if sparse.issparse(values) else values
    np.testing.assert_array_equal(found.features, dense)
    assert found.features.dtype == (np.float32 if dense.dtype == np.float32 else np.float64)
    assert found.feature_names == NAMES


def test_metadata_are_of_the_same_types_as_those_of_text(tmp_path, obs):
    path = written(tmp_path / "t.h5ad", np.ones((4, 3)), obs)
    said = []
    metadata = read_profiles(path, tell=said.append).metadata
    assert metadata["Metadata_Plate"].tolist() == ["000123"] * 4
    np.testing.assert_array_equal(metadata["Metadata_Dose"], [10, 0.5, 10, np.nan])
    np.testing.assert_array_equal(metadata["Metadata_Count"], [1, 2, np.nan, 4])
    assert metadata["Metadata_Control"].tolist() == [True, False, True, False]
    assert metadata["Metadata_Treatment"].tolist() == ["DMSO", "", "NA@NA", "7157"]
    assert len(said) == 1
    assert "Metadata_Treatment: nan (1)" in said[0]
    kept = read_profiles(path, keep_labels=["nan"]).metadata
    assert kept["Metadata_Treatment"].tolist() == ["DMSO", "nan", "NA@NA", "7157"]


def test_wells_are_named_where_values_are_missing(tmp_path, obs):
    values = np.ones((4, 3))
    values[1, 2] = np.nan
    said = []
    path = written(tmp_path / "t.h5ad", values, obs)
    assert len(well_profiles([path], keep_labels=["nan"], tell=said.append).metadata) == 3
    assert said == [
        "1 of 4 wells is left out, for missing or infinite values of anything (1): 000123/A02"
    ]


def test_it_is_known_by_its_content(tmp_path, obs):
    path = written(tmp_path / "t.h5ad", np.ones((4, 3)), obs)
    other = path.rename(tmp_path / "t.hdf5")
    assert is_anndata(other)
    assert len(read_profiles(other, keep_labels=["nan"]).metadata) == 4
    (tmp_path / "t.csv").write_text("Well,Cells_A\n")
    assert not is_anndata(tmp_path / "t.csv")


def test_what_made_it_is_read(tmp_path, obs):
    made = {"tool": "cpcnn", "model": "m", "sha256": "1", "version": "2"}
    uns = {"feature_extraction_provenance": made}
    found = read_anndata(written(tmp_path / "t.h5ad", np.ones((4, 3)), obs, uns=uns))
    assert found.provenance == {"tool": "cpcnn", "model": "m", "model_sha256": "1", "cpcnn": "2"}
    uns = {"feature_extraction_provenance": "somebody"}
    found = read_anndata(written(tmp_path / "t.h5ad", np.ones((4, 3)), obs, uns=uns))
    assert found.provenance == {}


@pytest.mark.parametrize("how", ["empty", "text", "cut", "another file of HDF5"])
def test_damage_is_one_line(tmp_path, obs, how):
    h5py = pytest.importorskip("h5py")
    path = written(tmp_path / "t.h5ad", np.ones((4, 3)), obs)
    if how == "another file of HDF5":
        with h5py.File(path, "w") as file:
            file["x"] = [1]
    else:
        data = path.read_bytes()
        path.write_bytes({"empty": b"", "text": b"no", "cut": data[: len(data) // 2]}[how])
    with pytest.raises(
        TableError, match=r"t.h5ad (cannot be read as AnnData|has no features)"
    ) as raised:
        read_profiles(path)
    assert "\n" not in str(raised.value)


def test_tables_without_features_or_with_columns_twice_are_refused(tmp_path, obs):
    path = tmp_path / "t.h5ad"
    anndata.AnnData(None, obs, pd.DataFrame(index=NAMES)).write_h5ad(path)
    with pytest.raises(TableError, match=r"t.h5ad has no features: nothing is kept in its X"):
        read_anndata(path)
    obs["Metadata_Dose"] = "1"
    with pytest.raises(TableError, match="columns Dose and Metadata_Dose, which mean the same"):
        read_anndata(written(path, np.ones((4, 3)), obs))


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
def test_a_feature_that_is_there_twice_is_refused(tmp_path, obs):
    table = anndata.AnnData(np.ones((4, 2)), obs, pd.DataFrame(index=["Cells_A"] * 2))
    table.write_h5ad(tmp_path / "t.h5ad")
    with pytest.raises(TableError, match="has twice the column Cells_A"):
        read_anndata(tmp_path / "t.h5ad")


def test_rows_of_the_same_name_are_read_without_a_warning(tmp_path, obs, recwarn):
    table = anndata.AnnData(np.eye(4), obs.set_axis(["a"] * 4), pd.DataFrame(index=["w"] * 4))
    table.var_names = ["Cells_A", "Cells_B", "Cells_C", "Cells_D"]
    table.write_h5ad(tmp_path / "t.h5ad")
    recwarn.clear()
    found = read_anndata(tmp_path / "t.h5ad")
    assert found.metadata["Metadata_Well"].tolist() == ["A01", "A02", "A03", "A04"]
    np.testing.assert_array_equal(found.features, np.eye(4))
    assert not recwarn.list


def test_features_of_any_name_stay_features_once_they_are_written(tmp_path, obs):
    values = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    profiles = read_profiles(written(tmp_path / "t.h5ad", values, obs), tell=lambda text: None)
    write_profiles(profiles, tmp_path / "t.parquet")
    said = []
    for found in (
        read_profiles(tmp_path / "t.parquet", tell=said.append),
        well_profiles([tmp_path / "t.parquet"], tell=said.append),
    ):
        assert found.feature_names == NAMES
        np.testing.assert_array_equal(found.features, values)
        assert list(found.metadata.columns)[:2] == ["Metadata_Plate", "Metadata_Well"]
    assert said == []
