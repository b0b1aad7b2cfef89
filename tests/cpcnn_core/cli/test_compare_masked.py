"""``cpcnn compare --masked-too``: crops with and without neighbouring cells, of real images."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from scipy import ndimage
from skimage.filters import threshold_otsu

from cpcnn_core.cli.main import main
from cpcnn_core.models.opening import untrained_efficientnet_b0
from cpcnn_core.models.weights import save_model
from cpcnn_core.schema.columns import OBJECT_NUMBER

REAL = Path(__file__).parents[4] / "shared" / "data" / "images" / "sbs_translocation"
CONTROLS = "Treatment == 'untreated'"
SIDE, CROP_PX = 160, 32


@pytest.fixture(scope="module")
def screen(tmp_path_factory):
    """A corner of every image of the translocation plate, nuclei by a threshold, and a model."""
    if not REAL.is_dir():
        pytest.skip("the images are not here")
    folder = tmp_path_factory.mktemp("translocation")
    (folder / "labels").mkdir()
    index, rows = pd.read_csv(REAL / "index.csv", dtype=str), []
    for plate, well, site, treatment, *files in index[
        ["plate", "well", "site", "treatment", "GFP", "DNA"]
    ].itertuples(index=False):
        row = {"Metadata_Plate": plate, "Metadata_Well": well, "Metadata_Site": site}
        row["Metadata_Treatment"] = treatment
        for channel, file in zip(("GFP", "DNA"), files, strict=True):
            plane = tifffile.imread(REAL / file)[:SIDE, :SIDE]
            tifffile.imwrite(folder / file, plane)
            row |= {f"FileName_{channel}": file, f"PathName_{channel}": str(folder)}
        smooth = ndimage.gaussian_filter(plane.astype(float), 2)
        labels, _ = ndimage.label(smooth > threshold_otsu(smooth))
        tifffile.imwrite(folder / "labels" / f"{plate}_{well}_{site}.tif", labels.astype(np.uint16))
        rows.append(row)
    pd.DataFrame(rows).to_csv(folder / "load_data.csv", index=False)
    card, weights = untrained_efficientnet_b0(("DNA", "GFP"))
    save_model(folder / "tiny.safetensors", dataclasses.replace(card, crop_px=CROP_PX), weights)
    return folder


def of_screen(screen):
    tables = ("--load-data", str(screen / "load_data.csv"), "--labels", str(screen / "labels"))
    return [*tables, "--channels", "DNA=DNA", "GFP=GFP"]


def command(screen, out):
    model = str(screen / "tiny.safetensors")
    question = ["--controls", CONTROLS, "--out", str(out)]
    return ["compare", model, *of_screen(screen), *question]


def cells_of(folder):
    (path,) = (folder / "plates").iterdir()
    cells = pd.read_parquet(path)
    return cells.set_index(["Metadata_Well", OBJECT_NUMBER]).sort_index()


def without_background(screen, tmp_path):
    """The same screen, with nothing but zeros outside the outlines."""
    blank = shutil.copytree(screen, tmp_path / "blank")
    for path in blank.glob("Channel*.tif"):
        well = "".join(path.stem.split("-")[2:])
        labels = tifffile.imread(blank / "labels" / f"SBS1_{well}_1.tif")
        tifffile.imwrite(path, np.where(labels, tifffile.imread(path), 0))
    table = blank / "load_data.csv"
    table.write_text(table.read_text().replace(str(screen), str(blank)))
    return blank


def test_both_rows_are_those_of_embed_with_and_without_a_mask(screen, tmp_path):
    out = tmp_path / "out"
    assert main([*command(screen, out), "--masked-too"]) == 0
    table = pd.read_csv(out / "compare.csv")
    names = ["tiny", "tiny", "tiny-masked", "tiny-masked", "number of cells"]
    assert table["model"].tolist() == names
    assert len(set(table["cells"])) == 1
    assert not table["reason"].notna().any()
    plain, masked = (cells_of(out / "models" / name) for name in ("tiny", "tiny-masked"))

    def embed(screen, name, *more):
        typed = ["--model", str(screen / "tiny.safetensors"), "--out", str(tmp_path / name)]
        assert main(["embed", *of_screen(screen), *typed, *more]) == 0
        return cells_of(tmp_path / name)

    pd.testing.assert_frame_equal(plain, embed(screen, "plain"))
    pd.testing.assert_frame_equal(masked, embed(screen, "masked", "--mask"))
    # What is outside the outlines is all that tells the rows apart.
    blank = without_background(screen, tmp_path)
    pd.testing.assert_frame_equal(masked, embed(blank, "blank-masked", "--mask"))
    features = [name for name in plain.columns if not name.startswith("Metadata_")]
    assert (plain[features] != masked[features]).any(axis=1).all()
    page = (out / "compare.html").read_text()
    assert "tiny-masked" in page


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--mask"], "--masked-too compares masked crops with others: leave --mask out"),
        (["tiny-masked=MODEL"], "tiny-masked is what tiny with masked crops is called; rename"),
    ],
)
def test_what_does_not_go_together_is_said_before_the_work(screen, tmp_path, capsys, more, said):
    shutil.copy(screen / "tiny.safetensors", tmp_path / "other.safetensors")
    more = [word.replace("MODEL", str(tmp_path / "other.safetensors")) for word in more]
    first, *rest = command(screen, tmp_path / "out")
    words = [first, *more, *rest] if "=" in more[0] else [first, *rest, *more]
    assert main([*words, "--masked-too"]) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_masks_need_outlines(screen, tmp_path, capsys):
    words = [
        "--locations" if word == "--labels" else word for word in command(screen, tmp_path / "out")
    ]
    assert main([*words, "--masked-too"]) == 1
    said = "--masked-too needs the cells' outlines: give --load-data and --labels DIR"
    assert said in capsys.readouterr().err
