"""A recipe is read strictly, written whole, and is the reference's by default."""

import dataclasses
import itertools
import re

import pytest

from cpcnn_core.errors import TrainingError
from cpcnn_core.training.config import (
    DataConfig,
    OptimizationConfig,
    RunConfig,
    StudyConfig,
    TrainingConfig,
)
from cpcnn_core.training.config_files import (
    checked,
    config_from,
    config_text,
    differences,
    read_config,
    write_config,
)


def test_the_defaults_are_the_references_recipe():
    config = TrainingConfig()
    # Keras's L2 of 1e-5 adds 1e-5 w^2 to the loss, whose derivative is 2e-5 w: see
    # docs/method.md#optimiser.
    expected = {"epochs": 30, "batch": 32, "learning_rate": 0.005, "schedule": "constant"}
    expected |= {"momentum": 0.9, "weight_decay": 2e-5, "label_smoothing": 0.0}
    expected |= {"augmentation": True, "steps": (), "warm_up": 0.1}
    expected |= {"taken_rate": 1.0, "classification": 1.0, "averaging": 0.0}
    assert dataclasses.asdict(config.training) == expected
    assert (config.network.backbone, config.network.initialization) == (
        "efficientnet_b0",
        "random",
    )
    assert (config.recipe, config.contrast.weight, config.sampling.plates) == ("paper", 0, False)
    assert (config.split.kind, config.refinement.enabled) == ("cells", False)
    assert (config.refinement.smoothing, config.refinement.rate) == (0.1, 0.01)


def test_every_entry_is_written_below_what_it_means():
    lines = config_text(TrainingConfig()).splitlines()
    named = [line.split(" = ")[0] for line in lines if " = " in line and line[0] != "#"]
    entries = ["recipe"]
    for section in dataclasses.fields(TrainingConfig)[1:]:
        part = getattr(TrainingConfig(), section.name)
        entries += [field.name for field in dataclasses.fields(part) if field.name != "studies"]
        if section.name == "data":
            entries += [field.name for field in dataclasses.fields(StudyConfig)]
    assert named == entries
    for before, line in itertools.pairwise(lines):
        if re.match(r"\w+ = |\[", line):
            assert before.startswith("# "), line


def test_a_recipe_changes_defaults_and_nothing_that_was_given():
    found = config_from({"recipe": "cpcnn", "training": {"epochs": 3}, "contrast": {"weight": 0}})
    assert (found.training.epochs, found.contrast.weight) == (3, 0)
    assert (found.training.batch, found.network.channels) == (64, "each")
    # Written with every entry it is the same, whatever the defaults of its recipe become.
    assert config_from(dataclasses.asdict(found)) == found
    assert config_from({"recipe": "paper"}) == config_from({}) == TrainingConfig()


def test_what_is_written_is_read(tmp_path):
    studies = (
        StudyConfig('a "quoted" \\ folder', "one", "Plate != 'Ω'", {"DNA": "Hoechst 33342"}),
        StudyConfig("b", channels={"DNA": "DAPI"}),
    )
    config = TrainingConfig(
        data=DataConfig("Metadata_Compound", studies),
        training=OptimizationConfig(schedule="step", steps=((10, 1e-3), (20, 1e-5))),
        run=RunConfig(workers=0, precision="bfloat16"),
    )
    path = tmp_path / "train.toml"
    write_config(path, config)
    assert read_config(path) == config


