"""One screen, written in every form that programs write: the same cells, features and metadata.

The truth is computed from the arrays alone, without any file.
"""

import contextlib
import dataclasses
import io
import shutil
import sqlite3
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from cpcnn_core import crop_cells, load_model
from cpcnn_core.cli.main import main
from cpcnn_core.io.site_keys import normal_key
from cpcnn_core.models.from_timm import timm_card
from cpcnn_core.models.network_builder import random_weights
from cpcnn_core.models.weights import save_model

CHANNELS = ("DNA", "ER")
SHAPE = (70, 90)
KEYS = ["Metadata_Plate", "Metadata_Well", "Metadata_Site"]
PLATES = ["000123", "P1", "BR00116991", "7", "Plate 2", "a-b"]
WELLS = ["A01", "B02", "H12", "AA03"]
NUMBER, X, Y = "ObjectNumber", "Location_Center_X", "Location_Center_Y"


@dataclasses.dataclass(frozen=True)
class Cells:
    """A site: its key, treatment, and the (row, col) of its objects by their number."""

    key: tuple
    treatment: str
    places: dict


@st.composite
def screens(draw):
    keys = draw(
        st.lists(
            st.tuples(
                st.sampled_from(PLATES), st.sampled_from(WELLS), st.sampled_from(["1", "2", "03"])
            ),
            min_size=1,
            max_size=4,
            unique_by=normal_key,
        )
    )
    pixel = st.tuples(st.integers(0, SHAPE[0] - 1), st.integers(0, SHAPE[1] - 1))
    sites = []
    for place, key in enumerate(keys):
        pixels = draw(st.lists(pixel, min_size=place == 0, max_size=3, unique=True))
        numbers = draw(
            st.lists(st.integers(1, 9), min_size=len(pixels), max_size=len(pixels), unique=True)
        )
        treatment = draw(st.sampled_from(["DMSO", "5 µM taxol", "a, b", 'say "x"', "10"]))
        sites.append(Cells(key, treatment, dict(zip(sorted(numbers), pixels, strict=True))))
    return sites


@st.composite
def forms(draw):
    """How the screen is written; `seed` orders rows and columns."""
    return {
        "seed": draw(st.integers(0, 99)),
        "table": draw(
            st.sampled_from(["csv", "tsv", "txt", "semicolon", "utf16", "gz", "parquet", "index"])
        ),
        "images": draw(st.sampled_from(["tif", "pages", "png", "flex", "white", "url"])),
        "site": draw(st.sampled_from(["Metadata_Site", "Metadata_FieldID", "Metadata_FOV"])),
        "spelling": draw(st.sampled_from(["same", "zeros lost", "wells", "floats"])),
        "objects": draw(
            st.sampled_from(
                [
                    *("Nuclei", "MyExpt_Nuclei", "own keys", "combined", "folders"),
                    *("database", "cytominer", "single", "locations", "labels"),
                ]
            )
        ),
        "objects_table": draw(st.sampled_from(["csv", "gz", "parquet", "tsv"])),
    }


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    """A small network of two channels, so that many screens can be tried."""
    size = {"crop_px": 32, "input_px": 32}
    card = timm_card("test_resnet", "bag", channels=CHANNELS, trained=False, name="small", **size)
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    save_model(path, card, random_weights(card, 1))
    return path


def plane(place, channel):
    random = np.random.default_rng(10 * place + channel)
    return random.integers(1, 60000, SHAPE).astype(np.uint16)


def shuffled(frame, seed):
    """Return the same table with its rows and columns in another order."""
    columns = np.random.default_rng(seed).permutation(frame.columns)
    return frame.sample(frac=1, random_state=seed)[columns]


def write_table(frame, path, kind):
    """Write a table of texts; return where."""
    ends = {"semicolon": "csv", "utf16": "csv", "index": "csv", "gz": "csv.gz"}
    path = path.with_name(f"{path.name}.{ends.get(kind, kind)}")
    how = {
        "tsv": {"sep": "\t"},
        "txt": {"sep": "\t"},
        "semicolon": {"sep": ";"},
        "utf16": {"encoding": "utf-16"},
    }
    if kind == "parquet":
        frame.convert_dtypes().to_parquet(path)
    else:
        frame.to_csv(path, **{"index": kind == "index", **how.get(kind, {})})
    return path


