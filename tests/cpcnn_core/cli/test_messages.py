"""Messages go through Python's logging: to the terminal, and to ``--log FILE``."""

import argparse
import json
import logging
import os
import re
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.cli.main import _parser, main
from cpcnn_core.cli.messages import messages
from cpcnn_core.errors import CPCNNWarning, ProfileWarning
from cpcnn_core.io.profile_files import write_profiles
from cpcnn_core.schema.profiles import Profiles

from .test_main import commands

CPCNN = [sys.executable, "-m", "cpcnn_core.cli"]
LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING|ERROR|CRITICAL) \d+ [\w.]+: .*"
)
QUERY = ["--query", "Treatment == 'taxol'"]
ASKED = "4 wells in the query, 3 treatments searched, 1 left out; correction: none"


def options(**given):
    return argparse.Namespace(
        **{"verbose": False, "quiet": False, "debug": False, "log": None} | given
    )


def lines_of(log):
    """Read a log, all of whose lines are whole: begun by their stamp, or set in below one."""
    lines = log.read_text(encoding="utf-8").splitlines()
    wrong = [line for line in lines if not (LINE.fullmatch(line) or line.startswith("    "))]
    assert not wrong
    return lines


@pytest.fixture
def wells(tmp_path):
    random = np.random.default_rng(0)
    rows = pd.DataFrame({"Metadata_Plate": "P1", "Metadata_Well": [f"A{n:02d}" for n in range(12)]})
    rows["Metadata_Treatment"] = np.repeat(["DMSO", "taxol", "evil\x1b[31m\ncpcnn: error: x"], 4)
    names = [f"Cells_CPCNN_{n:03d}" for n in range(6)]
    path = tmp_path / "wells.parquet"
    write_profiles(Profiles(random.normal(size=(12, 6)).astype(np.float32), rows, names), path)
    return path


@pytest.mark.parametrize("words", [(), *commands()], ids=" ".join)
def test_every_command_has_the_options_and_so_has_cpcnn_itself(words, capsys):
    with pytest.raises(SystemExit):
        main([*words, "--help"])
    said = capsys.readouterr().out
    for option in ("-v, --verbose", "-q, --quiet", "--log FILE", "--debug"):
        assert option in said


@pytest.mark.parametrize("words", [["models", "list"], ["train", "x.toml"]], ids=" ".join)
def test_they_are_given_before_the_verb_or_after_it(words):
    for given, name, value in ((["-v"], "verbose", True), (["--log", "a"], "log", "a")):
        assert getattr(_parser().parse_args(words), name) in (False, None)
        assert getattr(_parser().parse_args([*given, *words]), name) == value
        assert getattr(_parser().parse_args([*words, *given]), name) == value
    both = _parser().parse_args(["--log", "a", "-v", *words, "--log", "b"])
    assert (both.log, both.verbose) == ("b", True)


@pytest.mark.parametrize("words", [["-q", "models", "list", "-v"], ["models", "list", "-qv"]])
def test_quiet_and_verbose_are_contraries(words, capsys):
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert "--verbose and --quiet say the contrary" in capsys.readouterr().err


# ---- standard output is the result --------------------------------------------------------------


def redirected(command, path):
    with path.open("wb") as file:
        done = subprocess.run([*CPCNN, *command], stdout=file, stderr=subprocess.PIPE, check=True)
    return done.stderr.decode()


