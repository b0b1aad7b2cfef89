"""Every mistake is refused with the setting that has to be changed."""

import dataclasses
import sys

import pytest

from cellprofiler_plugins._cpcnn import checks
from cellprofiler_plugins._cpcnn.request import LibraryRequest, SettingError
from cellprofiler_plugins._cpcnn.worker_client import WorkerChoice
from cpcnn_core.models.registry import known_cards
from cpcnn_core.schema.columns import feature_names

from .plain_requests import CHANNELS, request_of


@pytest.fixture
def told(monkeypatch):
    """Answers of the worker, as the checks get them."""
    card = dataclasses.asdict(known_cards()["untrained-efficientnet-b0"])
    card["channels"] = list(CHANNELS)
    answers = {
        "describe": {"card": card, "to_accept": "", "features": feature_names(672)},
        "library": {"file": "l.parquet", "controls": 4, "has_p_values": True, "p_values": "12"},
    }
    monkeypatch.setenv("CPCNN_PYTHON", sys.executable)
    monkeypatch.setattr(checks, "ask_remembering", lambda _, asked: answers[asked["type"]])
    return answers


def refused(request, *before):
    with pytest.raises(SettingError) as caught:
        checks.check(request, before)
    return caught.value


def test_a_request_without_a_mistake_passes(told):
    assert checks.check(request_of()) is None
    library = LibraryRequest("/l.parquet", "Treatment", 2, None, "Not asked yet")
    assert checks.check(request_of(library=library)) == told["library"]


def test_mistakes_name_their_setting(told):
    assert refused(request_of(worker=WorkerChoice("x", "Automatic"))).setting == "python"
    assert refused(request_of(worker=WorkerChoice("Automatic", "0"))).setting == "threads"
    assert refused(request_of(prefix="9")).setting == "prefix"
    assert refused(request_of(um_per_px="x")).setting == "um_per_px"
    assert refused(request_of(channels=(("DNA", "A"),))).setting == "model"
    left_out = tuple((name, None if name == "ER" else name) for name in CHANNELS)
    error = refused(request_of(channels=left_out))
    assert (error.setting, error.channel) == ("channels", "ER")
    told["describe"]["to_accept"] = "the licence forbids it"
    assert str(refused(request_of())).startswith("The licence forbids it. When that suits")


def test_the_same_names_twice_are_the_second_modules_mistake(told):
    error = refused(request_of(module_number=2), request_of())
    assert "Module 1 writes measurements of Cells called CPCNN" in str(error)
    checks.check(request_of(module_number=2, prefix="Other"), [request_of()])
    checks.check(request_of(module_number=2, objects="Nuclei"), [request_of()])


def test_names_that_were_not_announced_are_refused(told):
    told["describe"]["features"] = feature_names(600)
    assert "600 measurements" in str(refused(request_of()))


def test_one_image_for_two_channels_is_worth_a_warning(told):
    twice = tuple((name, "OrigDNA" if name == "ER" else f"Orig{name}") for name in CHANNELS)
    with pytest.raises(SettingError, match="OrigDNA is chosen for both DNA and ER") as caught:
        checks.check_warnings(request_of(channels=twice))
    assert caught.value.channel == "ER"
    checks.check_warnings(request_of())
