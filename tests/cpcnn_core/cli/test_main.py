"""The command line: exit codes, one line per error, help with an example for every command."""

import argparse
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import cpcnn_core
from cpcnn_core.cli.main import _parser, main

FULL = Path("/dev/full")
POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
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
        ("aggregation",),
        ("aggregation", "train"),
        ("aggregation", "show"),
        ("profile",),
        ("nearest",),
        ("evaluate",),
        ("design",),
        ("compare",),
        ("prepare",),
        ("models",),
        *(
            ("models", name)
            for name in ("list", "show", "accept", "fetch", "timm", "import", "verify")
        ),
        ("cellprofiler",),
        *(("cellprofiler", name) for name in ("install", "doctor", "create")),
        *(("cellprofiler", name) for name in ("allow", "allowed", "forbid")),
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
        (["models", "import", "nowhere.hdf5"], "there is no file nowhere.hdf5"),
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


@pytest.mark.skipif(not FULL.exists(), reason="this system has no full device")
def test_an_output_that_is_full_is_one_line():
    with FULL.open("wb") as full:
        command = [*CPCNN, "models", "list"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"cpcnn: error: there is no room left .+\n", done.stderr)


@POSIX
@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_closed_streams_change_nothing(closed, tmp_path):
    command = [*CPCNN, "models", "timm", "test_resnet", "--untrained", "1", "--channels", "DNA"]

    def close():
        for number in closed:
            os.close(number)

    home = {**os.environ, "CPCNN_HOME": str(tmp_path)}
    done = subprocess.run(
        [*command, "--name", "mine"],
        preexec_fn=close,
        env=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert ("mine is ready" in done.stdout) == (1 not in closed)
    assert done.stderr == ""
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["mine.safetensors"]


FETCH = ["models", "fetch", "cell-painting-cnn-v1", "--insecure", "--url"]
# As a program is started in the foreground, however the tests are run.
DEFAULT = {"SIGINT": "default_int_handler", "SIGTERM": "SIG_DFL", "SIGHUP": "SIG_DFL"}


def signalled(mirror, signals, **handlers):
    """Fetch from a server that says nothing, send signals; return (exit status, out, err)."""
    lines = [f"signal.signal(signal.{n}, signal.{h})" for n, h in (DEFAULT | handlers).items()]
    code = "\n".join(["import signal", *lines, "from cpcnn_core.cli.main import run", "run()"])
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/weights.hdf5"
        process = subprocess.Popen(
            [sys.executable, "-c", code, *FETCH, url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        silent.settimeout(20)
        try:
            with silent.accept()[0]:
                for number in signals:
                    process.send_signal(number)
                out, err = process.communicate(timeout=20)
        finally:
            process.kill()
            process.communicate()
    return process.returncode, out, err


@POSIX
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_ends_it_with_one_line(name, code, mirror):
    assert signalled(mirror, [getattr(signal, name)]) == (code, "", "cpcnn: stopped\n")


@POSIX
@pytest.mark.parametrize("ignored", ["SIGINT", "SIGHUP"])
def test_signals_that_are_ignored_stay_so(ignored, mirror):
    # In the background of a shell without job control, and under nohup.
    signals = [getattr(signal, ignored), signal.SIGTERM]
    found = signalled(mirror, signals, **{ignored: "SIG_IGN"})
    assert found == (143, "", "cpcnn: stopped\n")


LOSING = """
import os, signal, sys, time
from cpcnn_core.cli import main as main_module
main_module.stop_on_signals()

class Losing:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)

try:
    Losing()
    try:
        while True:
            time.sleep(0.01)
    finally:
        # Longer than what is raised again waits for.
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            try:
                raise ValueError
            except ValueError:
                time.sleep(0.01)
        print("tidied up")
except KeyboardInterrupt as stop:
    status = main_module.exit_status(stop)
time.sleep(1)
sys.exit(status)
"""


@POSIX
def test_a_signal_that_a_destructor_loses_ends_it_all_the_same():
    # Python only says that it ignored it.
    command = [sys.executable, "-W", "ignore", "-c", LOSING]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (143, "tidied up\n"), done.stderr
    assert done.stderr.startswith("Exception ignored in")
