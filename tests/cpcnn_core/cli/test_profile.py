"""``cpcnn profile`` and ``cpcnn nearest``: from tables to answers, as a user types them."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.cli.main import main
from cpcnn_core.io.profile_files import read_profiles, write_profiles
from cpcnn_core.profiles.correction import Correction
from cpcnn_core.profiles.correction_steps import fit_sphering
from cpcnn_core.profiles.library_files import read_wells
from cpcnn_core.schema.profiles import Profiles

NAMES = [f"Cells_CPCNN_{i:03d}" for i in range(6)]
WELLS = [f"{row}{column:02d}" for row in "ABCD" for column in range(1, 7)]
ROW = ["DMSO", "DMSO", "taxol", "nocodazole", "rotenone", "ATP"]
TREATMENTS = dict(zip(WELLS, ROW * 4, strict=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two plates of cells; taxol and nocodazole do the same."""
    root = tmp_path_factory.mktemp("profile")
    random = np.random.default_rng(0)
    effects = {name: random.normal(0, 3, 6) for name in ("taxol", "rotenone", "ATP")}
    effects |= {"DMSO": np.zeros(6), "nocodazole": effects["taxol"] * 0.7}
    for plate in ("P1", "P2"):
        shift = random.normal(0, 1, 6)
        keys = [(plate, w, s, n) for w in WELLS for s in ("1", "2") for n in range(4)]
        names = ["Metadata_Plate", "Metadata_Well", "Metadata_Site", "Metadata_ObjectNumber"]
        metadata = pd.DataFrame(keys, columns=names)
        features = np.array([effects[TREATMENTS[key[1]]] + shift for key in keys])
        features = (features + random.normal(0, 0.5, features.shape)).astype(np.float32)
        table = Profiles(features, metadata, NAMES, {"model": "m", "model_sha256": "1"})
        write_profiles(table, root / "plates" / f"{plate}.parquet")
    rows = [f"{well},{treatment}" for well, treatment in TREATMENTS.items()]
    (root / "platemap.csv").write_text("\n".join(["Well,Treatment", *rows]))
    return root


def profile(folder, out, *more):
    command = ["profile", str(folder), "--platemap", str(folder / "platemap.csv")]
    return main([*command, "--out", str(out), *more])


@pytest.fixture(scope="module")
def profiles(folder):
    out = folder / "profiles.parquet"
    controls = ["--controls", "Treatment == 'DMSO'", "--correction", "sphering"]
    assert profile(folder, out, *controls, "--lambda", "0.1", "--consensus", "Treatment") == 0
    return out


def test_wells_are_corrected_by_their_controls(folder, profiles):
    plain = folder / "plain.parquet"
    assert profile(folder, plain) == 0
    before, after = read_profiles(plain), read_profiles(profiles)
    assert len(before.metadata) == 48
    controls = (before.metadata["Metadata_Treatment"] == "DMSO").to_numpy()
    expected = fit_sphering(before.features[controls], 0.1).transform(before.features)
    np.testing.assert_allclose(after.features, expected, rtol=0, atol=1e-5)
    beside = folder / "profiles.parquet.correction.npz"
    assert after.provenance == {
        "correction_sha256": hashlib.sha256(beside.read_bytes()).hexdigest(),
        "model": "m",
        "model_sha256": "1",
        "controls": "Treatment == 'DMSO'",
        "correction": "sphering",
        "lambda": 0.1,
    }
    correction = Correction.load(beside)
    again = correction.transform(before).features
    np.testing.assert_allclose(again, after.features, rtol=0, atol=1e-5)


def test_the_consensus_is_the_mean_over_wells(profiles):
    wells, found = (
        read_profiles(profiles),
        read_profiles(profiles.with_name("profiles.consensus.parquet")),
    )
    expected = wells.to_frame().groupby("Metadata_Treatment", sort=False)[NAMES].mean()
    assert found.metadata["Metadata_Treatment"].tolist() == expected.index.tolist()
    np.testing.assert_allclose(found.features, expected, rtol=1e-6, atol=1e-6)
    assert found.metadata["Metadata_CellCount"].sum() == 2 * 24 * 8


