"""``cpcnn models import``: a model file with its card, or a clear error and no file."""

import hashlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

import cpcnn_core
from cpcnn_core.cli.main import main
from cpcnn_core.embedding.embedder import load_model
from cpcnn_core.errors import WeightsError
from cpcnn_core.models.weight_import import import_keras_model
from cpcnn_core.models.weights import read_card, read_model


def run(*arguments):
    return main(["models", "import", *map(str, arguments)])


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def of_three(tmp_path, seeded_weights, write_keras):
    kernel = seeded_weights["stem_conv", "stem_conv_1/kernel:0"][:, :, :3]
    stem = {("stem_conv", "stem_conv_1/kernel:0"): kernel}
    return write_keras(tmp_path / "three.hdf5", seeded_weights | stem)


def test_out_names_the_file_and_the_model(keras_weights, tmp_path, parity):
    out = tmp_path / "models" / "mine.safetensors"
    assert run(keras_weights, "--out", out) == 0
    model = load_model(out, device="cpu")
    assert (model.card.name, model.card.embed_dim) == ("mine", 672)
    assert model.card.channels == ("DNA", "RNA", "ER", "AGP", "Mito")
    np.testing.assert_allclose(model.embed(parity["crops"]), parity["block6a"], rtol=0, atol=1e-4)


def test_the_card_tells_where_the_model_comes_from(keras_weights, tmp_path):
    out = tmp_path / "mine.safetensors"
    assert run(keras_weights, "--out", out) == 0
    card = read_card(out)
    assert card.provenance == {
        "imported_from": "Cell_Painting_CNN_v1.hdf5",
        "imported_sha256": hashlib.sha256(keras_weights.read_bytes()).hexdigest(),
        "imported_by": f"cpcnn {cpcnn_core.__version__}",
    }
    assert card.trained
    assert card.source == "Cell_Painting_CNN_v1.hdf5"


def test_the_published_name_brings_the_published_card(keras_weights, home):
    assert run(keras_weights, "--name", "cell-painting-cnn-v1") == 0
    assert files_in(home) == ["models/cell-painting-cnn-v1.safetensors", "verified.json"]
    card = load_model("cell-painting-cnn-v1").card
    assert card.source == "https://zenodo.org/records/7114558"
    assert "Moshkov" in card.citation
    assert card.provenance["imported_from"] == "Cell_Painting_CNN_v1.hdf5"
    assert card.sha256 is not None


def test_without_name_and_out_the_model_is_named_after_the_file(keras_weights, home, capsys):
    assert run(keras_weights) == 0
    assert files_in(home) == ["models/Cell_Painting_CNN_v1.safetensors", "verified.json"]
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "use it as: Cell_Painting_CNN_v1"
    assert load_model("Cell_Painting_CNN_v1").card.name == "Cell_Painting_CNN_v1"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--name", "mine"],
        ["--name", "plate 7, ünì"],
        ["--name", "trained.v2"],
        ["--name", "experiment/30"],
        ["--name", "mine.h5"],
        ["--name", "mine.safetensors"],
        ["--out", "mine.safetensors"],
        ["--out", "folder/mine.safetensors"],
        ["--out", "mine.bin"],
        ["--out", "mine"],
    ],
    ids=" ".join,
)
def test_what_import_says_to_use_can_be_used_or_is_refused(
    keras_weights, tmp_path, monkeypatch, capsys, arguments
):
    monkeypatch.chdir(tmp_path)
    code = run(keras_weights, *arguments)
    said = capsys.readouterr()
    if code:
        assert said.err.startswith("cpcnn: error: ")
        assert not files_in(tmp_path)
    else:
        load_model(said.out.splitlines()[-1].removeprefix("use it as: "))


def test_channels_are_named_in_the_order_of_training(of_three, tmp_path):
    out = tmp_path / "three.safetensors"
    assert run(of_three, "--out", out, "--channels", "Actin, DNA,Tubulin") == 0
    card, weights = read_model(out)
    assert card.channels == ("Actin", "DNA", "Tubulin")
    assert weights["conv_stem.weight"].shape == (32, 3, 3, 3)


def test_channels_in_another_order_than_the_published_are_written_down(keras_weights, home):
    channels = "DNA,ER,RNA,AGP,Mito"
    assert run(keras_weights, "--name", "cell-painting-cnn-v1", "--channels", channels) == 0
    assert load_model("cell-painting-cnn-v1").card.channels == tuple(channels.split(","))


@pytest.mark.parametrize("channels", ["A,B,C", "A,B,C,D,D", "A,B,C,D,E,F", "A,,C,D,E", ""])
def test_channels_that_do_not_fit_leave_no_model(keras_weights, home, capsys, channels):
    assert run(keras_weights, "--name", "mine", "--channels", channels) == 1
    assert capsys.readouterr().err.startswith("cpcnn: error: ")
    assert files_in(home) == []


