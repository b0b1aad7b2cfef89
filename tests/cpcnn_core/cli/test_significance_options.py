"""Null distributions of p-values, doses, and the design of a screen, by commands."""

import json
import sys

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.cli.main import main
from cpcnn_core.io.profile_files import write_profiles
from cpcnn_core.schema.profiles import Profiles

CONTROLS = ["--controls", "Treatment == 'DMSO'"]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Three plates: controls, eight inert treatments, and four compounds in three doses."""
    random, rows, features = np.random.default_rng(0), [], []
    strong = random.normal(size=(4, 24))
    for plate in range(3):
        names = [("DMSO", "DMSO")] * 24 + [(f"inert {n}", f"inert {n}") for n in range(8)]
        names += [(f"c{c}@{d}", f"c{c}") for c in range(4) for d in (1, 2, 3)]
        for name, compound in names:
            well = random.normal(size=24)
            if name in ("c0@3", "c1@3", "c1@2"):
                well += 3 * strong[int(name[1])]
            place = len(rows) % len(names)
            rows.append(
                (f"P{plate}", f"{chr(65 + place // 12)}{place % 12 + 1:02d}", name, compound)
            )
            features.append(well)
    columns = ["Metadata_Plate", "Metadata_Well", "Metadata_Treatment", "Metadata_Compound"]
    names = [f"Cells_CPCNN_{n:03d}" for n in range(24)]
    path = tmp_path_factory.mktemp("wells") / "wells.parquet"
    wells = Profiles(np.array(features), pd.DataFrame(rows, columns=columns), names)
    write_profiles(wells, path)
    return path


def test_evaluate_compares_with_the_null_and_knows_doses(table, tmp_path, capsys):
    how = ["--null", "startswith(Treatment, 'inert')", "--doses-of", "Compound"]
    assert main(["evaluate", str(table), *CONTROLS, *how, "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "evaluation.json").read_text())
    activity = found["activity"]
    assert "24 null wells, drawn plate by plate" in activity["compared_with"]
    assert activity["tested"] == 12
    by_name = {row["treatment"]: row for row in activity["by_treatment"]}
    assert by_name["c1@3"]["q_value"] < 0.05
    assert by_name["inert 0"]["p_value"] is None
    assert activity["compounds"] == {"tested": 4, "active": 2}
    assert found["placebo"]["verdict"] == "calibrated"
    page = (tmp_path / "report.html").read_text()
    assert "compounds that do something at some dose</td><td>2 of 4" in page
    assert "q of the compound" in page


def test_a_terminal_shows_the_surest_treatments_only(table, monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["evaluate", str(table), *CONTROLS]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert len(found["activity"]["by_treatment"]) == 10
    assert found["activity"]["by_treatment"][0]["treatment"] in ("c0@3", "c1@3", "c1@2")
    assert "p_values" not in found["placebo"]["activity"]
    assert "by_treatment shows the 10 surest of 20 treatments" in said.err


def test_nearest_compares_with_the_null_and_knows_doses(table, capsys):
    how = ["--null", "startswith(Treatment, 'inert')", "--doses-of", "Compound"]
    query = ["--query", "Treatment == 'c1@3'"]
    assert main(["nearest", str(table), *query, *CONTROLS, *how]) == 0
    said = capsys.readouterr()
    head, first = said.out.splitlines()[:2]
    assert head.startswith("similarity,p_value,q_value,compound_q_value,support,Metadata_Treatment")
    assert "c1@2" in first
    assert "p-values compare with 24 null wells" in said.err


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--null", "Treatment == 'DMSO'"], "72 wells are controls"),
        (["--null", "Treatment == 'nobody'"], "nobody"),
        (["--doses-of", "Nothing"], "Metadata_Nothing"),
        (["--doses-of", "Well"], "expected one for all its wells"),
    ],
)
@pytest.mark.parametrize("verb", [["evaluate"], ["nearest", "--query", "Treatment == 'c1@3'"]])
def test_what_cannot_be_compared_with_is_one_line(table, verb, option, message, capsys):
    name, *query = verb
    assert main([name, str(table), *query, *CONTROLS, *option]) == 1
    assert message in capsys.readouterr().err


def test_design_tells_how_large_a_screen_must_be(table, tmp_path, capsys):
    out = tmp_path / "design"
    how = ["--plates", "2", "3", "4", "--replicates", "1", "--controls-per-plate", "8", "12"]
    command = ["design", str(table), *CONTROLS, *how, "--rounds", "4", "--out", str(out)]
    assert main([*command, "--effects", "1", "9"]) == 0
    said = capsys.readouterr()
    printed = pd.read_csv(out / "design.csv")
    assert said.out.splitlines()[0] == ",".join(printed.columns)
    assert len(printed) == 3 * 2 * 3
    assert set(printed["effect"]) == {0, 1, 9}
    four = printed[printed["plates"] == 4]
    assert four["power"].isna().all()
    assert four["reason"].str.startswith("3 plates here have").all()
    assert (printed[(printed["effect"] == 9) & (printed["plates"] < 4)]["power"] == 1).all()
    assert "effects of the 20 treatments here" in said.err
    assert "effect 9: 80% are found with 2 plates, 1 well and 8 controls on each" in said.err
    page = (out / "design.html").read_text()
    assert page.count("<img") == 3
    assert main([*command, "--effects", "1", "9"]) == 0
    pd.testing.assert_frame_equal(printed, pd.read_csv(out / "design.csv"))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--rounds", "0"], "expected --rounds from 1, got 0"),
        (["--plates", "0"], "expected --plates from 1, got 0"),
        (["--effects", "-1"], "expected effects from 0"),
        (["--controls", "Treatment == 'nobody'"], "nobody"),
        (["--by", "Nothing"], "Metadata_Nothing"),
    ],
)
def test_a_design_that_cannot_be_is_one_line(table, option, message, capsys):
    assert main(["design", str(table), *CONTROLS, *option]) == 1
    assert message in capsys.readouterr().err


def test_a_design_needs_controls(table, capsys):
    assert main(["design", str(table)]) == 1
    assert "screens are simulated with control wells" in capsys.readouterr().err
