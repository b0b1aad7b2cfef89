"""Names of measurements are those of the core, known from cards and files alone."""

import dataclasses
import itertools
import json
import os

import numpy as np
import pytest

from cellprofiler_plugins._cpcnn import measurement_columns
from cellprofiler_plugins._cpcnn.measurement_columns import CardFacts, Names, known_card
from cellprofiler_plugins._cpcnn.request import LibraryRequest
from cpcnn_core.errors import CPCNNError
from cpcnn_core.models.card import CHANNEL_MODES, ModelCard
from cpcnn_core.models.registry import find_model, is_packaged, known_cards
from cpcnn_core.models.weights import save_model
from cpcnn_core.schema.columns import feature_names

from .plain_requests import CHANNELS, request_of


@pytest.mark.parametrize("count", [1, 6, 999, 1000, 1001, 2560, 10000])
def test_features_have_the_cores_names(count):
    assert Names("DINOv2S", "Cells").features(count) == feature_names(count, "DINOv2S")


def test_networks_without_a_file_are_the_cores():
    # Random weights are made, and a package's become a file when they are first used.
    assert {
        name: CardFacts.from_card(dataclasses.asdict(card))
        for name, card in known_cards().items()
        if not card.trained or is_packaged(card)
    } == measurement_columns.WITHOUT_FILE


@pytest.mark.parametrize("mode", CHANNEL_MODES)
def test_channels_that_are_left_out_count_as_in_the_core(mode):
    card = ModelCard("m", "An example.", CHANNELS, 40, channel_mode=mode)
    facts = CardFacts.from_card(dataclasses.asdict(card))
    for count in range(len(CHANNELS) + 1):
        for chosen in itertools.combinations(CHANNELS, count):
            try:
                expected = card.with_channels(chosen).embed_dim
            except CPCNNError:
                expected = 0
            whole = len(chosen) == len(CHANNELS)
            assert facts.feature_count(None if whole else chosen) == expected


def saved(path, **facts):
    card = ModelCard(**{"name": "m", "summary": "An example.", "channels": CHANNELS, **facts})
    return save_model(path, card, {"w": np.ones(3, np.float32)})


@pytest.mark.parametrize("card", known_cards().values(), ids=lambda card: card.name)
def test_every_card_is_read_from_its_file(card, tmp_path):
    save_model(tmp_path / "m.safetensors", card, {"w": np.ones(3, np.float32)})
    found = known_card(str(tmp_path / "m.safetensors"))
    expected = find_model(tmp_path / "m.safetensors")[0]
    assert found == CardFacts(
        expected.prefix, expected.embed_dim, len(expected.channels), expected.channel_mode
    )


def test_a_model_is_found_by_name_as_the_core_finds_it(tmp_path, monkeypatch):
    monkeypatch.setenv("CPCNN_HOME", str(tmp_path))
    assert known_card("morphem") is None
    (tmp_path / "models").mkdir()
    saved(tmp_path / "models" / "morphem.safetensors", embed_dim=7, prefix="Mine")
    assert known_card("morphem") == CardFacts("Mine", 7, 5, "fixed")
    assert find_model("morphem")[0].embed_dim == 7


def test_a_file_that_was_written_again_is_read_again(tmp_path):
    path = tmp_path / "m.safetensors"
    saved(path, embed_dim=7)
    os.utime(path, (1, 1))
    assert known_card(str(path)).embed_dim == 7
    saved(path, embed_dim=8)
    assert known_card(str(path)).embed_dim == 8
    path.unlink()
    assert known_card(str(path)) is None


def with_header(path, header):
    data = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(data).to_bytes(8, "little") + data)


def with_card(path, card):
    text = card if isinstance(card, str) else json.dumps(card)
    with_header(path, {"__metadata__": {"cpcnn_card": text}})


GOOD = {"embed_dim": 6, "channels": ["DNA"], "prefix": "Mine"}


@pytest.mark.parametrize(
    "card",
    [
        "",
        "[" * 100_000,
        [],
        {},
        {**GOOD, "embed_dim": 10**12},
        {**GOOD, "embed_dim": 0},
        {**GOOD, "embed_dim": "6"},
        {**GOOD, "embed_dim": 1e999},
        {**GOOD, "channels": []},
        {**GOOD, "channels": 5},
        {**GOOD, "prefix": "a\x1b[2J"},
        {**GOOD, "prefix": "A" * 41},
        {**GOOD, "prefix": None},
    ],
)
def test_a_card_that_is_none_gives_no_names(card, tmp_path):
    path = tmp_path / "m.safetensors"
    with_card(path, GOOD)
    assert known_card(str(path)) == CardFacts("Mine", 6, 1, "fixed")
    with_card(path, card)
    assert known_card(str(path)) is None
    assert measurement_columns.columns(request_of(model=str(path))) == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"1234",
        (1 << 62).to_bytes(8, "little"),
        b"\xff" * 64,
        (9).to_bytes(8, "little") + b"{}",
    ],
)
def test_a_file_that_is_no_model_gives_no_names(data, tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(data)
    assert known_card(str(path)) is None
    for header in (b"{", b"[]", {}, {"__metadata__": 3}, {"__metadata__": {"cpcnn_card": 3}}):
        with_header(path, header)
        assert known_card(str(path)) is None


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_file_is_not_waited_for(kind, tmp_path):
    path = tmp_path / "m.safetensors"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    assert known_card(str(path)) is None
    for name in ("a\0b", "a\0b.safetensors", "", "/" * 5000, "x" * 5000):
        assert known_card(name) is None


def test_columns_of_a_library():
    library = LibraryRequest("/l.parquet", "Treatment", 2, "taxol", "Controls and p-values")
    found = measurement_columns.columns(request_of(library=library, prefix="Mine"))
    assert [name for whose, name, _ in found if whose == "Cells"][-2:] == [
        "MineLike_Controls",
        "MineLike_Treatment",
    ]
    assert [(name, kind) for whose, name, kind in found if whose == "Image"] == [
        *(
            (f"MineNearest_{what}{rank}_Cells", kind)
            for rank in (1, 2)
            for what, kind in [
                ("Treatment", "varchar(255)"),
                ("Similarity", "float"),
                ("PValue", "float"),
                ("QValue", "float"),
            ]
        ),
        ("MineNearest_LikeControls_Cells", "float"),
    ]
    assert [name for whose, name, _ in found if whose == "Experiment"] == [
        f"Mine_{what}_Cells" for what in ("Model", "Weights", "Library", "PValues")
    ]
