"""Real CellProfiler environments, made once, and pipelines to run in them."""

import json
import subprocess
from pathlib import Path

import pytest

from cpcnn_core.errors import HostError
from cpcnn_core.hosts.environment import (
    CELLPROFILER_VERSION,
    check_python,
    create_environment,
    find_python,
    python_candidates,
)
from cpcnn_core.hosts.headless import headless_environ, run_pipeline
from cpcnn_core.hosts.install import install_plugin
from cpcnn_core.models.registry import cpcnn_home
from cpcnn_core.models.untrained import untrained_efficientnet_b0
from cpcnn_core.models.weights import save_model

INSIDE = Path(__file__).parents[1] / "inside_cellprofiler"
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
def run_job(cellprofiler_python, plugins):
    """Return a function that writes a pipeline and runs it headless in a folder."""

    def run(folder, job, *arguments):
        pipeline = folder / "pipeline.cppipe"
        job = {"out": str(pipeline), "plugins": str(plugins), **job}
        subprocess.run(
            [str(cellprofiler_python), str(INSIDE / "make_pipeline.py")],
            input=json.dumps(job),
            env=headless_environ(),
            text=True,
            capture_output=True,
            check=True,
        )
        run_pipeline(
            cellprofiler_python,
            pipeline,
            folder,
            images=folder,
            plugins_directory=plugins,
            arguments=arguments,
        )
        return folder

    return run
