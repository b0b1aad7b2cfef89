"""Lines for what is no error: each once, beside the output where programs read that."""

from cpcnn_core.cli.notices import say_once


def test_a_line_is_said_once(capsys):
    say = say_once()
    for text in ("one", "two", "one"):
        say(text)
    say_once()("one")
    found = capsys.readouterr()
    assert (found.out, found.err) == ("one\ntwo\none\n", "")


def test_beside_the_output(capsys):
    say_once(beside=True)("one")
    found = capsys.readouterr()
    assert (found.out, found.err) == ("", "one\n")
