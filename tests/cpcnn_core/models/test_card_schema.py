"""Cards from strangers: what each entry may be, and what is shown of texts."""

import json
import math
import subprocess
import sys
import textwrap

import pytest
import timm

from cpcnn_core.errors import CPCNNError, WeightsError
from cpcnn_core.models.card import ModelCard
from cpcnn_core.models.card_schema import LARGEST_PX, MAX_FEATURES, is_timm_name
from cpcnn_core.models.network_builder import empty_network
from cpcnn_core.models.registry import known_cards
from cpcnn_core.models.timm_network import create_backbone
from cpcnn_core.models.weights import read_card, save_model

PLAIN = {"name": "mine", "summary": "Mine.", "channels": ["DNA"], "embed_dim": 96}
# A terminal is cleared and renamed; a title; a text written backwards; an invisible name.
ESCAPES = (
    "\x1b[2J\x1b]0;pwned\x07",
    "\x9b31m",
    "a\u202egnp.exe",
    "x\u200by",
    "\u2066z\u2069",
    "\r\n",
)


def from_json(**entries):
    return ModelCard.from_json(json.dumps(PLAIN | entries))


def of_timm(**options):
    return from_json(
        architecture="timm/test_resnet",
        tap="pooled",
        channel_mode="bag",
        architecture_options=options,
    )


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("name", ""), ("name", 3), ("name", "n" * 1000), ("name", None), ("name", "<b>mine</b>"),
        ("summary", ["x"]), ("summary", "s" * 10_000),
        ("channels", "DNA"), ("channels", {"DNA": 1}), ("channels", [1]), ("channels", [["DNA"]]),
        ("channels", [f"c{n}" for n in range(5000)]), ("channels", ["<img src=x>"]),
        ("embed_dim", 0), ("embed_dim", -1), ("embed_dim", 96.0), ("embed_dim", True),
        ("embed_dim", "96"), ("embed_dim", MAX_FEATURES + 1), ("embed_dim", 10**30),
        ("prefix", ""), ("prefix", "=1+1"), ("prefix", "a b"), ("prefix", "../x"), ("prefix", None),
        ("architecture", 1), ("architecture", "timm/hf-hub:someone/model"),
        ("architecture", "timm/local-dir:/tmp"), ("architecture", "timm/timm/resnet18"),
        ("architecture", "timm/resnet18.../../x"), ("architecture", "timm/https://x.org/y"),
        ("architecture", "timm/resnet18\n"), ("architecture", "timm/"),
        ("architecture_options", []), ("architecture_options", "x"),
        ("crop_px", 0), ("crop_px", LARGEST_PX + 1), ("crop_px", 1e3), ("crop_px", None),
        ("input_px", 0), ("input_px", 10**9), ("input_px", "224"),
        ("um_per_px", 0), ("um_per_px", -1), ("um_per_px", 1e-300), ("um_per_px", math.nan),
        ("um_per_px", math.inf), ("um_per_px", "0.65"), ("um_per_px", True),
        ("input_range", [0]), ("input_range", [1, 0]), ("input_range", [0, math.inf]),
        ("input_range", "01"), ("mean", [math.nan]), ("mean", ["0"]), ("mean", 0.5),
        ("std", [0]), ("std", [-1]), ("std", [1e308]), ("std", [[1]]),
        ("trained", 1), ("trained", "yes"), ("commercial", "no"), ("sha256", 7),
        ("licence", "<a href='x'>y</a>"), ("hub", 5), ("hub_file", ["x"]),
        ("resize", "nearest"), ("unit", "organ"), ("channel_mode", "magic"), ("resize", ["x"]),
        ("provenance", ["x"]), ("provenance", {"x": 1}), ("provenance", {"": "x"}),
        ("provenance", {str(n): "" for n in range(1000)}), ("provenance", {"x": {"y": "z"}}),
    ],
)  # fmt: skip
def test_what_an_entry_cannot_be_is_refused_in_one_line(entry, value):
    with pytest.raises(WeightsError) as caught:
        from_json(**{entry: value})
    error = str(caught.value)
    assert len(error) < 800
    assert error.isprintable()
    assert entry in error or entry == "resize" or repr(value) in error


def test_a_card_that_is_deep_or_long_is_refused():
    for text in ("[" * 100_000, '{"name": ' + "9" * 10_000 + "}", '"' + "x" * 9_000_000 + '"'):
        with pytest.raises(WeightsError):
            ModelCard.from_json(text)


def test_many_channels_of_large_crops_are_too_much_together():
    names = [f"c{number}" for number in range(100)]
    assert from_json(channels=names, crop_px=256).crop_px == 256
    for entries in ({"crop_px": 2048}, {"input_px": 2048}):
        with pytest.raises(WeightsError, match=r"100 channels of 2048 px .* expected at most"):
            from_json(channels=names, **entries)


@pytest.mark.parametrize("text", ESCAPES)
def test_what_terminals_obey_is_shown_as_text(text):
    fields = ("name", "summary", "licence", "licence_url", "source", "citation", "pooling", "tap")
    card = from_json(**dict.fromkeys(fields, f"a{text}b"), provenance={f"k{text}": text})
    card = card.with_channels(card.channels)
    shown = [getattr(card, field) for field in fields]
    shown += [*card.provenance, *card.provenance.values()]
    assert all(value.isprintable() for value in shown)
    assert shown[0] == "a" + text.encode("unicode_escape").decode() + "b" or not text.isascii()
    assert from_json(channels=[f"D{text}NA"]).channels[0].isprintable()
    # Written and read again, it is the same.
    assert ModelCard.from_json(card.to_json()) == card


