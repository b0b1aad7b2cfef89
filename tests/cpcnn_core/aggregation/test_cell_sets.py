"""Sets of cells: the rows of the tables, well by well, and the same draws every time."""

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.aggregation.cell_sets import iterate_cells, read_cell_sets
from cpcnn_core.errors import ProfileError
from cpcnn_core.io import profile_files
from cpcnn_core.profiles.wells import well_profiles


def tables_of(folder):
    return sorted((folder / "plates").iterdir())


def test_every_cell_is_in_the_set_of_its_well(folder, screen):
    sets = screen[0]
    frame = pd.concat([pd.read_parquet(path) for path in tables_of(folder)])
    for row, well in sets.wells.metadata.iterrows():
        mine = frame[
            (frame["Metadata_Plate"] == well["Metadata_Plate"])
            & (frame["Metadata_Well"] == well["Metadata_Well"])
        ][sets.wells.feature_names].to_numpy()
        np.testing.assert_array_equal(sets.cells[sets.starts[row] : sets.starts[row + 1]], mine)
        np.testing.assert_allclose(
            sets.wells.features[row], mine.mean(axis=0), rtol=1e-5, atol=1e-6
        )


def test_cells_in_any_order_make_the_same_sets(folder, screen, tmp_path):
    for path in tables_of(folder):
        frame = pd.read_parquet(path).sample(frac=1, random_state=3)
        frame.to_parquet(tmp_path / path.name, index=False)
    sets = read_cell_sets(screen[0].wells, sorted(tmp_path.iterdir()), 99)
    for start, end in zip(sets.starts, sets.starts[1:], strict=False):
        mine, theirs = (np.sort(one.cells[start:end], axis=0) for one in (sets, screen[0]))
        np.testing.assert_array_equal(mine, theirs)


def test_of_many_cells_some_are_drawn_the_same_in_parts_of_any_size(folder, screen, monkeypatch):
    wells, tables = screen[0].wells, tables_of(folder)
    drawn = read_cell_sets(wells, tables, 7, seed=5)
    assert set(drawn.counts) == {7}
    for row, (start, end) in enumerate(zip(drawn.starts, drawn.starts[1:], strict=False)):
        whole = screen[0].cells[screen[0].starts[row] : screen[0].starts[row + 1]]
        mine = drawn.cells[start:end]
        assert len(np.unique(mine, axis=0)) == 7
        assert (mine[:, None] == whole).all(axis=2).any(axis=1).all()
    monkeypatch.setattr(profile_files, "ROWS_AT_A_TIME", 50)
    monkeypatch.setattr("cpcnn_core.aggregation.cell_sets._WAITING", 60)
    again = read_cell_sets(wells, tables, 7, seed=5)
    np.testing.assert_array_equal(again.cells, drawn.cells)
    assert not np.array_equal(read_cell_sets(wells, tables, 7, seed=6).cells, drawn.cells)


def test_cells_that_lack_a_feature_and_other_wells_are_left_out(folder, screen, tmp_path):
    frame = pd.read_parquet(tables_of(folder)[0])
    frame.loc[3, "Cells_CPCNN_002"] = np.nan
    frame.to_parquet(tmp_path / "P1.parquet")
    wells = screen[0].wells.select(np.arange(2))
    found = list(iterate_cells(wells, [tmp_path / "P1.parquet"]))
    rows = np.concatenate([rows for _, rows in found])
    assert np.bincount(rows).tolist() == [39, 40]


def test_wells_are_no_cells(folder, tmp_path):
    wells = well_profiles([folder])
    wells.to_frame().to_parquet(tmp_path / "wells.parquet")
    with pytest.raises(ProfileError, match=r"expected cells in .*wells.parquet.* sites or wells"):
        read_cell_sets(wells, [tmp_path / "wells.parquet"], 9)


def test_a_well_without_cells_is_named(folder, screen):
    with pytest.raises(ProfileError, match=r"18 of 54 wells have no cells in the tables: P2/A01"):
        read_cell_sets(screen[0].wells, [p for p in tables_of(folder) if "P2" not in p.name], 9)
    with pytest.raises(ProfileError, match="there are no tables of cells"):
        read_cell_sets(screen[0].wells, [], 9)
