"""The worker as CellProfiler meets it: a process of its own, spoken to over its pipe."""

import contextlib
import dataclasses
import json
import os
import platform
import signal
import struct
import subprocess
import sys
import threading

import numpy as np
import pytest

import cpcnn_core
from cpcnn_core.embedding.cells import embed_cells
from cpcnn_core.embedding.embedder import load_model
from cpcnn_core.errors import ScaleWarning
from cpcnn_core.models.opening import untrained_efficientnet_b0
from cpcnn_core.models.registry import known_cards, list_models
from cpcnn_core.models.weights import save_model
from cpcnn_core.worker.protocol import read_message, write_message

UNTRAINED = "untrained-efficientnet-b0"
CHANNELS = ["DNA", "RNA", "ER", "AGP", "Mito"]
PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def launch(tmp_path_factory):
    """Start workers, as many as are asked for, and end them all."""
    started = []

    def start(**environ):
        folder = tmp_path_factory.mktemp("worker")
        errors = (folder / "stderr.txt").open("w+b")
        process = subprocess.Popen(
            [sys.executable, "-m", "cpcnn_core.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "CPCNN_HOME": str(folder), **environ},
        )
        started.append((process, errors))
        hello = receive(process)[0]
        return process, hello, folder / "stderr.txt"

    yield start
    for process, errors in started:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, errors):
            with contextlib.suppress(BrokenPipeError):
                stream.close()


@pytest.fixture(scope="module")
def worker(launch):
    """One worker that has its network in memory for all requests of this module."""
    return launch()[0]


@pytest.fixture(scope="module")
def cells():
    """An image, centres within it, and labels."""
    rng = np.random.default_rng(0)
    labels = np.kron(np.arange(36).reshape(6, 6), np.ones((40, 40), int))
    return rng.random((5, 240, 240), np.float32), rng.uniform(20, 220, (5, 2)), labels


def receive(process):
    """Read one message; a worker that says nothing is ended, and the read with it."""
    watch = threading.Timer(PATIENCE_SECONDS, process.kill)
    watch.start()
    try:
        message = read_message(process.stdout)
    finally:
        watch.cancel()
    assert message is not None, "the worker ended without an answer"
    return message


def ask(process, header, arrays=None):
    """Send a request; return the answer and the progress reported before it."""
    write_message(process.stdin, header, arrays)
    told = []
    while (message := receive(process))[0]["type"] == "progress":
        told.append((message[0]["done"], message[0]["total"]))
    return *message, told


def embed(process, image, centers, model=UNTRAINED, channels=CHANNELS, **more):
    arrays = {key: more.pop(key) for key in ("labels", "label_ids") if key in more}
    header = {"type": "embed", "model": str(model), "channels": channels, **more}
    return ask(process, header, {"image": image, "centers": np.asarray(centers), **arrays})


def assert_error(answer, kind, words):
    assert answer["type"] == "error"
    assert answer["kind"] == kind
    assert words in answer["message"]


def assert_alive(process):
    assert ask(process, {"type": "models"})[0]["type"] == "models"


def test_hello_names_protocol_and_versions(launch):
    assert launch()[1] == {
        "type": "hello",
        "protocol": 3,
        "cpcnn": cpcnn_core.__version__,
        "python": platform.python_version(),
    }


def test_models_lists_the_names(worker):
    answer, arrays, _ = ask(worker, {"type": "models"})
    assert answer == {"type": "models", "names": list_models()}
    assert answer["names"][:3] == [
        "cell-painting-cnn-v1",
        "imagenet-efficientnet-lite0",
        UNTRAINED,
    ]
    assert arrays == {}


def test_describe_gives_card_and_feature_names(worker, model_file):
    answer, _, _ = ask(worker, {"type": "describe", "model": str(model_file)})
    card = load_model(model_file, "cpu").card
    assert answer["card"] == json.loads(json.dumps(dataclasses.asdict(card)))
    assert answer["file"] == str(model_file)
    assert answer["features"] == [f"CPCNN_{i:03d}" for i in range(672)]


def test_describe_of_a_model_that_is_made_has_no_file(worker):
    answer, _, _ = ask(worker, {"type": "describe", "model": UNTRAINED})
    assert answer["card"]["name"] == known_cards()[UNTRAINED].name
    assert answer["file"] is None


