"""Examine everything the CellProfiler module needs, in the order it is needed."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

import cpcnn_core
from cpcnn_core.errors import CPCNNError
from cpcnn_core.hosts.environments import code_command, environment_python, module_command
from cpcnn_core.hosts.install import (
    MODULE_FILE,
    default_plugins_directory,
    outdated_files,
    read_record,
)
from cpcnn_core.models.registry import find_model
from cpcnn_core.worker.client import MessageProcess

PUBLISHED_MODEL = "cell-painting-cnn-v1"
_PATIENCE_SECONDS = 300


class Finding(NamedTuple):
    """One thing that was looked at: whether it is good, and if not, what to do."""

    good: bool
    text: str
    cure: str = ""


def examine(
    plugins_directory: str | Path | None = None, cellprofiler_python: str | Path | None = None
) -> Iterator[Finding]:
    """Yield findings, each as soon as it is known.

    Parameters
    ----------
    plugins_directory : str or Path, optional
        Where the module was installed; default: `default_plugins_directory`.
    cellprofiler_python : str or Path, optional
        A Python with CellProfiler, in which the module is loaded for trial.

    Yields
    ------
    Finding

    Examples
    --------
    >>> next(examine()).good
    True
    """
    folder = Path(plugins_directory or default_plugins_directory()).expanduser().absolute()
    yield Finding(
        True,
        f"cpcnn {cpcnn_core.__version__} in Python {platform.python_version()} ({sys.executable})",
    )
    yield _network()
    yield _model()
    yield _module(folder)
    record = read_record(folder)
    if record:
        yield _worker(record["python"])
    if cellprofiler_python is not None:
        yield _cellprofiler(cellprofiler_python, folder)


def _network() -> Finding:
    """Load torch and timm, and embed a crop."""
    try:
        from cpcnn_core.embedding.embedder import load_model

        model = load_model("untrained-efficientnet-b0")
        model.embed(np.zeros((1, 5, 128, 128), np.float32))
    except CPCNNError as error:
        return Finding(False, str(error), _TORCH_CURE)
    except (ImportError, OSError, RuntimeError) as error:
        # A torch that was installed by halves fails in as many ways as there are halves.
        return Finding(False, f"torch and timm do not work here: {error}", _TORCH_CURE)
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "timm"))
    return Finding(True, f"{versions}; the network runs on {model.device}")


_TORCH_CURE = f"{sys.executable} -m pip install --force-reinstall torch torchvision timm"


def _model() -> Finding:
    try:
        _, path = find_model(PUBLISHED_MODEL)
    except CPCNNError as error:
        cure = f"cpcnn models fetch {PUBLISHED_MODEL}; not needed for a model of your own"
        return Finding(False, str(error).split(";")[0], cure)
    return Finding(True, f"the model {PUBLISHED_MODEL}: {path}")


def _module(folder: Path) -> Finding:
    cure = f"cpcnn cellprofiler install --plugins-directory {folder}"
    if not (folder / MODULE_FILE).is_file():
        return Finding(False, f"there is no module in {folder}", cure)
    outdated = outdated_files(folder)
    if outdated:
        return Finding(
            False, f"{', '.join(outdated)} in {folder} is missing or of another version", cure
        )
    if not read_record(folder):
        return Finding(False, f"no Python is recorded beside the module in {folder}", cure)
    return Finding(True, f"the module in {folder}")


def _worker(python: str) -> Finding:
    """Start the recorded Python as CellProfiler does and hear its greeting."""
    cure = "run cpcnn cellprofiler install with the cpcnn that you want to use"
    if not Path(python).is_file():
        return Finding(False, f"the recorded Python {python} does not exist", cure)
    # As CellProfiler's module starts it.
    worker = MessageProcess(module_command([python], "cpcnn_core.cli", "worker"), "it")
    try:
        worker.send({"type": "models"})
        names = worker.receive()[0]["names"]
    except (OSError, CPCNNError) as error:
        return Finding(False, f"no worker starts in {python}: {str(error).splitlines()[-1]}", cure)
    finally:
        worker.stop()
    hello = worker.greeting
    return Finding(
        True, f"a worker starts in {python} (cpcnn {hello['cpcnn']}) and knows {len(names)} models"
    )


_LOAD_MODULE = """
import logging, sys
logging.disable(logging.CRITICAL)
import cellprofiler_core.preferences as preferences
preferences.set_headless()
preferences.set_plugin_directory(sys.argv[1], globally=False)
from cellprofiler_core.utilities.core.modules import fill_modules
from cellprofiler_core.constants.modules import all_modules, badmodules
fill_modules()
mine = [str(error) for name, error in badmodules if name == "measurecellpaintingcnn"]
print("LOADED" if "MeasureCellPaintingCNN" in all_modules else mine)
"""


def _cellprofiler(python: str | Path, folder: Path) -> Finding:
    if Path(python).is_dir():
        python = environment_python(python)
    try:
        # The Python that the user named; the code is above, no shell.
        asked = subprocess.run(  # noqa: S603
            code_command([str(python)], _LOAD_MODULE, str(folder)),
            capture_output=True,
            text=True,
            timeout=_PATIENCE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Finding(
            False,
            f"{python} cannot be run: {error}",
            "name the Python of CellProfiler, or make one with: cpcnn cellprofiler create FOLDER",
        )
    last = (asked.stdout + asked.stderr).strip().splitlines()[-1:]
    if asked.stdout.strip().endswith("LOADED"):
        return Finding(True, f"CellProfiler in {python} loads the module")
    return Finding(
        False,
        f"CellProfiler in {python} does not load the module: {''.join(last) or 'no answer'}",
        "cpcnn cellprofiler create FOLDER makes an environment that does",
    )
