"""No spreadsheet computes what stands in our CSV tables, and our readers find the names again."""

import csv
import gzip

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cpcnn_core.io.profile_files import read_profiles, write_profiles
from cpcnn_core.io.spreadsheets import as_named, harmless, harmless_table, write_csv
from cpcnn_core.io.tables import read_text_table
from cpcnn_core.schema.profiles import Profiles
from cpcnn_core.training.reports import write_log

NAMES = [
    *("=cmd|'/C calc'!A0", "+/-JQ1", "-(-)-epicatechin", "@home", "=HYPERLINK(A1)", "'=A1", "''-b"),
    *("＝1+1", "＋x", "－x", "＠x"),  # noqa: RUF001
    *("a;=1+1", "a\t=1+1", "a\r=1+1", "a\n=1+1", "a; \t+b", '",=1+1', "-", "=", "-1,5", "+1 mM"),
]
HONEST = ["DMSO", "5'-azacytidine", "(-)-epicatechin", "JQ1 (+)", "a-b", "", "x=1", "'", "C'=O"]
NUMBERS = ["-1.5", "+3", "-2e-05", "-.5", "-inf", "-NaN", "-nan(ind)"]
DANGEROUS = tuple("=+-@＝＋－＠")  # noqa: RUF001


def cells_of(path, separator=","):
    """List the cells as a spreadsheet makes them, with one separator or another."""
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", newline="") as file:
        return [cell.lstrip() for row in csv.reader(file, delimiter=separator) for cell in row]


def computed(path):
    """List the cells that a spreadsheet would compute, whatever it parts the table by."""
    cells = [cell for mark in ",;\t" for cell in cells_of(path, mark)]
    return [c for c in cells if c.startswith(DANGEROUS) and not c.lstrip("+-")[:1].isdigit()]


def profiles_named(names):
    rows = pd.DataFrame({"Metadata_Treatment": names, "Metadata_Dose": -1.5})
    return Profiles(np.full((len(names), 2), -0.25, np.float32), rows, ["CPCNN_000", "CPCNN_001"])


def test_a_table_of_such_names_would_be_computed(tmp_path):
    pd.DataFrame({"Treatment": NAMES}).to_csv(tmp_path / "a.csv", index=False)
    assert len(computed(tmp_path / "a.csv")) > len(NAMES) - 5


@pytest.mark.parametrize("file", ["p.csv", "p.csv.gz"])
def test_profiles_are_harmless_and_come_back_as_they_were(tmp_path, file):
    names = [*NAMES, *HONEST]
    write_profiles(profiles_named(names), tmp_path / file)
    assert computed(tmp_path / file) == []
    back = read_profiles(tmp_path / file)
    assert back.texts("Metadata_Treatment").tolist() == [name.strip() for name in names]
    assert back.metadata["Metadata_Dose"].tolist() == [-1.5] * len(names)
    assert (back.features == -0.25).all()


def test_honest_names_and_numbers_stay_as_they_are(tmp_path):
    for text in (*HONEST, *NUMBERS):
        assert harmless(text) == as_named(text) == text
    frame = pd.DataFrame({"Treatment": [*HONEST, *NUMBERS], "Dose": -1.5})
    write_csv(frame, tmp_path / "ours.csv")
    frame.to_csv(tmp_path / "pandas.csv", index=False)
    assert (tmp_path / "ours.csv").read_bytes() == (tmp_path / "pandas.csv").read_bytes()


@given(st.text(st.sampled_from("=+-@'; \t\r\na1＝＠"), max_size=9))  # noqa: RUF001
@example("'; '=")
def test_every_text_comes_back(text):
    assert as_named(harmless(text)) == text
    plain = text.lstrip(" \t\r\n'")[:1] not in DANGEROUS
    assert plain or harmless(text) == text or harmless(text).startswith("'")


def test_names_of_columns_are_texts_too(tmp_path):
    frame = pd.DataFrame({"=1+1": [1], "Metadata_Well": ["A01"]})
    write_csv(frame, tmp_path / "a.csv")
    assert computed(tmp_path / "a.csv") == []
    assert read_text_table(tmp_path / "a.csv").columns.tolist() == ["=1+1", "Metadata_Well"]


def test_the_table_itself_stays():
    frame = pd.DataFrame({"Treatment": ["=1+1", None], "Kind": pd.Categorical(["+a", "b"])})
    before = frame.copy(deep=True)
    written = harmless_table(frame)
    assert written.to_numpy().tolist() == [["'=1+1", "'+a"], [None, "b"]]
    pd.testing.assert_frame_equal(frame, before)


def test_a_trainings_log_is_harmless(tmp_path):
    write_log(tmp_path / "log.csv", [{"epoch": 1, "loss": -0.5, "note": "=cmd|'/C calc'!A0"}])
    assert computed(tmp_path / "log.csv") == []


def test_what_others_read_of_it_is_the_name_and_an_apostrophe(tmp_path):
    write_profiles(profiles_named(["+/-JQ1"]), tmp_path / "p.csv")
    assert pd.read_csv(tmp_path / "p.csv")["Metadata_Treatment"].tolist() == ["'+/-JQ1"]
    # In parquet, which no spreadsheet opens, every reader finds the name.
    write_profiles(profiles_named(["+/-JQ1"]), tmp_path / "p.parquet")
    assert pd.read_parquet(tmp_path / "p.parquet")["Metadata_Treatment"].tolist() == ["+/-JQ1"]
