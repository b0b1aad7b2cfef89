"""``cpcnn embed`` on images of another scale than the model was trained at."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cpcnn_core import Field, embed_field, load_model
from cpcnn_core.cli.main import main
from cpcnn_core.errors import ScaleWarning
from cpcnn_core.io.deepprofiler_npz import read_site
from cpcnn_core.screen.job import Job, open_job
from cpcnn_core.screen.screens import CellProfilerObjects, LoadDataScreen

from ...small_model import small_model
from .conftest import AS_STORED, CHANNELS, command_for
from .test_embed import log_of, states

# The entries of a site's provenance in files that were written before there were scales.
OLD_ENTRIES = {
    *("model", "model_sha256", "channels", "layer", "crop_px", "normalizer", "mask_neighbors"),
    *("precision", "cpcnn"),
}
SITE = Path("features") / "P1" / "A01" / "1.npz"
NOTICE = (
    "seeded was trained at 0.65 µm per pixel, the images have 1.3: they are resampled by 2 before "
    "cells are cut"
)


@pytest.fixture(scope="module")
def seeded():
    """A model whose card says 0.65 µm per pixel, with crops that fit the small images."""
    return small_model(name="seeded", um_per_px=0.65, crop_px=64, input_px=64)


@pytest.fixture(scope="module")
def command(screen, seeded):
    return command_for(screen, seeded)


@pytest.fixture(scope="module")
def resampled(command, tmp_path_factory):
    out = tmp_path_factory.mktemp("resampled")
    assert main([*command, "--um-per-px", "1.3", "--out", str(out)]) == 0
    return out


def start_of(out):
    return [line for line in log_of(out) if line["event"] == "start"][-1]


def field_of(screen, number, **options):
    """Site `number` of the screen, read by other means."""
    row = pd.read_csv(screen / "load_data.csv", dtype=str).iloc[number - 1]
    planes = [np.asarray(Image.open(screen / row[f"FileName_Orig{c}"])) for c in CHANNELS]
    objects = pd.read_csv(screen / "Nuclei.csv", float_precision="round_trip")
    mine = objects[objects["ImageNumber"] == number]
    centers = mine[["Location_Center_Y", "Location_Center_X"]].to_numpy()
    return Field(np.stack(planes), CHANNELS, centers, **options)


def test_every_cell_is_embedded_at_the_models_scale(screen, seeded, resampled):
    model = load_model(seeded, device="cpu", engine="torch")
    for number, place in ((1, "P1/A01/1"), (4, "P2/A02/2")):
        found = read_site(resampled / "features" / f"{place}.npz")
        field = field_of(screen, number, um_per_px=1.3)
        with pytest.warns(ScaleWarning):
            expected = embed_field(model, field)
        np.testing.assert_array_equal(found.features, expected.features)
        table = expected.metadata
        names = [f"Metadata_Location_Center_{axis}" for axis in "XY"]
        np.testing.assert_array_equal(found.locations, table[names])
        np.testing.assert_array_equal(found.touches_border, table["Metadata_CropTouchesBorder"])
        field.um_per_px = None
        moved = np.abs(found.features - embed_field(model, field).features)
        assert moved.max() > 0.1 * np.abs(found.features).max()


def test_crops_touch_the_border_at_the_models_scale(screen, command, resampled, tmp_path):
    assert main([*command, "--out", str(tmp_path)]) == 0
    inside = {}
    for out in (tmp_path, resampled):
        tables = [pd.read_parquet(out / "plates" / f"{plate}.parquet") for plate in ("P1", "P2")]
        table = pd.concat(tables)
        # 64 of the model's pixels are 64 of an image as it is, 32 of one resampled by two.
        half = 32 if out is tmp_path else 16
        place = table[["Metadata_Location_Center_X", "Metadata_Location_Center_Y"]].to_numpy()
        far = ((place > half + 1) & (place < 80 - half - 1)).all(axis=1)
        near = ((place < half - 1) | (place > 80 - half + 1)).any(axis=1)
        touches = table["Metadata_CropTouchesBorder"].to_numpy()
        assert not touches[far].any()
        assert touches[near].all()
        inside[out] = (~touches).sum()
    assert inside[resampled] > inside[tmp_path]


def test_it_is_said_once_and_in_the_log(command, tmp_path, capsys):
    assert main([*command, "--um-per-px", "1.3", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert (said.out + said.err).count(NOTICE) == 1
    assert said.err.startswith(NOTICE + "\n")
    start = start_of(tmp_path)
    assert start["notices"] == [NOTICE, AS_STORED]
    assert (start["um_per_px"], start["zoom"]) == ("1.3", "2.0")
    assert {line["reason"] for line in log_of(tmp_path) if line["event"] == "site"} == {""}


def test_files_and_plates_say_the_scale(resampled):
    own = read_site(resampled / SITE).provenance
    assert set(own) == OLD_ENTRIES | {"um_per_px", "zoom"}
    assert (own["um_per_px"], own["zoom"]) == ("1.3", "2.0")
    schema = pq.ParquetFile(resampled / "plates" / "P1.parquet").schema_arrow
    whose = {"weights": "made by cpcnn, not read from a file"}
    assert json.loads(schema.metadata[b"cpcnn"]) == own | whose


def test_another_scale_is_another_setting(command, resampled, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(resampled, out)
    assert main([*command, "--um-per-px", "1.30", "--out", str(out)]) == 0
    assert states(out) == ["already done"] * 8
    assert main([*command, "--um-per-px", "0.65", "--out", str(out)]) == 0
    assert states(out) == ["embedded"] * 8
    own = read_site(out / SITE).provenance
    assert (own["um_per_px"], own["zoom"]) == ("0.65", "1.0")
    assert start_of(out)["notices"] == [AS_STORED]
    assert main([*command, "--out", str(out)]) == 0
    assert states(out) == ["embedded"] * 8


def test_without_a_scale_files_are_as_they_were(screen, embedded, tmp_path, capsys):
    assert set(read_site(embedded / SITE).provenance) == OLD_ENTRIES
    assert not {"um_per_px", "zoom"} & set(start_of(embedded))
    assert start_of(embedded)["notices"] == [AS_STORED]
    # A model of unknown scale takes images of any, and the user hears of it.
    assert main([*command_for(screen), "--um-per-px", "1.3", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().err.splitlines()
    assert said[0] == ("the scale at which small was trained is unknown: images are not resampled")
    assert start_of(tmp_path)["notices"] == [said[0], AS_STORED]
    found, expected = read_site(tmp_path / SITE), read_site(embedded / SITE)
    np.testing.assert_array_equal(found.features, expected.features)
    assert found.provenance == expected.provenance | {"um_per_px": "1.3", "zoom": "1.0"}


def test_a_model_with_a_scale_asks_for_that_of_the_images(command, tmp_path, capsys):
    assert main([*command, "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().err.splitlines()[0] == (
        "seeded was trained at 0.65 µm per pixel, and the scale of 8 of 8 sites is unknown: "
        "they are not resampled; give it with --um-per-px"
    )


def with_column(folder, values):
    """Give the screen's table a column of scales; return the command's part that names it."""
    table = pd.read_csv(folder / "load_data.csv", dtype=str)
    table["Metadata_UmPerPx"] = values
    table.to_csv(folder / "load_data.csv", index=False)
    return ["--load-data", str(folder / "load_data.csv"), "--objects", str(folder / "Nuclei.csv")]


def test_every_site_may_have_its_own_scale(own_screen, seeded, resampled, tmp_path, capsys):
    given = with_column(own_screen, ["1.3", "", "0.65", "0.65", "1.3", "1.3", "1.3", "1.3"])
    command = ["embed", *given, "--model", str(seeded), "--device", "cpu", "--engine", "torch"]
    out = tmp_path / "out"
    assert main([*command, "--out", str(out)]) == 0
    said = capsys.readouterr().err.splitlines()
    assert said[0] == NOTICE
    assert "the scale of 1 of 8 sites is unknown" in said[1]
    assert start_of(out)["notices"] == [*said[:2], AS_STORED]
    model = load_model(seeded, device="cpu", engine="torch")
    for number, place, scale, zoom in (
        (1, "P1/A01/1", "1.3", "2.0"),
        (2, "P1/A01/2", None, None),
        (3, "P2/A02/1", "0.65", "1.0"),
    ):
        found = read_site(out / "features" / f"{place}.npz")
        assert (found.provenance.get("um_per_px"), found.provenance.get("zoom")) == (scale, zoom)
        assert found.metadata["UmPerPx"] == (scale or "")
        if zoom != "2.0":
            expected = embed_field(model, field_of(own_screen, number)).features
        else:
            expected = read_site(resampled / "features" / f"{place}.npz").features
        np.testing.assert_array_equal(found.features, expected)
    schema = pq.ParquetFile(out / "plates" / "P2.parquet").schema_arrow
    own = json.loads(schema.metadata[b"cpcnn"])
    assert (own["um_per_px"], own["zoom"]) == ("0.65,1.3", "1.0,2.0")
    table = pd.read_parquet(out / "plates" / "P2.parquet")
    assert table["Metadata_UmPerPx"].tolist() == ["0.65"] * 6 + ["1.3"] * 6
    assert main([*command, "--out", str(out)]) == 0
    assert states(out) == ["already done"] * 8
    # One row corrected: this site is made again and no other.
    with_column(own_screen, ["1.3", "1.3", "0.65", "0.65", "1.3", "1.3", "1.3", "1.3"])
    assert main([*command, "--out", str(out)]) == 0
    assert states(out) == ["already done", "embedded", *["already done"] * 6]


@pytest.mark.parametrize(
    ("column", "options", "message"),
    [
        ("0.65", ["--um-per-px", "1.3"], "P1/A01/1 has Metadata_UmPerPx 0.65, and 1.3 was given"),
        ("wide", [], "site P1/A01/1 has Metadata_UmPerPx 'wide'; expected micrometres per pixel"),
        ("0", [], "site P1/A01/1 has Metadata_UmPerPx '0'; expected micrometres per pixel"),
        ("", ["--um-per-px", "650"], "within a factor of 20 of the model's 0.65 µm per pixel"),
        ("650", [], "within a factor of 20 of the model's 0.65 µm per pixel, got 650"),
    ],
)
def test_scales_that_cannot_be_are_one_line_before_the_work(
    own_screen, seeded, tmp_path, capsys, column, options, message
):
    given = with_column(own_screen, column)
    out = tmp_path / "out"
    command = ["embed", *given, "--model", str(seeded), "--device", "cpu", *options]
    assert main([*command, "--out", str(out)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("cpcnn: error: ")
    assert message in error
    assert len(error.splitlines()) == 1
    assert not out.exists()


def test_the_option_speaks_for_rows_that_say_nothing_or_the_same(own_screen, seeded):
    with_column(own_screen, ["1.3", "", " 1.30", "", "", "", "", ""])
    cells = CellProfilerObjects(str(own_screen / "Nuclei.csv"))
    screen = LoadDataScreen(str(own_screen / "load_data.csv"), cells, um_per_px=1.3)
    opened = open_job(Job(screen, "out", model=str(seeded), device="cpu"))
    assert [site.um_per_px for site in opened.sites] == [1.3] * 8
    assert opened.settings.um_per_px == 1.3


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "wide"])
def test_an_option_that_is_no_scale_is_said(command, capsys, value):
    with pytest.raises(SystemExit) as end:
        main([*command, f"--um-per-px={value}", "--out", "out"])
    assert end.value.code == 2
    message = f"expected micrometres per pixel, a number above 0, got '{value}'"
    assert message in capsys.readouterr().err


def test_a_deepprofiler_project_may_be_given_a_scale(project, seeded, tmp_path):
    command = ["embed", "--deepprofiler", str(project), "--model", str(seeded)]
    command += ["--device", "cpu", "--um-per-px", "0.325", "--out", str(tmp_path / "out")]
    assert main(command) == 0
    own = read_site(tmp_path / "out" / SITE).provenance
    assert (own["um_per_px"], own["zoom"]) == ("0.325", "0.5")
