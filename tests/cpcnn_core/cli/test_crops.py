"""``cpcnn crops``: options that do not belong together are one clear line."""

import pytest

from cpcnn_core.cli.main import main

LOAD = ["--load-data", "load_data.csv"]
OUT = ["--out", "crops"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (LOAD + OUT, "say where the cells are: either --objects FILE, --labels DIR or --loc"),
        ([*LOAD, "--labels", "l"], "say where to write: --out DIR"),
        ([*LOAD, *OUT, "--objects", "n.csv", "--mask"], "--mask needs the cells' outlines"),
        ([*LOAD, *OUT, "--labels", "l", "--config", "c"], "--config cannot be used with --load-da"),
        ([*LOAD, *OUT, "--labels", "l", "--multiply-mask"], "--multiply-mask cannot be used with"),
        ([*LOAD, *OUT, "--labels", "l"], "there is no table load_data.csv"),
        ([*LOAD, *OUT, "--labels", "l", "--channels", "=x"], "expected --channels CHANNEL=IMAGE"),
        ([*LOAD, *OUT, "--labels", "l", "--shard", "3/2"], "expected a shard I/N with I from 1"),
        (["--deepprofiler", "p", *OUT, "--channels", "DNA"], "(the project says it itself)"),
        (["--deepprofiler", "p", *OUT], "p is no DeepProfiler project: it has no folder inputs"),
        (["--strips", "s", *OUT], "there is no table s/sc-metadata.csv"),
        (["--strips", "s", *OUT, "--labels", "l"], "--labels cannot be used with --strips"),
        (["--strips", "s", *OUT, "--dtype", "uint16"], "strips are 8 bit, and uint16 was asked"),
        (["--strips", "s", *OUT, "--channels", "A=B"], "--channels takes the names of the blocks"),
        (["--check", "nowhere"], "nowhere holds no crops: it has no store.json"),
        (["--check", "nowhere", "--um-per-px", "1"], "--um-per-px cannot be used with --check"),
        (["--check", "nowhere", *OUT], "--out cannot be used with --check"),
    ],
)
def test_options_that_do_not_fit_are_one_line(options, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["crops", *options]) == 1
    error = capsys.readouterr().err
    assert error.startswith("cpcnn: error: ")
    assert message in error
    assert len(error.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "one of the arguments --load-data --deepprofiler --strips --check is required"),
        ([*LOAD, "--strips", "s"], "not allowed with argument --load-data"),
        ([*LOAD, "--dtype", "float32"], "invalid choice: 'float32'"),
        ([*LOAD, "--crop-px", "1"], "expected a whole number from 2"),
        ([*LOAD, "--um-per-px", "0"], "expected micrometres per pixel, a number above 0, got '0'"),
    ],
)
def test_options_that_cannot_be_read_are_said(options, message, capsys):
    with pytest.raises(SystemExit) as end:
        main(["crops", *options])
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_the_help_shows_an_example(capsys):
    with pytest.raises(SystemExit) as end:
        main(["crops", "--help"])
    assert end.value.code == 0
    assert "cpcnn crops --load-data load_data.csv --labels labels" in capsys.readouterr().out
