"""Expressions that would do harm, through every option, table and recipe that carries one."""

import hashlib
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from cpcnn_core.cli.main import main
from cpcnn_core.io.profile_files import write_profiles
from cpcnn_core.schema.profiles import Profiles
from cpcnn_core.training.config import StudyConfig
from cpcnn_core.training.config_files import write_config

from ...attacks import ATTACKS, is_refusal, refused_in_time
from ..training.conftest import config_of, write_store

WELLS = [f"{row}{column:02d}" for row in "ABC" for column in range(1, 5)]
CONTROLS = "Treatment == 'DMSO'"
OPTIONS = [
    ("profile", "--controls"),
    ("profile", "--where"),
    ("nearest", "--query"),
    ("nearest", "--controls"),
    ("evaluate", "--controls"),
    ("evaluate", "--query"),
    ("compare", "--controls"),
    ("compare", "--where"),
    ("compare", "--query"),
]


@pytest.fixture(scope="module")
def wells():
    random = np.random.default_rng(0)
    rows = pd.DataFrame({"Metadata_Plate": "P1", "Metadata_Well": WELLS})
    rows["Metadata_Treatment"] = np.repeat(["DMSO", "taxol", "ATP"], 4)
    names = [f"Cells_CPCNN_{n:03d}" for n in range(6)]
    return Profiles(random.normal(size=(12, 6)).astype(np.float32), rows, names)


@pytest.fixture
def place(tmp_path, wells, monkeypatch):
    """A folder with a table of wells and a screen; nothing is to be added to it."""
    folder = tmp_path / "place"
    folder.mkdir()
    write_profiles(wells, folder / "wells.parquet")
    rows = pd.DataFrame({"Metadata_Plate": "P1", "Metadata_Well": WELLS, "Metadata_Site": "1"})
    for channel in ("DNA", "RNA", "ER", "AGP", "Mito"):
        rows[f"FileName_{channel}"], rows[f"PathName_{channel}"] = "none.tif", str(folder)
    rows.to_csv(folder / "load_data.csv", index=False)
    wells.metadata.to_csv(folder / "platemap.csv", index=False)
    (folder / "labels").mkdir()
    monkeypatch.chdir(folder)
    return folder


def command_of(verb):
    given = {
        "profile": ["wells.parquet", "--out", "out.parquet"],
        "nearest": ["wells.parquet", "--query", CONTROLS, "--out", "out.csv"],
        "evaluate": ["wells.parquet", "--out", "out"],
        "compare": [
            *("untrained-efficientnet-b0", "--load-data", "load_data.csv", "--labels", "labels"),
            *("--platemap", "platemap.csv", "--controls", CONTROLS, "--out", "out"),
        ],
    }
    return [verb, *given[verb]]


def everything(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}


def refused(place, command, capsys):
    """Run a command that is refused in a sentence, and writes nothing."""
    before = everything(place)
    capsys.readouterr()
    with refused_in_time(place / "made"):
        assert main(command) == 1
    said = capsys.readouterr()
    assert said.out == ""
    errors = [line for line in said.err.splitlines() if line.startswith("cpcnn: error: ")]
    assert len(errors) == 1
    assert is_refusal(errors[0]), errors
    assert everything(place) == before


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize(("verb", "option"), OPTIONS)
def test_options(place, capsys, verb, option, name):
    attack = ATTACKS[name].replace("{file}", str(place / "made"))
    refused(place, [*command_of(verb), option, attack], capsys)


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("verb", ["nearest", "evaluate"])
def test_tables_that_name_their_own_controls(place, wells, capsys, verb, name):
    attack = ATTACKS[name].replace("{file}", str(place / "made"))
    hostile = Profiles(wells.features, wells.metadata, wells.feature_names, {"controls": attack})
    write_profiles(hostile, place / "hostile.parquet")
    command = command_of(verb)
    refused(place, [verb, "hostile.parquet", *command[2:]], capsys)
    if verb == "nearest":
        refused(place, [*command, "--library", "hostile.parquet"], capsys)


@pytest.mark.parametrize("name", ["pandas", "hang"])
def test_the_program_itself_ends_and_says_it_in_a_line(place, wells, name):
    attack = ATTACKS[name].replace("{file}", str(place / "made"))
    hostile = Profiles(wells.features, wells.metadata, wells.feature_names, {"controls": attack})
    write_profiles(hostile, place / "wells.parquet")
    command = [sys.executable, "-m", "cpcnn_core.cli", *command_of("nearest")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("cpcnn: error: ")
    assert is_refusal(done.stderr)
    assert not (place / "made").exists()
    assert not (place / "out.csv").exists()


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("crops") / "screen")


def recipe(crops, folder, entry, expression):
    changes = {
        "controls": {"evaluation": {"controls": expression}},
        "where": {"data": {"studies": (StudyConfig(str(crops), where=expression),)}},
        "held_out": {"split": {"held_out": expression}},
    }
    write_config(folder / "train.toml", config_of(crops, folder, **changes[entry]))
    return ["train", str(folder / "train.toml")]


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("entry", ["controls", "where", "held_out"])
def test_recipes_of_trainings(place, crops, capsys, entry, name):
    attack = ATTACKS[name].replace("{file}", str(place / "made"))
    refused(place, recipe(crops, place, entry, attack), capsys)


@pytest.mark.parametrize("name", ["pandas", "hang"])
def test_checkpoints_that_carry_them(place, crops, capsys, name):
    """The recipe that a checkpoint carries is compared with that of the user, and never used."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        write_config(place / "train.toml", config_of(crops, place, training={"epochs": 1}))
        assert main(["train", str(place / "train.toml")]) == 0
        (path,) = (place / "out" / "checkpoints").glob("*.safetensors")
        with safe_open(str(path), framework="pt") as file:
            ((entry, text),) = file.metadata().items()
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        content = json.loads(text)
        attack = ATTACKS[name].replace("{file}", str(place / "made"))
        content["facts"]["config"]["evaluation"]["controls"] = attack
        # An attacker who makes such a checkpoint makes its checksum, too.
        facts = json.dumps(content["facts"], sort_keys=True).encode()
        content["facts_sha256"] = hashlib.sha256(facts).hexdigest()
        save_file(tensors, path, {entry: json.dumps(content)})
        before = everything(place)
        capsys.readouterr()
        with refused_in_time(place / "made"):
            assert main(["train", str(place / "train.toml")]) == 1
        said = capsys.readouterr().err
        assert "holds another training: evaluation.controls is" in said
        assert everything(place) == before
    finally:
        torch.set_num_threads(threads)