def test_the_treatment_that_does_the_same_is_nearest(profiles, tmp_path, capsys):
    out = tmp_path / "nearest.csv"
    query = ["--query", "Treatment == 'taxol'", "--out", str(out)]
    assert main(["nearest", str(profiles), *query]) == 0
    said = capsys.readouterr()
    asked = "8 wells in the query, 4 treatments searched, 1 left out; correction: sphering"
    null = "p-values compare with 16 control wells, drawn plate by plate, held out in 2 folds"
    assert said.err.splitlines() == [
        asked,
        f"{null}; none of these can be below 0.014",
        "q-values: corrected for all treatments searched, those not shown too",
        f"wrote {out}",
    ]
    # What is no terminal gets the table itself.
    assert said.out == out.read_text()
    table = pd.read_csv(out)
    assert table["Metadata_Treatment"].tolist()[0] == "nocodazole"
    assert len(table) == 3
    assert table["similarity"][0] > 0.99
    # In each of two folds four controls of either plate, two of each are drawn: in 36 ways.
    assert table["p_value"][0] == pytest.approx(1 / 73)
    assert (table["q_value"] >= table["p_value"]).all()
    assert table["support"][0] == 1
    assert table["Metadata_Replicates"].tolist() == [8, 8, 8]
    assert main(["nearest", str(profiles), *query, "--exclude-same"]) == 0
    assert pd.read_csv(out)["Metadata_Treatment"].tolist()[:2] == ["taxol", "nocodazole"]
    capsys.readouterr()
    assert main(["nearest", str(profiles), *query, "--exclude-same", "Metadata_Plate"]) == 0
    said = capsys.readouterr().err
    assert "No treatment is left: all share Metadata_Plate with the query.\n" in said
    assert pd.read_csv(out).empty


def test_without_controls_there_are_no_p_values(folder, capsys):
    plain = folder / "no_controls.parquet"
    assert profile(folder, plain) == 0
    assert main(["nearest", str(plain), "--query", "Well == 'A03' and Plate == 'P1'"]) == 0
    said = capsys.readouterr()
    assert "1 well in the query, 5 treatments searched" in said.err
    assert "p_value" not in said.out
    assert "Say which wells are controls (--controls) for p-values." in said.err


def test_profiles_of_another_correction_are_not_compared(folder, profiles, capsys):
    plain = folder / "uncorrected.parquet"
    assert profile(folder, plain) == 0
    query = ["--query", "Treatment == 'taxol'", "--library", str(profiles)]
    assert main(["nearest", str(plain), *query]) == 1
    assert "cannot be compared: correction is None and sphering" in capsys.readouterr().err


SPHERING = ["--controls", "Treatment == 'DMSO'", "--correction", "sphering", "--lambda", "0.1"]


@pytest.mark.parametrize("name", ["screen.v1.parquet", "screen.csv", "screen.v2.csv.gz"])
def test_every_table_has_its_own_correction(folder, tmp_path, capsys, name):
    other = tmp_path / "screen.parquet"
    assert profile(folder, other, *SPHERING, "--consensus", "Treatment") == 0
    assert profile(folder, tmp_path / name, *SPHERING, "--where", "Plate == 'P1'") == 0
    assert f"wrote {tmp_path / name}.correction.npz: sphering" in capsys.readouterr().out
    features = {}
    for path in (other, tmp_path / name):
        wells, correction = read_wells(path)
        features[path] = correction.transform(replace(wells, provenance={})).features
        assert wells.provenance["correction"] == "sphering"
    assert len(features[other]) == 2 * len(features[tmp_path / name])
    # Without one, that of the table before goes, and its treatments; those of others stay.
    assert profile(folder, tmp_path / name, *SPHERING, "--consensus", "Treatment") == 0
    capsys.readouterr()
    assert profile(folder, tmp_path / name) == 0
    said = capsys.readouterr().out
    assert said.count("removed ") == 2
    assert f"removed {tmp_path / name}.correction.npz: it belonged to the table" in said
    assert {path.name for path in tmp_path.iterdir()} == {
        *("screen.parquet", "screen.parquet.correction.npz", "screen.consensus.parquet", name)
    }
    assert read_wells(tmp_path / name)[1] is None


