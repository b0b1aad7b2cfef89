"""The command line: exit codes, one line per error, help with an example for every command."""

import argparse
import os
import re
import shlex
import signal
import socket
import subprocess
import sys

import pytest

import cpcnn_core
from cpcnn_core.cli.main import _parser, main

CPCNN = [sys.executable, "-c", "from cpcnn_core.cli.main import run; run()"]


def commands(parser=None, words=()):
    """Every command there is, as the words after ``cpcnn``."""
    parser = parser or _parser()
    if words:
        yield words
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                yield from commands(child, (*words, name))


def test_the_commands_are_those_of_the_contract():
    assert set(commands()) == {
        ("demo",),
        ("embed",),
        ("crops",),
        ("train",),
        ("simulate",),
        ("profile",),
        ("nearest",),
        ("evaluate",),
        ("compare",),
        ("prepare",),
        ("models",),
        *(("models", name) for name in ("list", "show", "accept", "fetch", "timm", "import")),
        ("cellprofiler",),
        *(("cellprofiler", name) for name in ("install", "doctor", "create")),
        ("worker",),
    }


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_help_has_an_example_that_can_be_typed(words, capsys):
    with pytest.raises(SystemExit) as end:
        main([*words, "--help"])
    assert end.value.code == 0
    said = capsys.readouterr().out
    example = re.search(r"^example:\n  (cpcnn .+)$", said, re.MULTILINE).group(1)
    typed = shlex.split(example)[1:]
    assert tuple(typed[: len(words)]) == words
    assert callable(_parser().parse_args(typed).do)


def test_every_command_is_named_by_the_help_above_it(capsys):
    for *above, name in commands():
        with pytest.raises(SystemExit):
            main([*above, "--help"])
        assert re.search(rf"^    {name}\s", capsys.readouterr().out, re.MULTILINE), name


def test_version(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"cpcnn {cpcnn_core.__version__}\n"


@pytest.mark.parametrize(
    "arguments", [[], ["paint"], ["models"], ["models", "show"], ["models", "list", "--paint"]]
)
def test_what_cannot_be_understood_ends_with_2_and_the_usage(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("usage: cpcnn")


def test_success_is_0(capsys):
    assert main(["models", "list"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["models", "show", "nothing"], "there is no model 'nothing'"),
        (["models", "import", "nowhere.hdf5"], "nowhere.hdf5 does not exist"),
        (["models", "fetch", "nothing"], "there is no download for 'nothing'"),
        (["cellprofiler", "create", "env", "--python", "/no/python"], "no working Python 3.9"),
        (["cellprofiler", "create", "."], "holds other files; choose a folder"),
        (["cellprofiler", "install", "--plugins-directory", "taken"], "cannot be written to"),
        (["demo", "--out", "."], "holds other files; name another folder with --out"),
    ],
    ids=str,
)
def test_an_error_is_one_line_and_no_traceback(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("a file, where a folder is asked for")
    done = subprocess.run([*CPCNN, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(r"cpcnn: error: .+\n", done.stderr)
    assert words in done.stderr


def test_debug_shows_the_traceback_above_the_line(capsys):
    assert main(["--debug", "models", "show", "nothing"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("Traceback (most recent call last):\n")
    assert said.splitlines()[-1].startswith("cpcnn: error: there is no model 'nothing'")


def test_an_error_that_is_not_ours_says_its_kind_and_how_to_see_more(
    tmp_path, monkeypatch, keras_weights, capsys
):
    (tmp_path / "file").write_text("where a folder should be")
    monkeypatch.setenv("CPCNN_HOME", str(tmp_path / "file"))
    arguments = ["models", "import", str(keras_weights)]
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert re.fullmatch(r"cpcnn: error: \w+Error: .+ \(cpcnn --debug \.\.\. shows where\)\n", said)
    assert main(["--debug", *arguments]) == 1
    said = capsys.readouterr().err
    assert said.startswith("Traceback (most recent call last):\n")
    assert "--debug shows where" not in said


def test_a_reader_that_has_seen_enough_is_no_error():
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [*CPCNN, "models", "list"]
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    with process:
        assert process.stderr.read() == b""


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent to processes in another way there")
def test_ctrl_c_ends_with_130_and_one_line(mirror):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/weights.hdf5"
        process = subprocess.Popen(
            [*CPCNN, "models", "fetch", "cell-painting-cnn-v1", "--url", url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        silent.settimeout(20)
        try:
            with silent.accept()[0]:
                process.send_signal(signal.SIGINT)
                out, err = process.communicate(timeout=20)
        finally:
            process.kill()
            process.communicate()
    assert (process.returncode, out, err) == (130, "", "cpcnn: stopped\n")