def write_images(folder, screen, kind):
    """Write the images; return of every site the columns of LoadData that name them."""
    columns = []
    for place in range(len(screen)):
        planes = [plane(place, channel) for channel in range(len(CHANNELS))]
        row = {}
        for channel, pixels in zip(CHANNELS, planes, strict=True):
            path = folder / f"{place} {channel}.{'png' if kind == 'png' else 'tif'}"
            if kind in ("pages", "flex"):
                path = folder / f"{place}.{'flex' if kind == 'flex' else 'tif'}"
                tifffile.imwrite(path, np.stack(planes), photometric="minisblack")
                row[f"Frame_Orig{channel}"] = CHANNELS.index(channel)
            elif kind == "png":
                Image.fromarray(pixels).save(path)
            elif kind == "white":
                tifffile.imwrite(path, 65535 - pixels, photometric="miniswhite")
            else:
                tifffile.imwrite(path, pixels, compression="zlib")
            if kind == "url":
                row[f"URL_Orig{channel}"] = path.absolute().as_uri()
            else:
                row |= {f"FileName_Orig{channel}": path.name, f"PathName_Orig{channel}": "images"}
        columns.append(row)
    return columns


def respelt(key, spelling):
    plate, well, site = key
    if spelling == "zeros lost":
        return plate.lstrip("0"), well, site.lstrip("0")
    if spelling == "wells":
        return plate, well.lower().replace("0", "00", 1), site
    return (plate, well, f"{int(site)}.0") if spelling == "floats" else key


def write_objects(folder, screen, form):
    """Write where the cells are; return the command's options."""
    seed, kind = form["seed"], form["objects_table"]
    numbers = (np.random.default_rng(seed).permutation(50)[: len(screen)] + 1).tolist()
    rows = [
        (image, number, col, row)
        for image, site in zip(numbers, screen, strict=True)
        for number, (row, col) in site.places.items()
    ]
    objects = pd.DataFrame(rows, columns=["ImageNumber", NUMBER, X, Y])
    keys = [respelt(site.key, form["spelling"]) for site in screen]
    images = pd.DataFrame(keys, columns=["Metadata_Plate", "Metadata_Well", form["site"]])
    images.insert(0, "ImageNumber", numbers)
    images["Count_Nuclei"] = [len(site.places) for site in screen]
    writer = {
        "own keys": write_own_keys,
        "combined": write_combined,
        "folders": write_folders,
        "database": write_database,
        "cytominer": write_database,
        "single": write_database,
        "locations": write_locations,
        "labels": write_labels,
    }.get(form["objects"], write_pair)
    return writer(folder, screen, form, objects, images, seed, kind)


def write_pair(folder, _screen, form, objects, images, seed, kind):
    name = form["objects"]
    write_table(shuffled(images, seed), folder / name.replace("Nuclei", "Image"), kind)
    return ["--objects", write_table(shuffled(objects, seed), folder / name, kind)]


def write_own_keys(folder, _screen, _form, objects, images, seed, kind):
    table = objects.merge(images.drop(columns="Count_Nuclei"), on="ImageNumber")
    return ["--objects", write_table(shuffled(table, seed), folder / "cells", kind)]


def write_combined(folder, _screen, _form, objects, images, seed, _kind):
    write_table(shuffled(images, seed), folder / "Image", "csv")
    table = objects.rename(columns={NUMBER: "Number_Object_Number"})
    lines = ["Image,Cells,Nuclei,Nuclei,Nuclei,Cells"]
    lines.append("ImageNumber,ObjectNumber,Number_Object_Number," + f"{X},{Y},{X}")
    lines += [f"{a},{b},{b},{c},{d},1.5" for a, b, c, d in table.itertuples(index=False)]
    # A cell without a nucleus fills up the table.
    lines += [f"{number},99,nan,nan,nan,3" for number in images["ImageNumber"]]
    (folder / "Cells.csv").write_text("\n".join(lines) + "\n")
    return ["--objects", folder / "Cells.csv"]


def write_folders(folder, screen, _form, objects, images, seed, kind):
    for number, site in zip(images["ImageNumber"], screen, strict=True):
        place = folder / "analysis" / "-".join(site.key)
        place.mkdir(parents=True)
        mine = [t[t["ImageNumber"] == number] for t in (objects, images)]
        write_table(shuffled(mine[0], seed), place / "Nuclei", kind)
        write_table(shuffled(mine[1], seed), place / "Image", kind)
    return ["--objects", folder / "analysis"]


def write_database(folder, _screen, form, objects, images, seed, _kind):
    form = form["objects"]
    plain = ["ImageNumber", "TableNumber"] + [NUMBER] * (form != "database")
    objects = objects.rename(columns={NUMBER: "Number_Object_Number"} if form == "database" else {})
    if form == "cytominer":
        # A run for every site, which are all called 1.
        runs = {n: 10**10 + n for n in images["ImageNumber"]}
        objects, images = (
            t.assign(TableNumber=t["ImageNumber"].map(runs), ImageNumber=1)
            for t in (objects, images)
        )
    if form == "single":
        objects["Number_Object_Number"] = objects[NUMBER]
        more = pd.DataFrame({"ImageNumber": images["ImageNumber"], NUMBER: 99})
        objects = pd.concat([objects, more])
    names = {
        "database": ("MyExpt_Per_Nuclei", "MyExpt_Per_Image"),
        "cytominer": ("Nuclei", "Image"),
        "single": ("Per_Object", "Per_Image"),
    }[form]
    with sqlite3.connect(folder / "run.db") as db:
        for frame, kind, name in ((objects, "Nuclei", names[0]), (images, "Image", names[1])):
            columns = {c: c if c in plain else f"{kind}_{c}" for c in frame.columns}
            shuffled(frame.rename(columns=columns), seed).to_sql(name, db, index=False)
    db.close()
    return ["--objects", folder / "run.db"]


