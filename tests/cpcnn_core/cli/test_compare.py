"""``cpcnn compare``: what it says of every model equals embed, profile and evaluate by hand."""

import contextlib
import dataclasses
import io
import json
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import tifffile

from cpcnn_core.cli.main import main
from cpcnn_core.evaluation.baselines import count_profiles
from cpcnn_core.evaluation.correction_sweep import sweep_corrections
from cpcnn_core.evaluation.scores import retrieval_scores
from cpcnn_core.expressions import choose_rows
from cpcnn_core.io.profile_files import read_profiles, write_profiles
from cpcnn_core.models.card import ModelCard
from cpcnn_core.models.network_builder import random_weights
from cpcnn_core.models.opening import untrained_efficientnet_b0
from cpcnn_core.models.weights import save_model, weights_sha256

SIDE, CROP_PX = 96, 32
TREATMENTS = {"A": "DMSO", "B": "rings", "C": "stripes", "D": "faint stripes"}
CONTROLS = "Treatment == 'DMSO'"
QUERY = "Well.str.endswith('2')"


def draw_site(random, treatment, number):
    """Draw cells that are textured by their treatment; return (2, h, w) uint8 and labels."""
    y, x = np.mgrid[:SIDE, :SIDE]
    image = random.normal(30, 3, (2, SIDE, SIDE))
    labels = np.zeros((SIDE, SIDE), np.uint16)
    corners = [(24, 24), (24, 70), (70, 26), (68, 70), (48, 48)]
    for place, (row, col) in enumerate(corners[:number]):
        radius = np.hypot(y - row, x - col)
        size = random.uniform(9, 11)
        texture = {
            "DMSO": np.ones_like(radius),
            "rings": 1 + np.cos(radius * 1.2),
            "stripes": 1 + np.cos(x * 1.5),
            "faint stripes": 1 + 0.5 * np.cos(x * 1.5),
        }[treatment]
        image += 60 * np.exp(-((radius / size) ** 2)) * np.stack([texture, np.ones_like(radius)])
        # Numbers with gaps, as of cells that were filtered.
        labels[radius < size] = 2 * place + 1
    return image.clip(0, 255).astype(np.uint8), labels


