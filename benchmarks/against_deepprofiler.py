"""``cpcnn embed`` beside ``deepprofiler profile`` 0.5.1: same images, weights and machine.

A made-up project (uint16 TIFF, five channels, cells everywhere) with the random network
of the tests, as Keras writes it. The programs take turns, each as its users start it, so that
the start counts too. Afterwards: are the features equal, where does our time go, and what
part of the machine's matrix-product rate does the network reach? Run it from the
project's folder, on a machine that does nothing else::

    python benchmarks/against_deepprofiler.py --record

DeepProfiler and TensorFlow are installed into a Python 3.10 or 3.11 environment of their
own, or taken from the one named with ``--deepprofiler-python``.
"""

import argparse
import importlib.metadata
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from machine import machine

from cpcnn_core.threads import let_threads_wait

let_threads_wait()

import torch

from cpcnn_core.imaging.crops import check_image, cut_crops
from cpcnn_core.io.deepprofiler import read_project, read_sites
from cpcnn_core.io.deepprofiler_npz import SiteTable, write_site
from cpcnn_core.io.sites import read_field
from cpcnn_core.models.registry import CELL_PAINTING_CHANNELS as CHANNELS
from cpcnn_core.screen.job import project_model

# After our own package: the tests' folder holds one of its name.
sys.path.append(str(Path(__file__).parents[1] / "tests"))

from reference_network import seeded_weights, write_keras

SITES, CELLS, SIDE, ROUNDS = 120, 120, 1080, 3
CROP_PX, MULTIPLY_ADDS = 128, 87.0e6
# With pandas 3, deepprofiler 0.5.1 fails at its first table.
WITH = ("deepprofiler==0.5.1", "pandas<3")
EXPERIMENT = "cell_painting"
ENGINES = ("litert", "torch")
PACKAGES = ("torch", "ai-edge-litert")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="write against_deepprofiler.json")
    parser.add_argument("--deepprofiler-python", help="a Python that has deepprofiler 0.5.1")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        theirs = options.deepprofiler_python or install_deepprofiler(Path(folder) / "env")
        project = make_project(Path(folder) / "project")
        outs = {engine: Path(folder) / engine for engine in ENGINES}
        commands = {"deepprofiler": deepprofiler_command(theirs, project)}
        commands |= {f"cpcnn, {engine}": ours(project, engine, outs[engine]) for engine in ENGINES}
        seconds = {name: [] for name in commands}
        for _ in range(ROUNDS):
            for name, command in commands.items():
                shutil.rmtree(project / "outputs" / EXPERIMENT / "features", ignore_errors=True)
                for out in outs.values() if name != "deepprofiler" else ():
                    shutil.rmtree(out, ignore_errors=True)
                seconds[name].append(timed(command))
                keep_features(name, project, Path(folder), outs)
        result = {
            "project": f"{SITES} sites of {SIDE} x {SIDE} x {len(CHANNELS)} uint16, "
            f"{CELLS} cells each",
            **rates(seconds),
            "largest difference of a feature": differences(Path(folder), ENGINES),
            **where_time_goes(project, Path(folder) / "parts"),
            "deepprofiler": version_of(theirs, "deepprofiler"),
            "tensorflow": version_of(theirs, "tensorflow"),
            "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
            **machine(),
        }
    text = json.dumps(result, indent=2)
    print(text)
    if options.record:
        Path(__file__).with_suffix(".json").write_text(text + "\n")


def install_deepprofiler(folder):
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", *WITH], check=True)
    return python


def make_project(root):
    import tifffile

    random = np.random.default_rng(0)
    (root / "inputs" / "metadata").mkdir(parents=True)
    (root / "inputs" / "config").mkdir()
    (root / "inputs" / "locations" / "P1").mkdir(parents=True)
    (root / "inputs" / "images" / "P1").mkdir(parents=True)
    checkpoint = root / "outputs" / EXPERIMENT / "checkpoint" / "weights.hdf5"
    checkpoint.parent.mkdir(parents=True)
    (root / "inputs" / "config" / "profile.json").write_text(json.dumps(configuration()))
    lines = [",".join(["Metadata_Plate", "Metadata_Well", "Metadata_Site", "Treatment", *CHANNELS])]
    for site in range(1, SITES + 1):
        files = [f"P1/A01_s{site}_{channel}.tif" for channel in CHANNELS]
        for file in files:
            tifffile.imwrite(root / "inputs" / "images" / file, patches(random))
        lines.append(",".join(["P1", "A01", str(site), f"T{site % 4}", *files]))
        centers = random.uniform(0, SIDE, (CELLS, 2))
        table = [f"{x},{y}" for x, y in centers]
        path = root / "inputs" / "locations" / "P1" / f"A01-{site}-Nuclei.csv"
        header = "Nuclei_Location_Center_X,Nuclei_Location_Center_Y"
        path.write_text("\n".join([header, *table]) + "\n")
    (root / "inputs" / "metadata" / "index.csv").write_text("\n".join(lines) + "\n")
    write_keras(checkpoint, seeded_weights())
    return root


