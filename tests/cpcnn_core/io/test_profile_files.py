"""Tables of any format to the same profiles, and what is wrong with them in one line."""

import gzip
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from cpcnn_core.errors import ProfileError, ProfileWarning, TableError
from cpcnn_core.io import delimited, profile_files
from cpcnn_core.io.profile_files import (
    is_feature,
    iterate_profiles,
    read_profiles,
    write_profiles,
)
from cpcnn_core.schema.profiles import Profiles

FEATURES = ["Cells_Area", "DINOv2S_007", "Nuclei_Texture_1"]
WRITERS = {
    "csv": lambda frame, path: frame.to_csv(path, index=False),
    "csv.gz": lambda frame, path: frame.to_csv(path, index=False),
    "csv.bz2": lambda frame, path: frame.to_csv(path, index=False),
    "tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    "txt": lambda frame, path: frame.to_csv(path, index=False, sep="\t", encoding="utf-16"),
    "semicolon": lambda frame, path: frame.to_csv(path, index=False, sep=";"),
    "crlf": lambda frame, path: frame.to_csv(path, index=False, lineterminator="\r\n"),
    "parquet": lambda frame, path: frame.to_parquet(path),
    "arrow.parquet": lambda frame, path: frame.convert_dtypes(dtype_backend="pyarrow").to_parquet(
        path
    ),
    "nullable.parquet": lambda frame, path: frame.convert_dtypes().to_parquet(path),
    "texts.parquet": lambda frame, path: (
        frame.astype(object).where(frame.notna(), "NA").astype(str).to_parquet(path)
    ),
    "category.parquet": lambda frame, path: frame.astype(
        {"Metadata_Plate": "category", "Treatment": "category", "Dose": "category"}
    ).to_parquet(path),
    "feather": lambda frame, path: frame.to_feather(path),
    "h5ad": lambda frame, path: write_anndata(frame, path),  # noqa: PLW0108  (defined below)
}


def write_anndata(frame, path):
    anndata = pytest.importorskip("anndata")
    obs = frame.drop(columns=FEATURES)
    obs.index = obs.index.astype(str)
    table = anndata.AnnData(frame[FEATURES].to_numpy(), obs, pd.DataFrame(index=FEATURES))
    table.write_h5ad(path)


@pytest.fixture
def frame():
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "Metadata_Plate": "000123",
            "Image_Metadata_Well": [f"A{n % 24 + 1:02d}" for n in range(100)],
            "Treatment": random.choice(["DMSO", "5 µM x", "NA@NA", "7157"], 100),
            "Dose": random.choice([10, 0.5, np.nan], 100),
            "ImageNumber": range(1, 101),
        }
    )
    for name in FEATURES:
        frame[name] = random.normal(size=100)
    frame.loc[3, "Cells_Area"] = np.nan
    return frame


def nobody(text):
    """Hear nothing."""


def quiet(*arguments, **how):
    return read_profiles(*arguments, tell=nobody, **how)


def check(found, frame):
    assert found.feature_names == FEATURES
    np.testing.assert_array_equal(found.features, frame[FEATURES])
    metadata = found.metadata
    assert list(metadata) == [
        *("Metadata_Plate", "Metadata_Well", "Metadata_Treatment", "Metadata_Dose"),
        "Metadata_ImageNumber",
    ]
    assert metadata["Metadata_Plate"].tolist() == ["000123"] * len(frame)
    assert metadata["Metadata_Well"].tolist() == frame["Image_Metadata_Well"].tolist()
    assert metadata["Metadata_Treatment"].tolist() == frame["Treatment"].tolist()
    np.testing.assert_array_equal(metadata["Metadata_Dose"], frame["Dose"])
    assert metadata["Metadata_ImageNumber"].tolist() == frame["ImageNumber"].tolist()
    assert metadata.index.tolist() == list(range(len(frame)))


