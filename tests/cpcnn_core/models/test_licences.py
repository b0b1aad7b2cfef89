"""Licences that forbid commercial use: refused until there is a yes, which is asked for once."""

import dataclasses
import json

import pytest

from cpcnn_core.cli.main import main
from cpcnn_core.embedding.embedder import load_model
from cpcnn_core.errors import LicenceError
from cpcnn_core.models.licences import accept_licence, check_licence, licence_file, needs_yes
from cpcnn_core.models.opening import untrained_efficientnet_b0
from cpcnn_core.models.registry import known_cards, model_file
from cpcnn_core.models.weights import save_model


@pytest.fixture
def card():
    made, weights = untrained_efficientnet_b0(("DNA", "Actin"))
    made = dataclasses.replace(
        made,
        name="noble",
        commercial=False,
        licence="CC BY-NC 4.0",
        licence_url="https://cc.org/nc",
    )
    return save_model(model_file("noble"), made, weights)


def test_a_model_is_refused_until_its_licence_is_accepted(card):
    with pytest.raises(LicenceError) as caught:
        load_model("noble")
    assert str(caught.value) == (
        "the licence of noble (CC BY-NC 4.0, https://cc.org/nc) forbids commercial use; when that "
        "suits your work, accept it once: cpcnn models accept noble"
    )
    accept_licence(card)
    assert load_model("noble", device="cpu").card == card


def test_the_yes_is_given_on_the_command_line_and_written_down(card, capsys):
    assert main(["models", "accept", "noble"]) == 0
    assert "accepted the licence of noble (CC BY-NC 4.0)" in capsys.readouterr().out
    written = json.loads(licence_file().read_text())
    assert written["noble"]["licence"] == "CC BY-NC 4.0"
    assert not needs_yes(card)


def test_a_yes_to_one_model_is_none_to_another_or_to_another_licence(card):
    accept_licence(card)
    assert needs_yes(dataclasses.replace(card, name="other"))
    assert needs_yes(dataclasses.replace(card, licence="another"))


def test_earlier_answers_stay(card):
    accept_licence(dataclasses.replace(card, name="other"))
    accept_licence(card)
    assert not needs_yes(card)
    assert not needs_yes(dataclasses.replace(card, name="other"))


@pytest.mark.parametrize("commercial", [True, None])
def test_other_licences_need_no_yes(card, commercial, capsys):
    check_licence(dataclasses.replace(card, commercial=commercial))
    assert main(["models", "accept", "untrained-efficientnet-b0"]) == 0
    assert "needs no yes" in capsys.readouterr().out


def test_a_damaged_record_of_answers_is_named(card):
    licence_file().write_text('{"noble": 3}')
    with pytest.raises(LicenceError, match=r"licences.json is damaged .* accept the licences"):
        check_licence(card)
    accept_licence(card)
    check_licence(card)
    aside = licence_file().with_name("licences.json.damaged")
    assert aside.read_text() == '{"noble": 3}'
    content = licence_file().read_bytes().replace(b"accepted", b"acceptde")
    licence_file().write_bytes(content)
    with pytest.raises(LicenceError, match="its checksum does not match"):
        check_licence(card)


def test_the_shelf_is_refused_before_anything_is_downloaded(capsys):
    closed = [card for card in known_cards().values() if card.commercial is False]
    assert {"openphenom", "unidino", "cellpaintssl-dino"} <= {card.name for card in closed}
    assert main(["models", "fetch", "openphenom"]) == 1
    error = capsys.readouterr().err
    assert "forbids commercial use; when that suits your work, accept it once" in error
    assert len(error.splitlines()) == 1
