"""A plate of a million cells collected from its sites: time and peak memory.

3456 sites (384 wells of 9) of 290 cells, 672 features each, as ``cpcnn embed`` leaves
them; then one table in each format, every one in a process of its own. Needs 9 GB of
disk. Run it from the project's folder::

    python benchmarks/collect_million.py --record
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from machine import machine

from cpcnn_core.io.deepprofiler_npz import SiteTable, read_site, write_site
from cpcnn_core.io.sites import Site
from cpcnn_core.models.registry import known_cards
from cpcnn_core.screen.collect import FORMATS, collect_plates
from cpcnn_core.screen.plan import Settings, site_file

WELLS, SITES_PER_WELL, CELLS, DIM = 384, 9, 290, 672
SETTINGS = Settings(known_cards()["untrained-efficientnet-b0"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="write collect_million.json")
    parser.add_argument("--collect", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.collect:
        print(json.dumps(collect(*options.collect)))
        return
    with tempfile.TemporaryDirectory() as out:
        with ProcessPoolExecutor() as pool:
            list(pool.map(make_site, [out] * len(all_sites()), range(len(all_sites()))))
        figures = {name: in_a_process(out, name) for name in ["reading alone", *FORMATS]}
        cells = len(all_sites()) * CELLS
    result = {"cells": cells, "sites": len(all_sites()), "features": DIM, **figures, **machine()}
    text = json.dumps(result, indent=2)
    print(text)
    if options.record:
        Path(__file__).with_suffix(".json").write_text(text + "\n")


def all_sites():
    return [
        Site(
            {"Plate": "P1", "Well": f"{chr(65 + w // 24)}{w % 24 + 1:02d}", "Site": str(s)},
            {},
            None,
        )
        for w in range(WELLS)
        for s in range(1, SITES_PER_WELL + 1)
    ]


def make_site(out, place):
    site = all_sites()[place]
    random = np.random.default_rng(place)
    features = random.standard_normal((CELLS, DIM), np.float32)
    centers, numbers = random.uniform(0, 1080, (CELLS, 2)), np.arange(1, CELLS + 1)
    made = SETTINGS.provenance()
    table = SiteTable(features, site.metadata, centers, numbers, numbers < 9, made, place + 1)
    write_site(site_file(out, site), table)


def in_a_process(out, name):
    command = [sys.executable, __file__, "--collect", out, name]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def collect(out, name):
    started, cpu = time.perf_counter(), time.process_time()
    if name == "reading alone":
        for site in all_sites():
            read_site(site_file(out, site))
        size = None
    else:
        (table,) = collect_plates(all_sites(), out, SETTINGS, [name])
        size = round(table.stat().st_size / (len(all_sites()) * CELLS))
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "CPU seconds": round(time.process_time() - cpu, 1),
        "peak memory, MiB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "bytes a cell": size,
    }


if __name__ == "__main__":
    main()
