"""The core's own features, in a process without a window: a line with a file in, one out.

A window's drivers and PyTorch do not get on in one process (two copies of LLVM).
"""

import functools
import os
import sys

import numpy as np

from cpcnn_core import embed_cells, load_model


@functools.cache
def model_of(home, name):
    os.environ["CPCNN_HOME"] = home
    return load_model(name)


def main():
    for line in sys.stdin:
        with np.load(line.strip()) as given:
            image, centers = given["image"], given["centers"]
            model = model_of(str(given["home"]), str(given["model"]))
        np.save(line.strip() + ".npy", embed_cells(model, image, centers))
        print("done", flush=True)


if __name__ == "__main__":
    main()