def write_locations(folder, screen, form, _objects, _images, seed, _kind):
    for site in screen:
        plate, well, number = respelt(site.key, form["spelling"])
        rows = [(n, col, row) for n, (row, col) in site.places.items()]
        names = ["Nuclei_ObjectNumber", f"Nuclei_{X}", f"Nuclei_{Y}"]
        path = folder / "locations" / plate / f"{well}-{number}-Nuclei.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        shuffled(pd.DataFrame(rows, columns=names), seed).to_csv(path, index=False)
    return ["--locations", folder / "locations"]


def write_labels(folder, screen, form, _objects, _images, _seed, _kind):
    (folder / "labels").mkdir()
    for site in screen:
        labels = np.zeros(SHAPE, np.uint16)
        for number, (row, col) in site.places.items():
            labels[row, col] = number
        name = "_".join(respelt(site.key, form["spelling"]))
        tifffile.imwrite(folder / "labels" / f"{name}.tif", labels)
    return ["--labels", folder / "labels"]


def truth(screen, model):
    """Return the cells of a screen, computed from the arrays."""
    tables = []
    for place, site in enumerate(screen):
        if not site.places:
            continue
        image = np.stack([plane(place, channel) for channel in range(len(CHANNELS))])
        centers = np.array(list(site.places.values()), float)
        features = model.embed(crop_cells(image, centers, crop_px=model.card.crop_px))
        table = pd.DataFrame(features).add_prefix("f")
        table[X], table[Y] = centers[:, 1], centers[:, 0]
        table[NUMBER], table["Treatment"] = list(site.places), site.treatment
        tables.append(table.assign(**dict(zip(KEYS, site.key, strict=True))))
    return ordered(pd.concat(tables))


def ordered(table):
    return table.sort_values([*KEYS, NUMBER], ignore_index=True)[sorted(table.columns)]


def embedded(out):
    table = pd.concat([pd.read_parquet(path) for path in (out / "plates").glob("*.parquet")])
    features = [c for c in table.columns if c.startswith("Cells_")]
    names = {column: f"f{place}" for place, column in enumerate(features)}
    names |= {f"Metadata_{name}": name for name in (NUMBER, X, Y, "Treatment")}
    return ordered(table.rename(columns=names)[[*names.values(), *KEYS]])


def check_form(folder, screen, form, model_file, model):
    (folder / "images").mkdir()
    rows = pd.DataFrame([site.key for site in screen], columns=KEYS)
    rows = rows.rename(columns={"Metadata_Site": form["site"]})
    rows["Metadata_Treatment"] = [site.treatment for site in screen]
    images = pd.DataFrame(write_images(folder / "images", screen, form["images"]))
    table = shuffled(pd.concat([rows, images], axis=1), form["seed"])
    command = ["--load-data", write_table(table, folder / "load_data", form["table"])]
    command += write_objects(folder, screen, form)
    command += ["--model", model_file, "--device", "cpu", "--engine", "torch"]
    command += ["--out", folder / "out"]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = main(["embed", *map(str, command)])
    assert code == 0, said.getvalue()
    pd.testing.assert_frame_equal(
        embedded(folder / "out"), truth(screen, model), check_dtype=False, rtol=0, atol=1e-5
    )


@pytest.fixture(scope="module")
def model(model_file):
    return load_model(model_file, device="cpu", engine="torch")


SCREEN = [
    Cells(("000123", "A01", "03"), "5 µM taxol", {1: (20, 30), 4: (50, 60)}),
    Cells(("000123", "B02", "1"), "DMSO", {2: (0, 89)}),
    Cells(("P1", "A01", "2"), "a, b", {}),
]
PLAIN = {
    "seed": 1,
    "table": "csv",
    "images": "tif",
    "site": "Metadata_Site",
    "spelling": "zeros lost",
    "objects": "Nuclei",
    "objects_table": "csv",
}


@given(screen=screens(), form=forms())
@example(screen=SCREEN, form=PLAIN)
@example(screen=SCREEN, form=PLAIN | {"objects": "folders", "table": "parquet"})
@example(screen=SCREEN, form=PLAIN | {"objects": "labels", "images": "white"})
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_the_same_cells_whatever_the_form(model_file, model, screen, form):
    folder = Path(tempfile.mkdtemp())
    try:
        check_form(folder, screen, form, model_file, model)
    finally:
        shutil.rmtree(folder)
