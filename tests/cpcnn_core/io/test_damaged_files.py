"""Damaged files of every kind that is read: read as something, or refused in one sentence.

``CPCNN_DAMAGED=250 python -m pytest tests/cpcnn_core/io/test_damaged_files.py`` tries 250 of each
kind; without it a few.
"""

import os
import shutil
import sqlite3
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from cpcnn_core.crop_store.store import check_store, open_crops
from cpcnn_core.errors import CPCNNError
from cpcnn_core.evaluation.annotations import read_annotations
from cpcnn_core.io.cellprofiler_objects import objects_from_cellprofiler
from cpcnn_core.io.deepprofiler import read_locations, read_project, read_sites
from cpcnn_core.io.deepprofiler_npz import SiteTable, read_site, write_site
from cpcnn_core.io.images import read_illumination, read_plane
from cpcnn_core.io.label_images import read_labels
from cpcnn_core.io.load_data import read_load_data
from cpcnn_core.io.profile_files import read_profiles, write_profiles
from cpcnn_core.profiles.correction import Correction, fit_correction
from cpcnn_core.profiles.wells import join_platemap
from cpcnn_core.schema.profiles import Profiles

EACH = int(os.environ.get("CPCNN_DAMAGED", "12"))
PROJECT = Path(__file__).parents[2] / "data" / "deepprofiler_project"
WELLS = pd.DataFrame(
    {
        "Metadata_Plate": ["P1"] * 6,
        "Metadata_Well": [f"A{column:02d}" for column in range(1, 7)],
        "Metadata_Treatment": ["DMSO"] * 3 + ["taxol"] * 3,
        "Metadata_Dose": [0, 0, 0, 1.5, 10, 10],
    }
)
FEATURES = np.random.default_rng(0).normal(size=(6, 4)).round(4)
NAMES = [f"Cells_CPCNN_{place:03d}" for place in range(4)]
OBJECTS = pd.DataFrame(
    {
        "ImageNumber": [1, 1, 2],
        "ObjectNumber": [1, 2, 1],
        "Location_Center_X": [5.5, 7.25, 3],
        "Location_Center_Y": [2.5, 6, 4],
    }
)
KEYS = ["Metadata_Plate", "Metadata_Well", "Metadata_Site"]
IMAGES = pd.DataFrame({"ImageNumber": [1, 2], "Count_Nuclei": [2, 1]}).assign(
    **dict(zip(KEYS, (["P1"] * 2, ["A01", "A02"], [1, 1]), strict=True))
)
LOAD_DATA = IMAGES[KEYS].assign(FileName_DNA=["a.tif", "b.tif"], PathName_DNA="images")
PLANE = np.random.default_rng(1).integers(0, 60000, (24, 30)).astype(np.uint16)


def wells():
    return Profiles(FEATURES, WELLS, NAMES, {"model": "m"})


def screen(path, objects):
    LOAD_DATA.to_csv(path.parent / "load_data.csv", index=False)
    sites = read_load_data(path.parent / "load_data.csv", ("DNA",), objects=objects)
    return [site.read_objects() for site in sites]


def make_objects(path):
    OBJECTS.to_csv(path, index=False)
    IMAGES.to_csv(path.with_name("Image.csv"), index=False)


def make_images(path):
    OBJECTS.to_csv(path.with_name("Nuclei.csv"), index=False)
    IMAGES.to_csv(path, index=False)


def make_parquet_objects(path):
    OBJECTS.merge(IMAGES, on="ImageNumber").to_parquet(path)


def make_database(path):
    own = ("ImageNumber", "ObjectNumber")
    with sqlite3.connect(path) as db:
        for frame, kind in ((OBJECTS, "Nuclei"), (IMAGES, "Image")):
            frame.rename(columns=lambda c, k=kind: c if c in own else f"{k}_{c}").to_sql(
                f"Per_{kind}", db, index=False
            )
    db.close()


def read_measured_objects(path):
    screen(path, objects_from_cellprofiler(path))


def read_beside_images(path):
    screen(path, objects_from_cellprofiler(path.with_name("Nuclei.csv")))


def make_locations(path):
    path.write_text("Nuclei_Location_Center_X,Nuclei_Location_Center_Y\n1.5,2\n3,4.25\n7,8\n")


def make_site(path):
    ones = np.ones(3, int)
    made = {"model": "m", "channels": "DNA"}
    write_site(
        path,
        SiteTable(np.ones((3, 4), "f4"), {"Well": "A01"}, np.ones((3, 2)), ones, ones > 0, made, 1),
    )


def make_correction(path):
    fit_correction(wells(), np.arange(6) < 3, "centred-sphering", regularization=0.1).save(path)


def use_correction(path):
    Correction.load(path).transform(wells())


def project_with(path):
    """Copy the project, with the damaged file in its place."""
    root = path.parent / "project"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(PROJECT, root)
    place = next(root.rglob(path.name))
    shutil.copy(path, place)
    for site in read_sites(read_project(root)):
        site.read_objects()


def from_project(name):
    def make(path):
        shutil.copy(next(PROJECT.rglob(name)), path)

    return make


