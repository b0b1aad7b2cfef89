"""All files of the module but its settings load and work without CellProfiler."""

import subprocess
import sys
from pathlib import Path

import cpcnn_core.worker.protocol
from cellprofiler_plugins._cpcnn import worker_client

PLUGIN = Path(worker_client.__file__).parent
PLAIN = ("request", "checks", "measurement_columns", "worker_client", "worker_python", "measure")


def test_they_load_without_cellprofiler_and_torch():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import importlib\n"
        "for name in sys.argv[2:]: importlib.import_module('_cpcnn.' + name)\n"
        "loaded = {name.split('.')[0] for name in sys.modules}\n"
        "print(sorted(loaded & {'cellprofiler_core', 'cellprofiler', 'wx', 'torch', 'cpcnn_core'}))"
    )
    command = [sys.executable, "-c", code, str(PLUGIN.parent), *PLAIN, "display", "help_texts"]
    assert subprocess.check_output(command, text=True) == "[]\n"


def test_both_ends_of_the_pipe_have_the_same_file():
    ours = Path(cpcnn_core.worker.protocol.__file__)
    assert ours.read_bytes() == (PLUGIN / "protocol.py").read_bytes()


def test_every_room_that_should_be_plain_is_there():
    files = {path.stem for path in PLUGIN.glob("*.py")}
    copies = {"allowed_programs", "channel_names", "protocol"}
    assert files - copies == {"__init__", "settings", "help_texts", "display", *PLAIN}