def test_embedding_equals_that_of_this_process(worker, cells):
    image, centers, _ = cells
    answer, arrays, told = embed(worker, image, centers)
    assert answer == {"type": "features", "warnings": []}
    assert arrays["features"].dtype == np.float32
    expected = embed_cells(load_model(UNTRAINED), image, centers)
    np.testing.assert_allclose(arrays["features"], expected, rtol=0, atol=1e-5)
    assert told[-1] == (5, 5)


def test_a_model_file_is_served_by_its_path(worker, model_file, parity):
    image = np.concatenate([*parity["crops"][:2]], axis=2)
    centers = [[64.0, 64.0], [64.0, 190.0], [70.5, 128.25]]
    features = embed(worker, image, centers, model_file)[1]["features"]
    expected = embed_cells(load_model(model_file), image, np.array(centers))
    assert np.abs(expected).max() > 0.5
    np.testing.assert_allclose(features, expected, rtol=0, atol=1e-5)


def test_masked_embedding_equals_that_of_this_process(worker, cells):
    image, centers, labels = cells
    # The ids asked for are those of neighbours, which cannot be guessed.
    ids = labels[tuple(centers.astype(int).T)] + 1
    features = embed(worker, image, centers, labels=labels, label_ids=ids)[1]["features"]
    model = load_model(UNTRAINED)
    expected = embed_cells(model, image, centers, labels=labels, label_ids=ids)
    np.testing.assert_allclose(features, expected, rtol=0, atol=1e-5)
    guessed = embed_cells(model, image, centers, labels=labels)
    assert np.abs(features - guessed).max(axis=1).min() > 0.01


def test_channels_go_by_their_names(worker, cells):
    image, centers, _ = cells
    expected = embed(worker, image, centers)[1]["features"]
    features = embed(worker, image[::-1], centers, channels=CHANNELS[::-1])[1]["features"]
    np.testing.assert_allclose(features, expected, rtol=0, atol=1e-5)


def test_progress_comes_batch_by_batch(worker, cells):
    centers = np.resize(cells[1], (70, 2))
    _, arrays, told = embed(worker, cells[0], centers)
    size = load_model(UNTRAINED, device="cpu").batch_size
    assert size < 70
    assert told == [(min(done, 70), 70) for done in range(size, 70 + size, size)]
    assert arrays["features"].shape == (70, 672)


def test_no_cells_give_no_features(worker, cells):
    answer, arrays, told = embed(worker, cells[0], np.zeros((0, 2)))
    assert (answer["type"], arrays["features"].shape, told) == ("features", (0, 672), [])


def test_warnings_are_handed_over(worker, cells):
    answer, arrays, _ = embed(worker, cells[0], [[100.0, 100.0], [9000.0, 0.0]])
    assert len(answer["warnings"]) == 1
    assert "1 of 2 boxes lie completely outside" in answer["warnings"][0]
    assert arrays["features"].shape == (2, 672)


@pytest.mark.parametrize(
    ("header", "kind", "words"),
    [
        ({"type": "paint"}, "ProtocolError", "run cpcnn cellprofiler install again"),
        (
            {},
            "ProtocolError",
            "expected one of models, describe, accept, embed, library, compare, got None",
        ),
        ({"type": "describe", "model": "nothing"}, "ModelNotFoundError", "no model 'nothing'"),
        ({"type": "describe", "model": "cell-painting-cnn-v1"}, "ModelNotFoundError", "fetch"),
        ({"type": "describe", "model": "/no/m.safetensors"}, "ModelNotFoundError", "no model file"),
        ({"type": "describe"}, "KeyError", "model"),
        ({"type": "embed", "model": UNTRAINED, "channels": CHANNELS}, "KeyError", "image"),
    ],
)
def test_a_request_that_fails_is_answered_and_the_worker_lives_on(worker, header, kind, words):
    assert_error(ask(worker, header)[0], kind, words)
    assert_alive(worker)