def write_table(kind):
    def make(path):
        frame = wells().to_frame()
        {
            "csv": lambda: frame.to_csv(path, index=False),
            "gz": lambda: frame.to_csv(path, index=False),
            "parquet": lambda: write_profiles(wells(), path),
            "feather": lambda: frame.to_feather(path),
        }[kind]()

    return make


KINDS = {
    "Nuclei.csv": (make_objects, read_measured_objects),
    "Image.csv": (make_images, read_beside_images),
    "cells.parquet": (make_parquet_objects, read_measured_objects),
    "run.db": (make_database, read_measured_objects),
    "screen.csv": (
        lambda path: LOAD_DATA.to_csv(path, index=False),
        lambda path: read_load_data(path, ("DNA",)),
    ),
    "screen.parquet": (LOAD_DATA.to_parquet, lambda path: read_load_data(path, ("DNA",))),
    "A01-1-Nuclei.csv": (make_locations, read_locations),
    "index.csv": (from_project("index.csv"), project_with),
    "profile.json": (from_project("profile.json"), project_with),
    "site.npz": (make_site, read_site),
    "wells.correction.npz": (make_correction, use_correction),
    "wells.csv": (write_table("csv"), read_profiles),
    "wells.csv.gz": (write_table("gz"), read_profiles),
    "wells.parquet": (write_table("parquet"), read_profiles),
    "wells.feather": (write_table("feather"), read_profiles),
    "platemap.txt": (
        lambda path: WELLS.drop(columns="Metadata_Plate").to_csv(path, sep="\t", index=False),
        lambda path: join_platemap(wells(), path),
    ),
    "moa.csv": (
        lambda path: path.write_text("Treatment,moa\ntaxol,tubulin\nDMSO,\n"),
        lambda path: read_annotations(path, "Treatment", "moa"),
    ),
    "image.tif": (
        lambda path: tifffile.imwrite(path, PLANE, compression="zlib"),
        read_plane,
    ),
    "image.png": (lambda path: Image.fromarray(PLANE).save(path), read_plane),
    "labels.tif": (
        lambda path: tifffile.imwrite(path, (PLANE > 30000).astype(np.uint16)),
        read_labels,
    ),
    "illum.npy": (lambda path: np.save(path, np.ones((24, 30))), read_illumination),
}


def damage(data, random):
    """Return the bytes of a file after something happened to it."""
    data = bytearray(data)
    for _ in range(random.integers(1, 5)):
        place = int(random.integers(len(data) + 1))
        what = random.integers(6)
        if what == 0:
            del data[place:]
        elif what == 1:
            data[place:place] = random.bytes(random.integers(1, 40))
        elif what == 2:
            del data[place : place + random.integers(1, 60)]
        elif what == 3:
            data[place : place + 4] = b"\xff\xff\xff\xff"
        elif what == 4:
            data[place:place] = random.choice([b",", b'"', b"\n", b"nan", b";", b"1e999", b"\0"])
        elif place < len(data):
            data[place] ^= 1 << random.integers(8)
    return bytes(data)


@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_file_never_ends_in_the_exception_of_a_library(tmp_path, name):
    make, read = KINDS[name]
    path = tmp_path / name
    make(path)
    whole = path.read_bytes()
    with warnings.catch_warnings():
        # What was left out is told so; here only exceptions are looked for.
        warnings.simplefilter("ignore")
        read(path)
        refusals = []
        for seed in range(EACH):
            path.write_bytes(damage(whole, np.random.default_rng(seed)))
            try:
                read(path)
            except CPCNNError as error:
                refusals.append(f"seed {seed}: {error}")
            except Exception as error:
                raise AssertionError(f"seed {seed} of {name}") from error
    assert refusals
    for text in refusals:
        assert path.stem in text or "load_data.csv" in text
        assert "\n" not in text


def test_a_damaged_store_of_crops_is_told_file_by_file(tmp_path):
    from cpcnn_core.cli.main import main

    tifffile.imwrite(tmp_path / "a.tif", PLANE)
    row = LOAD_DATA[:1].assign(FileName_DNA="a.tif", PathName_DNA=str(tmp_path))
    row.to_csv(tmp_path / "load_data.csv", index=False)
    OBJECTS[:2].to_csv(tmp_path / "Nuclei.csv", index=False)
    IMAGES[:1].to_csv(tmp_path / "Image.csv", index=False)
    command = ["--load-data", str(tmp_path / "load_data.csv"), "--channels", "DNA"]
    command += ["--objects", str(tmp_path / "Nuclei.csv"), "--out", str(tmp_path / "store")]
    assert main(["crops", *command, "--crop-px", "16"]) == 0
    files = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    for file in [path for path in files if path.suffix != ".jsonl"]:
        whole = file.read_bytes()
        for seed in range(EACH):
            file.write_bytes(damage(whole, np.random.default_rng(seed)))
            try:
                store = open_crops(tmp_path / "store")
                check_store(store)
            except CPCNNError:
                continue
            except Exception as error:
                raise AssertionError(f"seed {seed} of {file.name}") from error
        file.write_bytes(whole)
