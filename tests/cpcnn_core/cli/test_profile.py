"""``cpcnn profile`` and ``cpcnn nearest``: from tables to answers, as a user types them."""

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.cli.main import main
from cpcnn_core.profiles.correction import Correction
from cpcnn_core.profiles.files import read_profiles, write_profiles
from cpcnn_core.profiles.sphering import fit_sphering
from cpcnn_core.tables.profiles import Profiles

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
    assert after.provenance == {
        "model": "m",
        "model_sha256": "1",
        "controls": "Treatment == 'DMSO'",
        "correction": "sphering",
        "lambda": 0.1,
    }
    correction = Correction.load(folder / "profiles.correction.npz")
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
    said = capsys.readouterr().out
    assert "8 wells asked about, 4 treatments searched, 1 left out; correction: sphering" in said
    table = pd.read_csv(out)
    assert table["Metadata_Treatment"].tolist()[0] == "nocodazole"
    assert len(table) == 3
    assert table["similarity"][0] > 0.99
    assert table["p_value"][0] == 0.001
    assert table["support"][0] == 1
    assert table["Metadata_Replicates"].tolist() == [8, 8, 8]
    assert main(["nearest", str(profiles), *query, "--exclude-same"]) == 0
    assert pd.read_csv(out)["Metadata_Treatment"].tolist()[:2] == ["taxol", "nocodazole"]


def test_without_controls_there_are_no_p_values(folder, capsys):
    plain = folder / "no_controls.parquet"
    assert profile(folder, plain) == 0
    assert main(["nearest", str(plain), "--query", "Well == 'A03' and Plate == 'P1'"]) == 0
    said = capsys.readouterr().out
    assert "1 wells asked about, 5 treatments searched" in said
    assert "p_value" not in said
    assert "Say which wells are controls (--controls) for p-values." in said


def test_profiles_of_another_correction_are_not_compared(folder, profiles, capsys):
    plain = folder / "uncorrected.parquet"
    assert profile(folder, plain) == 0
    query = ["--query", "Treatment == 'taxol'", "--library", str(profiles)]
    assert main(["nearest", str(plain), *query]) == 1
    assert "cannot be compared: correction is None and sphering" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
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