def test_an_image_that_is_none_is_answered_with_its_error(worker, cells):
    image, centers, labels = cells
    broken = np.where(labels == 7, np.nan, image)
    assert_error(embed(worker, broken, centers)[0], "ImageError", "got 8000 that are NaN")
    assert_error(embed(worker, image[0], centers)[0], "ChannelError", "shape (240, 240)")
    assert_error(
        embed(worker, image, centers, labels=labels[:9], label_ids=np.ones(5, int))[0],
        "ImageError",
        "labels of the image's size (240, 240), got (9, 240)",
    )
    assert_alive(worker)


def test_a_missing_channel_is_answered_with_its_error(worker, cells):
    channels = ["DNA", "Actin", "ER", "AGP", "Mito"]
    answer = embed(worker, *cells[:2], channels=channels)[0]
    assert_error(answer, "ChannelError", "lacks RNA")
    assert_alive(worker)


def test_a_damaged_model_file_is_answered_with_its_error(worker, cells, tmp_path, model_file):
    damaged = tmp_path / "damaged.safetensors"
    data = bytearray(model_file.read_bytes())
    data[-5] ^= 255
    damaged.write_bytes(data)
    assert_error(embed(worker, *cells[:2], damaged)[0], "WeightsError", "has been altered")
    assert_alive(worker)


def test_a_model_that_changes_on_disk_is_noticed(worker, cells, tmp_path):
    path = tmp_path / "mine.safetensors"
    written, expected = [], []
    for seed in (1, 2):
        card, weights = untrained_efficientnet_b0(seed=seed)
        written.append(save_model(path, card, weights).sha256)
        features = embed(worker, *cells[:2], path)[1]["features"]
        expected.append(embed_cells(load_model(path), *cells[:2]))
        np.testing.assert_allclose(features, expected[-1], rtol=0, atol=1e-5)
    assert np.abs(expected[0] - expected[1]).max() > 0.01
    same = embed(worker, *cells[:2], path, sha256=written[1])[1]["features"]
    np.testing.assert_allclose(same, expected[1], rtol=0, atol=1e-5)
    answer = embed(worker, *cells[:2], path, sha256=written[0])[0]
    assert_error(answer, "WeightsError", f"expected weights of sha256 {written[0]}")
    assert written[1] in answer["message"]
    assert_alive(worker)


def test_what_libraries_print_does_not_reach_the_pipe(launch, tmp_path, cells):
    # A timm that chatters in every way there is, then makes room for the real one.
    (tmp_path / "timm.py").write_text(
        "import os, subprocess, sys\n"
        "print('printed')\n"
        "sys.__stdout__.write('written to the first stdout\\n')\n"
        "os.write(1, b'written to descriptor 1\\n')\n"
        "subprocess.run([sys.executable, '-c', 'print(\"said by a child\")'])\n"
        "assert sys.stdin.read() == '', 'the requests can be read by anybody'\n"
        f"sys.path.remove({str(tmp_path)!r})\n"
        "del sys.modules['timm']\n"
        "import timm\n"
    )
    process, _, stderr = launch(PYTHONPATH=str(tmp_path))
    answer, arrays, _ = embed(process, *cells[:2])
    assert answer["type"] == "features"
    assert np.isfinite(arrays["features"]).all()
    process.stdin.close()
    assert process.wait(PATIENCE_SECONDS) == 0
    assert process.stdout.read() == b""
    said = stderr.read_text()
    for words in ("printed", "written to the first", "to descriptor 1", "said by a child"):
        assert words in said


def test_an_error_that_is_not_ours_leaves_its_traceback_on_stderr(launch):
    process, _, stderr = launch()
    assert_error(ask(process, {"type": "describe"})[0], "KeyError", "KeyError: 'model'")
    assert "Traceback (most recent call last)" in stderr.read_text()
    assert_error(ask(process, {"type": "paint"})[0], "ProtocolError", "paint")
    assert stderr.read_text().count("Traceback (most recent call last)") == 1


def test_the_end_of_stdin_ends_it(launch):
    process, _, stderr = launch()
    assert_alive(process)
    process.stdin.close()
    assert process.wait(PATIENCE_SECONDS) == 0
    assert process.stdout.read() == b""
    assert stderr.read_text() == ""


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n\r\n", b"\0" * 64, struct.pack("<I", 30) + b"x" * 40]
)
def test_garbage_on_stdin_ends_it_with_a_message(launch, data):
    process, _, stderr = launch()
    process.stdin.write(data)
    process.stdin.flush()
    assert process.wait(PATIENCE_SECONDS) == 1
    assert "ProtocolError: expected " in stderr.read_text().splitlines()[-1]


