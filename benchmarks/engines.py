"""Cells per second of every engine, side by side in one run.

Network up to block6a, batch 32, random crops; the engines take turns, and medians are
told, so that a noisy machine is noisy for all. ``PyTorch as it comes`` is the same network
without folding and channels last. Run it from the project's folder::

    python benchmarks/engines.py --record
"""

import argparse
import importlib.metadata
import importlib.util
import json
import statistics
import time
from pathlib import Path

import numpy as np
from machine import machine

from cpcnn_core.threads import let_threads_wait

let_threads_wait()

import torch

from cpcnn_core import load_model
from cpcnn_core.models.efficientnet import TappedEfficientNet
from cpcnn_core.models.untrained import untrained_efficientnet_b0

BATCH, ROUNDS, BATCHES = 32, 15, 4


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="write engines.json")
    options = parser.parse_args()
    crops = np.random.default_rng(0).random((BATCH, 5, 128, 128), dtype=np.float32)
    runs = {"PyTorch as it comes": as_it_comes()}
    names = ["torch", *(["openvino"] if importlib.util.find_spec("openvino") else [])]
    starts = {}
    for name in names:
        started = time.perf_counter()
        runs[name] = load_model("untrained-efficientnet-b0", "cpu", engine=name).embed
        starts[name] = round(time.perf_counter() - started, 1)
    times = {name: [] for name in runs}
    for run in runs.values():
        run(crops)
    for _ in range(ROUNDS):
        for name, run in runs.items():
            started = time.perf_counter()
            for _ in range(BATCHES):
                run(crops)
            times[name].append((time.perf_counter() - started) / BATCHES)
    rates = {name: round(BATCH / statistics.median(values)) for name, values in times.items()}
    result = {
        "cells per second": rates,
        "ratio to PyTorch as it comes": {
            name: round(rate / rates["PyTorch as it comes"], 2) for name, rate in rates.items()
        },
        "seconds to load the model": starts,
        "batch": BATCH,
        "rounds, medians": ROUNDS,
        "threads": torch.get_num_threads(),
        "versions": {name: importlib.metadata.version(name) for name in ("torch", *names[1:])},
        **machine(),
    }
    text = json.dumps(result, indent=2)
    print(text)
    if options.record:
        Path(__file__).with_suffix(".json").write_text(text + "\n")


def as_it_comes():
    card, weights = untrained_efficientnet_b0()
    network = TappedEfficientNet(len(card.channels), card.tap)
    network.load_weights(weights)
    network.eval()

    def run(crops):
        with torch.inference_mode():
            return network(torch.from_numpy(crops)).numpy()

    return run


if __name__ == "__main__":
    main()
