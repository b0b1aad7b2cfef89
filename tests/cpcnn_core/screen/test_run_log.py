"""Ten thousand sites with the same fault are one line; different faults stay apart."""

import json
import time

import pandas as pd
import pytest

from cpcnn_core.cli.main import main
from cpcnn_core.screen.reports import SiteReport
from cpcnn_core.screen.run_log import SHOWN, check_lines, kind_of, summary, told_together

from ...small_model import small_model

WELLS = [f"{row}{column:02d}" for row in "ABCDEFGHIJKLMNOP" for column in range(1, 25)]
SITES = [f"plate {n % 7}/{WELLS[n % 384]}/{n // 384 + 1}" for n in range(10_000)]


@pytest.mark.parametrize(
    "reason",
    [
        "there is no image file /data/{p}/{w}_s{s}_DNA.tif",
        "there is no image file D:\\screens\\{p}\\{w}_s{s}_DNA.tif; is its disk there?",
        "site {p}/{w}/{s} has no label image to mask neighbouring cells with",
        "r{s}c02f{s}p01-ch1.tiff is damaged (read {s} of 2000{s} bytes)",
        "an object has no centre: {s}, {s}1, {s}2 and {s} more",
        "image 1080x10{s}0 px, labels 520 x 69{s} px of the well {w} on plate {p}",
        "checksum 00ab{s}cd4ef0 differs in the file '{w} {s}.npz'",
        "OSError: [Errno 28] No space left on device: '/out/features/{p}/{w}/{s}.npz'",
    ],
)
def test_names_numbers_and_files_make_no_difference(reason):
    faults = []
    for site in SITES[:500]:
        plate, well, number = site.split("/")
        faults.append((site, reason.format(p=plate, w=well, s=number)))
    (line,) = told_together(faults, "sites", "see there")
    assert line == f"  500 sites like {faults[0][0]}: {faults[0][1]} (see there)"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("there is no image of channel DNA", "there is no image of channel ER"),
        ("there is no image of channel Ch1", "there is no image of channel Ch2"),
        ("there is no image file /a.tif", "the image file /a.tif is empty"),
        ("PermissionError: /a", "FileNotFoundError: /a"),
        ("no objects", "no locations"),
    ],
)
def test_other_faults_are_others(one, other):
    assert kind_of("P1/A01/1", one) != kind_of("P1/A01/1", other)
    lines = told_together([("P1/A01/1", one), ("P1/A01/2", other)], "sites", "")
    assert lines == [f"  P1/A01/1: {one}", f"  P1/A01/2: {other}"]


def test_the_most_frequent_come_first_and_the_rest_is_counted():
    kinds = ["".join(chr(97 + int(digit)) for digit in f"{n:03d}") for n in range(200)]
    faults = [(site, kinds[n % 200]) for n, site in enumerate(SITES)]
    faults += [("P9/A01/1", "frequent")] * 60
    lines = told_together(faults, "sites", "all are in the log")
    assert lines[0] == "  60 sites like P9/A01/1: frequent (all are in the log)"
    assert len(lines) == SHOWN + 1
    rest = 10_060 - 60 - 19 * 50
    assert lines[-1] == f"  and {rest} more sites, with 181 other reasons (all are in the log)"


def test_a_reason_writes_no_lines_and_is_not_endless():
    faults = [("P1\n/A01/1", "bad\x1b[2J\ncpcnn: error: x " + "a" * 10**6)]
    (line,) = told_together(faults, "sites", "")
    assert line.startswith(r"  P1\n/A01/1: bad\x1b[2J\ncpcnn: error: x aaa")
    assert len(line) < 700


@pytest.mark.parametrize("state", ["failed", "embedded"])
def test_ten_thousand_sites_are_told_at_once(tmp_path, state):
    said = [f"no file /{site}.tif at line {n}" for n, site in enumerate(SITES)]
    reports = [SiteReport(site, state, 1, why) for site, why in zip(SITES, said, strict=True)]
    started = time.process_time()
    lines = summary(reports, 1.0, tmp_path / "embed.jsonl")
    assert time.process_time() - started < 3
    assert len(lines) == 2
    assert lines[1].startswith("  10000 sites like plate 0/A01/1: ")
    assert lines[1].endswith(f" (all are in {tmp_path / 'embed.jsonl'})")


def test_a_check_tells_them_together_too():
    reports = [SiteReport(site, "failed", 0, f"cannot read /{site}.tif") for site in SITES]
    head, line = check_lines(reports)
    assert head == "10000 sites: 10000 cannot be read"
    assert line == (
        "  10000 sites like plate 0/A01/1: cannot read /plate 0/A01/1.tif (--verbose or --log FILE "
        "names all)"
    )


@pytest.mark.parametrize("verb", ["embed", "crops"])
def test_a_screen_without_its_channels_folder(tmp_path, capsys, verb):
    """The whole program: one line on the terminal, every site in the logs."""
    sites = [site.split("/") for site in SITES[:400]]
    table = pd.DataFrame(sites, columns=["Metadata_Plate", "Metadata_Well", "Metadata_Site"])
    table["ImageNumber"] = table.index + 1
    for channel in ("DNA", "RNA", "ER", "AGP", "Mito"):
        table[f"FileName_{channel}"] = table["Metadata_Well"] + f"_{channel}.tif"
        table[f"PathName_{channel}"] = str(tmp_path / channel)
    table.to_csv(tmp_path / "load_data.csv", index=False)
    cells = table[["ImageNumber"]].assign(ObjectNumber=1)
    cells["Location_Center_X"] = cells["Location_Center_Y"] = 50.0
    cells.to_csv(tmp_path / "Nuclei.csv", index=False)
    out, log = tmp_path / "out", tmp_path / "run.log"
    command = [verb, "--load-data", str(tmp_path / "load_data.csv"), "--log", str(log)]
    command += ["--objects", str(tmp_path / "Nuclei.csv"), "--out", str(out)]
    if verb == "embed":
        command += ["--model", small_model(), "--device", "cpu"]
    assert main(command) == 1
    said = capsys.readouterr()
    head, line = said.out.splitlines()
    assert head.startswith("400 sites; 400 failed; 0 cells")
    assert line == (
        f"  400 sites like plate 0/A01/1: failed there is no image file {tmp_path}/DNA/A01_DNA.tif "
        f"(all are in {out / f'{verb}.jsonl'})"
    )
    assert said.err.count("\n") < 5
    lines = [json.loads(line) for line in (out / f"{verb}.jsonl").read_text().splitlines()]
    assert sum(line["event"] == "site" for line in lines) == 400
    warned = [line for line in log.read_text().splitlines() if " WARNING " in line]
    assert len(warned) == 400
    assert "plate 0/A01/1: failed; there is no image file" in warned[0]