def patches(random):
    """Return a made-up image with structure of several sizes."""
    layers = [
        np.kron(random.random((SIDE // n, SIDE // n), np.float32), np.ones((n, n), np.float32))
        for n in (2, 9, 36)
    ]
    return (sum(layers) * 1300).astype(np.uint16)


def configuration():
    images = {"channels": CHANNELS, "file_format": "tif", "bits": 16}
    parameters = {"learning_rate": 0.005, "batch_size": 32, "conv_blocks": 0}
    return {
        "dataset": {
            "metadata": {"label_field": "Treatment", "control_value": "T0"},
            "images": images | {"width": SIDE, "height": SIDE},
            "locations": {"mode": "single_cells", "box_size": CROP_PX, "mask_objects": False},
        },
        "prepare": {"compression": {"implement": False, "scaling_factor": 1.0}},
        "train": {
            "partition": {"targets": ["Treatment"], "split_field": "Split", "training": [0]},
            "model": {"name": "efficientnet", "params": parameters | {"label_smoothing": 0.0}},
            "sampling": {"factor": 1, "workers": 1},
            "validation": {"batch_size": 32, "sample_first_crops": True},
        },
        "profile": {
            "feature_layer": "block6a_activation",
            "checkpoint": "weights.hdf5",
            "batch_size": 32,
        },
    }


def deepprofiler_command(python, project):
    return [
        *(str(python), "-m", "deepprofiler", f"--root={project}", "--config=profile.json"),
        *(f"--exp={EXPERIMENT}", "profile"),
    ]


def ours(project, engine, out):
    return [
        *(sys.executable, "-m", "cpcnn_core.cli", "embed", "--deepprofiler", str(project)),
        *("--engine", engine, "--device", "cpu", "--out", str(out)),
    ]


def timed(command):
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "2"}
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return time.perf_counter() - started


def keep_features(name, project, folder, outs):
    if name == "deepprofiler":
        features = project / "outputs" / EXPERIMENT / "features"
        shutil.copytree(features, folder / "reference", dirs_exist_ok=True)
    else:
        engine = name.removeprefix("cpcnn, ")
        shutil.copytree(outs[engine] / "features", folder / f"kept {engine}", dirs_exist_ok=True)


def differences(folder, engines):
    found = {}
    for engine in engines:
        worst = 0.0
        for path in (folder / "reference").rglob("*.npz"):
            name = path.relative_to(folder / "reference")
            with np.load(path) as theirs, np.load(folder / f"kept {engine}" / name) as mine:
                worst = max(worst, float(np.abs(theirs["features"] - mine["features"]).max()))
        found[engine] = float(f"{worst:.2g}")
    return found


def rates(seconds):
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    cells = SITES * CELLS
    return {
        "seconds, end to end, medians": {name: round(value, 1) for name, value in medians.items()},
        "rounds": ROUNDS,
        "cells per second, end to end": {
            name: round(cells / value, 1) for name, value in medians.items()
        },
        "times as fast as deepprofiler": {
            name: round(medians["deepprofiler"] / value, 2) for name, value in medians.items()
        },
    }


def where_time_goes(root, out):
    """Do the steps of some sites one after the other, which `cpcnn embed` overlaps."""
    project = read_project(root)
    sites = read_sites(project)[:8]
    parts, shares, reached = {}, {}, {}
    products = matrix_product_rate()
    for engine in ENGINES:
        model = project_model(project, root / "outputs" / EXPERIMENT, "cpu", engine=engine)
        times = {"read": [], "crop": [], "network": [], "write": []}
        for site in [sites[0], *sites]:
            clock = [time.perf_counter()]
            field = read_field(site, site.read_objects(), model.card.channels)
            image = check_image(field.image)
            clock.append(time.perf_counter())
            crops = cut_in_threads(model, image, field.centers)
            clock.append(time.perf_counter())
            features = model.embed(crops)
            clock.append(time.perf_counter())
            border = np.zeros(len(features), bool)
            numbers = field.object_numbers
            table = SiteTable(features, site.metadata, field.centers, numbers, border, {})
            write_site(out / "site.npz", table)
            clock.append(time.perf_counter())
            for name, value in zip(times, np.diff(clock), strict=True):
                times[name].append(value)
        # The first site warms up.
        medians = {name: statistics.median(values[1:]) for name, values in times.items()}
        whole = sum(medians.values())
        parts[engine] = {name: round(1000 * value, 1) for name, value in medians.items()}
        shares[engine] = {name: round(100 * v / whole, 1) for name, v in medians.items()}
        reached[engine] = round(100 * CELLS / medians["network"] * MULTIPLY_ADDS / products, 1)
    return {
        f"milliseconds per site of {CELLS} cells": parts,
        "share, %": shares,
        "float32 matrix products, 1e9 multiply-adds/s": round(products / 1e9, 1),
        "part of that rate the network reaches, %": reached,
    }


def cut_in_threads(model, image, centers):
    card, size = model.card, model.batch_size
    crops = np.empty((len(centers), len(card.channels), CROP_PX, CROP_PX), np.float32)

    def cut(part):
        out = crops[part]
        cut_crops(image, centers[part], card.crop_px, None, None, card.normalizer, out=out)

    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        list(threads.map(cut, [slice(i, i + size) for i in range(0, len(centers), size)]))
    return crops


def matrix_product_rate(side=2048, repeats=9):
    a, b = torch.rand(side, side), torch.rand(side, side)
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - started)
    return side**3 / statistics.median(times)


def version_of(python, package):
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run(
        [python, "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


if __name__ == "__main__":
    main()
