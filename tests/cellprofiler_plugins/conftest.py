"""Real CellProfiler environments, made once, and pipelines to run in them."""

import csv
import dataclasses
import json
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cpcnn_core.errors import HostError
from cpcnn_core.hosts.environments import (
    CELLPROFILER_VERSION,
    check_python,
    create_environment,
    find_python,
    python_candidates,
)
from cpcnn_core.hosts.headless import headless_environ, run_pipeline
from cpcnn_core.hosts.install import install_plugin
from cpcnn_core.io.profile_files import write_profiles
from cpcnn_core.models.efficientnet import TappedEfficientNet
from cpcnn_core.models.folders import cpcnn_home
from cpcnn_core.models.from_timm import timm_card
from cpcnn_core.models.network_builder import random_weights
from cpcnn_core.models.opening import untrained_efficientnet_b0
from cpcnn_core.models.weights import save_model
from cpcnn_core.schema.columns import feature_names
from cpcnn_core.schema.profiles import Profiles

from ..attacks import ATTACKS

INSIDE = Path(__file__).parents[1] / "inside_cellprofiler"
CHANNELS = ("DNA", "RNA", "ER", "AGP", "Mito")
MADE_UP_SITES = 24
GROUP_SIZE = 3
# Taken before any test moves CPCNN_HOME: the environment that the demo uses too.
ENVIRONMENTS = cpcnn_home()


@pytest.fixture(scope="session")
def cellprofiler_python():
    """CellProfiler 4.2.8 on Python 3.9, or on 3.8 where there is no 3.9."""
    return create_environment(ENVIRONMENTS / f"cellprofiler-{CELLPROFILER_VERSION}", find_python())


@pytest.fixture(scope="session")
def cellprofiler_python38():
    for command in python_candidates("3.8"):
        try:
            base = check_python(command[0])
        except HostError:
            continue
        return create_environment(ENVIRONMENTS / f"cellprofiler-{CELLPROFILER_VERSION}-py38", base)
    pytest.skip("there is no Python 3.8 on this machine")


@pytest.fixture(scope="session")
def plugins(tmp_path_factory):
    """A plugins folder as cpcnn cellprofiler install makes it, and the module Sabotage."""
    folder = install_plugin(tmp_path_factory.mktemp("plugins"))
    (folder / "sabotage.py").write_bytes((INSIDE / "plugins" / "sabotage.py").read_bytes())
    return folder


@pytest.fixture(scope="session")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "five.safetensors"
    save_model(path, *untrained_efficientnet_b0(seed=5))
    return path


@pytest.fixture(scope="session")
def two_channel_model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "two.safetensors"
    save_model(path, *untrained_efficientnet_b0(("DNA", "Actin")))
    return path


@pytest.fixture(scope="session")
def bag_model_file(tmp_path_factory):
    """A network that takes any channels, at 0.5 µm per pixel, and no commercial use."""
    card = timm_card("test_resnet", "bag", crop_px=64, input_px=64, trained=False, name="bag")
    card = dataclasses.replace(card, um_per_px=0.5, commercial=False, licence="CC BY-NC 4.0")
    path = tmp_path_factory.mktemp("models") / "bag.safetensors"
    save_model(path, card, random_weights(card, 1))
    return path


@pytest.fixture(scope="session")
def library_folder(tmp_path_factory):
    """Libraries of twenty wells, and what is in them as NumPy's own file."""
    folder = tmp_path_factory.mktemp("library")
    wells = np.random.default_rng(4).normal(0.1, 0.3, (20, 672)).astype(np.float32)
    names = np.repeat(["DMSO", "taxol", "nocodazole"], [12, 4, 4])
    rows = pd.DataFrame({"Metadata_Treatment": names, "Metadata_Plate": "P1"})
    rows["Metadata_Well"] = [f"A{number:02d}" for number in range(1, 21)]
    names = feature_names(672, compartment="Cells")
    made = {"model": "untrained-efficientnet-b0", "controls": "Treatment == 'DMSO'"}
    np.savez(folder / "wells.npz", wells=wells, treatment=rows["Metadata_Treatment"].to_numpy(str))
    write_profiles(Profiles(wells, rows, names, made), folder / "profiles.parquet")
    write_profiles(Profiles(wells, rows, names, {}), folder / "without controls Größe.parquet")
    few = Profiles(wells, rows, names, made).select(np.arange(9, 20))
    write_profiles(few, folder / "few controls.parquet")
    other = {**made, "model": "cell-painting-cnn-v1"}
    write_profiles(Profiles(wells, rows, names, other), folder / "other.parquet")
    masked = {**made, "mask_neighbors": "True"}
    write_profiles(Profiles(wells, rows, names, masked), folder / "masked.parquet")
    for name, attack in ATTACKS.items():
        hostile = {**made, "controls": attack.replace("{file}", str(folder / "made"))}
        write_profiles(Profiles(wells, rows, names, hostile), folder / f"hostile {name}.parquet")
    return folder