@pytest.mark.parametrize("ending", WRITERS)
def test_every_format_says_the_same(tmp_path, frame, ending):
    WRITERS[ending](frame, tmp_path / f"t.{ending}")
    check(quiet(tmp_path / f"t.{ending}"), frame)


@pytest.mark.parametrize("ending", WRITERS)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_parts_are_the_whole(tmp_path, frame, ending, size, monkeypatch):
    monkeypatch.setattr(profile_files, "ROWS_AT_A_TIME", size)
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 1000 * size)
    WRITERS[ending](frame, tmp_path / f"t.{ending}")
    parts = list(iterate_profiles(tmp_path / f"t.{ending}", tell=nobody))
    assert len(parts) > 1 or size == 10_000 or ending == "h5ad"
    features = np.concatenate([part.features for part in parts])
    metadata = pd.concat([part.metadata for part in parts], ignore_index=True)
    check(Profiles(features, metadata, parts[0].feature_names), frame)


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "feather", "h5ad"])
def test_endless_numbers_are_numbers(tmp_path, frame, ending):
    frame.loc[[4, 5], "Cells_Area"] = [np.inf, -np.inf]
    WRITERS[ending](frame, tmp_path / f"t.{ending}")
    check(quiet(tmp_path / f"t.{ending}"), frame)


def test_single_precision_stays(tmp_path, frame):
    frame = frame.astype(dict.fromkeys(FEATURES, np.float32))
    frame.to_parquet(tmp_path / "t.parquet")
    assert quiet(tmp_path / "t.parquet").features.dtype == np.float32
    frame["Cells_Area"] = 3
    frame.to_parquet(tmp_path / "t.parquet")
    assert quiet(tmp_path / "t.parquet").features.dtype == np.float64


MISSING = ["nan", "-nan(ind)", "NAN", "#N/A", "null", "", "NA", "None", "1.#IND", "#DIV/0!"]


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "feather"])
@pytest.mark.parametrize("text", MISSING)
def test_a_feature_with_a_marker_in_it_is_a_feature(tmp_path, frame, ending, text):
    frame = frame.astype({"Cells_Area": object, "DINOv2S_007": str})
    frame["Cells_Area"] = frame["Cells_Area"].astype(str)
    frame.loc[7, "Cells_Area"] = text
    WRITERS[ending](frame, tmp_path / f"t.{ending}")
    expected = frame.replace({"Cells_Area": {text: "nan"}}).astype({"Cells_Area": float})
    check(quiet(tmp_path / f"t.{ending}"), expected.astype({"DINOv2S_007": float}))


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "semicolon", "parquet", "feather"])
@pytest.mark.parametrize("text", ["1,5", "x", "1.5 um", "True", "1 000"])
def test_a_feature_with_another_text_is_an_error_that_names_it(tmp_path, frame, ending, text):
    frame["DINOv2S_007"] = frame["DINOv2S_007"].astype(str)
    frame.loc[41, "DINOv2S_007"] = text
    WRITERS[ending](frame, path := tmp_path / f"t.{ending}")
    for read in (quiet, lambda path: list(iterate_profiles(path, tell=nobody))):
        with pytest.raises(TableError) as raised:
            read(path)
        assert f"{path} has {text!r} in row 42 of the column DINOv2S_007;" in str(raised.value)
        assert ("not a comma" in str(raised.value)) == (text == "1,5")


def test_a_feature_that_is_text_throughout_is_an_error_too(tmp_path, frame):
    frame["Cells_Area"] = "large"
    for ending in ("csv", "parquet"):
        WRITERS[ending](frame, tmp_path / f"t.{ending}")
        with pytest.raises(TableError, match="has 'large' in row 1 of the column Cells_Area"):
            quiet(tmp_path / f"t.{ending}")


