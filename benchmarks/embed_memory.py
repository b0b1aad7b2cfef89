"""Peak memory of ``cpcnn embed`` for 1, 10 and 100 fields: it must not grow.

Fields of 1080 x 1080 x 5, 16 bit, 20 cells each, each run in a process of its own. Run it
from the project's folder::

    python benchmarks/embed_memory.py --record
"""

import argparse
import csv
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from machine import machine

from cpcnn_core import load_model
from cpcnn_core.models.registry import CELL_PAINTING_CHANNELS

SIDE, CELLS, COUNTS = 1080, 20, (1, 10, 100)
RUN = "import sys; from cpcnn_core.cli.main import main; sys.exit(main(sys.argv[1:]))"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="write embed_memory.json")
    options = parser.parse_args()
    peaks = {}
    # The peak of all ended children is the largest so far: the small run goes first.
    for count in COUNTS:
        with tempfile.TemporaryDirectory() as folder:
            embed(Path(folder), count)
        kilobytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        peaks[count] = round(kilobytes / 1024)
    result = {
        "fields": f"{SIDE} x {SIDE} x {len(CELL_PAINTING_CHANNELS)} uint16, {CELLS} cells",
        "peak memory, MiB, by number of fields": peaks,
        "engine": load_model("untrained-efficientnet-b0").engine,
        **machine(),
    }
    text = json.dumps(result, indent=2)
    print(text)
    if options.record:
        Path(__file__).with_suffix(".json").write_text(text + "\n")


def embed(folder, count):
    from PIL import Image

    random = np.random.default_rng(0)
    images = {}
    for channel in CELL_PAINTING_CHANNELS:
        pixels = random.integers(0, 4000, (SIDE, SIDE)).astype(np.uint16)
        images[channel] = folder / f"{channel}.png"
        Image.fromarray(pixels).save(images[channel], compress_level=1)
    names = [f"{part}_Orig{c}" for c in images for part in ("PathName", "FileName")]
    files = [text for path in images.values() for text in (path.parent, path.name)]
    keys = ["Metadata_Plate", "Metadata_Well", "Metadata_Site"]
    with (folder / "load_data.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([*names, *keys])
        rows.writerows([*files, "P1", "A01", site] for site in range(1, count + 1))
    with (folder / "Nuclei.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["ImageNumber", "ObjectNumber", "Location_Center_X", "Location_Center_Y"])
        for site in range(1, count + 1):
            centers = random.uniform(0, SIDE, (CELLS, 2))
            rows.writerows([site, cell, x, y] for cell, (x, y) in enumerate(centers, start=1))
    arguments = ["embed", "--load-data", str(folder / "load_data.csv"), "--device", "cpu"]
    arguments += ["--objects", str(folder / "Nuclei.csv"), "--out", str(folder / "out")]
    arguments += ["--model", "untrained-efficientnet-b0"]
    subprocess.run([sys.executable, "-c", RUN, *arguments], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