def test_features_of_other_names_and_orders_are_compared(folder, profiles, tmp_path, capsys):
    plain = tmp_path / "plain.parquet"
    assert profile(folder, plain, "--controls", "Treatment == 'DMSO'") == 0
    query = ["--query", "Treatment == 'taxol'", "--out", str(tmp_path / "found.csv")]
    assert main(["nearest", str(plain), *query]) == 0
    expected = pd.read_csv(tmp_path / "found.csv")
    order = [3, 0, 5, 1, 4, 2]
    wells = read_profiles(plain)
    for start in ("", "Nuclei_"):
        # As CellProfiler's spreadsheets call them.
        names = [start + NAMES[place].removeprefix("Cells_") for place in order]
        table = Profiles(wells.features[:, order], wells.metadata, names)
        write_profiles(table, tmp_path / "others.csv")
        capsys.readouterr()
        command = ["nearest", str(tmp_path / "others.csv"), *query, "--library", str(plain)]
        assert main(command) == 0
        said = capsys.readouterr().err
        assert f"{start}CPCNN_000, ... are taken for Cells_CPCNN_000, ..." in said
        found = pd.read_csv(tmp_path / "found.csv")
        pd.testing.assert_frame_equal(found, expected, rtol=1e-6)
    for names in ([f"DINOv2S_{n:03d}" for n in range(6)], [f"CPCNN_{n:03d}" for n in range(1, 7)]):
        write_profiles(Profiles(wells.features, wells.metadata, names), tmp_path / "others.csv")
        command = ["nearest", str(tmp_path / "others.csv"), *query, "--library", str(plain)]
        assert main(command) == 1
        assert f"different features: 6 from {names[0]}, 6 from Cells_CP" in capsys.readouterr().err


def test_a_corrected_table_of_text_is_compared_with_corrected_ones_only(
    folder, profiles, tmp_path, capsys
):
    text = tmp_path / "text.csv"
    assert profile(folder, text, *SPHERING) == 0
    query = ["--query", "Treatment == 'taxol'", "--library"]
    assert main(["nearest", str(text), *query, str(profiles)]) == 0
    said = capsys.readouterr().err
    assert "correction: sphering" in said
    assert "each by controls of its own" not in said
    one = tmp_path / "one.parquet"
    assert profile(folder, one, *SPHERING, "--where", "Plate == 'P1'") == 0
    capsys.readouterr()
    assert main(["nearest", str(one), *query, str(profiles)]) == 0
    assert "corrected alike, each by controls of its own" in capsys.readouterr().err
    plain = folder / "uncorrected.parquet"
    assert profile(folder, plain) == 0
    assert main(["nearest", str(text), *query, str(plain)]) == 1
    assert "correction is sphering and None" in capsys.readouterr().err
    assert main(["profile", str(profiles), *SPHERING, "--out", str(tmp_path / "a.parquet")]) == 1
    assert "the profiles are corrected already (sphering)" in capsys.readouterr().err