def test_what_cellprofiler_writes_as_text_is_none(tmp_path, frame):
    frame["Nuclei_FileName_DNA"] = "a.tif"
    frame["Cells_Metadata_Well"] = "A01"
    frame.to_csv(tmp_path / "t.csv", index=False)
    found = quiet(tmp_path / "t.csv")
    assert found.feature_names == FEATURES
    assert set(found.metadata["Metadata_Nuclei_FileName_DNA"]) == {"a.tif"}


@pytest.mark.parametrize("ending", ["csv", "parquet", "feather"])
def test_numbers_that_are_no_features_by_their_name_are_said(tmp_path, frame, ending):
    frame["AreaShape_Area"] = frame["Location_Center_X"] = 0.5
    frame["Image_Count_Nuclei"] = 5
    frame["CPCNN_Like_Treatment"] = frame["Metadata_Angle"] = 1.0
    frame["Batch"] = "a"
    WRITERS[ending](frame, tmp_path / f"t.{ending}")
    said = []
    found = read_profiles(tmp_path / f"t.{ending}", tell=said.append)
    [text] = said
    names = ("Dose", "AreaShape_Area", "Location_Center_X", "Image_Count_Nuclei")
    assert all(name in text for name in (*names, "4 columns of numbers"))
    assert not any(name in text for name in ("Like", "Angle", "ImageNumber", "Batch"))
    assert found.metadata["Metadata_Count_Nuclei"].tolist() == [5] * 100
    parts = []
    list(iterate_profiles(tmp_path / f"t.{ending}", tell=parts.append))
    assert parts == said
    with pytest.warns(ProfileWarning, match="AreaShape_Area"):
        read_profiles(tmp_path / f"t.{ending}")
    # Saying which columns are features also says which are not.
    read_profiles(tmp_path / f"t.{ending}", ["Cells", "Nuclei"])


def test_prefixes_choose_the_features(tmp_path, frame):
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert quiet(tmp_path / "t.csv", ["Nuclei"]).feature_names == [
        "DINOv2S_007",
        "Nuclei_Texture_1",
    ]
    assert is_feature("Metadata_001") is is_feature("CPCNN_Like_Controls") is False


@pytest.mark.parametrize("ending", ["csv", "parquet", "h5ad"])
@pytest.mark.parametrize("text", ["NA", "nan", "none", "NULL"])
def test_labels_that_are_none_are_said_and_may_be_kept(tmp_path, frame, ending, text):
    frame.loc[:11, "Treatment"] = text
    WRITERS[ending](frame, path := tmp_path / f"t.{ending}")
    said = []
    found = read_profiles(path, tell=said.append)
    assert (found.metadata["Metadata_Treatment"] == "").sum() == 12
    assert found.named("Metadata_Treatment").sum() == 88
    assert any(f"Treatment: {text} (12)" in line and "--keep-label" in line for line in said)
    kept = quiet(path, keep_labels=[text])
    assert kept.texts("Metadata_Treatment")[:12].tolist() == [text] * 12


def test_an_index_of_pandas_is_read(tmp_path, frame):
    frame.set_index("Metadata_Plate").to_parquet(tmp_path / "t.parquet")
    assert set(quiet(tmp_path / "t.parquet").metadata["Metadata_Plate"]) == {"000123"}
    frame.to_csv(tmp_path / "t.csv")
    check(quiet(tmp_path / "t.csv"), frame)


def test_rows_in_which_nothing_stands_are_no_rows(tmp_path, frame):
    lines = frame.to_csv(index=False).splitlines()
    nothing = "," * lines[0].count(",")
    (tmp_path / "t.csv").write_text(
        "\n".join([*lines[:5], nothing, "", *lines[5:], nothing, nothing])
    )
    check(quiet(tmp_path / "t.csv"), frame)
    (tmp_path / "t.csv").write_text("\n".join([lines[0], nothing, nothing]))
    with pytest.raises(ProfileError, match=r"t.csv has no rows"):
        quiet(tmp_path / "t.csv")
    assert list(iterate_profiles(tmp_path / "t.csv", tell=nobody)) == []


