"""``cpcnn prepare``: compressed images are those of the originals there are now."""

import json
import os
import shutil
import time

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from cpcnn_core.cli.main import main

from ...opened_files import opened_files
from ...small_model import small_model
from .conftest import PROJECT

UNRECORDED = "nothing says what they were made from"


@pytest.fixture
def project(tmp_path):
    """A project whose images are compressed: four sites of plate P1, two channels' worth read."""
    root = tmp_path / "project"
    shutil.copytree(PROJECT, root)
    path = root / "inputs" / "config" / "profile.json"
    path.write_text(path.read_text().replace('"implement": false', '"implement": true'))
    assert main(["prepare", str(root)]) == 0
    let_originals_be_old(root)
    return root


def let_originals_be_old(root):
    for path in (root / "outputs" / "compressed" / "made_from").rglob("*.json"):
        os.utime(path, (time.time() + 3,) * 2)


def originals(root):
    return sorted((root / "inputs" / "images").rglob("*.tif"))


def compressed(root):
    images = root / "outputs" / "compressed" / "images"
    return {path.relative_to(images): path for path in sorted(images.rglob("*.png"))}


def pixels(root):
    return {name: np.asarray(Image.open(path)).tobytes() for name, path in compressed(root).items()}


def fresh_pixels(root, tmp_path):
    copy = tmp_path / f"fresh {time.time_ns()}"
    shutil.copytree(root, copy)
    shutil.rmtree(copy / "outputs" / "compressed")
    assert main(["prepare", str(copy)]) == 0
    return pixels(copy)


def prepare(root, capsys, *more, code=0):
    capsys.readouterr()
    assert main(["prepare", str(root), *more]) == code
    return capsys.readouterr().out.splitlines()


def everything(folder):
    return {
        path: (path.stat().st_mtime_ns, path.is_file() and path.read_bytes())
        for path in [folder, *folder.rglob("*")]
    }