def test_wells_can_be_left_out(folder, tmp_path, capsys):
    out = tmp_path / "some.parquet"
    assert profile(folder, out, "--where", "Treatment in ['DMSO', 'taxol']") == 0
    assert "24 of 48 wells kept" in capsys.readouterr().out
    found = read_profiles(out)
    assert set(found.metadata["Metadata_Treatment"]) == {"DMSO", "taxol"}
    assert found.provenance["where"] == "Treatment in ['DMSO', 'taxol']"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--where", "Dose > 1"], "name 'Dose' is not defined"),
        (["--correction", "sphering"], "sphering learns from control wells; name them"),
        (["--controls", "Treatment == 'water'"], "is true for none of the 48 rows"),
        (["--controls", "Dose == 0"], "name 'Dose' is not defined"),
        (["--correction", "combat"], "learns from control wells"),
        (["--cells", "mode"], "expected a method of median, mean, got 'mode'"),
        (["--consensus", "Dose"], "there is no column Metadata_Dose"),
    ],
)
def test_what_cannot_be_done_is_one_line(folder, tmp_path, capsys, more, message):
    assert profile(folder, tmp_path / "out.parquet", *more) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_an_evaluation_is_printed_and_written(folder, profiles, tmp_path, capsys):
    truth = tmp_path / "moa.tsv"
    truth.write_text("Treatment\tmoa\ntaxol\ttubulin\nnocodazole\ttubulin|other\nATP\t\n")
    out = tmp_path / "report"
    command = ["evaluate", str(profiles), "--annotations", str(truth), "--out", str(out)]
    assert main(command) == 0
    report = json.loads((out / "evaluation.json").read_text())
    assert json.dumps(report, indent=2) in capsys.readouterr().out
    assert report["made_by"]["correction"] == "sphering"
    assert (report["wells"], report["controls"]) == (48, 16)
    page = (out / "report.html").read_text()
    # Precision and recall, placebo; a map, and two plates before and after.
    assert (page.count("<img"), page.count("<svg")) == (2, 5)
    assert f"{report['replicates']['mean_average_precision']:.3f}" in page
    # taxol and nocodazole are found before each other's replicates now and then.
    assert 0.6 < report["replicates"]["mean_average_precision"] <= 1
    assert report["treatments"]["queries"] == 2
    assert report["treatments"]["mean_average_precision"] == 1


def test_profiles_are_evaluated_beside_others(folder, profiles, tmp_path, capsys):
    plain = tmp_path / "plain.parquet"
    assert profile(folder, plain) == 0
    out = tmp_path / "report"
    command = ["evaluate", str(profiles), "--baselines", f"uncorrected={plain}", "--out", str(out)]
    assert main(command) == 0
    report = json.loads((out / "evaluation.json").read_text())
    assert list(report["baselines"]) == ["uncorrected"]
    assert report["baselines"]["uncorrected"]["made_by"].get("correction") is None
    # The plates of this screen differ in brightness: that is what correction takes away.
    before = report["baselines"]["uncorrected"]["confounders"]["plate_from_controls"]
    after = report["confounders"]["plate_from_controls"]
    assert before["balanced_accuracy"] >= after["balanced_accuracy"]
    controls = ["--controls", "Treatment == 'DMSO'"]
    assert main(["evaluate", str(plain), *controls, "--out", str(out)]) == 0
    alone = json.loads((out / "evaluation.json").read_text())["replicates"]
    assert report["baselines"]["uncorrected"]["replicates"] == alone
    capsys.readouterr()
    assert main(["evaluate", str(profiles), "--baselines", str(plain)]) == 1
    assert "expected --baselines NAME=TABLE, got" in capsys.readouterr().err
    assert main(["evaluate", str(profiles), "--baselines", f"a={plain}", f"a={profiles}"]) == 1
    assert "expected another name for every table --baselines, got a=" in capsys.readouterr().err


