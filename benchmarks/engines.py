"""Cells per second of every engine, side by side in one run, and of those not chosen.

Network up to block6a, 32 random crops; the engines take turns, and medians are told, so
that a noisy machine is noisy for all. ``PyTorch as it comes`` is the same network without
folding and channels last. OpenVINO and ONNX Runtime run as they were tried before LiteRT was
chosen, where their packages are installed (``openvino``; ``onnxruntime``, ``onnx`` and
``onnxscript``). Run it from the project's folder::

    python benchmarks/engines.py --record
"""

import argparse
import importlib.metadata
import importlib.util
import json
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from machine import machine

from cpcnn_core.threads import let_threads_wait

let_threads_wait()

import torch

from cpcnn_core import load_model
from cpcnn_core.engines.torch_engine import fold_batch_norms
from cpcnn_core.models.network_builder import build_network
from cpcnn_core.models.opening import untrained_efficientnet_b0

BATCH, ROUNDS, BATCHES, OTHERS_BATCH = 32, 15, 4, 8


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="write engines.json")
    options = parser.parse_args()
    crops = np.random.default_rng(0).random((BATCH, 5, 128, 128), dtype=np.float32)
    runs = {"PyTorch as it comes": as_it_comes()}
    names = ["torch", *(["litert"] if installed("ai_edge_litert") else [])]
    starts = {}
    for name in names:
        started = time.perf_counter()
        runs[name] = load_model("untrained-efficientnet-b0", "cpu", engine=name).embed
        starts[name] = round(time.perf_counter() - started, 1)
    versions = {"torch": "torch", "litert": "ai-edge-litert"}
    versions = {name: importlib.metadata.version(versions[name]) for name in names}
    for name, make in {"openvino": openvino, "onnxruntime": onnx_runtime}.items():
        if installed(name):
            runs[name], versions[name] = make(), importlib.metadata.version(name)
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
        "versions": versions,
        **machine(),
    }
    text = json.dumps(result, indent=2)
    print(text)
    if options.record:
        Path(__file__).with_suffix(".json").write_text(text + "\n")


def installed(package):
    return importlib.util.find_spec(package) is not None


def as_it_comes():
    network = build_network(*untrained_efficientnet_b0()).eval()

    def run(crops):
        with torch.inference_mode():
            return network(torch.from_numpy(crops)).numpy()

    return run


def openvino():
    # None makes a package impossible to import: this one reports to Intel.
    sys.modules["openvino_telemetry"] = None
    import openvino

    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        model = openvino.convert_model(folded(), example_input=torch.zeros((1, 5, 128, 128)))
    model.reshape([-1, 5, 128, 128])
    options = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    options["INFERENCE_NUM_THREADS"] = torch.get_num_threads()
    compiled = openvino.Core().compile_model(model, "CPU", options)
    return in_batches(lambda crops: compiled(crops)[0])


def onnx_runtime():
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    example = torch.zeros((OTHERS_BATCH, 5, 128, 128))
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = str(Path(folder) / "network.onnx")
        torch.onnx.export(folded(), (example,), path, input_names=["crops"], verbose=False)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return in_batches(lambda crops: session.run(None, {"crops": crops})[0])


def folded():
    return fold_batch_norms(build_network(*untrained_efficientnet_b0()).eval())


def in_batches(run):
    def all_batches(crops):
        parts = range(0, len(crops), OTHERS_BATCH)
        return np.concatenate([run(crops[i : i + OTHERS_BATCH]) for i in parts])

    return all_batches


if __name__ == "__main__":
    main()