def test_a_network_of_other_channels_says_how_to_name_them(of_three, home, capsys):
    assert run(of_three) == 1
    assert capsys.readouterr().err == (
        f"cpcnn: error: the network in {of_three} takes 3 channels, expected 5; "
        "name its channels in the order of training with --channels\n"
    )
    assert files_in(home) == []


def test_the_name_of_the_untrained_network_is_taken(keras_weights, home):
    with pytest.raises(WeightsError, match="built-in model; give another with --name"):
        import_keras_model(keras_weights, "untrained-efficientnet-b0")
    assert files_in(home) == []


def test_a_truncated_checkpoint_leaves_nothing(keras_weights, tmp_path, capsys):
    half = tmp_path / "half.hdf5"
    half.write_bytes(keras_weights.read_bytes()[:10_000_000])
    assert run(half, "--out", tmp_path / "out" / "mine.safetensors") == 1
    error = capsys.readouterr().err
    assert "truncated or damaged" in error
    assert len(error.splitlines()) == 1
    assert files_in(tmp_path) == ["half.hdf5"]


@pytest.mark.parametrize(
    ("layer", "weight", "shape"),
    [
        ("stem_conv", "kernel", (5, 5, 5, 32)),
        ("block3a_dwconv", "depthwise_kernel", (3, 3, 144, 1)),
        ("block3a_dwconv", "depthwise_kernel", (25, 144)),
        ("block3a_expand_conv", "kernel", (24, 144)),
        ("block5a_bn", "gamma", (481,)),
        ("block7a_se_reduce", "bias", (49,)),
        ("top_conv", "kernel", (1, 1, 320, 1281)),
        ("ClassProb", "kernel", (1281, 490)),
        ("ClassProb", "kernel", (1280, 489)),
        ("ClassProb", "bias", ()),
    ],
)
def test_a_weight_of_another_shape_is_named(
    tmp_path, seeded_weights, write_keras, capsys, layer, weight, shape
):
    wrong = {(layer, f"{layer}_1/{weight}:0"): np.ones(shape, np.float32)}
    path = write_keras(tmp_path / "wrong.hdf5", seeded_weights | wrong)
    assert run(path, "--out", tmp_path / "mine.safetensors") == 1
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert str(path) in error
    # Which half of the head is wrong cannot be told: its classes may be any number.
    assert f"{layer}/" in error if layer == "ClassProb" else f"{layer}/{weight}" in error
    assert files_in(tmp_path) == ["wrong.hdf5"]


def test_a_trunk_is_a_complete_model(tmp_path, seeded_weights, write_keras, parity):
    layers = [layer for layer, _ in seeded_weights]
    end = len(layers) - layers[::-1].index("block6a_bn")
    trunk = write_keras(tmp_path / "trunk.h5", dict(list(seeded_weights.items())[:end]))
    assert run(trunk, "--out", tmp_path / "trunk.safetensors") == 0
    features = load_model(tmp_path / "trunk.safetensors", "cpu").embed(parity["crops"])
    np.testing.assert_allclose(features, parity["block6a"], rtol=0, atol=1e-4)


def test_importing_again_replaces_the_model(keras_weights, of_three, home):
    assert run(keras_weights, "--name", "mine") == 0
    assert run(of_three, "--name", "mine", "--channels", "A,B,C") == 0
    assert files_in(home) == ["models/mine.safetensors", "verified.json"]
    assert load_model("mine").card.channels == ("A", "B", "C")


def test_a_failed_import_leaves_the_model_that_was_there(keras_weights, tmp_path, capsys):
    out = tmp_path / "mine.safetensors"
    assert run(keras_weights, "--out", out) == 0
    before = out.read_bytes()
    assert run(tmp_path / "nowhere.hdf5", "--out", out) == 1
    assert out.read_bytes() == before


def test_a_full_disk_leaves_no_half_of_a_model(keras_weights, tmp_path):
    pytest.importorskip("resource", reason="only Unix limits the size of a file")
    out = tmp_path / "mine.safetensors"
    out.write_bytes(b"the model that was there")
    code = (
        "import resource, signal, sys\n"
        "from cpcnn_core.cli.main import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    command = [
        sys.executable,
        "-c",
        code,
        "models",
        "import",
        str(keras_weights),
        "--out",
        str(out),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert out.read_bytes() == b"the model that was there"
    assert files_in(tmp_path) == ["mine.safetensors"]


def test_a_folder_in_place_of_the_file_is_left_alone(keras_weights, tmp_path, capsys):
    (tmp_path / "taken.safetensors").mkdir()
    assert run(keras_weights, "--out", tmp_path / "taken.safetensors") == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert files_in(tmp_path) == []


def test_the_checkpoint_is_only_read(keras_weights, tmp_path):
    copy = shutil.copy(keras_weights, tmp_path / "copy.hdf5")
    before = copy.read_bytes()
    assert run(copy, "--out", tmp_path / "mine.safetensors") == 0
    assert copy.read_bytes() == before
