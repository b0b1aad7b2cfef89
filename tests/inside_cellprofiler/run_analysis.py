"""Run a pipeline as the window's "Analyze Images" does: two worker processes.

Arguments: pipeline, plugins folder, output folder, what is killed in the middle, and how
many image sets make a group. Killed are ``nothing``, ``process`` (one of CellProfiler's
analysis processes) or ``all`` (this one).
Prints as JSON, after STARTED, the ids of all processes and the threads of the workers; after
RESULT the features and nuclei of the cells of every image set that was finished.
"""

import json
import os
import signal
import sys
import threading
import time

import cellprofiler_core.preferences as preferences
import psutil

preferences.set_headless()
preferences.set_plugin_directory(sys.argv[2], globally=False)
preferences.set_default_output_directory(sys.argv[3])
preferences.set_default_image_directory(sys.argv[3])
preferences.set_always_continue(True, globally=False)

from cellprofiler_core.utilities.java import start_java

start_java()

from cellprofiler_core.analysis._analysis import Analysis
from cellprofiler_core.analysis._runner import Runner
from cellprofiler_core.image import ImageSetList
from cellprofiler_core.measurement import Measurements
from cellprofiler_core.object import ObjectSet
from cellprofiler_core.pipeline import Pipeline
from cellprofiler_core.utilities.core.modules import fill_modules
from cellprofiler_core.workspace import Workspace

VICTIM = sys.argv[4]
GROUP_SIZE = int(sys.argv[5])
KILL_AFTER = 6
PATIENCE_SECONDS = 400

fill_modules()
pipeline = Pipeline()
pipeline.load(sys.argv[1])
measurements = Measurements()
workspace = Workspace(pipeline, None, measurements, ObjectSet(), measurements, ImageSetList())
if not pipeline.prepare_run(workspace):
    sys.exit("prepare_run said no")

finished = threading.Event()
results = []
counts = {}


def listen(event):
    name = type(event).__name__
    if name == "Progress":
        counts.clear()
        counts.update(event.counts)
    elif name == "Finished":
        results.append(event.measurements)
        finished.set()


def workers():
    """Return CellProfiler's analysis processes, each with the workers it has started."""
    return {
        process.pid: [
            child.pid
            for child in psutil.Process(process.pid).children()
            if "cpcnn_core.cli" in child.cmdline()
        ]
        for process in Runner.workers
    }


def wait_until(true):
    started = time.time()
    while not true():
        if time.time() - started > PATIENCE_SECONDS:
            print("waited in vain; image sets: %s" % counts, flush=True)
            os._exit(1)
        time.sleep(0.1)


analysis = Analysis(pipeline, initial_measurements=measurements)
analysis.start(listen, num_workers=2)
total = len(measurements.get_image_numbers())
wait_until(lambda: len(Runner.workers) == 2 and all(workers().values()))
wait_until(lambda: VICTIM == "all" or counts.get("Done", 0) >= KILL_AFTER)
started = workers()
threads = [
    psutil.Process(child).environ().get("OMP_NUM_THREADS")
    for children in started.values()
    for child in children
]
print("STARTED" + json.dumps({"processes": started, "threads": threads}), flush=True)
if VICTIM == "all":
    os.kill(os.getpid(), signal.SIGKILL)
if VICTIM == "process":
    os.kill(next(iter(started)), signal.SIGKILL)
    # What it was working on is lost; CellProfiler waits for it until its user stops it.
    wait_until(lambda: counts.get("Done", 0) >= total - GROUP_SIZE)
    time.sleep(5)
    analysis.cancel()
wait_until(finished.is_set)


def of(number, objects, name):
    return results[0].get_measurement(objects, name, number).tolist()


FEATURES = [c[1] for c in pipeline.get_measurement_columns() if c[1].startswith("CPCNN_0")]
WANTED = [("Cells", name) for name in [*FEATURES, "Parent_Nuclei"]]
WANTED += [("Nuclei", "Location_Center_Y"), ("Nuclei", "Location_Center_X")]
values = {
    int(number): {name: of(number, objects, name) for objects, name in WANTED}
    for number in results[0].get_image_numbers()
    if results[0].get_measurement("Image", "ProcessingStatus", number) == "Done"
}
print("RESULT" + json.dumps(values), flush=True)
# Threads that wait for more analyses would keep the process.
os._exit(0)
