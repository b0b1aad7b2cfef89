"""``cpcnn simulate`` on the command line."""

import dataclasses
import json

import pytest

from cpcnn_core.cli.main import main
from cpcnn_core.simulation.design import ScreenDesign

SMALL = ["--wells", "3", "--treatments", "1", "--size", "64", "--cells", "1", "--plates", "1"]


def simulate(out, *more):
    return main(["simulate", "--out", str(out), *SMALL, *more])


def test_it_makes_a_screen_says_where_and_goes_on_where_it_stopped(tmp_path, capsys):
    assert simulate(tmp_path, "--shard", "1/3") == 0
    said = capsys.readouterr().out
    assert said == "1 fields made, 0 were there\n2 fields of the other shards are still missing\n"
    assert simulate(tmp_path) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "2 fields made, 1 were there"
    assert said[1].startswith(f"wrote {tmp_path / 'load_data.csv'} and ")
    labels = tmp_path / "labels"
    command = f"cpcnn embed --load-data {tmp_path / 'load_data.csv'} --labels {labels}"
    assert said[2] == f"continue with: {command} --out embedded"


def test_every_entry_of_the_design_is_an_option(tmp_path, capsys):
    values = {
        "studies": 2, "plates": 1, "wells": 12, "sites": 2, "treatments": 3, "mechanisms": 2,
        "shared": 1, "doses": 2, "replicates": 1, "seed": 9, "size": 40, "cells": 0.5,
        "pixel_size": 1.2, "effect_strength": 0.5, "batch_strength": 2.0,
        "causes": ["textures", "subpopulations"],
    }  # fmt: skip
    assert list(values) == [field.name for field in dataclasses.fields(ScreenDesign)]
    options = [
        part
        for name, value in values.items()
        for part in (
            f"--{name.replace('_', '-')}",
            *(map(str, value) if isinstance(value, list) else [str(value)]),
        )
    ]
    assert main(["simulate", "--out", str(tmp_path), "--shard", "1/48", *options]) == 0
    stored = json.loads((tmp_path / "design.json").read_text())["design"]
    assert {name: stored[name] for name in values} == values


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--wells", "0"], "wells is 0; expected a whole number from 1"),
        (["--replicates", "5"], "1 treatments x 1 doses x 5 replicates need more than 3 wells"),
        (["--shard", "4/3"], "expected a shard I/N"),
        (["--seed", "2"], "holds another screen: seed is 1 there and 2 here"),
    ],
)
def test_an_error_is_one_clear_line(more, words, tmp_path, capsys):
    assert simulate(tmp_path, "--shard", "1/3") == 0
    capsys.readouterr()
    assert simulate(tmp_path, *more) == 1
    said = capsys.readouterr().err
    assert said.startswith("cpcnn: error: ")
    assert said.count("\n") == 1
    assert words in said


def test_what_is_no_number_is_refused_with_the_usage(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        simulate(tmp_path, "--seed", "x")
    assert end.value.code == 2
    assert "--seed: invalid int value: 'x'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        simulate(tmp_path, "--causes", "size")
    assert "--causes: invalid choice: 'size'" in capsys.readouterr().err
