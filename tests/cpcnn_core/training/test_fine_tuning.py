"""Fine-tuning: what is held out, what is searched, and what the report says of it."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from cpcnn_core.cli.main import main
from cpcnn_core.errors import TrainingError
from cpcnn_core.evaluation.replicates import find_replicates
from cpcnn_core.models.card import ModelCard
from cpcnn_core.models.network_builder import random_weights
from cpcnn_core.models.weights import read_model, save_model
from cpcnn_core.schema.profiles import Profiles
from cpcnn_core.training.batches import CropReader
from cpcnn_core.training.cells import gather_cells
from cpcnn_core.training.config import EvaluationConfig
from cpcnn_core.training.fine_tuning import BOTH, compare_with_start, fine_tuning_config
from cpcnn_core.training.fit import train_model
from cpcnn_core.training.processes import start_accelerator
from cpcnn_core.training.starting_weights import make_network
from cpcnn_core.training.treatment_search import (
    MAX_CELLS,
    _search,
    choose_cells,
    search_treatments,
)

from .conftest import CHANNELS

CONTROLS = "Treatment == 'DMSO'"


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    card = ModelCard(
        "gray",
        "An example.",
        CHANNELS,
        288,
        architecture="timm/test_resnet",
        tap="pooled",
        channel_mode="rgb",
        crop_px=32,
        input_px=32,
    )
    path = tmp_path_factory.mktemp("start") / "gray.safetensors"
    save_model(path, card, random_weights(card, 3))
    return str(path)


@pytest.fixture(scope="module")
def plates(tmp_path_factory):
    """Five plates, of which four wells each are controls."""
    from .conftest import write_store

    treatments = {"A": "DMSO", "D": "DMSO", "B": "rings", "C": "stripes"}
    folder = tmp_path_factory.mktemp("stores") / "plates"
    return write_store(folder, plates=("P1", "P2", "P3", "P4", "P5"), treatments=treatments)


def further(start, crops, out, **entries):
    small = {"training": {"epochs": 2, "batch": 8}, "run": {"device": "cpu", "workers": 0}}
    small["network"] = {"input_px": 32}
    for name, values in entries.items():
        small[name] = small.get(name, {}) | values
    config = fine_tuning_config(start, [str(crops)], controls=CONTROLS, out=str(out))
    for name, values in small.items():
        section = dataclasses.replace(getattr(config, name), **values)
        config = dataclasses.replace(config, **{name: section})
    return config


def test_plates_are_held_out_where_every_treatment_is_on_enough(start, plates, tmp_path):
    config = fine_tuning_config(start, [str(plates)])
    assert config.split.kind == "plates"
    assert (config.network.backbone, config.network.channels) == ("test_resnet", "each")
    cells = gather_cells(config)
    sides = (cells.training, cells.validation, cells.held_out)
    names = [set(cells.store.column("Metadata_Plate")[rows]) for rows in sides]
    assert [len(one) for one in names] == [3, 1, 1]
    assert set.union(*names) == {"P1", "P2", "P3", "P4", "P5"}
    assert cells.split["held_out_cells"] == len(cells.held_out) == 48


def test_wells_are_held_out_where_plates_are_few(start, store):
    config = fine_tuning_config(start, [str(store)])
    assert config.split.kind == "wells"
    cells = gather_cells(config)
    index = cells.store.index
    wells = index["Metadata_Plate"] + "/" + index["Metadata_Well"]
    found = [set(wells.iloc[rows]) for rows in (cells.training, cells.validation, cells.held_out)]
    assert not found[0] & found[1]
    assert not found[0] & found[2]
    assert not found[1] & found[2]
    # Of four wells of every treatment one is held out, and of the other three one validates.
    assert [len(one) for one in found] == [6, 3, 3]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"input_px": 64, "channel_mode": "fixed"}, "gray cannot be trained further: expected a"),
        ({"standardizer": "per-channel", "channel_mode": "any"}, "with the standardizer per-"),
    ],
)
def test_a_model_that_training_cannot_feed_is_refused(plates, tmp_path, changes, said):
    card = ModelCard(
        **(
            {
                "name": "gray",
                "summary": "",
                "channels": CHANNELS,
                "embed_dim": 96,
                "architecture": "timm/test_resnet",
                "tap": "pooled",
                "crop_px": 32,
            }
            | changes
        )
    )
    save_model(tmp_path / "gray.safetensors", card, random_weights(card, 0))
    with pytest.raises(TrainingError, match=said):
        fine_tuning_config(str(tmp_path / "gray.safetensors"), [str(plates)])


def search(config, cells, queries):
    network, _ = make_network(config.network, CHANNELS, 32, cells.classes, 0)
    accelerator = start_accelerator(config.run)
    reader = CropReader(cells.store)
    return network, search_treatments(
        network, accelerator, reader, cells, queries, config.evaluation
    )


def test_the_search_is_a_slow_loop_over_wells(start, plates, tmp_path):
    config = further(start, plates, tmp_path)
    cells = gather_cells(config)
    network, found = search(config, cells, cells.held_out)
    network.eval()
    index = cells.store.index
    rows = np.concatenate([cells.held_out, cells.training])
    profiles, names, places, is_query = [], [], [], []
    table = index.iloc[rows].assign(row=rows)
    held_out = set(cells.held_out.tolist())
    for (plate, _, treatment), own in table.groupby(
        ["Metadata_Plate", "Metadata_Well", "Metadata_Treatment"]
    ):
        crops = torch.from_numpy(cells.store.read(own["row"].to_numpy())).float() / 255
        with torch.no_grad():
            profiles.append(np.median(network.embed(crops)[0].numpy(), axis=0))
        names.append(treatment)
        places.append(plate)
        is_query.append(own["row"].iloc[0] in held_out)
    profiles, names, places = np.stack(profiles), np.array(names), np.array(places)
    expected = []
    for i in np.flatnonzero(is_query):
        if names[i] == "DMSO":
            continue
        similarity = {}
        for name in set(names) - {"DMSO"}:
            own = [
                profiles[j]
                for j in range(len(names))
                if names[j] == name and places[j] != places[i] and not is_query[j]
            ]
            mean = np.mean(own, axis=0)
            lengths = np.linalg.norm(mean) * np.linalg.norm(profiles[i])
            similarity[name] = mean @ profiles[i] / lengths
        ordered = sorted(similarity, key=similarity.get, reverse=True)
        expected.append(1 / (1 + ordered.index(names[i])))
    assert len(found.treatments) == len(expected) == 4
    assert sorted(found.found["not corrected"]) == pytest.approx(sorted(expected))
    assert found.chance == pytest.approx([(1 + 1 / 2) / 2] * 4)
    assert list(found.found) == ["not corrected", "sphered"]
    assert found.mean == pytest.approx(
        (found.found["not corrected"] + found.found["sphered"]) / 2, abs=1e-12
    )


def test_by_chance_a_network_that_knows_its_wells_gains_nothing():
    """Wells that were learned from lie together by treatment; the others know nothing."""
    random = np.random.default_rng(0)
    gains, of_wells = [], []
    for _ in range(300):
        rows = [
            (f"P{plate}", f"{number}", "1", "1", f"t{number}", "yes" if plate == 2 else "no")
            for plate in range(3)
            for number in range(6)
        ]
        columns = ("Plate", "Well", "Site", "ObjectNumber", "Treatment", "IsQuery")
        metadata = pd.DataFrame(rows, columns=[f"Metadata_{name}" for name in columns])
        centers = random.normal(size=(6, 8))
        features = random.normal(size=(len(rows), 8))
        learned = metadata["Metadata_IsQuery"].to_numpy() == "no"
        treatment = metadata["Metadata_Treatment"].str[1:].astype(int).to_numpy()
        features[learned] = 5 * centers[treatment[learned]]
        cells = Profiles(features, metadata, [f"Cells_{n}" for n in range(8)])
        found = _search(cells, "Metadata_Treatment", EvaluationConfig())
        gains.append(found.mean.mean() - found.chance.mean())
        replicates = find_replicates(cells, "Metadata_Treatment")
        of_wells.append((replicates.precision - replicates.chance)[~learned].mean())
    error = np.std(gains) / np.sqrt(len(gains))
    assert abs(np.mean(gains)) < 3 * error
    assert error < 0.01
    # Which average precision over wells would not tell.
    assert np.mean(of_wells) > 5 * np.std(of_wells) / np.sqrt(len(of_wells))


def test_shuffled_treatments_change_places_between_wells_of_a_plate(plates, make_config):
    config = make_config(plates, data={"shuffled": True})
    before = gather_cells(make_config(plates)).store.index
    after = gather_cells(config).store.index
    keys = ["Metadata_Plate", "Metadata_Well"]
    both = before[keys].assign(
        before=before["Metadata_Treatment"], after=after["Metadata_Treatment"]
    )
    wells = both.drop_duplicates()
    assert len(wells) == len(before[keys].drop_duplicates())
    for _, own in wells.groupby("Metadata_Plate"):
        assert sorted(own["before"]) == sorted(own["after"])
    controls = wells[wells["before"] == "DMSO"]
    assert (controls["after"] == "DMSO").all()
    assert (wells["before"] != wells["after"]).any()


def test_of_large_wells_the_first_cells_are_taken(make_store, make_config):
    crops = make_store(cells=MAX_CELLS + 7, plates=("P1", "P2", "P3"), columns=1)
    config = make_config(crops, split={"kind": "plates", "values": ("P2",)})
    cells = gather_cells(config)
    rows, is_query = choose_cells(cells, cells.validation)
    index = cells.store.index.iloc[rows]
    counts = index.groupby(["Metadata_Plate", "Metadata_Well"]).size()
    assert (counts == MAX_CELLS).all()
    assert len(counts) == 9
    assert (index["Metadata_ObjectNumber"] <= MAX_CELLS).all()
    assert np.array_equal(is_query, index["Metadata_Plate"].to_numpy() == "P2")


def test_the_report_tells_frozen_from_trained(start, plates, tmp_path):
    config = further(start, plates, tmp_path / "out")
    path = train_model(config)
    report = compare_with_start(config, path)
    cells = gather_cells(config)
    _, frozen = search(config, cells, cells.held_out)
    assert report.frozen[BOTH]["mean"] == pytest.approx(frozen.mean.mean(), abs=1e-6)
    assert (report.wells, report.treatments) == (4, 2)
    for correction, one in report.difference.items():
        expected = report.trained[correction]["mean"] - report.frozen[correction]["mean"]
        assert one["mean"] == pytest.approx(expected, abs=1e-9)
    kept = json.loads(Path(config.run.out, "fine_tuning.json").read_text())
    assert kept["verdict"] == report.verdict
    assert kept["frozen"] == report.frozen
    epoch = json.loads(read_model(path)[0].provenance["evaluation"])["epoch"]
    assert report.epoch == epoch


def test_what_learned_nothing_is_not_worth_it(start, plates, tmp_path):
    config = further(start, plates, tmp_path / "out", training={"learning_rate": 1e-12})
    report = compare_with_start(config, train_model(config))
    # The start is the first of equals, or nothing but rounding is better.
    assert abs(report.difference[BOTH]["mean"]) < 1e-3 or report.epoch == 0
    assert not report.verdict.startswith("worth it")
    assert "not corrected: gray " in "\n".join(report.lines)


@pytest.mark.parametrize(
    ("epoch", "low", "high", "said"),
    [
        (3, 0.01, 0.2, "worth it: wells find"),
        (3, -0.2, -0.01, "not worth it"),
        (3, -0.01, 0.2, "not shown to be worth it, the interval includes 0"),
        (3, 0.0, 0.2, "not shown"),
        (3, None, None, "not shown"),
        (0, 0.01, 0.2, "no epoch was better"),
    ],
)
def test_the_verdict_says_no_more_than_the_interval(epoch, low, high, said):
    from cpcnn_core.training.fine_tuning import FineTuningReport

    same = {BOTH: {"mean": 0.1, "low": low, "high": high}}
    report = FineTuningReport("m", 9, 3, 0.2, same, same, same, epoch)
    assert report.verdict.startswith(said)


def test_a_model_that_learned_nothing_says_so(plates, tmp_path):
    start = "untrained-efficientnet-b0"
    still = {"epochs": 1, "learning_rate": 1e-12}
    config = further(start, plates, tmp_path, training=still, network={"input_px": 0})
    card, _ = read_model(train_model(config))
    assert json.loads(card.provenance["evaluation"])["epoch"] == 0
    assert card.summary.startswith("The weights that cpcnn train started from (the model untrained")
    assert not card.trained


def test_one_command_trains_further_and_tells(start, plates, tmp_path, capsys):
    words = ["train", "--from", start, "--crops", str(plates), "--controls", CONTROLS]
    words += ["--out", str(tmp_path / "out"), "--epochs", "1", "--device", "cpu", "--placebo"]
    assert main(words) == 0
    said = capsys.readouterr()
    assert "recipe cpcnn: test_resnet from" in said.err
    assert "before training; validation" in said.err
    lines = said.out.splitlines()
    assert lines[0].startswith("4 held-out wells of 2 treatments search their treatment, mean")
    assert lines[1].startswith("  not corrected: ")
    assert "difference of the placebo" in lines[1]
    assert any(line.startswith("wrote ") for line in lines)
    kept = json.loads((tmp_path / "out" / "fine_tuning.json").read_text())
    placebo = json.loads((tmp_path / "out" / "placebo" / "fine_tuning.json").read_text())
    assert kept["placebo"] == placebo["difference"]


def test_crops_are_asked_for(start, capsys):
    assert main(["train", "--from", start]) == 1
    assert "name a folder with --crops" in capsys.readouterr().err
