"""Run a pipeline as the window's "Analyze Images" does: several worker processes.

Arguments: pipeline, plugins folder, output folder. Prints the first and last
feature of every object of every image set as JSON.
"""

import json
import os
import sys
import threading

import cellprofiler_core.preferences as preferences

preferences.set_headless()
preferences.set_plugin_directory(sys.argv[2], globally=False)
preferences.set_default_output_directory(sys.argv[3])
preferences.set_default_image_directory(sys.argv[3])

from cellprofiler_core.utilities.java import start_java

start_java()

from cellprofiler_core.analysis._analysis import Analysis
from cellprofiler_core.image import ImageSetList
from cellprofiler_core.measurement import Measurements
from cellprofiler_core.object import ObjectSet
from cellprofiler_core.pipeline import Pipeline
from cellprofiler_core.utilities.core.modules import fill_modules
from cellprofiler_core.workspace import Workspace

fill_modules()
pipeline = Pipeline()
pipeline.load(sys.argv[1])
measurements = Measurements()
workspace = Workspace(pipeline, None, measurements, ObjectSet(), measurements, ImageSetList())
if not pipeline.prepare_run(workspace):
    sys.exit("prepare_run said no")

finished = threading.Event()
results = []


def listen(event):
    if type(event).__name__ == "Finished":
        results.append(event.measurements)
        finished.set()


Analysis(pipeline, initial_measurements=measurements).start(listen, num_workers=2)
if not finished.wait(300):
    sys.exit("the analysis did not finish")
values = {
    int(number): [
        results[0].get_measurement("Cells", "CPCNN_" + feature, number).tolist()
        for feature in ("000", "671")
    ]
    for number in results[0].get_image_numbers()
}
print("RESULT" + json.dumps(values), flush=True)
# Threads that wait for more analyses would keep the process.
os._exit(0)
