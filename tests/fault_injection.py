"""Every verb of ``cpcnn`` disturbed at some moment, run again, and compared with one that was not.

The runs are forked off a server, ``tests/disturbed_runs.py``. ``tests/test_interruptions.py`` does
this in short, ``benchmarks/interruptions.py`` at length.
"""

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from cpcnn_core.io.atomic import is_temporary

from .disturbed_runs import CALLS, SESSION

# Signals that there are not on Windows are looked up where they are sent.
STATUSES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129, "SIGKILL": -9}
# A signal that comes sooner before the end of a run must end it.
LATE_SECONDS = 1
# A fault of the disk, a disk that is full from then on, and the end of the program at that place.
WAYS = ("EIO", "ENOSPC", "SIGKILL")
CONTROLS = "Treatment == 'DMSO'"
CHANNELS = "DNA,RNA,ER,AGP,Mito"
PROJECT = Path(__file__).parent / "data" / "deepprofiler_project"
# What carries times, or what it cost: compared without these, or not at all.
OF_TIME = (
    *("embed.jsonl", "crops.jsonl", "cost.json", "last_run.json", "output.txt", "compare.html"),
    # Of compare: what this run did, and what was done before it.
    "result.json",
)
COST_COLUMNS = ("cells_timed", "seconds", "cells_per_second", "cpu_seconds", "peak_mib")
SPEED_COLUMNS = ("cells", "seconds", "cells_per_second", "waiting")
# Written again as the work goes on.
GROWING = ("out/log.csv",)
NOT_COMPARED = {
    "all": f"{', '.join(OF_TIME)}: what happened when, and what it cost",
    "compare": f"of compare.csv {', '.join(COST_COLUMNS)}",
    "train": f"tensorboard; of log.csv, and of its rows in checkpoints, {', '.join(SPEED_COLUMNS)}",
}
SCREEN = ("--plates", "2", "--wells", "4", "--treatments", "3", "--size", "64", "--cells", "3")
SMALL_SCREEN = (
    "--plates",
    "1",
    "--wells",
    "4",
    "--treatments",
    "2",
    "--size",
    "48",
    "--cells",
    "1",
)
TRAINING = """
[data]
[[data.studies]]
crops = "{inputs}/crops"
[network]
backbone = "test_resnet"
[training]
epochs = 2
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
    return {
        "simulate": ["simulate", *SMALL_SCREEN, "--out", "out"],
        "embed": ["embed", *cells, *model, "--tables", "parquet", "anndata", "--out", "out"],
        "crops": ["crops", *cells, *plates, "--crop-px", "32", "--out", "out"],
        "profile": [
            *("profile", str(inputs / "embedded"), *plates, "--controls", CONTROLS),
            *("--correction", "sphering", "--consensus", "Treatment", "--out", "out/p.parquet"),
        ],
        "evaluate": ["evaluate", str(inputs / "profiles.parquet"), "--out", "out"],
        "train": ["train", "train.toml"],
        "prepare": ["prepare", "project"],
        "session": [SESSION, "out/mine.cpcnn"],
        "compare": ["compare", "tiny", *cells, *plates, "--controls", CONTROLS, "--out", "out"],
    }


class Laboratory:
    """Runs verbs, and disturbs them; all runs of a verb are in the same folder, made again.

    Parameters
    ----------
    folder : Path
        Holds nothing yet.
    """

    def __init__(self, folder):
        self.inputs, self.work, self._log = folder / "inputs", folder / "work", folder / "said.txt"
        self._own = [self.work, folder / "home", folder / "tmp"]
        for place in (self.inputs, *self._own):
            place.mkdir(parents=True)
        self._start_server()
        self.verbs = verbs(self.inputs)
        for words in (
            f"models timm test_resnet --untrained 1 --channels {CHANNELS} --crop-px 32 --name tiny",
            f"simulate {' '.join(SCREEN)} --out screen",
        ):
            self._must(words.split())
        for name, out in (
            ("embed", "embedded"),
            ("crops", "crops"),
            ("profile", "profiles.parquet"),
        ):
            self._must([*self.verbs[name][:-1], out])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._end_server()

    def restart(self):
        """Start all runs from here on as other Pythons, whose sets have another order."""
        self._end_server()
        self._start_server()

    def undisturbed(self, name):
        """Return the contents of what a verb writes, its seconds, and how often it writes."""
        self._begin(name)
        status, said, seconds = self._run(self.verbs[name], self.work, {"count": True})
        assert status == 0, said
        counts = self.work / "counts.json"
        numbers = json.loads(counts.read_text())
        counts.unlink()
        return contents(self.work), seconds, numbers

    def disturbed(self, name, fault, expected):
        """Disturb a verb, run it again, and say what is wrong then.

        Parameters
        ----------
        name : str
        fault : dict
            One of `moments`, `failing_writes`, or `CLOSED`.
        expected : dict
            The contents of an undisturbed run.

        Returns
        -------
        status : int
            The exit status of the run that was disturbed.
        problems : list of str
        """
        self._begin(name)
        status, said, seconds = self._run(self.verbs[name], self.work, fault)
        problems = []
        if "signal" in fault and status == 0 and seconds > LATE_SECONDS:
            problems.append(f"it went on as if it had not been signalled: {said}")
        if status not in (0, _status_of(fault)):
            problems.append(f"exit status {status}: {said}")
        found = contents(self.work)
        wrong = differences(found, expected)
        if status == 0:
            problems += [f"exit status 0, but {file} is another" for file in wrong]
        if fault.get("way") != "EIO":
            # What has a name is whole. But sites that failed are missing in tables of the others.
            halves = [file for file in wrong if file in found.keys() & expected.keys()]
            problems += [f"{file} is half written" for file in halves if file not in GROWING]
        again, said, _ = self._run(self.verbs[name], self.work)
        if again:
            problems.append(f"the second run has exit status {again}: {said}")
        wrong = differences(contents(self.work), expected)
        problems += [f"after the second run {file} is another" for file in wrong]
        left = [path for place in self._own for path in place.rglob("*.part.*")]
        problems += [f"{path.name} is left" for path in left]
        return status, problems

    def _start_server(self):
        environ = {"CPCNN_HOME": self._own[1], "TMPDIR": self._own[2], "OMP_NUM_THREADS": "1"}
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.disturbed_runs"],
            env={**os.environ, **environ, "QT_QPA_PLATFORM": "offscreen"},
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _end_server(self):
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()

    def _begin(self, name):
        """Make the folder of a verb again."""
        shutil.rmtree(self.work)
        (self.work / "out").mkdir(parents=True)
        if name == "train":
            (self.work / "train.toml").write_text(TRAINING.format(inputs=self.inputs))
        if name == "prepare":
            # Records name the times of the images: those of copies would be others every time.
            (self.work / "project").mkdir()
            (self.work / "project" / "inputs").symlink_to(PROJECT / "inputs")
        if name == "session":
            shutil.copy(self.inputs / "embedded" / "plates" / "S1P1.parquet", self.work)

    def _must(self, words):
        status, said, _ = self._run(words, self.inputs)
        assert status == 0, said

    def _run(self, words, folder, fault=None):
        """Return the exit status, what was said, and the seconds from the start, or the signal."""
        fault = fault or {}
        job = {"words": words, "folder": str(folder), "log": str(self._log), "fault": fault}
        number = int(self._ask(json.dumps(job)))
        started = time.monotonic()
        if "signal" in fault:
            time.sleep(fault["after"])
            # It may have ended: until the server has been told to look, its number stays its own.
            os.kill(number, getattr(signal, fault["signal"]))
            # On a busy machine much later than was meant.
            started = time.monotonic()
        status = int(self._ask("wait"))
        return status, self._log.read_text(errors="replace"), time.monotonic() - started

    def _ask(self, line):
        self._server.stdin.write(f"{line}\n")
        self._server.stdin.flush()
        return self._server.stdout.readline()


# Whoever reads what is printed has gone.
CLOSED = {"closed": True}


def moments(name, seconds, count):
    """Return faults: the signals in turn, at random moments of a run."""
    dice = random.Random(name)
    first = dice.randrange(len(STATUSES))
    signals = [list(STATUSES)[(first + number) % len(STATUSES)] for number in range(count)]
    return [{"signal": one, "after": round(dice.uniform(0, seconds), 3)} for one in signals]


def failing_writes(name, counts, most=None):
    """Return faults: every call that writes fails, or so many of each kind, drawn at random."""
    dice = random.Random(name)
    faults = []
    for call in CALLS:
        numbers = range(counts[call])
        if most is not None and most < len(numbers):
            numbers = sorted(dice.sample(numbers, most))
        faults += [{"call": call, "number": number} for number in numbers]
    return [fault | {"way": WAYS[place % len(WAYS)]} for place, fault in enumerate(faults)]


def _status_of(fault):
    return STATUSES.get(fault.get("signal") or fault.get("way"), 1)


def contents(folder):
    """Return what the files below a folder hold, but for times and costs: see `NOT_COMPARED`."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or path.name in OF_TIME or "/tensorboard/" in name:
            continue
        if is_temporary(path):
            # What a killed run's children write may go as this looks at it.
            continue
        if path.name == "compare.csv":
            found[name] = _without(path, COST_COLUMNS)
        elif path.name == "log.csv":
            found[name] = _without(path, SPEED_COLUMNS)
        elif path.name.startswith("checkpoint_"):
            found[name] = _checkpoint(path)
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


def _checkpoint(path):
    from cpcnn_core.training.checkpoint import read_checkpoint

    checkpoint = read_checkpoint(path)
    for row in checkpoint.facts["rows"]:
        for column in SPEED_COLUMNS:
            row.pop(column, None)
    tensors = {name: value.numpy().tobytes() for name, value in checkpoint.tensors.items()}
    return tensors, checkpoint.facts
