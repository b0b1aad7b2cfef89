"""A screen on disk: complete, resumable, readable by what comes next."""

import csv
import dataclasses
import json
import math

import numpy as np
import pandas as pd
import pytest
import tifffile

from cpcnn_core.cli.main import main
from cpcnn_core.errors import CancelledError, SiteError
from cpcnn_core.io.damaged_files import write_checked
from cpcnn_core.simulation.design import ScreenDesign
from cpcnn_core.simulation.field import simulate_field
from cpcnn_core.simulation.layout import lay_out
from cpcnn_core.simulation.screen import simulate_screen
from cpcnn_core.simulation.technique import technique_of_plate, technique_of_well
from cpcnn_core.simulation.treatments import MECHANISMS

DESIGN = ScreenDesign(studies=2, plates=1, wells=2, treatments=1, shared=0, size=144, cells=4.0)


def files_in(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def screen(tmp_path_factory):
    out = tmp_path_factory.mktemp("screen")
    assert simulate_screen(DESIGN, out) == (4, 0, 0)
    return out


def test_every_field_is_written_as_it_is_made(screen):
    for row in rows_of(screen / "load_data.csv"):
        plate, well, site = (row[f"Metadata_{name}"] for name in ("Plate", "Well", "Site"))
        field = simulate_field(DESIGN, plate, well, int(site))
        for channel, plane in zip(("DNA", "RNA", "ER", "AGP", "Mito"), field.image, strict=True):
            path = screen / row[f"PathName_{channel}"] / row[f"FileName_{channel}"]
            assert np.array_equal(tifffile.imread(path), plane)
        for folder, labels in (("labels", field.cell_labels), ("nuclei", field.nucleus_labels)):
            stored = tifffile.imread(screen / folder / f"{plate}_{well}_{site}.tif")
            assert stored.dtype == np.uint16
            assert np.array_equal(stored, labels)


def test_the_images_tell_their_pixel_size(screen):
    with tifffile.TiffFile(screen / "images" / "S1P1" / "A01_1_ER.tif") as file:
        tags = file.pages[0].tags
        numerator, denominator = tags["XResolution"].value
        assert tags["ResolutionUnit"].value == tifffile.RESUNIT.CENTIMETER
        assert 1e4 * denominator / numerator == pytest.approx(DESIGN.pixel_size, rel=1e-6)


def test_the_table_of_cells_has_those_of_all_fields(screen):
    cells = pd.read_csv(screen / "cells.csv")
    counted = cells.groupby(["Metadata_Plate", "Metadata_Well", "Metadata_Site"]).size()
    for (plate, well, site), number in counted.items():
        labels = tifffile.imread(screen / "labels" / f"{plate}_{well}_{site}.tif")
        assert labels.max() == number
    for cell in cells.to_dict("records"):
        name = "_".join(str(cell[f"Metadata_{key}"]) for key in ("Plate", "Well", "Site"))
        labels = tifffile.imread(screen / "labels" / f"{name}.tif")
        assert (labels == cell["Metadata_ObjectNumber"]).sum() == cell["area_px"]
    treatments = {(row["Plate"], row["Well"]): row for row in rows_of(screen / "platemap.csv")}
    for (plate, well), of_well in cells.groupby(["Metadata_Plate", "Metadata_Well"]):
        assert set(of_well["Metadata_Treatment"]) == {treatments[plate, well]["Treatment"]}


def test_the_tables_of_truth_say_what_was_used(screen):
    wells = {(well.plate, well.name): well for well in lay_out(DESIGN)}
    rows = rows_of(screen / "truth_wells.csv")
    assert [(row["Plate"], row["Well"]) for row in rows] == list(wells)
    for row in rows:
        well = wells[row["Plate"], row["Well"]]
        assert (row["Treatment"], float(row["Dose"])) == (well.treatment, well.dose)
        for name, value in technique_of_well(DESIGN, well).items():
            assert float(row[name]) == value
    plates = rows_of(screen / "truth_plates.csv")
    assert [(row["Study"], row["Plate"]) for row in plates] == [("S1", "S1P1"), ("S2", "S2P1")]
    for row in plates:
        expected = technique_of_plate(DESIGN, wells[row["Plate"], "A01"])
        assert {name: float(row[name]) for name in expected} == expected
    treatments = rows_of(screen / "treatments.csv")
    assert [row["Treatment"] for row in treatments] == ["T001", "T002"]
    for row in treatments:
        moved = MECHANISMS[row["Mechanism"]]
        largest = max(moved, key=lambda name: abs(moved[name]))
        ratio = float(row[largest]) / (float(row["Strength"]) * moved[largest])
        assert ratio == pytest.approx(1, abs=0.4)
    parameters = rows_of(screen / "parameters.csv")
    assert {row["name"] for row in parameters} == set(treatments[0]) - {
        "Treatment",
        "Mechanism",
        "Family",
        "Strength",
        "HalfDose",
        "AffectedFraction",
    }
    assert {(row["Family"], row["AffectedFraction"]) for row in treatments} == {
        ("classical", "1.0")
    }


def test_the_background_in_the_images_is_that_of_the_truth(tmp_path):
    design = dataclasses.replace(DESIGN, cells=0.01, effect_strength=0.0)
    simulate_screen(design, tmp_path)
    for row in rows_of(tmp_path / "truth_wells.csv"):
        for channel in ("DNA", "ER", "Mito"):
            path = tmp_path / "images" / row["Plate"] / f"{row['Well']}_1_{channel}.tif"
            plane = tifffile.imread(path).astype(float) - 100
            rows, cols = np.meshgrid(*[np.linspace(-0.5, 0.5, 144)] * 2, indexing="ij")
            place = float(row["vignetting_row"]), float(row["vignetting_column"])
            lost = float(row["vignetting"]) * np.hypot(rows - place[0], cols - place[1]) ** 2 / 0.5
            found = (plane / (1 - lost)).mean()
            assert found == pytest.approx(float(row[f"background_{channel}"]), rel=0.02)


def test_a_stopped_screen_goes_on_to_the_same_bytes(screen, tmp_path):
    done = []
    with pytest.raises(CancelledError):
        simulate_screen(DESIGN, tmp_path, lambda *seen: done.append(seen), lambda: len(done) == 2)
    assert done == [(1, 4), (2, 4)]
    assert not (tmp_path / "cells.csv").exists()
    # A killed process may leave an image alone, and an incomplete one.
    (tmp_path / "images" / "S1P1" / "A02_1_ER.tif").unlink()
    part = tmp_path / "images" / "S1P1" / ".other-1.part.A02_1_ER.tif"
    part.write_bytes(b"half")
    assert simulate_screen(DESIGN, tmp_path) == (3, 1, 0)
    assert files_in(tmp_path) == files_in(screen)


def test_what_is_complete_is_left_alone(screen):
    before = {path: path.stat().st_mtime_ns for path in (screen / "images").rglob("*.tif")}
    assert simulate_screen(DESIGN, screen) == (0, 4, 0)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_shards_together_are_the_screen(screen, tmp_path):
    assert simulate_screen(DESIGN, tmp_path, shard=(2, 3)) == (1, 0, 3)
    assert simulate_screen(DESIGN, tmp_path, shard=(3, 3)) == (1, 0, 2)
    assert not (tmp_path / "cells.csv").exists()
    assert simulate_screen(DESIGN, tmp_path, shard=(1, 3)) == (2, 0, 0)
    assert files_in(tmp_path) == files_in(screen)


def test_another_design_is_refused_and_its_difference_named(screen):
    before = files_in(screen)
    other = dataclasses.replace(DESIGN, seed=5, size=150)
    with pytest.raises(SiteError, match="seed is 1 there and 5 here, size is 144 there and 150"):
        simulate_screen(other, screen)
    assert files_in(screen) == before


def test_a_folder_with_other_tables_is_not_written_to(tmp_path):
    (tmp_path / "load_data.csv").write_text("my own")
    with pytest.raises(SiteError, match=r"has a load_data.csv but no design.json"):
        simulate_screen(DESIGN, tmp_path)
    assert files_in(tmp_path) == {"load_data.csv": b"my own"}


def test_a_screen_from_before_there_was_a_choice_of_causes_goes_on(tmp_path):
    simulate_screen(DESIGN, tmp_path, shard=(1, 4))
    path = tmp_path / "design.json"
    design = {name: value for name, value in DESIGN.values().items() if name != "causes"}
    write_checked(path, {"sha256": "of then", "design": design}, indent=2)
    assert simulate_screen(DESIGN, tmp_path, shard=(1, 4)) == (0, 1, 3)
    other = dataclasses.replace(DESIGN, causes=("textures",))
    with pytest.raises(SiteError, match=r"causes is \['classical'\] there and \['textures'\] here"):
        simulate_screen(other, tmp_path)


def test_a_damaged_design_is_named(tmp_path):
    (tmp_path / "design.json").write_text('{"sha256": ')
    with pytest.raises(SiteError, match=r"design.json is damaged"):
        simulate_screen(DESIGN, tmp_path)


def test_the_design_is_written_with_its_hash(screen):
    stored = json.loads((screen / "design.json").read_text())
    assert stored["sha256"] == DESIGN.sha256
    values = {name: stored["design"][name] for name in dataclasses.asdict(DESIGN)}
    assert ScreenDesign(**values) == DESIGN


def test_embed_reads_it_at_once(screen, tmp_path, capsys):
    table, labels = str(screen / "load_data.csv"), str(screen / "nuclei")
    arguments = ["embed", "--load-data", table, "--labels", labels, "--out", str(tmp_path)]
    assert main([*arguments, "--model", "untrained-efficientnet-b0", "--engine", "torch"]) == 0
    assert "4 embedded" in capsys.readouterr().out
    truth = pd.read_csv(screen / "cells.csv", dtype={"Metadata_Site": str})
    keys = ["Metadata_Plate", "Metadata_Well", "Metadata_Site", "Metadata_ObjectNumber"]
    embedded = pd.concat(
        [pd.read_parquet(tmp_path / "plates" / f"S{study}P1.parquet") for study in (1, 2)]
    )
    joined = embedded.merge(truth, on=keys, validate="one_to_one")
    assert len(joined) == len(embedded) == len(truth) > 4
    # One nucleus's middle is about where its cell was put.
    apart = np.hypot(
        joined["Metadata_Location_Center_Y"].astype(float) - joined["row"],
        joined["Metadata_Location_Center_X"].astype(float) - joined["col"],
    )
    assert np.median(apart) < math.sqrt(joined["nucleus_area_px"].median())