def test_one_original_that_changed_means_its_plates_channel_anew(project, tmp_path, capsys):
    path = next(path for path in originals(project) if "s1_DNA" in path.name)
    tifffile.imwrite(path, tifffile.imread(path)[::-1] // 2)
    times = {name: file.stat().st_mtime_ns for name, file in compressed(project).items()}
    said = prepare(project, capsys)
    assert said[0] == (
        "1 channel of a plate is made again: 1 because the pixels of 1 of its 4 images changed "
        "(P1 DNA)"
    )
    assert said[1].startswith("4 images were made; all are in ")
    written = {
        name.name
        for name, file in compressed(project).items()
        if times[name] != file.stat().st_mtime_ns
    }
    assert written == {name.name for name in times if "DNA" in name.name}
    assert pixels(project) == fresh_pixels(project, tmp_path)
    assert prepare(project, capsys)[0].startswith("0 images were made")


def test_touched_and_moved_originals_are_the_same(project, tmp_path, capsys):
    before = pixels(project)
    for path in originals(project):
        os.utime(path)
    assert prepare(project, capsys)[0].startswith("0 images were made")
    moved = tmp_path / "moved"
    shutil.copytree(project, moved, copy_function=shutil.copyfile)
    shutil.rmtree(project)
    assert prepare(moved, capsys)[0].startswith("0 images were made")
    let_originals_be_old(moved)
    with opened_files() as opened:
        assert prepare(moved, capsys)[0].startswith("0 images were made")
    assert not [name for name in opened if name.endswith((".tif", ".png"))]
    assert pixels(moved) == before


def test_another_index_and_other_settings_mean_all_anew(project, tmp_path, capsys):
    index = project / "inputs" / "metadata" / "index.csv"
    table = pd.read_csv(index, dtype=str, keep_default_na=False)
    table.iloc[:-1].to_csv(index, index=False)
    (why, count) = prepare(project, capsys)
    assert "because the plate has other images (P1 DNA, P1 RNA, P1 ER, P1 AGP, P1 Mito)" in why
    assert count.startswith(f"{5 * (len(table) - 1)} images were made")
    path = project / "inputs" / "config" / "profile.json"
    settings = json.loads(path.read_text())
    settings["prepare"].setdefault("illumination_correction", {})["median_filter_size"] = 12
    path.write_text(json.dumps(settings))
    (why, _) = prepare(project, capsys)
    assert "5 because the settings are others (median_px)" in why
    kept = {name: data for name, data in pixels(project).items() if "s4" not in name.name}
    fresh = fresh_pixels(project, tmp_path)
    assert {name: kept[name] for name in fresh} == fresh


def test_missing_and_unrecorded_images_are_made(project, tmp_path, capsys):
    before = pixels(project)
    lost = next(path for name, path in compressed(project).items() if "ER" in name.name)
    lost.unlink()
    (why, count) = prepare(project, capsys)
    assert "1 because some of its images are missing (P1 ER)" in why
    assert count.startswith("4 images were made")
    assert pixels(project) == before
    # Made by DeepProfiler itself, or by an earlier cpcnn.
    shutil.rmtree(project / "outputs" / "compressed" / "made_from")
    (why, count) = prepare(project, capsys)
    assert f"5 channels of plates are made again: 5 because {UNRECORDED}" in why
    assert pixels(project) == before


@pytest.mark.parametrize("damage", ["", "{}", "[1]", '{"format": 9}', '{"format": 1, "images": 3}'])
def test_a_damaged_record_is_none(project, capsys, damage):
    path = project / "outputs" / "compressed" / "made_from" / "P1" / "DNA.json"
    path.write_text(damage)
    (why, _) = prepare(project, capsys)
    assert f"1 channel of a plate is made again: 1 because {UNRECORDED} (P1 DNA)" in why


def test_originals_that_are_gone_leave_what_was_made_of_them(project, capsys):
    before = pixels(project)
    away = [path for path in originals(project) if "Mito" in path.name]
    for path in away:
        path.unlink()
    said = prepare(project, capsys)
    assert said[0] == "what cannot be read stays as it was compressed before: P1 Mito"
    assert pixels(project) == before
    shutil.rmtree(project / "outputs" / "compressed" / "made_from")
    assert "what cannot be read stays as it was compressed before: P1 Mito" in prepare(
        project, capsys
    )
    assert pixels(project) == before


def test_one_that_changed_beside_one_that_is_gone_is_an_error(project, capsys):
    first, second, *_ = [path for path in originals(project) if "Mito" in path.name]
    tifffile.imwrite(first, tifffile.imread(first)[::-1].copy(), compression="zlib")
    second.unlink()
    assert main(["prepare", str(project)]) == 1
    assert f"there is no image file {second}" in capsys.readouterr().err


def test_force_and_check(project, capsys, tmp_path):
    before = pixels(project)
    (why, count) = prepare(project, capsys, "--force")
    assert "5 because --force was given" in why
    assert count.startswith("20 images were made")
    assert pixels(project) == before
    let_originals_be_old(project)
    path = next(path for path in originals(project) if "s2_RNA" in path.name)
    tifffile.imwrite(path, tifffile.imread(path)[::-1].copy())
    there = everything(tmp_path)
    why = "the pixels of 1 of its 4 images changed: P1 RNA"
    (said,) = prepare(project, capsys, "--check")
    assert said == f"5 channels of plates: 4 already done, 1 to do again ({why})"
    why = "--force was given: P1 DNA, P1 RNA, P1 ER, P1 AGP, P1 Mito"
    (said,) = prepare(project, capsys, "--check", "--force")
    assert said == f"5 channels of plates: 5 to do again ({why})"
    assert everything(tmp_path) == there
    shutil.rmtree(project / "outputs" / "compressed")
    there = everything(tmp_path)
    assert prepare(project, capsys, "--check") == ["5 channels of plates: 5 to do (no images yet)"]
    assert everything(tmp_path) == there


def test_a_run_that_stops_in_the_middle_is_not_taken_for_done(project, tmp_path, capsys):
    """An original that cannot be read in the second plate's turn: nothing of it is on record."""
    path = [path for path in originals(project) if "AGP" in path.name][-1]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert main(["prepare", str(project)]) == 1
    assert path.name in capsys.readouterr().err
    path.write_bytes(whole)
    assert prepare(project, capsys)[-1].startswith("0 images were made")
    tifffile.imwrite(path, tifffile.imread(path)[::-1].copy())
    record = project / "outputs" / "compressed" / "made_from" / "P1" / "AGP.json"
    images = [p for name, p in compressed(project).items() if "AGP" in name.name]
    # As a kill leaves it: some images are new, and there is no record.
    record.unlink()
    Image.fromarray(np.zeros((280, 300), np.uint8)).save(images[0])
    (why, _) = prepare(project, capsys)
    assert UNRECORDED in why
    assert pixels(project) == fresh_pixels(project, tmp_path)


def test_embed_says_that_compressed_images_are_of_other_originals(project, tmp_path, capsys):
    command = ["embed", "--deepprofiler", str(project), "--model", small_model()]
    command += ["--device", "cpu", "--out", str(tmp_path / "out")]
    assert main(command) == 0
    assert "originals" not in capsys.readouterr().err
    path = next(path for path in originals(project) if "s1_DNA" in path.name)
    tifffile.imwrite(path, tifffile.imread(path)[::-1].copy(), compression="zlib")
    assert main(command) == 0
    assert (
        "the originals of P1 DNA have another size or time than those that the compressed images "
        f"were made from; cpcnn prepare {project} updates what changed" in capsys.readouterr().err
    )
    prepare(project, capsys)
    assert main(command) == 0
    said = capsys.readouterr()
    assert "originals" not in said.err
    assert "because the pixels of DNA changed" in said.out
    # Compressed images whose originals are gone are embedded as they are.
    shutil.rmtree(project / "inputs" / "images")
    assert main(command) == 0
    assert "originals" not in capsys.readouterr().err
