"""Results on standard output, notices on standard error; no text writes lines or escapes."""

import argparse
import contextlib
import io
import logging
import sys

import pytest

from cpcnn_core.cli.messages import messages
from cpcnn_core.cli.terminal import notice, print_out, say_once, show

ORDINARY = argparse.Namespace(verbose=False, quiet=False, debug=False, log=None)
HOSTILE = "P1\ncpcnn: error: lost\x1b[2J\x9b31m\u202e\udcff\u2028"
SHOWN = r"P1\ncpcnn: error: lost\x1b[2J\x9b31m\u202e\udcff\u2028"


def test_a_line_is_said_once_and_beside_the_output(capsys):
    with messages(ORDINARY):
        say = say_once()
        for text in ("one", "two", "one"):
            say(text)
        say_once()("one")
    found = capsys.readouterr()
    assert (found.out, found.err) == ("", "one\ntwo\none\n")


def test_results_are_on_standard_output_alone(capsys):
    with messages(ORDINARY):
        show("8 sites", "wrote a.csv")
    found = capsys.readouterr()
    assert (found.out, found.err) == ("8 sites\nwrote a.csv\n", "")


@contextlib.contextmanager
def kept_from_pytest():
    root = logging.getLogger()
    theirs = [one for one in root.handlers if type(one).__module__ == "_pytest.logging"]
    for handler in theirs:
        root.removeHandler(handler)
    yield
    for handler in theirs:
        root.addHandler(handler)


@pytest.mark.parametrize("say", [show, notice, say_once()])
def test_no_text_writes_lines_or_escapes(capsys, say):
    # pytest keeps what is logged, and hands it on in an encoding that has no half characters.
    with messages(ORDINARY), kept_from_pytest():
        say(HOSTILE)
    found = capsys.readouterr()
    assert found.out + found.err == f"{SHOWN}\n"


def test_the_lines_of_a_table_stay_lines(capsys):
    print_out("one\ntwo\x1b[2J")
    assert capsys.readouterr().out == "one\ntwo\\x1b[2J\n"


def test_a_terminal_without_greek_letters_gets_their_numbers(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii"))
    show("3 µm")
    sys.stdout.flush()
    assert written.getvalue().splitlines() == [rb"3 \xb5m"]
