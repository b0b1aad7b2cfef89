"""The field's programs read what ``cpcnn embed`` writes: the programs themselves say so."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.cli.main import main
from cpcnn_core.io.deepprofiler_npz import read_site

from ...cytotable_conversion import cytotable_convert
from .conftest import command_for

for package in ("anndata", "copairs", "cytotable", "pycytominer", "scanpy"):
    pytest.importorskip(package)

FEATURES = [f"Cells_CPCNN_{i:03d}" for i in range(672)]
KEYS = ["Metadata_Plate", "Metadata_Well", "Metadata_Site"]
# Warnings of other people's programs.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def embedded(screen, tmp_path_factory):
    """As many features as users have."""
    out = tmp_path_factory.mktemp("embedded")
    command = command_for(screen, "untrained-efficientnet-b0")
    assert main([*command, "--tables", "parquet", "anndata", "--out", str(out)]) == 0
    return out


def plate_table(embedded, plate="P1"):
    return pd.read_parquet(embedded / "plates" / f"{plate}.parquet")


def plate_anndata(embedded, plate="P1"):
    import anndata

    return anndata.read_h5ad(embedded / "plates" / f"{plate}.h5ad")


# ---- AnnData and scanpy ------------------------------------------------------------------


def test_anndata_holds_what_parquet_holds(embedded):
    cells, table = plate_anndata(embedded), plate_table(embedded)
    assert cells.X.dtype == np.float32
    assert list(cells.var_names) == FEATURES
    np.testing.assert_array_equal(cells.X, table[FEATURES].to_numpy())
    place = table[["Metadata_Location_Center_X", "Metadata_Location_Center_Y"]]
    np.testing.assert_array_equal(cells.obsm["spatial"], place.to_numpy())
    for name in table.columns.drop(FEATURES):
        assert cells.obs[name].tolist() == table[name].tolist()
    first = table.iloc[0]
    key = [*(first[name] for name in KEYS), str(first.Metadata_ObjectNumber)]
    assert cells.obs["Metadata_CellKey"].iloc[0] == "/".join(key)
    assert cells.obs_names.tolist() == [str(i) for i in range(len(table))]


def test_anndata_names_features_and_says_where_they_come_from(embedded):
    cells = plate_anndata(embedded)
    assert set(cells.var["compartment"]) == {"Cells"}
    assert set(cells.var["family"]) == {"CPCNN"}
    assert cells.var["feature_index"].tolist() == list(range(672))
    assert cells.uns["processing_stage"] == "raw"
    assert cells.uns["aggregation"] == {"method": "none", "source_level": "cell"}
    made = cells.uns["feature_extraction_provenance"]
    assert (made["tool"], made["model"]) == ("cpcnn", "untrained-efficientnet-b0")
    site = read_site(embedded / "features" / "P1" / "A01" / "1.npz")
    assert made["sha256"] == site.provenance["model_sha256"]
    assert made["layer"] == "block6a_activation"


def test_anndata_is_the_same_when_anndata_writes_it_again(embedded, tmp_path):
    import anndata

    cells = plate_anndata(embedded)
    cells.write_h5ad(tmp_path / "again.h5ad")
    again = anndata.read_h5ad(tmp_path / "again.h5ad")
    np.testing.assert_array_equal(again.X, cells.X)
    pd.testing.assert_frame_equal(again.obs, cells.obs)
    pd.testing.assert_frame_equal(again.var, cells.var)


def test_plates_in_anndata_can_be_put_together_and_read_from_disk(embedded):
    import anndata

    plates = [plate_anndata(embedded, plate) for plate in ("P1", "P2")]
    both = anndata.concat(plates, index_unique="-", merge="same")
    assert both.shape == (24, 672)
    backed = anndata.read_h5ad(embedded / "plates" / "P1.h5ad", backed="r")
    np.testing.assert_array_equal(backed.X[3], plates[0].X[3])
    backed.file.close()


def test_scanpy_works_on_it(embedded):
    import scanpy

    cells = plate_anndata(embedded)
    scanpy.pp.scale(cells)
    scanpy.pp.pca(cells, n_comps=3)
    assert cells.obsm["X_pca"].shape == (12, 3)
    scanpy.tl.rank_genes_groups(cells, "Metadata_Well", method="t-test")
    assert set(cells.uns["rank_genes_groups"]["names"].dtype.names) == {"A01", "A03"}


# ---- pycytominer ---------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:No features could be found")
def test_pycytominer_reads_the_sites_and_the_plates(project, tmp_path):
    from pycytominer import aggregate
    from pycytominer.cyto_utils.DeepProfiler_processing import (
        DeepProfilerData,
        SingleCellDeepProfiler,
    )

    out = tmp_path / "out"
    assert main(["embed", "--deepprofiler", str(project), "--out", str(out)]) == 0
    index = project / "inputs" / "metadata" / "index.csv"
    data = DeepProfilerData(index, out / "features", filename_delimiter="/")
    cells = SingleCellDeepProfiler(data).get_single_cells(output=True)
    ours = [read_site(out / "features" / "P1" / "A01" / f"{site}.npz") for site in "12"]
    names = [f"efficientnet_{i}" for i in range(672)]
    np.testing.assert_array_equal(cells[names], np.concatenate([t.features for t in ours]))
    assert set(cells["Metadata_Treatment"]) == {"DMSO@0"}
    plate = pd.read_parquet(out / "plates" / "P1.parquet")
    strata = ["Metadata_Plate", "Metadata_Well", "Metadata_Site"]
    means = aggregate(plate, strata=strata, features="infer", operation="mean")
    assert list(means.columns) == [*strata, *(f"Cells_CPCNN_{i:03d}" for i in range(672))]
    expected = np.stack([table.features.mean(axis=0, dtype=np.float64) for table in ours])
    np.testing.assert_allclose(means.iloc[:, 3:], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("suffix", [".parquet", ".h5ad"])
def test_pycytominer_goes_from_a_plate_to_a_consensus(embedded, tmp_path, suffix):
    from pycytominer import aggregate, annotate, consensus, normalize
    from pycytominer.cyto_utils import load_profiles

    cells = load_profiles(embedded / "plates" / f"P1{suffix}")
    wells = aggregate(cells, strata=KEYS[:2], features="infer", operation="median")
    assert wells[KEYS[1]].tolist() == ["A01", "A03"]
    expected = plate_table(embedded).groupby(KEYS[:2])[FEATURES].median()
    np.testing.assert_allclose(wells[FEATURES], expected, rtol=0, atol=1e-6)
    platemap = pd.DataFrame({"well_position": ["A01", "A03"], "Metadata_Treatment": ["a", "b"]})
    wells = annotate(
        wells, platemap, join_on=["Metadata_well_position", "Metadata_Well"], add_metadata_id=True
    )
    scaled = normalize(wells, features="infer", meta_features="infer", method="standardize")
    merged = consensus(scaled, ["Metadata_Treatment"], features="infer", operation="mean")
    assert merged["Metadata_Treatment"].tolist() == ["a", "b"]
    assert [c for c in merged.columns if not c.startswith("Metadata_")] == FEATURES


# ---- copairs ---------------------------------------------------------------------------------


def test_copairs_finds_the_cells_of_a_well(embedded):
    from copairs.map import average_precision

    table = plate_table(embedded)
    metadata, features = table[KEYS].copy(), table[FEATURES].to_numpy(copy=True)
    # Cells of one well made alike, so that there is something to find.
    well_a = metadata["Metadata_Well"] == "A01"
    features[well_a] += 30 * np.random.default_rng(0).standard_normal(672)
    found = average_precision(
        metadata, features, ["Metadata_Well"], [], ["Metadata_Plate"], ["Metadata_Well"]
    )
    assert found.loc[well_a, "average_precision"].min() == pytest.approx(1)


# ---- CytoTable -------------------------------------------------------------------------------


def test_cytotable_reads_the_sites(embedded, tmp_path):
    out = cytotable_convert(
        tmp_path,
        source_path=str(embedded / "features" / "P1"),
        source_datatype="npz",
        preset="deepprofiler",
        concat=True,
        join=False,
    )
    found = pd.concat(map(pd.read_parquet, sorted(Path(out).parent.glob("converted*"))))
    names = [c for c in found.columns if not c.startswith("Metadata_") and "_" in c]
    assert len([n for n in names if n.startswith("untrained-efficientnet-b0_")]) == 672
    assert len(found) == 12


def test_our_columns_are_those_that_cytotable_gives_cellprofilers_tables(embedded, tmp_path):
    table = plate_table(embedded)
    source = tmp_path / "cellprofiler"
    source.mkdir()
    write_cellprofiler_tables(table, source)
    out = cytotable_convert(
        tmp_path,
        source_path=str(source),
        source_datatype="csv",
        preset="cellprofiler_csv",
    )
    theirs = pd.read_parquet(out)
    of_features = [c for c in theirs.columns if "CPCNN" in c]
    assert of_features == FEATURES
    numbers = ["Metadata_ImageNumber", "Metadata_ObjectNumber"]
    theirs = theirs.sort_values(numbers, ignore_index=True)
    ours = table.sort_values(numbers, ignore_index=True)
    for name in numbers:
        assert theirs[name].tolist() == ours[name].tolist()
    np.testing.assert_allclose(theirs[FEATURES], ours[FEATURES], rtol=1e-6)


def write_cellprofiler_tables(table, folder):
    """Write Image.csv, Cells.csv, Nuclei.csv and Cytoplasm.csv as ExportToSpreadsheet does."""
    renamed = {f"Cells_CPCNN_{i:03d}": f"CPCNN_{i:03d}" for i in range(672)}
    cells = table.rename(columns=renamed)[
        ["Metadata_ImageNumber", "Metadata_ObjectNumber", *renamed.values()]
    ].rename(columns=lambda name: name.removeprefix("Metadata_"))
    number = cells["ObjectNumber"]
    cells.insert(2, "Number_Object_Number", number)
    cells.to_csv(folder / "Cells.csv", index=False)
    nuclei = cells[["ImageNumber", "ObjectNumber", "Number_Object_Number"]]
    nuclei.to_csv(folder / "Nuclei.csv", index=False)
    parents = nuclei.assign(Parent_Cells=number, Parent_Nuclei=number)
    parents.to_csv(folder / "Cytoplasm.csv", index=False)
    images = table[["Metadata_ImageNumber", *KEYS]].drop_duplicates()
    images = images.assign(FileName_DNA="dna.tif")
    images.rename(columns={"Metadata_ImageNumber": "ImageNumber"}).to_csv(
        folder / "Image.csv", index=False
    )
