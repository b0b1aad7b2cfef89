"""What cannot name a file is refused before any work, and by its reason."""

import os
import re

import pandas as pd
import pytest

from cpcnn_core.cli.main import main
from cpcnn_core.errors import SiteError
from cpcnn_core.screen import site_names
from cpcnn_core.screen.site_names import require_apart, require_names

from .conftest import command_for


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (("a/b", "A01", "1"), "plate 'a/b' cannot name a file: it has '/'"),
        (("P1", "..", "1"), "well '..' cannot name a file: it stands for a folder"),
        (("P1", "A01", "1\x00"), r"site '1\\x00' cannot name a file: it has '\\x00'"),
        (("P1", "A01", ""), "site '' cannot name a file: it is empty"),
        (("P1", "A01", "\ud800"), "it has characters that file names cannot have"),
        (("P" * 250, "A01", "1"), "with .consensus.parquet it has 268 bytes, and 255 are allowed"),
        (("P1", "ä" * 128, "1"), "it has 256 bytes, and 255 are allowed"),
        ((".P1", "A01", "1"), "programs that read the folder would skip its table"),
        (("P1.consensus", "A01", "1"), "programs that read the folder would skip its table"),
    ],
)
def test_names_that_no_system_takes(key, reason):
    with pytest.raises(SiteError, match=re.escape(reason).replace(r"\\\\", r"\\")):
        require_names([("P1", "A01", "1"), key])


@pytest.mark.parametrize("name", ["P1.", "P1 ", "nul", "COM1.x", "Aux"])
def test_names_that_windows_does_not_take(name):
    require_names([(name, name, name)], windows=False)
    with pytest.raises(SiteError, match="Windows"):
        require_names([(name, "A01", "1")], windows=True)


def test_honest_names_are_taken(tmp_path):
    keys = [("BR00117010__2020-11-08T18_18_00-Measurement1", "A01", "1"), ("ä 1", "B (2)", "s1")]
    require_names(keys, windows=True)
    require_apart(keys, tmp_path)
    assert not list(tmp_path.iterdir())


def test_names_that_a_disk_takes_for_one(tmp_path, monkeypatch):
    twins = [("p1", "A01", "1"), ("P1", "A02", "1")]
    accents = [("P1", "\u00e9", "1"), ("P1", "e\u0301", "1")]
    if not (tmp_path / "A").mkdir() and (tmp_path / "a").exists():
        with pytest.raises(SiteError, match="takes p1 and P1 for one name"):
            require_apart(twins, tmp_path)
        return
    # This disk tells them apart; what one says that does not is made up.
    require_apart([*twins, *accents], tmp_path)
    monkeypatch.setattr(site_names, "_taken_for_one", lambda _: (True, True))
    with pytest.raises(SiteError, match="takes p1 and P1 for one name"):
        require_apart(twins, tmp_path)
    with pytest.raises(SiteError, match="for one name"):
        require_apart(accents, tmp_path)
    require_apart([("P1", "A01", "1"), ("P1", "A02", "1")], tmp_path)


@pytest.mark.parametrize("verb", ["embed", "crops"])
def test_the_run_does_not_begin(own_screen, tmp_path, capsys, verb):
    table = pd.read_csv(own_screen / "load_data.csv", dtype=str)
    table.loc[2:, "Metadata_Plate"] = "../P2"
    table.to_csv(own_screen / "load_data.csv", index=False)
    out = tmp_path / "out"
    command = command_for(own_screen)
    command = command if verb == "embed" else ["crops", *command[1:5]]
    assert main([*command, "--out", str(out)]) == 1
    error = capsys.readouterr().err
    assert "plate '../P2' cannot name a file: it has '/'; change the name" in error
    assert error.count("\n") == 1
    assert not out.exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such device")
@pytest.mark.parametrize("words", [["profile", "x", "--out", "/dev/null/a.parquet"]], ids=str)
def test_what_cannot_be_written_is_said_first(words, capsys):
    assert main(words) == 1
    assert "cannot write to /dev/null: " in capsys.readouterr().err
