"""``cpcnn models``: what is listed and shown. Importing and fetching: tests of models/."""

import json

import pytest

from cpcnn_core.cli.main import main
from cpcnn_core.models.opening import untrained_efficientnet_b0
from cpcnn_core.models.registry import model_file
from cpcnn_core.models.weights import read_card, save_model


def listed(capsys):
    """The lines of the table, by the model's name, in order."""
    assert main(["models", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["model", "unit", "channels", "crop", "features", "licence", "state"]
    assert lines[-1].endswith("One that is not here: cpcnn models fetch NAME")
    return {line.split()[0]: line for line in lines[1:-1]}


def entries(said):
    return dict(line.split(maxsplit=1) for line in said.splitlines())


def put_untrained(path, channels=("DNA", "Actin")):
    return save_model(path, *untrained_efficientnet_b0(channels))


def test_the_list_says_what_a_model_takes_and_whether_it_is_ready(capsys):
    found = listed(capsys)
    # First those that run without a download of their own.
    assert list(found)[:3] == [
        "cell-painting-cnn-v1",
        "imagenet-efficientnet-lite0",
        "untrained-efficientnet-b0",
    ]
    published = found["cell-painting-cnn-v1"]
    assert "  DNA,RNA,ER,AGP,Mito  128 px  672  " in published
    assert published.endswith("  not here yet")
    assert found["untrained-efficientnet-b0"].endswith("  ready")
    assert "  any  " in found["morphem"]
    assert "  384 a channel  " in found["morphem"]
    assert "(no..." in found["unidino"]


def test_imported_models_are_listed_with_their_channels(capsys, keras_weights):
    for name in ("mine", "cell-painting-cnn-v1"):
        assert main(["models", "import", str(keras_weights), "--name", name]) == 0
    capsys.readouterr()
    found = listed(capsys)
    assert list(found)[-1] == "mine"
    assert found["mine"].endswith("  ready")
    assert found["cell-painting-cnn-v1"].endswith("  ready")


def test_a_damaged_model_does_not_hide_the_others(capsys):
    put_untrained(model_file("zebra"))
    model_file("broken").write_bytes(b"half a model")
    assert main(["models", "list"]) in (0, 1)
    said = capsys.readouterr()
    assert "zebra" in said.out
    assert "broken" in said.out + said.err


def test_a_file_whose_name_is_no_models_name_does_not_hide_the_others(capsys):
    put_untrained(model_file("zebra"))
    put_untrained(model_file("checkpoint.h5"))
    assert main(["models", "list"]) == 0
    assert "zebra" in capsys.readouterr().out


def test_show_prints_the_card_line_by_line(capsys):
    card = put_untrained(model_file("mine"))
    assert main(["models", "show", "mine"]) == 0
    found = entries(capsys.readouterr().out)
    assert found["channels"] == "DNA, Actin"
    assert found["embed_dim"] == "672"
    assert found["trained"] == "False"
    assert found["sha256"] == card.sha256
    assert "um_per_px" not in found


def test_show_prints_where_an_imported_model_comes_from(capsys, model_file):
    assert main(["models", "show", str(model_file)]) == 0
    found = entries(capsys.readouterr().out)
    provenance = read_card(model_file).provenance
    assert found["imported_from"] == "Cell_Painting_CNN_v1.hdf5"
    assert found["imported_sha256"] == provenance["imported_sha256"]


def test_show_as_json_is_the_whole_card(capsys, tmp_path):
    path = tmp_path / "mine.safetensors"
    card = put_untrained(path)
    assert main(["models", "show", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(card.to_json())


def test_show_knows_a_published_model_before_it_is_fetched(capsys):
    assert main(["models", "show", "cell-painting-cnn-v1"]) == 0
    said = capsys.readouterr().out
    found = entries(said)
    assert found["source"] == "https://zenodo.org/records/7114558"
    assert said.endswith("get it with: cpcnn models fetch cell-painting-cnn-v1\n")
    assert "sha256" not in found


def test_show_of_a_fetched_model_is_the_card_of_its_file(capsys, keras_weights):
    arguments = ["--name", "cell-painting-cnn-v1", "--channels", "DNA,ER,RNA,AGP,Mito"]
    assert main(["models", "import", str(keras_weights), *arguments]) == 0
    capsys.readouterr()
    assert main(["models", "show", "cell-painting-cnn-v1"]) == 0
    assert entries(capsys.readouterr().out)["channels"] == "DNA, ER, RNA, AGP, Mito"


@pytest.mark.parametrize("name", ["untrained-efficientnet-b0", "nothing", "no/such.safetensors"])
def test_fetch_of_what_is_nowhere_published_says_so(capsys, name):
    assert main(["models", "fetch", name]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"cpcnn: error: {name} is made" if "untr" in name else "cpcnn: error: ")
    assert len(error.splitlines()) == 1


def test_import_says_what_it_wrote(capsys, keras_weights, tmp_path):
    out = tmp_path / "mine.safetensors"
    assert main(["models", "import", str(keras_weights), "--out", str(out)]) == 0
    assert capsys.readouterr().out == (
        f"wrote {out}: mine, 672 features of 5 channels (DNA, RNA, ER, AGP, Mito)\n"
        "not verified: no published model has this name\n"
        f"use it as: {out}\n"
    )