@pytest.fixture(scope="session")
def small_model_file(tmp_path_factory):
    """A network of six features: what CellProfiler takes for 672 of them is its own time."""
    card, weights = untrained_efficientnet_b0()
    card = dataclasses.replace(card, name="small", tap="ClassProb", embed_dim=6, sha256=None)
    random = np.random.default_rng(0)
    for name, shape in TappedEfficientNet(5, card.tap, card.embed_dim).weight_shapes().items():
        if name in weights:
            continue
        weights[name] = np.full(shape, name.endswith(("weight", "running_var")), np.float32)
        if len(shape) > 1:
            drawn = random.normal(0, np.sqrt(2.8 / np.prod(shape[1:])), shape)
            weights[name] = drawn.astype(np.float32)
    path = tmp_path_factory.mktemp("models") / "small.safetensors"
    save_model(path, card, weights)
    return path


@pytest.fixture(scope="session")
def made_up_sites(tmp_path_factory):
    """Sites of 160 x 160 pixels with two to four cells, in 16-bit TIFF."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(11)
    rows, cols = np.mgrid[:160, :160]
    sites = []
    for number in range(1, MADE_UP_SITES + 1):
        spots = [(40, 40), (45, 110), (115, 50), (110, 115)][: 2 + number % 3]
        shape = sum(np.exp(-((rows - r) ** 2 + (cols - c) ** 2) / 200) for r, c in spots)
        site = {}
        for channel in CHANNELS:
            noise = random.uniform(0, 300, shape.shape)
            site[channel] = folder / f"site{number}_{channel}.tif"
            Image.fromarray((20000 * shape + noise).astype(np.uint16)).save(site[channel])
        sites.append(site)
    return sites


@pytest.fixture(scope="session")
def write_load_data():
    """Return a function that writes LoadData's table: for each site the file of every channel."""

    def write(path, sites):
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            names = [
                f"{part}_Orig{channel}" for channel in CHANNELS for part in ("PathName", "FileName")
            ]
            places = [f"Metadata_{name}" for name in ("Plate", "Well", "Site", "Group")]
            writer.writerow([*names, *places])
            for number, site in enumerate(sites, start=1):
                paths = [Path(site[channel]) for channel in CHANNELS]
                files = [x for p in paths for x in (p.parent, p.name)]
                group = 1 + (number - 1) // GROUP_SIZE
                writer.writerow([*files, "P1", f"A{number:02d}", number, group])
        return str(path)

    return write


@pytest.fixture(scope="session")
def write_pipeline(cellprofiler_python, plugins, tmp_path_factory):
    """Return a function that writes a pipeline; one CellProfiler writes all of them."""
    log = tmp_path_factory.mktemp("maker") / "log.txt"
    with (
        log.open("w+") as errors,
        subprocess.Popen(
            [str(cellprofiler_python), str(INSIDE / "make_pipeline.py")],
            env=headless_environ(),
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        ) as maker,
    ):

        def write(path, job):
            job = {"out": str(path), "plugins": str(plugins), **job}
            maker.stdin.write(json.dumps(job) + "\n")
            maker.stdin.flush()
            assert any(line == "MADE\n" for line in maker.stdout), log.read_text()
            return path

        yield write
        maker.stdin.close()


@pytest.fixture(scope="session")
def run_job(cellprofiler_python, plugins, write_pipeline):
    """Return a function that writes a pipeline and runs it headless in a folder."""

    def run(folder, job, *arguments):
        run_pipeline(
            cellprofiler_python,
            write_pipeline(folder / "pipeline.cppipe", job),
            folder,
            images=folder,
            plugins_directory=plugins,
            arguments=arguments,
        )
        return folder

    return run
