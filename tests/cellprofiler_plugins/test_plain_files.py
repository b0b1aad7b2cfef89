"""Logic of the CellProfiler module that needs no CellProfiler, in this Python."""

import dataclasses
import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import cpcnn_core.worker.protocol
from cellprofiler_plugins._cpcnn import (
    checks,
    display,
    measure,
    measurement_columns,
    worker_client,
)
from cellprofiler_plugins._cpcnn.measurement_columns import CardFacts, Names, known_card
from cellprofiler_plugins._cpcnn.request import LibraryRequest, MeasurementRequest, SettingError
from cellprofiler_plugins._cpcnn.worker_client import Worker, WorkerChoice
from cellprofiler_plugins._cpcnn.worker_python import WorkerError
from cpcnn_core.errors import CPCNNError
from cpcnn_core.models.card import CHANNEL_MODES, ModelCard
from cpcnn_core.models.registry import find_model, known_cards
from cpcnn_core.models.weights import save_model
from cpcnn_core.schema.columns import feature_names

PLUGIN = Path(worker_client.__file__).parent
PLAIN = ("request", "checks", "measurement_columns", "worker_client", "worker_python", "measure")
CHANNELS = ("DNA", "RNA", "ER", "AGP", "Mito")


def test_they_load_without_cellprofiler_and_torch():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import importlib\n"
        "for name in sys.argv[2:]: importlib.import_module('_cpcnn.' + name)\n"
        "loaded = {name.split('.')[0] for name in sys.modules}\n"
        "print(sorted(loaded & {'cellprofiler_core', 'cellprofiler', 'wx', 'torch', 'cpcnn_core'}))"
    )
    command = [sys.executable, "-c", code, str(PLUGIN.parent), *PLAIN, "display", "help_texts"]
    assert subprocess.check_output(command, text=True) == "[]\n"


def test_both_ends_of_the_pipe_have_the_same_file():
    ours = Path(cpcnn_core.worker.protocol.__file__)
    assert ours.read_bytes() == (PLUGIN / "protocol.py").read_bytes()


# ---- requests ----------------------------------------------------------------------------


def request_of(**changed):
    values = {
        "module_name": "MeasureCellPaintingCNN",
        "module_number": 1,
        "unit": "Objects",
        "objects": "Cells",
        "center_objects": None,
        "mask_neighbors": False,
        "model": "untrained-efficientnet-b0",
        "channels": tuple((name, f"Orig{name}") for name in CHANNELS),
        "um_per_px": "Unknown",
        "prefix": None,
        "worker": WorkerChoice("Automatic", "Automatic"),
        "library": None,
    }
    return MeasurementRequest(**{**values, **changed})


def setting(value, **more):
    return SimpleNamespace(value=value, is_blank=False, **more)


def test_a_request_is_read_from_settings():
    module = SimpleNamespace(
        module_name="MeasureCellPaintingCNN",
        module_num=3,
        unit=setting("Objects"),
        objects=setting("Cells"),
        center_objects=SimpleNamespace(value="The objects themselves", is_blank=True),
        mask_neighbors=setting(True),
        model=setting("Model file"),
        model_directory=setting("", get_absolute_path=lambda: "/models"),
        model_file_name=setting("mine.safetensors"),
        channels=[
            SimpleNamespace(name=setting("DNA"), image=setting("OrigDNA")),
            SimpleNamespace(
                name=setting("ER"), image=SimpleNamespace(value="Leave out", is_blank=True)
            ),
        ],
        um_per_px=setting("0.5"),
        prefix=setting("Automatic"),
        python=setting("Automatic"),
        threads=setting("2"),
        wants_library=setting(False),
    )
    assert MeasurementRequest.from_settings(module) == request_of(
        module_number=3,
        mask_neighbors=True,
        model="/models/mine.safetensors",
        channels=(("DNA", "OrigDNA"), ("ER", None)),
        um_per_px="0.5",
        worker=WorkerChoice("Automatic", "2"),
    )