def test_two_columns_that_become_one_have_to_be_the_same(tmp_path, frame):
    frame["Metadata_Well"] = frame["Image_Metadata_Well"]
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert list(quiet(tmp_path / "t.csv").metadata).count("Metadata_Well") == 1
    frame.loc[9, "Metadata_Well"] = "H12"
    frame.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(
        TableError, match="columns Image_Metadata_Well and Metadata_Well, which mean"
    ):
        quiet(tmp_path / "t.csv")
    columns = [frame["Cells_Area"], frame["Cells_Area"], frame["Metadata_Plate"]]
    pd.concat(columns, axis=1).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(TableError, match="has twice the column Cells_Area; leave one of them out"):
        quiet(tmp_path / "t.csv")


def test_what_is_written_comes_back_with_its_types(tmp_path):
    metadata = pd.DataFrame(
        {
            "Metadata_Plate": ["007", "008", "NA"],
            "Metadata_Treatment": ["NA", "10", None],
            "Metadata_Dose": [1.5, np.nan, 2],
            "Metadata_Site": [1, 2, 3],
            "Metadata_Control": [True, False, True],
        }
    )
    profiles = Profiles(np.eye(3, 2, dtype=np.float32), metadata, ["a", "b"], {"model": "m"})
    profiles.feature_names = ["Cells_a", "Cells_b"]
    write_profiles(profiles, tmp_path / "t.parquet")
    for found in (
        read_profiles(tmp_path / "t.parquet"),
        *iterate_profiles(tmp_path / "t.parquet"),
    ):
        pd.testing.assert_frame_equal(found.metadata, metadata)
        np.testing.assert_array_equal(found.features, profiles.features)
        assert found.provenance == {"model": "m"}


def test_numbers_and_texts_in_one_column_are_written_as_texts(tmp_path):
    metadata = pd.DataFrame({"Metadata_Gene": [7157, "TP53", 0.5, None]})
    profiles = Profiles(np.zeros((4, 1)), metadata, ["Cells_a"])
    write_profiles(profiles, tmp_path / "t.parquet")
    found = read_profiles(tmp_path / "t.parquet")
    assert found.metadata["Metadata_Gene"].tolist() == ["7157", "TP53", "0.5", ""]


@pytest.mark.parametrize("told", [b"{", b"[1]", b"\xff"])
def test_a_provenance_that_cannot_be_understood_is_one_line(tmp_path, told):
    table = pa.table({"Metadata_Well": ["A01"], "Cells_a": [1.0]})
    parquet.write_table(table.replace_schema_metadata({"cpcnn": told}), tmp_path / "t.parquet")
    for read in (read_profiles, lambda path: list(iterate_profiles(path))):
        with pytest.raises(
            TableError, match=r"t.parquet (does not say in JSON|says it was made by)"
        ):
            read(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Well,Cells_Area\nA01,1\nA02\n", "fewer values in line 3 than in its header"),
        ("Well,Cells_Area\nA01,1,7\n", "has '7' in row 1 of its column 3, which has no name"),
        ("Well,Cells_Area\nA01,1\n".encode("utf-16-be"), "zero bytes"),
        (
            gzip.compress(b"Well,Cells_Area\n" + b"A01,1\n" * 999, mtime=0)[:60],
            "cannot be read as a CSV table",
        ),
        ("Well,AreaShape_Area\nA01,1\n", "has no features: no column of numbers begins with Cells"),
        (b"SQLite format 3\0" + bytes(99), "is an SQLite database"),
        (json.dumps({"Well": "A01"}), "has no features"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(tmp_path, content, message):
    path = tmp_path / "wells.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    for read in (read_profiles, lambda path: list(iterate_profiles(path))):
        with pytest.raises(TableError, match=rf"wells.csv .*{message}"):
            read(path)
