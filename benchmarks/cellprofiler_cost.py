"""Cost of deep features in CellProfiler, beside the classical ones of the same cells.

Runs ``examples/cell_painting_deep_beside_classical.cppipe`` headless on three real Cell
Painting fields, each several times over, in three ways: with no measurement at all, with
the classical modules, and with MeasureCellPaintingCNN alone; nothing is exported. The
differences to the first are what the measurements cost, in CPU-seconds of CellProfiler and
of all it starts (the worker included). Starting the worker and loading the network is
reported apart. From the project's folder, with the images of CPJUMP1 in IMAGES::

    python benchmarks/cellprofiler_cost.py IMAGES --record
"""

import argparse
import csv
import json
import os
import re
import resource
import sqlite3
import tempfile
from pathlib import Path

from machine import machine

from cpcnn_core.hosts.environments import CELLPROFILER_VERSION, create_environment
from cpcnn_core.hosts.headless import run_pipeline
from cpcnn_core.hosts.install import install_plugin
from cpcnn_core.models.folders import cpcnn_home

PIPELINE = Path(__file__).parents[1] / "examples" / "cell_painting_deep_beside_classical.cppipe"
CHANNELS = ("DNA", "RNA", "ER", "AGP", "Mito")
DEEP = "MeasureCellPaintingCNN"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, help="folder with index.csv and its images")
    parser.add_argument("--times", type=int, default=2, help="measure every field so many times")
    parser.add_argument("--record", action="store_true", help="write cellprofiler_cost.json")
    parser.add_argument("--note", default="", help="about the machine, e.g. that it was busy")
    options = parser.parse_args()
    python = create_environment(cpcnn_home() / f"cellprofiler-{CELLPROFILER_VERSION}")
    text = PIPELINE.read_text().replace("cell-painting-cnn-v1", "untrained-efficientnet-b0")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        plugins = install_plugin(folder / "plugins")
        fields = write_load_data(options.images, folder / "load_data.csv", options.times)

        def cost(wanted, sets=fields):
            pipeline = folder / "pipeline.cppipe"
            pipeline.write_text(switch(text, wanted))
            before = cpu_seconds()
            more = ["-f", "1", "-l", str(sets)]
            run_pipeline(
                python, pipeline, folder, images=folder, plugins_directory=plugins, arguments=more
            )
            return cpu_seconds() - before

        cost(lambda name: name == "ExportToDatabase")
        cells = count_cells(folder / "measurements.db")
        nothing = cost(lambda _: False)
        classical = cost(lambda name: name.startswith("Measure") and name != DEEP) - nothing
        deep = cost(lambda name: name == DEEP) - nothing
        nothing_of_one = cost(lambda _: False, sets=1)
        deep_of_one = cost(lambda name: name == DEEP, sets=1) - nothing_of_one
    # Two runs of different length tell what each field costs and what the start.
    field = (deep - deep_of_one) / (fields - 1)
    result = {
        "fields": fields,
        "cells": cells,
        "classical, CPU-s a cell": round(classical / cells, 3),
        "deep, CPU-s a cell, start included": round(deep / cells, 4),
        "deep, CPU-s a cell": round(field * fields / cells, 4),
        "deep, CPU-s of the start": round(deep - field * fields, 1),
        "classical to deep": round(classical / (field * fields), 1),
        "classical to deep, start included": round(classical / deep, 1),
        "everything else, CPU-s": round(nothing, 1),
        "command": "python benchmarks/cellprofiler_cost.py IMAGES --record",
        "pipeline": f"examples/{PIPELINE.name}",
        "note": options.note,
        **machine(),
    }
    text = json.dumps(result, indent=2)
    print(text)
    if options.record:
        Path(__file__).with_suffix(".json").write_text(text + "\n")


def cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def switch(text, wanted):
    """Leave on, of the modules that measure or export, those that are wanted."""

    def enable(match):
        name = match.group(1)
        on = wanted(name) if name.startswith(("Measure", "Export")) else True
        return match.group(0).replace("enabled:True", f"enabled:{on}")

    return re.sub(r"^(\w+):\[module_num.*$", enable, text, flags=re.MULTILINE)


def write_load_data(images, path, times):
    with (images / "index.csv").open() as file:
        sites = list(csv.DictReader(file)) * times
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        names = [f"{part}_Orig{c}" for c in CHANNELS for part in ("PathName", "FileName")]
        writer.writerow([*names, "Metadata_Plate", "Metadata_Well", "Metadata_Site"])
        for number, site in enumerate(sites, start=1):
            paths = [(images / site[c]).absolute() for c in CHANNELS]
            files = [x for p in paths for x in (p.parent, p.name)]
            writer.writerow([*files, site["plate"], site["well"], number])
    return len(sites)


def count_cells(database):
    with sqlite3.connect(database) as connection:
        (count,) = connection.execute("select sum(Image_Count_Cells) from Per_Image").fetchone()
    connection.close()
    return int(count)


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    main()