def test_questions_name_the_channels_where_some_are_left_out():
    request = request_of()
    assert request.model_question() == {"type": "describe", "model": request.model}
    some = request_of(channels=(("DNA", "A"), ("ER", None)), um_per_px=" 0.65 ")
    assert some.model_question()["channels"] == ["DNA"]
    assert "channels" not in some.model_question(whole=True)
    assert some.embed_question("1f") == {
        "type": "embed",
        "model": some.model,
        "sha256": "1f",
        "channels": ["DNA"],
        "um_per_px": 0.65,
    }
    library = LibraryRequest("/l.parquet", "Treatment", 3, "taxol", "Not asked yet")
    asked = some.library_question(library)
    assert (asked["type"], asked["by"], asked["mask_neighbors"]) == ("library", "Treatment", False)
    tiles = dataclasses.replace(some, unit="The whole image, in tiles")
    assert tiles.library_question(library, "compare")["mask_neighbors"] is None


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "half"])
def test_what_is_no_scale_names_its_setting(text):
    with pytest.raises(SettingError, match="positive number such as") as caught:
        request_of(um_per_px=text).scale()
    assert caught.value.setting == "um_per_px"
    # It has measurements of the same names all the same.
    assert len(measurement_columns.columns(request_of(um_per_px=text))) == 672 + 2


# ---- names -------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 6, 999, 1000, 1001, 2560, 10000])
def test_features_have_the_cores_names(count):
    assert Names("DINOv2S", "Cells").features(count) == feature_names(count, "DINOv2S")


def test_networks_without_a_file_are_the_cores():
    untrained = {name: card for name, card in known_cards().items() if not card.trained}
    assert {
        name: CardFacts.from_card(dataclasses.asdict(card)) for name, card in untrained.items()
    } == measurement_columns.UNTRAINED


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


# ---- checks ------------------------------------------------------------------------------


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


# ---- the worker --------------------------------------------------------------------------


@pytest.fixture
def worker():
    started = Worker(sys.executable, 1)
    yield started
    started.close()


def test_the_client_speaks_with_the_cores_worker(worker):
    answer, arrays = worker.ask({"type": "models"})
    assert "untrained-efficientnet-b0" in answer["names"]
    assert arrays == {}
    with pytest.raises(WorkerError, match="there is no model"):
        worker.ask({"type": "describe", "model": "nothing-like-it"})
    assert worker.alive()
    worker.close()
    assert not worker.alive()


def test_another_version_of_the_protocol_is_refused(monkeypatch):
    monkeypatch.setattr(worker_client, "PROTOCOL_VERSION", 99)
    with pytest.raises(WorkerError, match=r"speaks version 99 and cpcnn .* speaks version 3"):
        Worker(sys.executable)


def test_answers_are_remembered_for_a_moment_and_errors_too(monkeypatch):
    asked, now = [], [100.0]

    def ask(choice, header):
        asked.append((choice, header["type"]))
        if header["type"] == "wrong":
            raise WorkerError("no")
        return {"number": len(asked)}, {}

    monkeypatch.setattr(worker_client, "ask", ask)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    worker_client.forget()
    one, other = WorkerChoice("a", "1"), WorkerChoice("b", "1")
    for _ in range(3):
        assert worker_client.ask_remembering(one, {"type": "x"}) == {"number": 1}
        with pytest.raises(WorkerError, match="no"):
            worker_client.ask_remembering(one, {"type": "wrong"})
    assert worker_client.ask_remembering(other, {"type": "x"}) == {"number": 3}
    now[0] += worker_client.REMEMBERED_SECONDS + 1
    assert worker_client.ask_remembering(one, {"type": "x"}) == {"number": 4}
    worker_client.forget()
    assert worker_client.ask_remembering(one, {"type": "x"}) == {"number": 5}
    worker_client.forget()