def test_what_is_redirected_is_the_scores_or_the_table(wells, tmp_path):
    out, told = tmp_path / "scores.json", tmp_path / "report"
    controls = ["--controls", "Treatment == 'DMSO'"]
    said = redirected(["evaluate", str(wells), *controls, "--out", str(told)], out)
    assert json.loads(out.read_text()) == json.loads((told / "evaluation.json").read_text())
    assert f"wrote {told / 'report.html'}\n" in said
    out, told = tmp_path / "table.csv", tmp_path / "told.csv"
    said = redirected(["nearest", str(wells), *QUERY, *controls, "--out", str(told)], out)
    found, expected = pd.read_csv(out), pd.read_csv(told)
    # But for what is no visible character, which a terminal behind a pipe would obey.
    shown = expected["Metadata_Treatment"].str.replace("\x1b", r"\x1b")
    pd.testing.assert_frame_equal(found, expected.assign(Metadata_Treatment=shown))
    assert "\x1b" in expected["Metadata_Treatment"].str.cat()
    assert said.splitlines()[0].startswith("4 wells in the query")


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no such terminals there")
def test_on_a_terminal_the_table_is_laid_out(wells, monkeypatch):
    ours, its = os.openpty()
    with os.fdopen(its, "w") as terminal, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", terminal)
        assert main(["nearest", str(wells), *QUERY]) == 0
        said = os.read(ours, 10_000).decode().splitlines()
    os.close(ours)
    assert said[0].split() == ["similarity", "Treatment", "Replicates", "Plate"]
    assert len(said) == 3
    assert any(r"evil\x1b[31m\ncpcnn: error: x" in line for line in said)


# ---- more, and less -----------------------------------------------------------------------------


def test_quiet_leaves_the_result_and_the_errors(wells, capsys):
    assert main(["nearest", str(wells), *QUERY]) == 0
    loud = capsys.readouterr()
    assert ASKED in loud.err
    assert main(["nearest", str(wells), *QUERY, "--quiet"]) == 0
    quiet = capsys.readouterr()
    assert (quiet.out, quiet.err) == (loud.out, "")
    assert main(["-q", "nearest", "none.parquet", *QUERY]) == 1
    assert capsys.readouterr().err.startswith("cpcnn: error: ")


def test_verbose_says_more(wells, capsys):
    assert main(["nearest", str(wells), *QUERY, "-v"]) == 0
    said = capsys.readouterr().err
    assert "cpcnn nearest" in said
    assert ASKED in said
    assert "ended with exit status 0" in said


def test_warnings_of_python_are_messages(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with messages(options()):
            warnings.warn("2 of 48 wells are\nleft out", ProfileWarning, stacklevel=1)
            warnings.warn("mean of empty slice", RuntimeWarning, stacklevel=1)
    said = capsys.readouterr()
    assert said.out == ""
    first, second = said.err.splitlines()
    assert first == r"cpcnn: warning: 2 of 48 wells are\nleft out"
    assert re.fullmatch(
        r"cpcnn: warning: RuntimeWarning: mean of empty slice \(test_messages.py, line \d+\)",
        second,
    )


def test_every_warning_of_ours_is_one_for_users():
    from cpcnn_core import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    ours = [kind for kind in kinds if issubclass(kind, Warning)]
    assert len(ours) > 5
    assert all(issubclass(kind, CPCNNWarning) for kind in ours)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({}, ["cpcnn: warning: heard: b", "cpcnn: error: heard: c"]),
        (
            {"verbose": True},
            ["cpcnn: warning: heard: b", "cpcnn: error: heard: c", "cpcnn: error: own: d"],
        ),
    ],
)
def test_other_libraries_are_heard_as_python_would_let_them(capsys, given, shown):
    own = logging.getLogger("own")
    own.addHandler(logging.NullHandler())
    with messages(options(**given)):
        logging.getLogger("heard").info("a")
        logging.getLogger("heard").warning("b")
        logging.getLogger("heard").error("c")
        own.error("d")
    assert capsys.readouterr().err.splitlines() == shown


# ---- a library of its manners -------------------------------------------------------------------


def test_nothing_is_heard_of_the_packages_and_nothing_is_left_of_the_program(tmp_path):
    code = (
        "import logging, sys, warnings\n"
        "import cpcnn_core, napari_cpcnn\n"
        "for name in ('cpcnn_core', 'napari_cpcnn'):\n"
        "    logging.getLogger(name + '.some.file').error('unheard')\n"
        "show = warnings.showwarning\n"
        "from cpcnn_core.cli.main import main\n"
        "main(['models', 'show', 'nothing', '--log', sys.argv[1]])\n"
        "assert not logging.getLogger().handlers\n"
        "assert logging.getLogger('cpcnn_core').level == logging.NOTSET\n"
        "assert warnings.showwarning is show\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run.log")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)


