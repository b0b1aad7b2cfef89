"""Every verb of ``cpcnn`` disturbed at some moment, run again, and compared with one that was not.

A server that has everything loaded forks off the runs, so that one takes no longer than its work.
It is this file as a program; the rest is for tests, and for ``benchmarks/interruptions.py``.
"""

import builtins
import contextlib
import csv
import errno
import functools
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

SIGNALS = {name: getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGKILL")}
CALLS = ("replace", "fsync", "open")
ERRORS = (errno.EIO, errno.ENOSPC)
CONTROLS = "Treatment == 'DMSO'"
CHANNELS = "DNA,RNA,ER,AGP,Mito"
PROJECT = Path(__file__).parent / "data" / "deepprofiler_project"
SESSION = "--session"
# What carries times, or what it cost: compared without these, or not at all.
OF_TIME = ("embed.jsonl", "crops.jsonl", "cost.json", "last_run.json", "output.txt")
COST_COLUMNS = ("cells_timed", "seconds", "cells_per_second", "cpu_seconds", "peak_mib")
SPEED_COLUMNS = ("cells", "seconds", "cells_per_second", "waiting")
NOT_COMPARED = {
    "embed, crops, compare": f"{', '.join(OF_TIME)}: what happened when, and what it cost",
    "compare": f"compare.html, which shows the cost; of compare.csv {', '.join(COST_COLUMNS)}",
    "train": f"tensorboard; of log.csv {', '.join(SPEED_COLUMNS)}; of checkpoints all but tensors",
}

TRAINING = """
[data]
[[data.studies]]
crops = "{inputs}/crops"
[network]
backbone = "test_resnet"
[training]
epochs = 3
batch = 8
[evaluation]
controls = "Treatment == 'DMSO'"
[run]
out = "out"
device = "cpu"
workers = 1
checkpoint_steps = 2
"""


def verbs(inputs):
    """Return the words of every verb; each writes below the folder that it is started in."""
    screen = inputs / "screen"
    cells = ["--load-data", str(screen / "load_data.csv"), "--labels", str(screen / "labels")]
    plates = ["--platemap", str(screen / "platemap.csv")]
    model = ["--model", "tiny", "--device", "cpu"]
    profiles = str(inputs / "profiles.parquet")
    return {
        "simulate": ["simulate", "--out", "out", *SCREEN],
        "embed": ["embed", *cells, *model, "--tables", "parquet", "anndata", "--out", "out"],
        "crops": ["crops", *cells, *plates, "--crop-px", "32", "--out", "out"],
        "profile": [
            *("profile", str(inputs / "embedded"), *plates, "--controls", CONTROLS),
            *("--correction", "sphering", "--consensus", "Treatment", "--out", "out/p.parquet"),
        ],
        "nearest": ["nearest", profiles, "--query", "Treatment == 'T001'", "--out", "out/n.csv"],
        "evaluate": ["evaluate", profiles, "--out", "out"],
        "train": ["train", "train.toml"],
        "prepare": ["prepare", "project"],
        "session": [SESSION, "out/mine.cpcnn"],
        "compare": [
            *("compare", "tiny", *cells, *plates, "--controls", CONTROLS, "--out", "out"),
        ],
    }


SCREEN = ("--plates", "2", "--wells", "8", "--treatments", "3", "--size", "64", "--cells", "3")


class Laboratory:
    """Runs verbs, and disturbs them; all runs of a verb are in the same folder, made anew."""

    def __init__(self, folder):
        self.inputs, self.work = folder / "inputs", folder / "work"
        self.inputs.mkdir(parents=True)
        self._log = folder / "said.txt"
        environ = {"CPCNN_HOME": str(folder / "home"), "QT_QPA_PLATFORM": "offscreen"}
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.fault_injection"],
            env={**os.environ, **environ, "OMP_NUM_THREADS": "1"},
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.verbs = verbs(self.inputs)
        for words in (
            f"models timm test_resnet --untrained 1 --channels {CHANNELS} --crop-px 32 --name tiny",
            f"simulate --out screen {' '.join(SCREEN)}",
        ):
            self._must(words.split(), self.inputs)
        for name, out in (("embed", "embedded"), ("crops", "crops"), ("profile", "profiles")):
            self._must(self._to(name, out), self.inputs)

    def _to(self, name, out):
        end = ".parquet" if name == "profile" else ""
        return [*self.verbs[name][:-1], f"{out}{end}"]

    def close(self):
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()

    def prepare(self, name):
        """Make the folder of a verb anew."""
        shutil.rmtree(self.work, ignore_errors=True)
        (self.work / "out").mkdir(parents=True)
        if name == "train":
            text = TRAINING.format(inputs=self.inputs)
            (self.work / "train.toml").write_text(text)
        if name == "prepare":
            shutil.copytree(PROJECT, self.work / "project")
        if name == "session":
            shutil.copy(self.inputs / "embedded" / "plates" / "S1P1.parquet", self.work)

    def run(self, name, fault=None):
        """Run a verb in its folder; return its exit status, what it said, and its seconds."""
        return self._run(self.verbs[name], self.work, fault)

    def undisturbed(self, name):
        """Return the contents of what a verb writes, its seconds, and how often it writes."""
        self.prepare(name)
        status, said, seconds = self.run(name, {"count": True})
        assert status == 0, said
        counts = json.loads((self.work / "counts.json").read_text())
        (self.work / "counts.json").unlink()
        return contents(self.work), seconds, counts

    def disturbed(self, name, fault):
        """Disturb a verb and run it again; return what became of both, and the contents."""
        self.prepare(name)
        first, said, _ = self.run(name, fault)
        second, again, _ = self.run(name)
        left = [str(p.relative_to(self.work)) for p in self.work.rglob(".*.part.*")]
        return {"first": first, "said": said, "second": second, "again": again, "left": left}

    def _must(self, words, folder):
        status, said, _ = self._run(words, folder)
        assert status == 0, said

    def _run(self, words, folder, fault=None):
        fault = fault or {}
        job = {"words": words, "folder": str(folder), "log": str(self._log), "fault": fault}
        started = time.monotonic()
        self._server.stdin.write(json.dumps(job) + "\n")
        self._server.stdin.flush()
        number = int(self._server.stdout.readline())
        if "signal" in fault:
            time.sleep(fault["after"])
            # It may have ended: until the server has been told to look, its number stays its own.
            os.kill(number, SIGNALS[fault["signal"]])
        self._server.stdin.write("wait\n")
        self._server.stdin.flush()
        status = int(self._server.stdout.readline())
        return status, self._log.read_text(errors="replace"), time.monotonic() - started


def moments(name, seconds, count):
    """Yield faults: every signal, and an output that is closed, at random moments of a run."""
    dice = random.Random(name)
    for number in range(count):
        how = [*SIGNALS, "SIGKILL"][number % 5]
        yield {"signal": how, "after": round(dice.uniform(0, seconds), 3)}


def failing_writes(name, counts, most=None):
    """Yield faults: every call that writes fails once, or as many as are asked for of each."""
    dice = random.Random(name)
    for call in CALLS:
        numbers = range(counts[call])
        if most is not None and most < len(numbers):
            numbers = sorted(dice.sample(numbers, most))
        for place, number in enumerate(numbers):
            yield {"call": call, "number": number, "errno": ERRORS[place % 2]}


def contents(folder):
    """Return what the files below a folder hold, but for times and costs: see `NOT_COMPARED`."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or path.name in OF_TIME or "/tensorboard/" in f"/{name}":
            continue
        if path.name == "compare.html":
            continue
        if path.name == "compare.csv":
            found[name] = _without(path, COST_COLUMNS)
        elif path.name == "log.csv":
            found[name] = _without(path, SPEED_COLUMNS)
        elif path.name.startswith("checkpoint_"):
            found[name] = _tensors(path)
        else:
            found[name] = path.read_bytes()
    return found


def differences(found, expected):
    """Name the files that are missing, too many, or others."""
    names = sorted(found.keys() | expected.keys())
    return [name for name in names if found.get(name) != expected.get(name)]


def _without(path, columns):
    with path.open(newline="") as file:
        return [{k: v for k, v in row.items() if k not in columns} for row in csv.DictReader(file)]


def _tensors(path):
    from safetensors.numpy import load_file

    return {name: value.tobytes() for name, value in load_file(path).items()}


# ---- the server ------------------------------------------------------------------------------


def _serve():
    from cpcnn_core.threads import let_threads_wait

    let_threads_wait()
    _load_everything()
    for line in sys.stdin:
        job = json.loads(line)
        number = os.fork()
        if number == 0:
            _be(job)
        print(number, flush=True)
        sys.stdin.readline()
        print(os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]), flush=True)


def _load_everything():
    """Load what runs load, and compute nothing: threads would be missing in what is forked off."""
    import anndata  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import skimage.transform  # noqa: F401
    import tifffile  # noqa: F401
    import timm  # noqa: F401
    from napari.components import ViewerModel  # noqa: F401

    import cpcnn_core.cli.main
    import cpcnn_core.comparison.compare
    import cpcnn_core.crop_store.image_sites
    import cpcnn_core.profiles.evaluation
    import cpcnn_core.profiles.library_files
    import cpcnn_core.profiles.report
    import cpcnn_core.screen.job
    import cpcnn_core.screen.prepare
    import cpcnn_core.simulation.screen
    import cpcnn_core.training.fit  # noqa: F401
    import napari_cpcnn.session  # noqa: F401


def _be(job):
    """Become the run."""
    status = 1
    try:
        log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        nothing = os.open(os.devnull, os.O_RDWR)
        for number, place in enumerate((nothing, log, log)):
            os.dup2(place, number)
        if job["fault"].get("closed"):
            reader, writer = os.pipe()
            os.close(reader)
            os.dup2(writer, 1)
        os.chdir(job["folder"])
        # Whoever runs the tests may have it ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _disturb(job["fault"])
        if job["words"][0] == SESSION:
            _save_session(job["words"][1])
            status = 0
        else:
            from cpcnn_core.cli.main import run

            sys.argv[1:] = job["words"]
            run()
    except SystemExit as end:
        status = end.code or 0
    except KeyboardInterrupt:
        status = 130
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
    finally:
        if job["fault"].get("count"):
            Path("counts.json").write_text(json.dumps(_COUNTS))
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(status)


_COUNTS = dict.fromkeys(CALLS, 0)


def _disturb(fault):
    """Count the calls that write into this folder, and have one of them fail."""
    here = str(Path.cwd())
    whole_open = io.open

    def watched(call, function):
        @functools.wraps(function)
        def instead(*arguments, **options):
            if call != "open" or _writes(here, *arguments, **options):
                place = _COUNTS[call]
                _COUNTS[call] += 1
                if (call, place) == (fault.get("call"), fault.get("number")):
                    raise OSError(fault["errno"], os.strerror(fault["errno"]))
            return function(*arguments, **options)

        return instead

    os.replace, os.fsync = watched("replace", os.replace), watched("fsync", os.fsync)
    io.open = builtins.open = watched("open", whole_open)


def _writes(here, file, mode="r", *_, **__):
    if not isinstance(mode, str) or not set(mode) & set("wax+") or isinstance(file, int):
        return False
    return str(Path(here, os.fspath(file))).startswith(here)


def _save_session(path):
    from napari.components import ViewerModel
    from qtpy.QtWidgets import QApplication

    from cpcnn_core.profiles.files import read_profiles
    from napari_cpcnn.explorer import Explorer
    from napari_cpcnn.linking import ViewerLink
    from napari_cpcnn.session import save_session

    application = QApplication([])
    viewer, explorer = ViewerModel(), Explorer()
    cells = read_profiles("S1P1.parquet")
    cells.metadata["Metadata_Layer"] = "cells"
    draw = np.random.default_rng(0)
    viewer.add_image(draw.random((400, 400)), name="DNA")
    viewer.add_labels(draw.integers(0, 9, (400, 400)), name="cells")
    explorer.set_cells(cells)
    link = ViewerLink(viewer, explorer, explorer)
    link.set_channels(viewer.layers["cells"], [viewer.layers["DNA"]])
    save_session(path, viewer, explorer, link, {"tab": 1})
    application.quit()


if __name__ == "__main__":
    _serve()