# ---- where crops are cut -----------------------------------------------------------------


class Labels:
    """What is used of CellProfiler's objects, from planes of labels."""

    def __init__(self, *planes):
        self.planes = [np.asarray(plane) for plane in planes]
        self.count = int(max(plane.max() for plane in self.planes))

    @property
    def ijv(self):
        rows = [(r, c, p[r, c]) for p in self.planes for r, c in np.argwhere(p).tolist()]
        return np.array(rows, int).reshape(-1, 3)

    def get_labels(self):
        return [(plane, np.unique(plane[plane > 0])) for plane in self.planes]


@pytest.fixture(params=range(4))
def scattered(request):
    random = np.random.default_rng(request.param)
    made = [random.integers(0, 7, (12, 15)) * (random.random((12, 15)) < 0.5) for _ in range(2)]
    for labels in made:
        labels[labels == 3] = 0  # numbers have gaps
    return [Labels(labels) for labels in made]


def test_centers_are_means_of_pixels(scattered):
    numbers, centers = measure.centers_of(scattered[0])
    (labels,) = scattered[0].planes
    assert numbers.tolist() == sorted(set(labels[labels > 0].tolist()))
    for number, center in zip(numbers, centers, strict=True):
        np.testing.assert_allclose(center, np.argwhere(labels == number).mean(axis=0))


def test_partners_by_overlap_are_those_of_a_loop(scattered):
    objects, others = scattered
    found = measure.partners_by_overlap(objects, others, objects.count)
    for number in range(1, objects.count + 1):
        inside = others.planes[0][objects.planes[0] == number]
        covered = [(np.sum(inside == other), -other) for other in range(1, others.count + 1)]
        most, other = max(covered)
        assert found[number - 1] == (-other if most else 0)


def test_the_largest_child_is_the_partner(scattered):
    parents = np.array([1, 1, 2, 2, np.nan, 9.0])
    children = scattered[1]
    found = measure.partners_by_child(parents, children, 4)
    areas = [int(np.sum(children.planes[0] == child)) for child in range(1, 7)]
    for number in range(1, 5):
        mine = [(areas[i], -i) for i in range(6) if parents[i] == number and areas[i]]
        assert found[number - 1] == (1 - max(mine)[1] if mine else 0)


def test_partners_without_pixels_are_none(scattered):
    others = scattered[1]
    numbers = np.array([1, 2, 4])
    # Number 3 has no pixels.
    found, centers = measure.centers_of_partners(numbers, np.array([2, 3, 0, 5]), others)
    assert found.tolist() == [True, False, True]
    expected = [np.argwhere(others.planes[0] == number).mean(axis=0) for number in (2, 5)]
    np.testing.assert_allclose(centers, expected)


@pytest.mark.parametrize("shape", [(300, 400), (100, 128), (1080, 1080), (64, 500)])
def test_tiles_are_inside_and_side_by_side(shape):
    centers = measure.tile_centers(shape, 128)
    rows, cols = sorted(set(centers[:, 0])), sorted(set(centers[:, 1]))
    assert len(centers) == len(rows) * len(cols)
    for along, length in ((rows, shape[0]), (cols, shape[1])):
        assert len(along) == max(1, length // 128)
        assert np.all(np.diff(along) == 128)
        assert (along[0] + along[-1]) / 2 == length / 2


def test_crops_that_are_shown_are_zero_beyond_the_border():
    image = np.arange(1.0, 26).reshape(1, 5, 5)
    found = display.crop(image, np.array([0.0, 4.0]), 4)
    assert found[0].tolist() == [[0] * 4, [0] * 4, [3, 4, 5, 0], [8, 9, 10, 0]]


def test_every_room_that_should_be_plain_is_there():
    files = {path.stem for path in PLUGIN.glob("*.py")}
    copies = {"allowed_programs", "channel_names", "protocol"}
    assert files - copies == {"__init__", "settings", "help_texts", "display", *PLAIN}
