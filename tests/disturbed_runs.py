"""A server that has everything loaded and forks off runs of ``cpcnn``, some of them disturbed.

So a run takes no longer than its work. ``python -m tests.disturbed_runs`` reads jobs from stdin, a
line of JSON each, answers with the process's number, and after the line ``wait`` with its exit
status. See `tests.fault_injection.Laboratory`.
"""

import builtins
import errno
import functools
import io
import json
import logging
import os
import signal
import subprocess
import sys
import traceback
from pathlib import Path

import numpy as np

CALLS = ("replace", "fsync", "open")
SESSION = "--session"
CHILDREN = "cpcnn_core.child_processes"


def serve():
    """Answer jobs until there are no more."""
    from cpcnn_core.threads import let_threads_wait

    let_threads_wait()
    load_everything()
    for line in sys.stdin:
        reader, writer = os.pipe()
        number = os.fork()
        if number == 0:
            os.close(reader)
            leave_after(do_job, json.loads(line), writer)
        os.close(writer)
        # Closed as soon as it can be disturbed.
        os.read(reader, 1)
        os.close(reader)
        print(number, flush=True)
        sys.stdin.readline()
        print(os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]), flush=True)
    # All that is loaded would be taken apart for seconds.
    os._exit(0)


def load_everything():
    """Load what runs load, and compute nothing: threads would be missing in what is forked off."""
    import accelerate  # noqa: F401
    import anndata  # noqa: F401
    import napari._app_model  # noqa: F401
    import numba  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import skimage.color
    import skimage.filters
    import skimage.transform  # noqa: F401
    import tifffile  # noqa: F401
    import timm  # noqa: F401
    from napari.components import ViewerModel  # noqa: F401
    from torch.utils import tensorboard  # noqa: F401

    import cpcnn_core.cli.main
    import cpcnn_core.crop_store.image_sites
    import cpcnn_core.evaluation.comparison
    import cpcnn_core.evaluation.evaluation
    import cpcnn_core.evaluation.report
    import cpcnn_core.profiles.library_files
    import cpcnn_core.screen.job
    import cpcnn_core.screen.prepare
    import cpcnn_core.simulation.screen
    import cpcnn_core.training.fit  # noqa: F401
    import napari_cpcnn.session  # noqa: F401


def leave_after(function, *arguments):
    """Call what this process was forked off for, and end with the status that it comes to."""
    from cpcnn_core.cli.main import exit_status

    status = 1
    try:
        function(*arguments)
        status = 0
    except SystemExit as end:
        status = end.code or 0
    except KeyboardInterrupt as stop:
        status = exit_status(stop)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def do_job(job, writer):
    """Become the run, with its fault; close the writer when it can be signalled."""
    from cpcnn_core.cli.main import run, stop_on_signals

    fault = job["fault"]
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number, place in enumerate((nothing, log, log)):
        os.dup2(place, number)
    if fault.get("closed"):
        unread, unwelcome = os.pipe()
        os.close(unread)
        os.dup2(unwelcome, 1)
    os.chdir(job["folder"])
    # Whoever runs the tests may have them ignored, such as nohup.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    stop_on_signals()
    subprocess.Popen = ForkingPopen
    counts = disturb(fault, os.getpid())
    os.close(writer)
    try:
        if job["words"][0] == SESSION:
            save_session(job["words"][1])
        else:
            sys.argv[1:] = job["words"]
            run()
    finally:
        if fault.get("count"):
            text = json.dumps(counts)
            Path("counts.json").write_text(text)


def disturb(fault, process):
    """Count the calls of a process that write into this folder, and have one of them fail."""
    here, counts = str(Path.cwd()), dict.fromkeys(CALLS, 0)
    place, way = (fault.get("call"), fault.get("number")), fault.get("way")
    is_full = False

    def fail():
        if way == "SIGKILL":
            os.kill(os.getpid(), signal.SIGKILL)
        number = getattr(errno, way)
        raise OSError(number, os.strerror(number))

    def watched(call, function):
        @functools.wraps(function)
        def instead(*arguments, **options):
            nonlocal is_full
            counts_here = os.getpid() == process
            if counts_here and (call != "open" or _writes(here, *arguments, **options)):
                found = (call, counts[call])
                counts[call] += 1
                is_full = is_full or (found == place and way == "ENOSPC")
                if found == place or is_full:
                    if call == "open":
                        # Disks have room for a name longer than for what is written.
                        function(*arguments, **options).close()
                    fail()
            return function(*arguments, **options)

        return instead

    os.replace, os.fsync = watched("replace", os.replace), watched("fsync", os.fsync)
    io.open = builtins.open = watched("open", io.open)
    return counts


def _writes(here, file, mode="r", *_, **__):
    if not isinstance(mode, str) or not set(mode) & set("wax+") or isinstance(file, int):
        return False
    return str(Path(here, os.fsdecode(file))).startswith(here)


class ForkingPopen(subprocess.Popen):
    """Starts children of ours by forking them off: what they need is loaded already."""

    def __init__(self, command, **options):
        if CHILDREN in command:
            own = command[command.index(CHILDREN) + 1 :]
            # Called in the child, and never comes back.
            options["preexec_fn"] = functools.partial(leave_after, become_child, own)
        super().__init__(command, **options)


def become_child(words):
    """Be what ``python -m cpcnn_core.child_processes`` would be."""
    from cpcnn_core.child_processes import main

    # As in any new program: no files, no handlers.
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    logging.getLogger().handlers.clear()
    main(*words)


def save_session(path):
    """Do what napari's dock widget does for "Save session"."""
    from napari.components import ViewerModel
    from qtpy.QtWidgets import QApplication

    from cpcnn_core.io.profile_files import read_profiles
    from napari_cpcnn.layer_links import ViewerLink
    from napari_cpcnn.session import save_session
    from napari_cpcnn.shared_state import SharedState

    application = QApplication([])
    viewer, state = ViewerModel(), SharedState()
    cells = read_profiles("S1P1.parquet")
    cells.metadata["Metadata_Layer"] = "cells"
    draw = np.random.default_rng(0)
    viewer.add_image(draw.random((400, 400)), name="DNA")
    viewer.add_labels(draw.integers(0, 9, (400, 400)), name="cells")
    state.set_cells(cells)
    link = ViewerLink(viewer, state, state)
    link.set_channels(viewer.layers["cells"], [viewer.layers["DNA"]])
    save_session(path, viewer, state, link, {"tab": 1})
    application.quit()


if __name__ == "__main__":
    serve()
