"""The module's text in a pipeline: in the right place, and nothing else changed."""

import re
from pathlib import Path

import pytest

from cpcnn_core.demo.run import add_module, module_text, widen_corner
from cpcnn_core.errors import HostError

PIPELINE = """CellProfiler Pipeline: http://www.cellprofiler.org
Version:5
DateRevision:428
ModuleCount:4
HasImagePlaneDetails:False

Images:[module_num:1|svn_version:'Unknown'|enabled:True]
    :
    Filter images?:Images only

Crop:[module_num:2|svn_version:'Unknown'|enabled:True]
    Apply which cycle's cropping pattern?:First
    Left and right rectangle positions:501,700
    Top and bottom rectangle positions:251,450

ExportToSpreadsheet:[module_num:3|svn_version:'Unknown'|enabled:True]
    Select the column delimiter:Comma (",")

ExportToDatabase:[module_num:4|svn_version:'Unknown'|enabled:True]
    Database type:SQLite
"""
IMAGES = {"Blue": "CropBlue", "Green": "CropGreen", "Red": "CropRed"}


def modules(text):
    return re.findall(r"^(\w+):\[module_num:(\d+)\|", text, re.MULTILINE)


def test_the_module_comes_before_the_first_export():
    assert modules(add_module(PIPELINE, Path("m.safetensors"), IMAGES)) == [
        ("Images", "1"),
        ("Crop", "2"),
        ("MeasureCellPaintingCNN", "3"),
        ("ExportToSpreadsheet", "4"),
        ("ExportToDatabase", "5"),
    ]


def test_the_count_is_that_of_the_modules():
    new = add_module(PIPELINE, Path("m.safetensors"), IMAGES)
    assert re.search(r"^ModuleCount:(\d+)$", new, re.MULTILINE).group(1) == "5"


def test_everything_else_stays_as_it_was():
    new = add_module(PIPELINE, Path("m.safetensors"), IMAGES)
    without = re.sub(r"^MeasureCellPaintingCNN:.*\n(    .*\n)+\n", "", new, flags=re.MULTILINE)
    expected = PIPELINE.replace("ModuleCount:4", "ModuleCount:5")
    expected = expected.replace("num:4|", "num:5|").replace("num:3|", "num:4|")
    assert without == expected


def test_a_pipeline_without_an_export_is_an_error():
    without = PIPELINE.replace("ExportToSpreadsheet", "SaveImages")
    with pytest.raises(HostError, match="has no ExportToSpreadsheet"):
        add_module(without, Path("m.safetensors"), IMAGES)


def test_the_settings_name_model_objects_and_images(tmp_path):
    text = module_text(3, tmp_path / "my.safetensors", IMAGES, "Cells", "Nuclei")
    settings = [line.strip().split(":", 1) for line in text.splitlines()[1:]]
    assert ["Select the objects to measure", "Cells"] in settings
    assert ["Measure around the centre of", "Nuclei"] in settings
    assert ["Model file location", f"Elsewhere...|{tmp_path}".replace("\\", "\\\\")] in settings
    assert ["Model file name", "my.safetensors"] in settings
    assert settings[7:] == [
        ["Channel count", "3"],
        ["Channel of the model", "Blue"],
        ["Select the Blue image", "CropBlue"],
        ["Channel of the model", "Green"],
        ["Select the Green image", "CropGreen"],
        ["Channel of the model", "Red"],
        ["Select the Red image", "CropRed"],
    ]


def test_a_relative_model_file_is_named_by_its_whole_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = module_text(1, Path("models/my.safetensors"), {}, "Cells", "Nuclei")
    expected = str(tmp_path / "models").replace("\\", "\\\\")
    assert f"    Model file location:Elsewhere...|{expected}\n" in text


def test_the_corner_becomes_700_pixels_wide_and_high():
    new = widen_corner(PIPELINE)
    found = re.findall(r"rectangle positions:(\d+),(\d+)", new)
    assert [(int(low), int(high)) for low, high in found] == [(101, 800), (101, 800)]
    changed = ("rectangle positions", "cropping pattern?", "Filter images?")
    kept = [line for line in new.splitlines() if not any(text in line for text in changed)]
    assert kept == [line for line in PIPELINE.splitlines() if not any(t in line for t in changed)]
    assert "cycle's cropping pattern?:Every" in new
    assert "cycle's cropping pattern?:First" not in new
    # CellProfiler's own filter drops images below ~/.local, where the demo's are.
    assert "Filter images?:No filtering" in new


def test_another_pipeline_is_named():
    with pytest.raises(HostError, match=r"is not the one of 4\.2\.8 \('Top and bottom"):
        widen_corner(PIPELINE.replace("251,450", "1,2"))