@pytest.fixture(scope="module")
def screen(tmp_path_factory):
    """Two plates of four treatments in three wells each; counts differ from well to well."""
    folder = tmp_path_factory.mktemp("screen")
    random = np.random.default_rng(1)
    rows, platemap = [], ["Well,Treatment,Side"]
    (folder / "labels").mkdir()
    for plate in ("P1", "P2"):
        for letter, treatment in TREATMENTS.items():
            for column in (1, 2, 3):
                well = f"{letter}0{column}"
                image, labels = draw_site(random, treatment, random.integers(3, 6))
                row = {"Metadata_Plate": plate, "Metadata_Well": well, "Metadata_Site": "1"}
                for channel, plane in zip(("Actin", "DNA"), image, strict=True):
                    name = f"{plate}_{well}_{channel}.tif"
                    tifffile.imwrite(folder / name, plane)
                    row |= {f"FileName_{channel}": name, f"PathName_{channel}": str(folder)}
                rows.append(row)
                tifffile.imwrite(folder / "labels" / f"{plate}_{well}_1.tif", labels)
                if plate == "P1":
                    platemap.append(f"{well},{treatment},{'left' if column < 2 else 'right'}")
    pd.DataFrame(rows).to_csv(folder / "load_data.csv", index=False)
    (folder / "platemap.csv").write_text("\n".join(platemap))
    (folder / "moa.csv").write_text(
        "Treatment,moa\nstripes,lines\nfaint stripes,lines\nrings,circles\n"
    )
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A network for two channels, one that takes any, and one for channels that are not there."""
    folder = tmp_path_factory.mktemp("models")
    card, weights = untrained_efficientnet_b0(("Actin", "DNA"))
    save_model(folder / "two.safetensors", dataclasses.replace(card, crop_px=CROP_PX), weights)
    card = ModelCard(
        "bag",
        "An example.",
        ("X",),
        96,
        architecture="timm/test_resnet",
        tap="pooled",
        channel_mode="bag",
        crop_px=CROP_PX,
        trained=False,
    )
    weights = random_weights(card, 3)
    card = dataclasses.replace(card, sha256=weights_sha256(weights))
    save_model(folder / "bag.safetensors", card, weights)
    return folder


def of_screen(screen):
    return [
        *("--load-data", str(screen / "load_data.csv"), "--labels", str(screen / "labels")),
        *("--channels", "Actin=Actin", "DNA=DNA"),
    ]


def compare(screen, out, *more):
    said = io.StringIO()
    question = [
        "--platemap",
        str(screen / "platemap.csv"),
        "--controls",
        CONTROLS,
        "--query",
        QUERY,
    ]
    question += ["--annotations", str(screen / "moa.csv"), "--confounder", "Side"]
    with contextlib.redirect_stdout(said):
        command = ["compare", *more, *of_screen(screen), *question, "--out", str(out)]
        code = main(command)
    return code, said.getvalue()


@pytest.fixture(scope="module")
def compared(screen, models, tmp_path_factory):
    """The result when one model of three cannot run."""
    out = tmp_path_factory.mktemp("compared")
    files = [str(models / name) for name in ("two.safetensors", "bag.safetensors")]
    code, said = compare(screen, out, *files, "untrained-efficientnet-b0", "--classical")
    return out, code, said


@pytest.fixture(scope="module")
def table(compared):
    return pd.read_csv(compared[0] / "compare.csv").set_index("model")


def test_every_model_has_a_row_for_each_correction(table):
    assert table.index.tolist() == [
        *("two", "two", "bag", "bag", "untrained-efficientnet-b0", "classical", "classical"),
        "number of cells",
    ]
    assert table.loc["two", "correction"].tolist() == ["none", "sphering"]
    assert len(set(table["cells"].dropna())) == 1
    assert table.loc["bag", "features"].tolist() == [192, 192]
    assert (table["replicates_queries"].dropna() == 6).all()
    assert (table["labels_queries"].dropna() == 2).all()


def test_numbers_are_those_of_embed_profile_and_evaluate(screen, models, table, tmp_path):
    embedded, plain = tmp_path / "embedded", tmp_path / "plain.parquet"
    model = ["--model", str(models / "two.safetensors")]
    assert main(["embed", *of_screen(screen), *model, "--out", str(embedded)]) == 0
    how = ["--platemap", str(screen / "platemap.csv"), "--controls", CONTROLS]
    assert main(["profile", str(embedded), *how, "--out", str(plain)]) == 0
    asked = ["--annotations", str(screen / "moa.csv"), "--query", QUERY]

    def evaluate(profiles, *more):
        out = tmp_path / "report"
        assert main(["evaluate", str(profiles), *asked, *more, "--out", str(out)]) == 0
        return json.loads((out / "evaluation.json").read_text())

    before = evaluate(plain, "--sweep", "--relative")
    tried = {
        row["lambda_relative"]: row["replicate_map"]
        for row in before["sweep"]
        if row["correction"] == "sphering"
    }
    best = max(tried, key=lambda value: (tried[value], value))
    sphered = tmp_path / "sphered.parquet"
    how += ["--correction", "sphering", "--relative", "--lambda", str(best)]
    assert main(["profile", str(embedded), *how, "--out", str(sphered)]) == 0
    after = evaluate(sphered)
    # Sphered replicates are those of treatments that lambda was not chosen on.
    wells = read_profiles(plain)
    controls, asks = choose_rows(wells, CONTROLS), choose_rows(wells, QUERY)
    sweep = sweep_corrections(wells, controls, "Metadata_Treatment", queries=asks, relative=True)
    precision, _ = dataclasses.replace(sweep, tried=sweep.tried[1:]).nested()
    after["replicates"] |= retrieval_scores(precision, sweep.names, sweep.chance)
    for row, expected in zip((0, 1), (before, after), strict=True):
        found = table.loc["two"].iloc[row]
        replicates, labels = expected["replicates"], expected["treatments"]
        # Tables keep float32; ranks of nearly equal profiles may change by that.
        for name, value in (
            ("replicates_map", replicates["mean_average_precision"]),
            ("replicates_low", replicates["interval"][0]),
            ("replicates_high", replicates["interval"][1]),
            ("labels_map", labels["mean_average_precision"]),
            ("labels_chance", labels["chance_average_precision"]),
        ):
            assert found[name] == pytest.approx(value, abs=1e-6), name
        for name, one in expected["confounders"].items():
            if row and name.startswith("controls_by"):
                # Six sphered controls are all equally unlike each other, but for rounding.
                continue
            if one is None:
                assert np.isnan(found[name])
            else:
                value = next(value for what, value in one.items() if what != "chance")
                assert found[name] == pytest.approx(value, abs=1e-6), name
                assert found[f"{name}_chance"] == pytest.approx(one["chance"], abs=1e-12)
    assert table.loc["two", "lambda_relative"].tolist()[1] == best


def test_the_profiles_are_kept(compared, screen):
    folder = compared[0] / "profiles"
    assert sorted(path.name for path in folder.iterdir()) == [
        f"{name}{ending}"
        for name in ("bag", "classical", "two")
        for ending in ("-sphered.parquet", "-sphered.parquet.correction.npz", ".parquet")
    ]
    wells = read_profiles(folder / "bag.parquet")
    assert wells.metadata["Metadata_Treatment"].tolist()[:4] == ["DMSO"] * 3 + ["rings"]
    assert read_profiles(folder / "bag-sphered.parquet").provenance["correction"] == "sphering"


def test_classical_measurements_are_cp_measures(compared, screen):
    featurizer = pytest.importorskip("cp_measure.featurizer")
    config = featurizer.make_featurizer_config(
        ["Actin", "DNA"], objects=["Cells"], correlation_costes=False
    )
    wells = read_profiles(compared[0] / "profiles" / "classical.parquet")
    medians = []
    for plate, well in wells.metadata[["Metadata_Plate", "Metadata_Well"]].to_numpy():
        planes = [tifffile.imread(screen / f"{plate}_{well}_{c}.tif") for c in ("Actin", "DNA")]
        labels = tifffile.imread(screen / "labels" / f"{plate}_{well}_1.tif").astype(int)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found, names, _ = featurizer.featurize(
                np.stack(planes)[None] / 255, labels[None, None], config
            )
        medians.append(np.median(found.astype(np.float32).astype(float), axis=0))
    expected = pd.DataFrame(medians, columns=[f"Cells_{name}" for name in names])
    mine = expected[wells.feature_names]
    standard = (mine - mine.mean()) / mine.std(ddof=0)
    np.testing.assert_allclose(wells.features, standard, rtol=1e-4, atol=1e-4)
    left_out = set(expected) - set(wells.feature_names)
    constant = expected.columns[(expected.max() - expected.min() == 0).to_numpy()]
    whole = expected.columns[expected.notna().all().to_numpy()]
    assert left_out == set(constant) | (set(expected) - set(whole))


def test_the_number_of_cells_is_among_them(compared, table):
    wells = read_profiles(compared[0] / "profiles" / "two.parquet")
    counts = compared[0] / "counts.parquet"
    found = count_profiles(wells)
    found.feature_names = ["Cells_x", "Cells_y"]
    write_profiles(found, counts)
    command = ["evaluate", str(counts), "--controls", CONTROLS, "--query", QUERY]
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main(command) == 0
    expected = json.loads(said.getvalue())["replicates"]["mean_average_precision"]
    assert table.loc["number of cells", "replicates_map"] == pytest.approx(expected, abs=1e-9)


def test_a_model_that_cannot_run_says_why_and_the_others_go_on(compared, table):
    out, code, said = compared
    assert code == 1
    reason = table.loc["untrained-efficientnet-b0", "reason"]
    assert "does not tell which image is RNA, ER, AGP, Mito; it has Actin, DNA" in reason
    assert f"untrained-efficientnet-b0: {reason}" in said.splitlines()
    assert np.isnan(table.loc["untrained-efficientnet-b0", "replicates_map"])
    assert table["reason"].notna().sum() == 1
    page = (out / "compare.html").read_text()
    assert "What went wrong" in page
    assert reason in page


def test_a_check_of_a_model_that_cannot_run_says_why_and_the_others_are_looked_at(
    screen, models, tmp_path, capsys
):
    names = ("untrained-efficientnet-b0", str(models / "two.safetensors"))
    log = tmp_path / "run.log"
    code, said = compare(screen, tmp_path / "out", *names, "--check", "--log", str(log))
    assert code == 1
    # Said once, and logged once.
    assert sum(" ERROR " in line for line in log.read_text().splitlines()) == 1
    first, second, sites, *_ = said.splitlines()
    assert (first, second) == ("untrained-efficientnet-b0:", "two:")
    assert sites == "24 sites: 24 to do (no file yet)"
    said = capsys.readouterr().err.splitlines()
    (error,) = [line for line in said if line.startswith("cpcnn: error: ")]
    assert "does not tell which image is RNA, ER, AGP, Mito; it has Actin, DNA" in error
    assert not (tmp_path / "out").exists()


def test_the_cost_is_measured(table):
    cells = table["cells"].max()
    for name in ("two", "bag", "classical"):
        row = table.loc[name].iloc[0]
        assert row["cells_timed"] == cells
        assert row["cells_per_second"] == pytest.approx(cells / row["seconds"], rel=1e-12)
    if sys.platform != "win32":
        ran = table.loc[["two", "bag", "classical"]]
        # No Python that computes anything is smaller or faster than that.
        assert (ran["peak_mib"] > 60).all()
        assert (ran["cpu_seconds"] > 0.5).all()
    assert np.isnan(table.loc["number of cells", "seconds"])


def test_the_page_has_everything_inside_and_the_terminal_the_table(compared, table):
    out, _, said = compared
    page = (out / "compare.html").read_text()
    assert page.count('src="data:image/png;base64,') == 2
    assert page.count("src=") == 2
    assert "http" not in page
    for _, row in table.dropna(subset="replicates_map").iterrows():
        text = f"{row['replicates_map']:.3f} ({row['replicates_low']:.3f} to"
        assert text in page
        assert text in said
    assert "controls find their side" in page
    assert "features are left out, some cell has no number for them: NormalizedMoment_0_0" in page


def test_what_is_done_stays(compared, screen, models):
    out = compared[0]
    files = sorted((out / "models" / "two" / "features").rglob("*.npz"))
    assert len(files) == 24
    files[3].unlink()
    before = {path: path.stat().st_mtime_ns for path in files[:3] + files[4:]}
    cost = (out / "models" / "two" / "cost.json").read_text()
    csv = (out / "compare.csv").read_text()
    code, _ = compare(screen, out, str(models / "two.safetensors"))
    assert code == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert files[3].is_file()
    # One site is no measure of the speed; what all others took is.
    assert (out / "models" / "two" / "cost.json").read_text() == cost
    again = pd.read_csv(out / "compare.csv")
    expected = pd.read_csv(io.StringIO(csv))
    shared = ["model", "correction", "replicates_map", "seconds"]
    pd.testing.assert_frame_equal(again[shared][:2], expected[shared][:2])


def test_a_site_that_fails_is_told_and_the_others_are_judged(screen, models, tmp_path):
    broken = tmp_path / "load_data.csv"
    table = (screen / "load_data.csv").read_text()
    broken.write_text(table.replace("P2_B02_DNA.tif", "gone.tif"))
    command = [
        *("compare", str(models / "bag.safetensors"), "--load-data", str(broken)),
        *("--labels", str(screen / "labels"), "--channels", "Actin=Actin", "DNA=DNA"),
        *("--platemap", str(screen / "platemap.csv"), "--controls", CONTROLS),
    ]
    out = tmp_path / "out"
    assert main([*command, "--out", str(out)]) == 1
    found = pd.read_csv(out / "compare.csv")
    assert found["reason"][0].startswith("1 of 24 sites failed: P2/B02/1, there is no image file")
    assert found["wells"].tolist() == [23, 23, 23]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["two.safetensors", "nothing-like-it"], "there is no model 'nothing-like-it'"),
        (["two.safetensors", "again=two.safetensors"], "is there twice"),
        (["two.safetensors", "--query", "Well == 'X'"], "is true for none of the 24 rows"),
        (["two.safetensors", "--where", "Dose > 1"], "name 'Dose' is not defined"),
        (
            ["two.safetensors", "--where", CONTROLS],
            "no well with a Metadata_Treatment that is none of the controls",
        ),
        (["two.safetensors", "--query", CONTROLS], "none of the query wells has replicates"),
        (
            ["two.safetensors", "--controls", "Well == 'A01' and Plate == 'P1'"],
            "sphering needs at least 2 control wells, got 1",
        ),
        (["two.safetensors", "--confounder", "Row"], "there is no column Metadata_Row"),
        (["two.safetensors", "--by", "Compound"], "has no column Metadata_Compound"),
        (["two.safetensors", "--config", "x.json"], "--config cannot be used with --load-data"),
    ],
)
def test_what_cannot_be_asked_is_said_before_the_work(
    screen, models, tmp_path, capsys, monkeypatch, more, message
):
    monkeypatch.chdir(models)
    out = tmp_path / "out"
    question = ["--platemap", str(screen / "platemap.csv"), "--controls", CONTROLS]
    question += ["--annotations", str(screen / "moa.csv")]
    assert main(["compare", *of_screen(screen), *question, "--out", str(out), *more]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_classical_measurements_need_outlines_and_the_package(
    screen, models, tmp_path, capsys, monkeypatch
):
    model = [str(models / "two.safetensors"), "--classical"]
    question = ["--platemap", str(screen / "platemap.csv"), "--controls", CONTROLS]
    load_data = ["--load-data", str(screen / "load_data.csv"), "--channels", "DNA=DNA"]
    place = ["--locations", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(["compare", *model, *load_data, *place, *question]) == 1
    assert "--classical measures outlines: give --load-data and --labels" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "cp_measure", None)
    command = ["compare", *model, *of_screen(screen), *question, "--out", str(tmp_path / "out")]
    assert main(command) == 1
    assert "install it with: pip install 'cpcnn[classical]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
