"""Cost of the pipe to the worker, beside the embedding itself.

Field of 1080 x 1080 x 5 float32 with 100 cells, sent by the CellProfiler module's
own client. A request with the same image and no cell costs what the pipe costs (and
the worker's look at the image, so it is an upper bound). Run it from the project's
folder, on a machine that does nothing else::

    python benchmarks/worker_pipe.py --record
"""

import argparse
import importlib.metadata
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from machine import machine

sys.path.insert(0, str(Path(__file__).parents[1] / "cellprofiler_plugins"))

from _cpcnn.worker_client import Worker

from cpcnn_core import load_model

SIDE, CELLS, REPEATS = 1080, 100, 9
CHANNELS = ["DNA", "RNA", "ER", "AGP", "Mito"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="write worker_pipe.json")
    options = parser.parse_args()
    random = np.random.default_rng(0)
    image = random.random((5, SIDE, SIDE), dtype=np.float32)
    centers = random.uniform(64, SIDE - 64, (CELLS, 2))

    started = time.perf_counter()
    worker = Worker(sys.executable)
    hello = time.perf_counter() - started
    first = seconds(worker, image, centers)
    pairs = [
        (seconds(worker, image, centers[:0]), seconds(worker, image, centers))
        for _ in range(REPEATS)
    ]
    worker.close()
    pipe, whole = (statistics.median(column) for column in zip(*pairs, strict=True))
    result = {
        "field": f"{SIDE} x {SIDE} x {len(CHANNELS)} float32, {CELLS} cells",
        "start of the worker, s": round(hello, 2),
        "first field (loads torch and the model), s": round(first, 2),
        "later fields, s": round(whole, 3),
        "of which pipe, s": round(pipe, 4),
        "pipe to embedding, %": round(100 * pipe / (whole - pipe), 2),
        "cells per second": round(CELLS / whole, 1),
        "repeats, medians": REPEATS,
        "engine": load_model("untrained-efficientnet-b0").engine,
        "torch": importlib.metadata.version("torch"),
        **machine(),
    }
    text = json.dumps(result, indent=2)
    print(text)
    if options.record:
        Path(__file__).with_suffix(".json").write_text(text + "\n")


def seconds(worker, image, centers):
    request = {"type": "embed", "model": "untrained-efficientnet-b0", "channels": CHANNELS}
    started = time.perf_counter()
    worker.ask(request, {"image": image, "centers": centers})
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
