"""Folders of plates: every plate once, of one kind, and nothing that is none."""

import pandas as pd
import pytest

from cpcnn_core.errors import ProfileError, ProfileWarning
from cpcnn_core.profiles.wells import find_tables

PLATE = pd.DataFrame({"Metadata_Plate": ["P1"], "Metadata_Well": ["A01"], "Cells_Area": [1.0]})


def make(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".parquet"):
            PLATE.to_parquet(path)
        elif ".csv" in name or ".tsv" in name or name.endswith(".txt"):
            PLATE.to_csv(path, index=False, sep="," if ".csv" in name else "\t")
        else:
            path.write_bytes(b"x")
    return folder


def found(*paths, **how):
    said = []
    tables = find_tables(paths, tell=said.append, **how)
    return tables, said


def names(folder, tables):
    return [table.relative_to(folder).as_posix() for table in tables]


@pytest.mark.parametrize(
    "files",
    [
        ["P1.parquet", "P2.parquet"],
        ["P1.h5ad", "P2.h5ad"],
        ["P1/P1.parquet", "P2/P2.parquet"],
        ["batch/P1/P1.csv.gz", "batch/P2/P2.csv.gz"],
        ["b1/P1.csv", "b2/P1.csv"],
        ["P1.tsv", "P2.tsv.gz"],
        ["P1.txt", "P2.txt"],
        ["P1.feather", "P2.csv.bz2", "P3.csv.xz", "P4.CSV"],
        ["P1.parquet", "P2.h5ad", "P3/P3.csv"],
        ["b/P1/P1_augmented.csv.gz", "b/P2/P2_augmented.csv.gz"],
        [
            "BR1_normalized_feature_select_negcon.csv.gz",
            "BR2_normalized_feature_select_negcon.csv.gz",
        ],
        ["P1_1.csv", "P1_10.csv", "P1.csv"],
    ],
)
def test_all_plates_are_found(tmp_path, files):
    make(tmp_path, *files)
    tables, said = found(tmp_path)
    assert names(tmp_path, tables) == sorted(files)
    assert said == []


def test_the_plates_of_embed_are_in_their_folder(tmp_path):
    make(tmp_path, "plates/P1.parquet", "plates/P2.parquet", "cells/P9.parquet", "other.csv")
    assert names(tmp_path, found(tmp_path)[0]) == ["plates/P1.parquet", "plates/P2.parquet"]


def test_what_is_clearly_no_table_of_a_plate_is_left_alone(tmp_path):
    make(
        tmp_path,
        *("P1.csv", ".P2.csv", ".git/P3.csv", "a.png", "run.log", "x.npz", "P1.csv.correction.npz"),
        *("wells.consensus.parquet", "page.html", "a.json", "sub/b.tif", "P1.xlsx"),
    )
    (tmp_path / "README.txt").write_text("What lies here, and why.\n")
    (tmp_path / "platemap.txt").write_text("Well\tTreatment\nA01\tDMSO\n")
    assert names(tmp_path, found(tmp_path)[0]) == ["P1.csv"]


def test_what_may_be_a_table_is_taken_for_one(tmp_path):
    make(tmp_path, "P1.csv", "P2.txt")
    (tmp_path / "P3.txt").write_bytes("Metadata_Well\tCells_µ\n".encode("latin-1"))
    assert names(tmp_path, found(tmp_path)[0]) == ["P1.csv", "P2.txt", "P3.txt"]


@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        (["P1.parquet", "P1.h5ad"], ["P1.parquet"]),
        (["P1.csv.gz", "P1.csv", "P1.feather"], ["P1.feather"]),
        (["a/P1.csv", "a/P1.parquet", "b/P1.csv"], ["a/P1.parquet", "b/P1.csv"]),
        (["P1.tsv", "P1.txt", "P2.h5ad"], ["P1.tsv", "P2.h5ad"]),
    ],
)
def test_a_plate_in_two_formats_is_read_once(tmp_path, files, chosen):
    make(tmp_path, *files)
    tables, [text] = found(tmp_path)
    assert names(tmp_path, tables) == chosen
    for name in set(files) - set(chosen):
        assert name.split("/")[-1] in text
    with pytest.warns(ProfileWarning, match="not read, as the same plates are there in another"):
        find_tables([tmp_path])


@pytest.mark.parametrize(
    "files",
    [
        ["b/P1/P1.csv.gz", "b/P1/P1_augmented.csv.gz", "b/P1/P1_normalized.csv.gz"],
        ["P1_normalized.csv", "P1_normalized_feature_select.csv"],
        ["P1.parquet", "P2_normalized_feature_select_negcon_batch.parquet"],
        ["P1.csv", "P1.spherized.csv"],
        ["P1_normalised_negcon.csv.gz", "P1_normalised.csv.gz"],
    ],
)
def test_several_processing_levels_are_refused_and_one_can_be_chosen(tmp_path, files):
    make(tmp_path, *files)
    with pytest.raises(ProfileError, match="tables of several processing levels") as raised:
        found(tmp_path)
    text = str(raised.value)
    assert all(name.split("/")[-1] in text for name in files)
    pattern = text.split("e.g. '")[1].rstrip("'")
    chosen = names(tmp_path, found(pattern)[0])
    assert len(chosen) == 1
    assert chosen[0] in files
    with pytest.raises(ProfileError, match="several processing levels"):
        found(f"{tmp_path}/**/*.*")
    # Files that are named have been chosen.
    assert len(found(*(tmp_path / name for name in files))[0]) == len(files)


def test_patterns_files_and_folders_together(tmp_path):
    make(tmp_path, "a/P1.csv", "a/P1_normalized.csv", "b/P2.csv", "P3.csv", "w.consensus.parquet")
    tables, _ = found(tmp_path / "P3.csv", f"{tmp_path}/*/P?.csv", tmp_path / "b")
    assert names(tmp_path, tables) == ["P3.csv", "a/P1.csv", "b/P2.csv", "b/P2.csv"]
    assert names(tmp_path, found(f"{tmp_path}/*.*")[0]) == ["P3.csv"]


def test_what_is_about_to_be_written_is_none_of_the_plates(tmp_path, monkeypatch):
    make(tmp_path, "P1.csv", "P2.csv", "profiles.parquet")
    tables, _ = found(tmp_path, leave_out=[tmp_path / "profiles.parquet"])
    assert names(tmp_path, tables) == ["P1.csv", "P2.csv"]
    monkeypatch.chdir(tmp_path)
    assert [table.name for table in found(".", leave_out=["profiles.parquet"])[0]] == [
        "P1.csv",
        "P2.csv",
    ]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere", "there is no table or folder"),
        ("nowhere/*.csv", "there is no table like"),
        ("", "there are no plates in .*; cpcnn embed makes them"),
    ],
)
def test_nothing_there_is_one_line(tmp_path, path, message):
    make(tmp_path, "a.png", "w.consensus.parquet")
    with pytest.raises(ProfileError, match=message):
        found(tmp_path / path)
