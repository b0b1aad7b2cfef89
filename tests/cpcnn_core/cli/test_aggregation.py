"""``cpcnn aggregation`` and ``cpcnn profile --aggregation``, as a user types them."""

import hashlib
import re

import numpy as np
import pytest

from cpcnn_core.aggregation.cell_sets import read_cell_sets
from cpcnn_core.aggregation.files import read_aggregation
from cpcnn_core.aggregation.scored_sets import ScoredSets
from cpcnn_core.cli.main import main
from cpcnn_core.io.profile_files import read_profiles, write_profiles
from cpcnn_core.profiles.wells import well_profiles
from cpcnn_core.schema.profiles import Profiles

CONTROLS = ["--controls", "Treatment == 'DMSO'"]
NAMES = [f"Cells_CPCNN_{number:03d}" for number in range(4)]

PLATES = ("P1", "P2", "P3", "P4")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four plates; treatments shift cells."""
    import pandas as pd

    root = tmp_path_factory.mktemp("cli_aggregation")
    random = np.random.default_rng(0)
    names = ["DMSO"] * 4 + [f"T{n}" for n in range(6)]
    effects = {name: random.normal(0, 0 if name == "DMSO" else 1, 4) for name in names}
    for plate in PLATES:
        keys = [
            (plate, f"A{w:02d}", str(s), n) for w in range(10) for s in (1, 2) for n in range(9)
        ]
        columns = ["Metadata_Plate", "Metadata_Well", "Metadata_Site", "Metadata_ObjectNumber"]
        cells = np.array([effects[names[int(key[1][1:])]] for key in keys])
        cells = (cells + random.normal(0, 1, cells.shape)).astype(np.float32)
        made = {"model": "m", "model_sha256": "1", "channels": ["DNA", "ER"]}
        table = Profiles(cells, pd.DataFrame(keys, columns=columns), NAMES, made)
        write_profiles(table, root / "plates" / f"{plate}.parquet")
    rows = [f"A{well:02d},{name}" for well, name in enumerate(names)]
    (root / "platemap.csv").write_text("\n".join(["Well,Treatment", *rows]))
    return root


def train(folder, out, *more):
    command = ["aggregation", "train", str(folder), "--platemap", str(folder / "platemap.csv")]
    return main([*command, *CONTROLS, "--steps", "4", "--folds", "2", "--out", str(out), *more])


def profile(folder, out, *more):
    command = ["profile", str(folder), "--platemap", str(folder / "platemap.csv"), *CONTROLS]
    return main([*command, "--out", str(out), *more])


@pytest.fixture(scope="module")
def model(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "a.safetensors"
    assert train(folder, path) == 0
    return path


def test_the_card_says_what_was_learned_from(folder, model):
    card, _ = read_aggregation(model)
    files = [*sorted((folder / "plates").iterdir()), folder / "platemap.csv"]
    assert card.inputs == tuple(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
    assert card.origin == {"model": "m", "model_sha256": "1", "channels": ("DNA", "ER")}
    assert card.treatments == tuple(f"T{n}" for n in range(6))
    assert card.plates == PLATES
    assert (card.wells, card.cells, card.settings.steps) == (24, 24 * 18, 4)
    assert card.controls == "Treatment == 'DMSO'"
    assert {one.held_out for one in card.judgements} == {"plates", "treatments"}
    assert len(card.placebo) == 2
    assert set(card.versions) == {"cpcnn", "numpy", "torch"}


def test_twice_is_the_same_file(folder, model, tmp_path, capsys):
    again = tmp_path / "b.safetensors"
    assert train(folder, again) == 0
    assert again.read_bytes() == model.read_bytes()
    said = capsys.readouterr().out
    assert main(["aggregation", "show", str(model)]) == 0
    shown = capsys.readouterr().out
    for text in (said, shown):
        assert re.search(r"held-out plates, \d+ wells of 6 treatments: mean 0\.\d+, learned", text)
        assert "placebo (treatments shuffled), held-out treatments" in text
        # Of six treatments.
        assert "keep the mean: an interval of 6 treatments" in text
    assert "model_sha256" in shown
    assert train(folder, again, "--seed", "1") == 0
    assert again.read_bytes() != model.read_bytes()


def test_profiles_are_made_with_it_and_say_so(folder, model, tmp_path, capsys):
    out = tmp_path / "learned.parquet"
    assert profile(folder, out, "--aggregation", str(model)) == 0
    assert "24 of 40 wells may be among those" in capsys.readouterr().err
    learned = read_profiles(out)
    assert learned.provenance["aggregation"] == read_aggregation(model)[0].sha256
    means = well_profiles([folder], cells="mean")
    # Its sites have as many cells each, so that the mean of sites is that of cells.
    sets = read_cell_sets(means, sorted((folder / "plates").iterdir()), 99)
    controls = np.isin(means.texts("Metadata_Well"), ["A00", "A01", "A02", "A03"])
    _, aggregation = read_aggregation(model)
    expected = ScoredSets(sets, controls, aggregation.space).aggregate(aggregation)
    assert np.abs(expected - means.features).max() > 0.01
    np.testing.assert_allclose(learned.features, expected, rtol=0, atol=1e-5)
    plain = tmp_path / "plain.parquet"
    assert profile(folder, plain, "--cells", "mean") == 0
    assert main(["nearest", str(plain), "--query", "Treatment == 'T1'", "--library", str(out)]) == 1
    assert "aggregation" in capsys.readouterr().err


def test_with_strength_0_profiles_are_those_of_the_mean_to_the_bit(folder, tmp_path):
    model, out, plain = (tmp_path / name for name in ("a.safetensors", "a.parquet", "b.parquet"))
    assert train(folder, model, "--strength", "0") == 0
    assert profile(folder, out, "--aggregation", str(model)) == 0
    assert profile(folder, plain, "--cells", "mean") == 0
    mine, means = read_profiles(out), read_profiles(plain)
    assert mine.features.tobytes() == means.features.tobytes()
    # Judged as it is used.
    for one in read_aggregation(model)[0].judgements:
        assert one.mean == one.learned


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--cells", "median"], "adds to the mean of the cells; leave out --cells and --sites"),
        (["--sites", "median"], "adds to the mean of the cells; leave out --cells and --sites"),
    ],
)
def test_what_contradicts_it_is_refused(folder, model, tmp_path, capsys, more, words):
    assert profile(folder, tmp_path / "a.parquet", "--aggregation", str(model), *more) == 1
    assert words in capsys.readouterr().err


def test_controls_are_needed(folder, model, tmp_path, capsys):
    words = ["profile", str(folder), "--aggregation", str(model), "--out", str(tmp_path / "a.csv")]
    assert main(words) == 1
    assert "compares cells with the controls of their plate; name them" in capsys.readouterr().err
    assert main(["aggregation", "train", str(folder), "--out", str(tmp_path / "a")]) == 1
    assert "compares cells with the controls of their plate; name them" in capsys.readouterr().err


@pytest.mark.parametrize("more", [["--folds", "1"], ["--cells-per-well", "0"], ["--steps", "0"]])
def test_numbers_that_make_no_sense_are_refused(folder, tmp_path, capsys, more):
    assert train(folder, tmp_path / "a.safetensors", *more) == 1
    assert f"expected {more[0]}" in capsys.readouterr().err or more[0] == "--steps"
    assert list(tmp_path.iterdir()) == []


def test_embeddings_of_another_model_are_refused(folder, model, tmp_path, capsys):
    for path in (folder / "plates").iterdir():
        table = read_profiles(path)
        table.provenance["model_sha256"] = "2"
        write_profiles(table, tmp_path / "plates" / path.name)
    (tmp_path / "platemap.csv").write_text((folder / "platemap.csv").read_text())
    assert profile(tmp_path, tmp_path / "a.parquet", "--aggregation", str(model)) == 1
    said = capsys.readouterr().err
    assert "trained on other embeddings than these; of the two, model_sha256 is 1 and 2" in said


def test_what_cannot_be_held_out_is_said(folder, tmp_path, capsys):
    """Three plates with one replicate each: what is learned from, or asked, would have none."""
    assert train(folder, tmp_path / "a.safetensors", "--where", "Plate != 'P4'") == 0
    card, _ = read_aggregation(tmp_path / "a.safetensors")
    assert card.where == "Plate != 'P4'"
    assert [one.held_out for one in card.judgements] == ["treatments"]
    assert "no plates could be held out: that takes four plates" in capsys.readouterr().out