def test_a_stdin_that_ends_inside_a_message_ends_it_with_a_message(launch):
    process, _, stderr = launch()
    process.stdin.write(struct.pack("<I", 30) + b"{")
    process.stdin.close()
    assert process.wait(PATIENCE_SECONDS) == 1
    assert "the stream ended after 1 of 30 bytes" in stderr.read_text().splitlines()[-1]


def test_a_parent_that_is_gone_in_the_middle_of_an_answer_ends_it(launch, cells):
    process, _, stderr = launch()
    many = np.resize(cells[1], (10_000, 2))
    header = {"type": "embed", "model": UNTRAINED, "channels": CHANNELS}
    write_message(process.stdin, header, {"image": cells[0], "centers": many})
    told = receive(process)[0]
    assert (told["type"], told["total"]) == ("progress", 10_000)
    assert told["done"] < 100
    process.stdin.close()
    process.stdout.close()
    assert process.wait(PATIENCE_SECONDS) == 0
    assert stderr.read_text() == ""


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent to processes in another way there")
def test_ctrl_c_is_left_to_the_parent(launch):
    process, _, stderr = launch()
    process.send_signal(signal.SIGINT)
    assert_alive(process)
    process.stdin.close()
    assert process.wait(PATIENCE_SECONDS) == 0
    assert stderr.read_text() == ""


def test_the_command_line_starts_the_same_worker():
    code = "import sys; from cpcnn_core.cli.main import main; sys.exit(main(['worker']))"
    done = subprocess.run(
        [sys.executable, "-c", code], input=b"", capture_output=True, check=True, timeout=60
    )
    (length,) = struct.unpack("<I", done.stdout[:4])
    assert json.loads(done.stdout[4:])["type"] == "hello"
    assert len(done.stdout) == 4 + length


def test_images_of_another_scale_are_resampled_and_it_is_said(worker, cells, tmp_path):
    card, weights = untrained_efficientnet_b0()
    path = tmp_path / "scaled.safetensors"
    save_model(path, dataclasses.replace(card, um_per_px=0.65), weights)
    image, centers, labels = cells
    ids = labels[tuple(centers.astype(int).T)]
    model = load_model(path, device="cpu")
    for options in ({}, {"labels": labels, "label_ids": ids}):
        answer, arrays, _ = embed(worker, image, centers, path, um_per_px=0.325, **options)
        assert len(answer["warnings"]) == 1
        assert "was trained at 0.65 µm per pixel, the images have 0.325" in answer["warnings"][0]
        with pytest.warns(ScaleWarning):
            expected = embed_cells(model, image, centers, um_per_px=0.325, **options)
        np.testing.assert_allclose(arrays["features"], expected, rtol=0, atol=1e-5)
        assert np.abs(expected - embed_cells(model, image, centers, **options)).max() > 0.01
    for known in ({}, {"um_per_px": None}, {"um_per_px": 0.65}):
        answer, arrays, _ = embed(worker, image, centers, path, **known)
        assert answer["warnings"] == []
        expected = embed_cells(model, image, centers)
        np.testing.assert_allclose(arrays["features"], expected, rtol=0, atol=1e-5)
    for wrong, words in ((-1, "got -1"), ("0.65", "a positive number"), (650, "factor of 20")):
        answer = embed(worker, image, centers, path, um_per_px=wrong)[0]
        assert_error(answer, "ImageError", words)


def test_a_whole_field_fits_a_crop_at_any_scale(worker, cells, tmp_path):
    card, weights = untrained_efficientnet_b0()
    path = tmp_path / "scaled.safetensors"
    save_model(path, dataclasses.replace(card, um_per_px=0.65), weights)
    header = {"type": "embed", "model": str(path), "channels": CHANNELS}
    expected, features, _ = ask(worker, header, {"image": cells[0]})
    answer, found, _ = ask(worker, {**header, "um_per_px": 0.325}, {"image": cells[0]})
    assert answer == expected == {"type": "features", "warnings": []}
    np.testing.assert_array_equal(found["features"], features["features"])