# ---- the log ------------------------------------------------------------------------------------


def test_the_log_has_it_all(wells, tmp_path, capsys):
    log = tmp_path / "logs" / "run.log"
    assert (
        main(["nearest", str(wells), *QUERY, "--out", str(tmp_path / "o"), "--log", str(log)]) == 0
    )
    assert capsys.readouterr().err.splitlines()[0] == ASKED
    assert main(["--log", str(log), "nearest", "none\x1b[31m\nx.parquet", *QUERY, "-q"]) == 1
    lines = lines_of(log)
    starts = [line for line in lines if "Python 3." in line]
    assert [line.partition(": cpcnn nearest ")[1] for line in starts] == [": cpcnn nearest ", ""]
    assert f"cpcnn {__import__('cpcnn_core').__version__}, Python" in starts[0]
    assert any(line.endswith(f": {ASKED}") and " INFO " in line for line in lines)
    assert any(line.endswith(f": wrote {tmp_path / 'o'}") for line in lines)
    (error,) = [line for line in lines if " ERROR " in line]
    assert r"none\x1b[31m\nx.parquet" in error
    assert "    Traceback (most recent call last):" in lines
    assert lines[-1].partition(": ended with exit status ")[2].startswith("1 after ")
    assert "\x1b" not in log.read_text()


def test_no_password_is_in_the_log(tmp_path):
    log = tmp_path / "run.log"
    address = "https://me:word@host/a.safetensors?token=abcdef&size=1&X-Amz-Signature=01ab"
    assert main(["models", "show", address, "--log", str(log)]) == 1
    lines = lines_of(log)
    told = [line for line in lines if "...@host/a.safetensors?token=...&size=1" in line]
    # The command line, the error, and its traceback.
    assert len(told) == 3
    for secret in ("word@", "abcdef", "01ab"):
        assert secret not in log.read_text()


WRITER = """
import argparse, logging, sys
from cpcnn_core.cli.messages import messages, open_log
logger = logging.getLogger("cpcnn_core.test")
options = argparse.Namespace(verbose=False, quiet=True, debug=False, log=sys.argv[1])
with messages(options):
    open_log(options, [])
    for n in range(300):
        logger.info("%s of %s %s", n, sys.argv[2], sys.argv[2] * 3000)
"""


def test_several_processes_write_whole_lines(tmp_path):
    log = tmp_path / "run.log"
    command = [sys.executable, "-c", WRITER, str(log)]
    running = [subprocess.Popen([*command, letter]) for letter in "abcd"]
    assert [process.wait() for process in running] == [0] * 4
    lines = [line for line in lines_of(log) if "cpcnn_core.test" in line]
    for letter in "abcd":
        own = [line.partition(": ")[2] for line in lines if line.endswith(letter)]
        assert own == [f"{n} of {letter} {letter * 3000}" for n in range(300)]


def test_what_is_no_log_is_left_alone_and_nothing_is_done(wells, tmp_path, capsys):
    before = wells.read_bytes()
    out = tmp_path / "out.csv"
    for log, why in ((wells, "is no log of cpcnn's"), (tmp_path, "is no file")):
        command = ["nearest", str(wells), *QUERY, "--out", str(out), "--log", str(log)]
        assert main(command) == 1
        said = capsys.readouterr()
        assert (said.out, said.err.count("\n")) == ("", 1)
        assert why in said.err
    (tmp_path / "file").touch()
    assert main([*command[:-1], str(tmp_path / "file" / "run.log")]) == 1
    assert "cannot write the log" in capsys.readouterr().err
    assert wells.read_bytes() == before
    assert not out.exists()


def test_a_log_that_fills_the_disk_ends_and_the_work_goes_on(tmp_path, capfd):
    log = tmp_path / "run.log"

    resource = pytest.importorskip("resource")

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    command = [sys.executable, "-c", WRITER, str(log), "a"]
    subprocess.run(command, preexec_fn=limit, check=True)
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err == f"cpcnn: warning: the log {log} ends here: File too large\n"
