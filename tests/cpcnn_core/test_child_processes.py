"""Nothing goes on when the program that started it was killed, or asked to end."""

import os
import signal
import sys
import time

import pandas as pd
import pytest

from ..processes import descendants, start, still_running
from .screen.conftest import command_for, make_screen
from .training.conftest import config_of, write_store

CPCNN = [sys.executable, "-m", "cpcnn_core.cli"]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="kills as POSIX does")
# A parent that waits for a child of the kind that napari starts, and which answers late.
ASKS_LATE = """
import sys
import numpy as np
if sys.argv[1] == "umap":
    from napari_cpcnn.cell_map.maps import MapProcess
    MapProcess("UMAP").umap(np.random.default_rng(0).random((30000, 50)))
else:
    from napari_cpcnn.embed.layer_embedding import NetworkProcess
    arrays = {"image": np.ones((5, 200, 200)), "centers": np.full((100000, 2), 100.0)}
    channels = ["DNA", "RNA", "ER", "AGP", "Mito"]
    request = {"model": "untrained-efficientnet-b0", "channels": channels}
    list(NetworkProcess().embed(request, arrays))
"""


@pytest.fixture(scope="module")
def screen(tmp_path_factory):
    """A screen that takes a while, and a plate map of it."""
    folder = tmp_path_factory.mktemp("screen")
    make_screen(folder, wells=24, sites=2, cells=40, side=40)
    wells = sorted(set(pd.read_csv(folder / "load_data.csv")["Metadata_Well"]))
    treatments = [("DMSO", "a", "b")[number // 2 % 3] for number in range(len(wells))]
    pd.DataFrame({"Well": wells, "Treatment": treatments}).to_csv(
        folder / "platemap.csv", index=False
    )
    return folder


def compare(screen, out):
    command = command_for(screen)
    words = ["--platemap", str(screen / "platemap.csv"), "--controls", "Treatment == 'DMSO'"]
    model = "untrained-efficientnet-b0"
    return [*CPCNN, "compare", model, *command[1:5], *words, "--out", str(out)]


def train(folder):
    from cpcnn_core.training.config_files import write_config

    store = write_store(folder / "store")
    config = config_of(store, folder, training={"epochs": 500}, run={"workers": 2})
    write_config(folder / "train.toml", config)
    return [*CPCNN, "train", str(folder / "train.toml")]


def wait_for(found, seconds=60):
    deadline = time.monotonic() + seconds
    while not found() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert found()


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_compare_leaves_no_process(screen, tmp_path, name):
    process = start(compare(screen, tmp_path / "out"))
    children = descendants(process, 2)
    if name != "SIGKILL":
        # In the middle of the work: what is not loaded yet cannot tidy up.
        wait_for(lambda: list((tmp_path / "out").rglob("*.npz")))
    process.send_signal(getattr(signal, name))
    number = getattr(signal, name)
    assert process.wait(60) == (-number if name == "SIGKILL" else 128 + number)
    # Whoever is asked to end waits for those it started.
    assert still_running(children, 10 if name == "SIGKILL" else 0.1) == []


def test_a_killed_run_on_dask_leaves_no_process(screen, tmp_path):
    pytest.importorskip("distributed")
    process = start([*CPCNN, *command_for(screen), "--out", str(tmp_path), "--cluster", "local:1"])
    # A worker, and what multiprocessing starts to look after it.
    children = descendants(process, 2)
    process.kill()
    process.wait()
    assert still_running(children) == []


def test_a_killed_training_leaves_no_process(tmp_path):
    process = start(train(tmp_path))
    children = descendants(process, 2)
    process.kill()
    process.wait()
    assert still_running(children) == []


@pytest.mark.parametrize("work", ["umap", "network"])
def test_a_killed_napari_leaves_no_process(work, tmp_path):
    pytest.importorskip("umap" if work == "umap" else "napari")
    home = {**os.environ, "CPCNN_HOME": str(tmp_path)}
    process = start([sys.executable, "-c", ASKS_LATE, work], env=home)
    children = descendants(process, 1)
    # Until it is at work.
    time.sleep(3)
    assert process.poll() is None
    process.kill()
    process.wait()
    assert still_running(children, 3) == []