def test_a_sweep_needs_uncorrected_profiles(folder, profiles, tmp_path, capsys):
    plain = tmp_path / "plain.parquet"
    assert profile(folder, plain, "--controls", "Treatment == 'DMSO'") == 0
    out = tmp_path / "report"
    assert main(["evaluate", str(plain), "--sweep", "--relative", "--out", str(out)]) == 0
    rows = json.loads((out / "evaluation.json").read_text())["sweep"]
    assert [row["lambda_relative"] for row in rows][:2] == [None, 1e-6]
    for row in (rows[0], rows[6]):
        value = row["lambda_relative"]
        how = ["--correction", "sphering", "--lambda", str(value), "--relative"] if value else []
        made = tmp_path / "made.parquet"
        assert profile(folder, made, "--controls", "Treatment == 'DMSO'", *how) == 0
        assert main(["evaluate", str(made), "--out", str(out)]) == 0
        alone = json.loads((out / "evaluation.json").read_text())["replicates"]
        assert row["replicate_map"] == pytest.approx(alone["mean_average_precision"], abs=1e-4)
    capsys.readouterr()
    assert main(["evaluate", str(profiles), "--sweep"]) == 1
    assert "are corrected already (sphering)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        ("Compound,moa\na,b\n", "has no column Metadata_Treatment; it has Metadata_Compound"),
        ("Treatment,target\na,b\n", "has no column Metadata_moa"),
        ("Treatment,moa\nwater,b\n", "none of the 4 treatments is in"),
        ("Treatment,moa\nATP,b\n", "none of the 4 treatments shares a label"),
    ],
)
def test_a_truth_that_does_not_fit_is_one_line(profiles, tmp_path, capsys, truth, message):
    (tmp_path / "moa.csv").write_text(truth)
    assert main(["evaluate", str(profiles), "--annotations", str(tmp_path / "moa.csv")]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.fixture
def wells(tmp_path):
    """Two plates of wells as CSV, without a plate map; the treatments are those of the map."""
    random = np.random.default_rng(0)
    rows = [(plate, well) for plate in ("P1", "P2") for well in WELLS]
    table = pd.DataFrame(rows, columns=["Metadata_Plate", "Metadata_Well"])
    shift = {name: random.normal(0, 3, 6) for name in ROW[2:]} | {"DMSO": np.zeros(6)}
    values = [shift[TREATMENTS[well]] + random.normal(size=6) for _, well in rows]
    table[NAMES] = values
    table.to_csv(tmp_path / "wells.csv", index=False)
    return table


def run(capsys, *command, code=0):
    assert main(list(map(str, command))) == code
    return capsys.readouterr()


@pytest.mark.parametrize(
    ("expression", "kept"),
    [
        ("Dose == 10 or Treatment == 'DMSO'", 32),
        ("Dose == '10' or Treatment == 'DMSO'", 32),
        ("Dose >= 10 or Treatment == 'DMSO'", 32),
        ("Dose in [10]", 16),
        ("Dose != 1", 32),
        ("Dose > '1'", 16),
        ("Dose == 0", 16),
    ],
)
@pytest.mark.parametrize("ending", ["csv", "txt", "parquet"])
def test_a_dose_is_a_number(wells, tmp_path, capsys, expression, kept, ending):
    doses = {"DMSO": 0, "taxol": 10, "nocodazole": 10, "rotenone": 1, "ATP": 1}
    table = pd.DataFrame({"Well": WELLS, "Treatment": map(TREATMENTS.get, WELLS)})
    table["Dose"] = table["Treatment"].map(doses).astype(str)
    path = tmp_path / f"map.{ending}"
    if ending == "parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, sep="\t" if ending == "txt" else ",")
    command = ["profile", tmp_path / "wells.csv", "--platemap", path, "--where", expression]
    said = run(capsys, *command, "--out", tmp_path / "p.parquet").out
    assert f"{kept} of 48 wells kept" in said
    found = read_profiles(tmp_path / "p.parquet").metadata["Metadata_Dose"]
    assert found.dtype.kind == "i"
    again = ["profile", tmp_path / "p.parquet", "--where", expression, "--out", tmp_path / "q.csv"]
    assert f"{kept} of {kept} wells kept" in run(capsys, *again).out


def test_a_dose_that_is_asked_for_by_a_word_is_refused(wells, tmp_path, capsys):
    (tmp_path / "map.csv").write_text("Well,Dose\n" + "".join(f"{well},10\n" for well in WELLS))
    command = ["profile", tmp_path / "wells.csv", "--platemap", tmp_path / "map.csv", "--where"]
    said = run(capsys, *command, "Dose == 'high' or Well == 'A01'", code=1)
    assert "Dose holds numbers, and 'high' is none" in said.err


@pytest.mark.parametrize("text", ["", "NA", "nan", "NULL", "None"])
def test_treatments_without_a_mechanism_share_none(wells, tmp_path, capsys, text):
    table = wells.assign(Metadata_Treatment=wells["Metadata_Well"].map(TREATMENTS))
    table.to_csv(tmp_path / "wells.csv", index=False)
    rows = [("taxol", "tubulin"), ("nocodazole", "tubulin"), ("rotenone", text), ("ATP", text)]
    moa = tmp_path / "moa.csv"
    moa.write_text("Treatment,moa\n" + "".join(f"{name},{label}\n" for name, label in rows))
    command = ["evaluate", tmp_path / "wells.csv", "--controls", "Treatment == 'DMSO'"]
    said = run(capsys, *command, "--annotations", moa)
    assert json.loads(said.out)["treatments"]["queries"] == 2
    assert (
        f"has no moa for 2 of 4 treatments; found instead: {text or 'an empty cell'} (2)"
        in said.err
    )
    if text:
        said = run(capsys, *command, "--annotations", moa, "--keep-label", text)
        assert json.loads(said.out)["treatments"]["queries"] == 4
        assert "has no moa" not in said.err


@pytest.mark.parametrize("text", ["NA", "none"])
def test_a_control_may_be_called_as_if_there_were_none(wells, tmp_path, capsys, text):
    names = {name: text if name == "DMSO" else name for name in ROW}
    rows = [f"{well},{names[treatment]}" for well, treatment in TREATMENTS.items()]
    (tmp_path / "map.csv").write_text("\n".join(["Well,Treatment", *rows]))
    out = tmp_path / "p.parquet"
    command = ["profile", tmp_path / "wells.csv", "--platemap", tmp_path / "map.csv", "--out", out]
    controls = ["--controls", f"Treatment == '{text}'"]
    said = run(capsys, *command, *controls, code=1)
    assert f"Treatment for 16 of 48 ({text})" in said.err
    assert f"or read the table with --keep-label {text}" in said.err
    said = run(capsys, *command, *controls, "--keep-label", text, "--consensus", "Treatment").out
    assert "48 wells, 16 of them controls" in said
    assert "5 x 6" in said
    # A table that we have written says which are names.
    query = ["nearest", out, "--query", "Treatment == 'taxol'"]
    assert "4 treatments searched" in run(capsys, *query).err
    said = run(capsys, *command, "--consensus", "Treatment")
    assert "16 of 48 wells have no Metadata_Treatment: left out" in said.err
    assert "4 x 6" in said.out
    assert "16 of 48 wells have no Metadata_Treatment: left out" in run(capsys, *query).err


def test_what_is_left_out_is_said_beside_the_output(wells, tmp_path, capsys):
    wells["Cells_Correlation_RWC"] = np.nan
    wells.loc[[5, 30], NAMES[3]] = [np.nan, np.inf]
    wells.to_csv(tmp_path / "wells.csv", index=False)
    out = tmp_path / "p.parquet"
    said = run(capsys, "profile", tmp_path / "wells.csv", "--out", out)
    lost = f"2 of 48 wells are left out, for missing or infinite values of {NAMES[3]} (2): "
    assert said.err.splitlines() == [
        "1 of 7 features is left out, as no well has it: Cells_Correlation_RWC",
        lost + "P1/A06, P2/B01",
    ]
    assert said.out == f"wrote {out}: 46 wells x 6 features\n"
    table = wells.assign(Metadata_Treatment=wells["Metadata_Well"].map(TREATMENTS))
    table.to_csv(tmp_path / "wells.csv", index=False)
    controls = ["--controls", "Treatment == 'DMSO'"]
    said = run(
        capsys, "nearest", tmp_path / "wells.csv", "--query", "Treatment == 'taxol'", *controls
    )
    assert "P1/A06, P2/B01" in said.err
    said = run(capsys, "evaluate", tmp_path / "wells.csv", *controls)
    assert json.loads(said.out)["wells"] == 46
    assert "P1/A06, P2/B01" in said.err


def test_features_can_be_left_out_where_most_wells_lack_them(wells, tmp_path, capsys):
    wells.loc[:30, NAMES[1]] = np.nan
    wells.to_csv(tmp_path / "wells.csv", index=False)
    command = ["profile", tmp_path / "wells.csv", "--out", tmp_path / "p.parquet"]
    said = run(capsys, *command, code=1).err
    assert (
        f"31 of 48 wells would be left out, for missing or infinite values of {NAMES[1]} (31)"
        in said
    )
    suggested = said.split("e.g. ")[1].split(", or")[0].split()
    assert "48 wells x 5 features" in run(capsys, *command, *suggested).out
    assert "no feature is called F9" in run(capsys, *command, "--drop-features", "F9", code=1).err


@pytest.mark.parametrize("more", [",", ",,,"])
def test_extra_commas_change_nothing_and_values_below_none_are_refused(
    wells, tmp_path, capsys, more
):
    def profiled(text):
        (tmp_path / "w.csv").write_text(text)
        run(capsys, "profile", tmp_path / "w.csv", "--out", tmp_path / "p.parquet")
        return read_profiles(tmp_path / "p.parquet")

    header, *lines = wells.to_csv(index=False).splitlines()
    plain = profiled("\n".join([header, *lines]))
    with_commas = profiled("\n".join([header, *(f"{line}{more}" for line in lines)]))
    np.testing.assert_array_equal(plain.features, with_commas.features)
    pd.testing.assert_frame_equal(plain.metadata, with_commas.metadata)
    (tmp_path / "w.csv").write_text("\n".join([header, *(f"{line}{more}7" for line in lines)]))
    said = run(capsys, "profile", tmp_path / "w.csv", code=1).err
    assert "has '7' in row 1 of its column" in said
    assert "has no name in the header" in said


def test_what_was_written_into_the_folder_of_plates_is_none_of_them(wells, tmp_path, capsys):
    folder = tmp_path / "plates_of_mine"
    folder.mkdir()
    table = wells.assign(Metadata_Treatment=wells["Metadata_Well"].map(TREATMENTS))
    for plate, rows in table.groupby("Metadata_Plate"):
        rows.to_csv(folder / f"{plate}.csv.gz", index=False)
    for name in ("profiles.parquet", "profiles.csv"):
        out = folder / name
        command = ["profile", folder, *SPHERING, "--consensus", "Treatment", "--out", out]
        first = run(capsys, *command).out
        assert f"wrote {out}: 48 wells x 6 features" in first
        assert run(capsys, *command).out == first
        out.unlink()
    (folder / "P1_normalized.csv.gz").write_bytes((folder / "P1.csv.gz").read_bytes())
    said = run(capsys, "profile", folder, "--out", tmp_path / "p.parquet", code=1).err
    assert "several processing levels" in said
    assert "P1.csv.gz, P1_normalized.csv.gz" in said
    said = run(capsys, "profile", folder / "P?.csv.gz", "--out", tmp_path / "p.parquet").out
    assert "48 wells" in said


def test_a_column_that_is_missing_is_said_before_anything_is_written(folder, tmp_path, capsys):
    out = tmp_path / "p.parquet"
    assert profile(folder, out, "--consensus", "Dose") == 1
    assert "there is no column Metadata_Dose" in capsys.readouterr().err
    assert not out.exists()


def test_genes_that_are_numbers_are_asked_for_and_shown_as_they_are_written(
    wells, tmp_path, capsys
):
    codes = {name: 7157 + n for n, name in enumerate(sorted(set(ROW)))}
    table = wells.assign(Metadata_Entrez=wells["Metadata_Well"].map(TREATMENTS).map(codes))
    table = table.assign(Metadata_Dose=0.5, Metadata_Volume=10.0)
    table.loc[0, "Metadata_Entrez"] = np.nan
    moa = tmp_path / "moa.csv"
    for spell in ("{:d}", "{:d}.0"):
        rows = [f"{spell.format(code)},{code % 2}" for code in codes.values()]
        moa.write_text("\n".join(["Entrez,moa", *rows]))
        for ending in ("csv", "parquet"):
            path = tmp_path / f"w.{ending}"
            table.to_csv(path, index=False) if ending == "csv" else table.to_parquet(path)
            for query in ("Entrez == 7160", "Entrez == '7160'"):
                command = ["nearest", path, "--by", "Entrez", "--query", query, "--exclude-same"]
                said = run(capsys, *command)
                assert "8 wells in the query, 5 treatments searched" in said.err
                assert said.out.splitlines()[1] == "1.0,7160,8,0.5,10"
            scores = json.loads(
                run(capsys, "evaluate", path, "--by", "Entrez", "--annotations", moa).out
            )
            assert scores["treatments"]["queries"] == 5


@pytest.mark.parametrize("correction", ["plate-mad", "centred-sphering"])
def test_features_that_a_correction_leaves_out_are_said_beside_the_output(
    wells, tmp_path, capsys, recwarn, correction
):
    table = pd.read_csv(tmp_path / "wells.csv").assign(Cells_CPCNN_002=7.5)
    table.to_csv(tmp_path / "constant.csv", index=False)
    treatments = pd.DataFrame({"Well": WELLS, "Treatment": map(TREATMENTS.get, WELLS)})
    treatments.to_csv(tmp_path / "map.csv", index=False)
    command = ["profile", tmp_path / "constant.csv", "--platemap", tmp_path / "map.csv"]
    command += ["--controls", "Treatment == 'DMSO'", "--correction", correction]
    found = run(capsys, *command, "--out", tmp_path / "p.parquet")
    assert found.err == (
        "1 of 6 features is left out, not varying among the controls of every plate: "
        "Cells_CPCNN_002\n"
    )
    assert not recwarn.list


def test_the_plate_map_among_the_plates_is_none_of_them(wells, tmp_path, capsys):
    plates = tmp_path / "profiles" / "batch"
    plates.mkdir(parents=True)
    (tmp_path / "wells.csv").rename(plates / "P1.csv")
    path = plates / "platemap.csv"
    treatments = pd.DataFrame({"Well": WELLS, "Treatment": map(TREATMENTS.get, WELLS)})
    treatments.to_csv(path, index=False)
    command = ["profile", plates.parent, "--out", tmp_path / "p.parquet"]
    run(capsys, *command, "--platemap", path)
    metadata = read_profiles(tmp_path / "p.parquet").metadata
    expected = [TREATMENTS[well] for well in metadata["Metadata_Well"]]
    assert metadata["Metadata_Treatment"].tolist() == expected
    found = run(capsys, *command, code=1)
    assert "platemap.csv has no features" in found.err
    assert "choose the plates by a pattern" in found.err


def test_controls_that_ask_are_not_compared_with_and_that_is_said(profiles, capsys):
    query = ["--query", "Treatment == 'DMSO'"]
    assert main(["nearest", str(profiles), *query]) == 0
    said = capsys.readouterr()
    assert "No p-values: of the controls none are left to compare with" in said.err
    assert "p-values compare with" not in said.err
