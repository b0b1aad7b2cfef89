"""CellProfiler's "Analyze Images": several processes, some of which are killed."""

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cpcnn_core import embed_cells, load_model
from cpcnn_core.hosts.headless import headless_environ

from .conftest import CHANNELS, GROUP_SIZE, MADE_UP_SITES

INSIDE = Path(__file__).parents[1] / "inside_cellprofiler"
# The worker of this image set is killed while it embeds.
HARMED = 5


@pytest.fixture(scope="module")
def analyze(
    cellprofiler_python,
    plugins,
    write_pipeline,
    write_load_data,
    made_up_sites,
    small_model_file,
    tmp_path_factory,
):
    """Return a function that analyzes all sites with two processes and kills a victim."""
    folder = tmp_path_factory.mktemp("analysis")
    images = {channel: f"Orig{channel}" for channel in CHANNELS}
    job = {
        "load_data": write_load_data(folder / "load.csv", made_up_sites),
        "classical": False,
        "sabotage": {"deeds": f"{HARMED}=kill", "model_file": str(small_model_file)},
        "cnn": [{"centers": "Nuclei", "model_file": str(small_model_file), "images": images}],
        "spreadsheet": False,
        # CellProfiler waits a second for every message of a job; a group is one job.
        "group_by": "Group",
    }
    pipeline = write_pipeline(folder / "pipeline.cppipe", job)
    environ = headless_environ()
    environ.pop("OMP_NUM_THREADS", None)

    def analyze(victim):
        return subprocess.run(
            [
                *(cellprofiler_python, INSIDE / "run_analysis.py", pipeline, plugins, folder),
                *(victim, str(GROUP_SIZE)),
            ],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )

    return analyze


def said(done, word):
    assert word in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]
    return json.loads(done.stdout.split(word)[1].splitlines()[0])


def processes(done):
    """Return the ids of CellProfiler's analysis processes."""
    started = said(done, "STARTED")["processes"]
    assert len(started) == 2
    return [int(pid) for pid in started]


def workers(done):
    """Return the ids of the workers that they started."""
    return [child for own in said(done, "STARTED")["processes"].values() for child in own]


def wait_until_gone(pids):
    # A worker that is loading its network ends when that is done.
    for _ in range(900):
        if not any(alive(pid) for pid in pids):
            return
        time.sleep(0.1)
    pytest.fail(f"still running: {[pid for pid in pids if alive(pid)]}")


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (OSError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.long
def test_killed_processes_cost_their_own_image_sets_only(analyze, made_up_sites, small_model_file):
    done = analyze("process")
    measured = {int(number): values for number, values in said(done, "RESULT").items()}
    # CellProfiler waits for what its killed process was working on: one group at most.
    assert len(measured) >= MADE_UP_SITES - GROUP_SIZE
    model = load_model(small_model_file, device="cpu")
    for number, values in measured.items():
        names = sorted(name for name in values if name.startswith("CPCNN"))
        features = np.transpose([values[name] for name in names])
        if number == HARMED:
            assert features.size == 0
            continue
        site = made_up_sites[number - 1]
        image = np.stack([np.asarray(Image.open(site[channel])) for channel in CHANNELS])
        nuclei = np.transpose([values["Location_Center_Y"], values["Location_Center_X"]])
        assert len(nuclei) == 2 + number % 3
        around = nuclei[np.array(values["Parent_Nuclei"], int) - 1]
        expected = embed_cells(model, image.astype(np.float32) / np.float32(65535), around)
        assert expected.std(axis=0).max() > 1e-4
        np.testing.assert_allclose(features, expected, rtol=0, atol=1e-5)
    wait_until_gone([*processes(done), *workers(done)])


def test_all_cores_are_used_once_and_workers_end_when_cellprofiler_is_killed(analyze):
    done = analyze("all")
    share = max(1, len(os.sched_getaffinity(0)) // 2)
    assert said(done, "STARTED")["threads"] == [str(share)] * 2
    wait_until_gone(workers(done))
    # CellProfiler's own live on as idle orphans (see _cpcnn/worker_client.py).
    for pid in processes(done):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
