"""An index of cells finds what comparing with every cell finds."""

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.errors import ProfileError
from cpcnn_core.io.profile_files import read_profiles, write_profiles
from cpcnn_core.profiles.cell_index import CELLS_FILE, INDEX_FILE, CellIndex, build_cell_index
from cpcnn_core.profiles.correction import fit_correction
from cpcnn_core.schema.profiles import Profiles

NAMES = [f"Cells_CPCNN_{n:03d}" for n in range(32)]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Two plates of 6000 and 4000 cells of thirty kinds; the larger is read in one part."""
    pytest.importorskip("faiss")
    random, folder = np.random.default_rng(4), tmp_path_factory.mktemp("cells")
    kinds = random.normal(size=(30, 32))
    paths = []
    for plate, count in (("P1", 6000), ("P2", 4000)):
        rows = pd.DataFrame({"Metadata_Plate": plate, "Metadata_ObjectNumber": np.arange(count)})
        features = kinds[random.integers(0, 30, count)] + 0.4 * random.normal(size=(count, 32))
        paths.append(folder / f"{plate}.parquet")
        table = Profiles(features.astype(np.float32), rows, NAMES, {"model": "m"})
        write_profiles(table, paths[-1])
    return paths


def by_comparing(tables, query):
    features = np.concatenate([read_profiles(path).features for path in tables])
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    direction = (query / np.linalg.norm(query, axis=1, keepdims=True)).mean(axis=0)
    return unit @ (direction / np.linalg.norm(direction))


def test_the_nearest_cells_are_those_of_a_plain_search(tables, tmp_path):
    build_cell_index(tables, tmp_path)
    index = CellIndex.load(tmp_path)
    assert (len(index.cells), index.provenance) == (10_000, {"model": "m"})
    queries = read_profiles(tables[0]).features
    kept = 0
    for one in range(20):
        query = queries[3 * one : 3 * one + 1 + one % 3]
        similarity = by_comparing(tables, query)
        order = np.argsort(-similarity)[:10]
        found = index.nearest(query, 10)
        rows = found["Metadata_ObjectNumber"] + 6000 * (found["Metadata_Plate"] == "P2")
        np.testing.assert_allclose(found["similarity"], similarity[rows], rtol=0, atol=1e-3)
        kept += len(set(rows) & set(order))
    assert kept >= 190


def test_corrected_cells_are_indexed(tables, tmp_path):
    cells = read_profiles(tables[0])
    correction = fit_correction(cells, np.arange(6000) < 500, "sphering", regularization=0.1)
    index = build_cell_index(tables[:1], tmp_path, correction)
    corrected = correction.transform(cells)
    found = index.nearest(corrected.features[77:78], 1)
    assert found["Metadata_ObjectNumber"].tolist() == [77]
    assert found["similarity"][0] == pytest.approx(1, abs=1e-3)
    assert index.provenance["correction"] == "sphering"


def test_fewer_cells_than_asked_for(tables, tmp_path):
    few = read_profiles(tables[0]).select(np.arange(5))
    write_profiles(few, tmp_path / "few.parquet")
    index = build_cell_index([tmp_path / "few.parquet"], tmp_path / "index")
    assert len(index.nearest(few.features[:1], 99)) == 5


def test_what_does_not_fit_is_one_line(tables, tmp_path):
    with pytest.raises(ProfileError, match="there is no index of cells in"):
        CellIndex.load(tmp_path)
    with pytest.raises(ProfileError, match="needs tables with cells; none was given"):
        build_cell_index([], tmp_path)
    index = build_cell_index(tables[:1], tmp_path)
    with pytest.raises(ProfileError, match="fitted on 32 features, got 3"):
        index.nearest(np.ones((1, 3)))
    with pytest.raises(ProfileError, match="at least 1 cell"):
        index.nearest(np.ones((1, 32)), 0)
    other = Profiles(np.ones((2, 1)), pd.DataFrame({"Metadata_Plate": ["a", "b"]}), NAMES[:1])
    write_profiles(other, tmp_path / "other.parquet")
    with pytest.raises(ProfileError, match="has other features than the tables before it"):
        build_cell_index([tables[0], tmp_path / "other.parquet"], tmp_path)
    whole = (tmp_path / INDEX_FILE).read_bytes()
    (tmp_path / INDEX_FILE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ProfileError, match=r"cells.faiss is not what was written with cells.parq"):
        CellIndex.load(tmp_path)
    (tmp_path / INDEX_FILE).write_bytes(whole)
    build_cell_index(tables[1:], tmp_path / "smaller")
    (tmp_path / CELLS_FILE).write_bytes((tmp_path / "smaller" / CELLS_FILE).read_bytes())
    with pytest.raises(ProfileError, match=r"cells.faiss is not what was written with cells.parq"):
        CellIndex.load(tmp_path)
