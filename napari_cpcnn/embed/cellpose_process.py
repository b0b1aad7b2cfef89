"""Cellpose in a process of its own: it brings PyTorch, which stops and can crash the window."""

from __future__ import annotations

import os
import sys

import numpy as np

from cpcnn_core.worker.protocol import read_message, write_message


def label_nuclei(plane: np.ndarray) -> np.ndarray:
    """Label the nuclei of a plane with Cellpose; its weights are fetched when first used.

    Parameters
    ----------
    plane : ndarray of shape (h, w), any real dtype

    Returns
    -------
    ndarray of shape (h, w), int32
    """
    from importlib.metadata import version

    from cellpose import core, models

    # Since version 4 there is one model for cells and nuclei; before, one for each.
    kind = {} if int(version("cellpose").split(".")[0]) >= 4 else {"model_type": "nuclei"}
    model = models.CellposeModel(gpu=core.use_gpu(), **kind)
    return np.asarray(model.eval(plane.astype(np.float32))[0], np.int32)


def _serve() -> None:
    out = os.fdopen(os.dup(1), "wb")
    # What libraries print must not get into the answers.
    os.dup2(2, 1)
    write_message(out, {"type": "hello"})
    while message := read_message(sys.stdin.buffer):
        try:
            labels = label_nuclei(message[1]["plane"])
        except Exception as error:  # noqa: BLE001  (whatever a program of others may raise)
            text = f"Cellpose could not find nuclei: {type(error).__name__}: {error}"
            write_message(out, {"type": "error", "message": text})
        else:
            write_message(out, {"type": "nuclei"}, {"labels": labels})


if __name__ == "__main__":
    _serve()