@pytest.mark.parametrize("text", ["µm, Å, 細胞, תא, é", 'it\'s 50 % \\ "quoted"'])
def test_the_worlds_writing_stays_as_it_is(text):
    assert from_json(summary=text).summary == text


def test_errors_show_no_escapes_either():
    texts = [json.dumps(PLAIN | {ESCAPES[0]: 1}), json.dumps(PLAIN | {"name": [ESCAPES[0]]})]
    texts += [json.dumps(PLAIN | {"channel_mode": ESCAPES[0]}), f'"{ESCAPES[2]}"']
    texts.append(json.dumps(PLAIN | {"architecture_options": {ESCAPES[0]: 1}}))
    texts.append(json.dumps(PLAIN | {"channels": [ESCAPES[0]] * 2}))
    for text in texts:
        with pytest.raises(CPCNNError) as caught:
            ModelCard.from_json(text)
        assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "options",
    [
        {"pretrained": True},
        {"pretrained_cfg": {"url": "http://127.0.0.1/x.pth"}},
        {"pretrained_cfg_overlay": {"file": "/etc/passwd"}},
        {"cache_dir": "/tmp"},
        {"checkpoint_path": "x.pth"},
        {"features_only": True},
        {"in_chans": 3},
        {"num_classes": 10**9},
        {"img_size": 10**6},
        {"embed_dim": 10**6},
        {"scriptable": True},
        {"act_layer": "relu"},
        {"global_pool": "x"},
        {"global_pool": ["avg"]},
        {"zero_init_last": "False"},
        {"reg_tokens": 10**9},
        {"init_values": math.inf},
    ],
)
def test_only_options_on_the_list_pass(options):
    with pytest.raises(WeightsError, match=next(iter(options))):
        of_timm(**options)


def test_options_belong_to_their_architecture():
    assert of_timm(global_pool="avg").architecture_options == {"global_pool": "avg"}
    for architecture in ("efficientnet_b0", "subcell", "open-phenom", "future-net"):
        with pytest.raises(WeightsError, match="has the option global_pool"):
            from_json(architecture=architecture, architecture_options={"global_pool": "avg"})
    with pytest.raises(WeightsError, match="lacks the option passes"):
        from_json(architecture="subcell")
    for changes in ({"width": 10**6}, {"depth": 10**6}, {"heads": 0}, {"width": "384"}):
        with pytest.raises(WeightsError, match=f"the option {next(iter(changes))} is"):
            from_json(architecture="open-phenom", architecture_options=changes)


@pytest.mark.parametrize(
    "card",
    [
        {"architecture": "open-phenom", "architecture_options": {"width": 30, "heads": 7}},
        {"architecture": "open-phenom", "architecture_options": {"width": 30, "heads": 6}},
        {
            "architecture": "subcell",
            "architecture_options": {"passes": [["DNA"]], "width": 30, "heads": 7},
        },
        {"architecture": "timm/test_resnet", "architecture_options": {"reg_tokens": 4}},
    ],
)
def test_options_that_make_no_network_are_an_error_of_ours(card):
    with pytest.raises(WeightsError):
        empty_network(from_json(**card, tap="pooled", crop_px=64))


def test_every_name_of_timms_passes_and_no_address():
    assert all(map(is_timm_name, [*timm.list_models(), *timm.list_models(pretrained=True)]))
    for name in ("hf-hub:timm/resnet18", "local-dir:/tmp", "resnet18.a/../b", "timm/resnet18", ""):
        assert not is_timm_name(name)
        with pytest.raises(WeightsError, match="has no network"):
            create_backbone(name, 3, 0, 64)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")
def test_a_network_takes_memory_only_when_its_weights_are_there():
    """A small file may ask for a network of 4.5 GB: no layer of it is ever made."""
    code = """
        import resource
        from pathlib import Path
        from cpcnn_core.errors import WeightsError
        from cpcnn_core.models.network_builder import build_network
        from cpcnn_core.models.card import ModelCard
        card = ModelCard("big", "", ("DNA",), 1536, architecture="timm/vit_giant_patch14_dinov2",
            tap="pooled", channel_mode="bag", input_px=224)
        import timm
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + 2**30,) * 2)
        try:
            build_network(card, {})
        except WeightsError as error:
            print(error)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "big lacks what pooled needs: expected cls_token of shape" in run.stdout, run.stderr


def test_known_cards_are_as_before():
    for card in known_cards().values():
        assert ModelCard.from_json(card.to_json()) == card


def test_a_file_with_a_bad_card_is_named(tmp_path):
    path = tmp_path / "x.safetensors"
    save_model(path, from_json(), {})
    path.write_bytes(path.read_bytes().replace(b'\\"crop_px\\": 128', b'\\"crop_px\\": 1e9'))
    with pytest.raises(
        WeightsError, match=r"x\.safetensors: the card of mine: crop_px is 1000000000"
    ):
        read_card(path)