def test_what_is_not_written_has_its_default(tmp_path):
    path = tmp_path / "train.toml"
    path.write_text("[training]\nlearning_rate = 1\n")
    assert read_config(path).training == OptimizationConfig(learning_rate=1.0)
    assert isinstance(read_config(path).training.learning_rate, float)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"training": {"bacth": 8}}, "no entry training.bacth; did you mean training.batch?"),
        ({"trainign": {}}, "no entry trainign; did you mean training?"),
        ({"run": {"zzz": 1}}, "no entry run.zzz; there are out, name, seed"),
        ({"data": {"studies": [{"crop": "x"}]}}, "data.studies[1].crop; did you mean"),
        ({"training": {"batch": "8"}}, "a whole number for training.batch, got '8'"),
        ({"training": {"batch": True}}, "a whole number for training.batch, got True"),
        ({"training": {"batch": 8.0}}, "a whole number for training.batch, got 8.0"),
        ({"training": {"batch": 0}}, "1 or more for training.batch, got 0"),
        ({"training": {"augmentation": 1}}, "true or false for training.augmentation, got 1"),
        ({"training": {"learning_rate": 0}}, "more than 0 for training.learning_rate, got 0.0"),
        ({"training": {"learning_rate": float("nan")}}, "training.learning_rate, got nan"),
        ({"training": {"momentum": 1}}, "less than 1 for training.momentum, got 1.0"),
        ({"training": {"steps": [[1]]}}, "2 values for training.steps[1], got 1"),
        ({"training": {"steps": 3}}, "a list for training.steps"),
        ({"split": {"kind": "rows"}}, "one of cells, wells, plates, studies, column for split."),
        ({"recipe": "papers"}, "one of paper, cpcnn for recipe, got 'papers'"),
        ({"recipe": ["paper"]}, "expected a text for recipe, got ['paper']"),
        ({"sampling": {"cells_per_class": 2}}, "needs sampling.plates = true, got false"),
        (
            {"sampling": {"plates": True, "cells_per_class": 3}},
            "32 crops (training.batch / run.parts) cannot be made of 3 cells of each class",
        ),
        (
            {"recipe": "cpcnn", "training": {"batch": 24}, "run": {"parts": 4}},
            "6 crops (training.batch / run.parts) cannot be made of 4 cells of each class",
        ),
        ({"contrast": {"weight": 1.0}}, "contrast between wells needs two cells of a class"),
        ({"training": {"classification": 0}}, "nothing is to be learned"),
        (
            {"contrast": {"weight": 1, "positives": "views"}, "training": {"augmentation": False}},
            "contrast of views needs training.augmentation = true",
        ),
        ({"evaluation": {"keep": "best"}}, 'keep = "best" needs validation wells that are not'),
        ({"split": {"held_out_fraction": 0.2}}, "held_out_fraction draws whole wells, plates or"),
        ({"network": {"fixed_statistics": True}}, "there is none to start from; set network.init"),
        ({"evaluation": {"patience": 3}}, 'needs evaluation.keep = "best", got "last"'),
        ({"data": {"studies": [{"channels": ["DNA"]}]}}, "a table for data.studies[1].channels"),
        ({"data": 3}, "expected the table [data], got 3"),
        ({"data": {"studies": []}}, "one [[data.studies]] or more, got none"),
        ({"training": {"batch": 9}, "run": {"parts": 2}}, "cannot be cut into 2 equal parts"),
        (
            {"training": {"label_smoothing": 0.1}, "refinement": {"enabled": True}},
            "set training.label_smoothing = 0",
        ),
    ],
)
def test_what_cannot_be_is_named(table, said):
    with pytest.raises(TrainingError) as error:
        config_from(table)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_entries_set_in_python_are_checked_too():
    with pytest.raises(TrainingError, match=r"1 or more for training\.epochs, got 0"):
        checked(TrainingConfig(training=OptimizationConfig(epochs=0)))


def test_a_file_that_is_no_toml_is_named(tmp_path):
    path = tmp_path / "train.toml"
    path.write_text("[training\n")
    with pytest.raises(TrainingError, match=r"train\.toml cannot be read as TOML"):
        read_config(path)
    path.write_text("[training]\nbacth = 1\n")
    with pytest.raises(TrainingError, match=r"train\.toml: there is no entry training\.bacth"):
        read_config(path)


def test_only_what_changes_the_numbers_counts_as_different():
    one = TrainingConfig()
    study = StudyConfig("elsewhere", where="Plate == 'P1'")
    moved = TrainingConfig(
        data=DataConfig(studies=(dataclasses.replace(study, where=""),)),
        run=RunConfig(out="there", name="mine", workers=7, device="cpu", checkpoint_steps=5),
    )
    assert differences(one, moved) == []
    other = TrainingConfig(data=DataConfig(studies=(study, study)), run=RunConfig(seed=1))
    assert differences(one, other) == [
        "data.studies[1].where is  and Plate == 'P1'",
        "run.seed is 0 and 1",
        "data.studies[2].name is not there and ",
        "data.studies[2].where is not there and Plate == 'P1'",
        "data.studies[2].channels is not there and {}",
    ]
